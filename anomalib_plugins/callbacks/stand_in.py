# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Parts of ours that stand in for anomalib's while a model is fitted."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from lightning.pytorch import Callback, LightningModule, Trainer


class Part(NamedTuple):
    """What is put where a model looks for something.

    Attributes:
        owner: Module or object the model looks in.
        name: Attribute it looks for.
        value: What it finds there; ``None`` for what its class has.
    """

    owner: Any
    name: str
    value: Any


class StandIn(Callback, ABC):
    """Put parts in place when fitting starts, and anomalib's back when it ends, however it ends."""

    def __init__(self) -> None:
        self._theirs: list[Part] = []

    @abstractmethod
    def parts(self, model: LightningModule) -> list[Part]:
        """What to put in place.

        Raises:
            TypeError: If the model has no use for it.
        """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Put ours in place."""
        del trainer
        if stage != "fit":
            return
        for part in self.parts(pl_module):
            self._theirs.append(part._replace(value=vars(part.owner).get(part.name)))
            setattr(*part)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Put anomalib's back."""
        del trainer, pl_module, stage
        self._restore()

    def on_exception(self, *args: Any) -> None:
        """Put anomalib's back."""
        del args
        self._restore()

    def _restore(self) -> None:
        while self._theirs:
            part = self._theirs.pop()
            if part.value is None:
                delattr(part.owner, part.name)
            else:
                setattr(*part)
