# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Base class of callbacks that replace parts of anomalib while a model is fitted."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from lightning.pytorch import Callback, LightningModule, Trainer


class Part(NamedTuple):
    """Attribute to replace.

    Attributes:
        owner: Module or object that has the attribute.
        name: Name of the attribute.
        value: Value to set. ``None`` restores the attribute of the class.
    """

    owner: Any
    name: str
    value: Any


class StandIn(Callback, ABC):
    """Replaces parts of anomalib when fitting starts and restores them when it ends, even by an error."""

    def __init__(self) -> None:
        self._theirs: list[Part] = []

    @abstractmethod
    def parts(self, model: LightningModule) -> list[Part]:
        """Attributes to replace for a model.

        Raises:
            TypeError: If the model has no such attributes.
        """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Replace the parts before fitting."""
        del trainer
        if stage != "fit":
            return
        for part in self.parts(pl_module):
            self._theirs.append(part._replace(value=vars(part.owner).get(part.name)))
            setattr(*part)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the parts after fitting."""
        del trainer, pl_module, stage
        self._restore()

    def on_exception(self, *args: Any) -> None:
        """Restore the parts after an error."""
        del args
        self._restore()

    def _restore(self) -> None:
        while self._theirs:
            part = self._theirs.pop()
            if part.value is None:
                delattr(part.owner, part.name)
            else:
                setattr(*part)
