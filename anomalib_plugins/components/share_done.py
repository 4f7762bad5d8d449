# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Progress of a trainer, reported to a console."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from .console import Console


class ShareDone(Callback):
    """Reports the finished share of training or test to a console.

    Args:
        console: Console that shows the progress.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Report the share of the steps of all phases."""
        del trainer, args, kwargs
        schedule: Any = getattr(pl_module, "schedule", None)
        if schedule is not None and sum(schedule.lengths):
            self.console.done = sum(schedule.taken) / sum(schedule.lengths)

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Report the share of the batches."""
        del pl_module, kwargs
        self.console.done = (args[2] + 1) / sum(trainer.num_test_batches)
