# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What a schedule of phases reads from a trainer, changes while it runs and gives back."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from anomalib_plugins.errors import UserError
from anomalib_plugins.phases.phase import Phase

LIGHTNING_DEFAULT_EPOCHS = 1000
"""What Lightning sets ``max_epochs`` to when the user sets no limit at all."""

SHORT_EPOCH = 50
"""Optimizer steps below which an epoch is not worth a validation and a checkpoint of its own."""


class TrainerSettings(NamedTuple):
    """What the user set on the trainer and a schedule changes while it runs; the defaults are Lightning's."""

    max_epochs: int | None = None
    max_steps: int = -1
    limit_val_batches: int | float = 1.0
    check_val_every_n_epoch: int | None = 1
    fast_dev_run: bool = False

    @classmethod
    def of(cls, trainer: Trainer) -> "TrainerSettings":
        """Read them."""
        return cls(
            trainer.max_epochs,
            trainer.max_steps,
            trainer.limit_val_batches,
            trainer.check_val_every_n_epoch,
            bool(trainer.fast_dev_run),
        )

    def limits(self, phases: Sequence[Phase]) -> tuple[int, int]:
        """Most epochs and steps the user allows, -1 for no limit; a fast development run takes one step a phase."""
        if self.fast_dev_run:
            return -1, sum(not phase.full_pass for phase in phases)
        unlimited = self.max_epochs in {None, -1, LIGHTNING_DEFAULT_EPOCHS}
        return -1 if unlimited else int(self.max_epochs or 0), self.max_steps

    def spare_short_epochs(self, trainer: Trainer, steps: int) -> None:
        """Spare a training set of a few images, an epoch of a few steps, the validation and checkpoint after each."""
        if self.check_val_every_n_epoch == 1 and steps < SHORT_EPOCH:
            trainer.check_val_every_n_epoch = math.ceil(SHORT_EPOCH / steps)
            rank_zero_info(
                f"An epoch has {steps} steps only: validating and saving after every "
                f"{trainer.check_val_every_n_epoch} epochs. Set check_val_every_n_epoch to have it otherwise."
            )

    def restore(self, trainer: Trainer) -> None:
        """Write them back."""
        trainer.fit_loop.max_epochs = self.max_epochs
        trainer.fit_loop.epoch_loop.max_steps = self.max_steps
        trainer.limit_val_batches = self.limit_val_batches
        trainer.check_val_every_n_epoch = self.check_val_every_n_epoch


class Gradients(NamedTuple):
    """What the user set on the trainer about gradients, which Lightning refuses with several optimizers."""

    accumulate: int = 1
    clip_value: float | None = None
    clip_algorithm: str | None = None

    @classmethod
    def of(cls, trainer: Trainer) -> "Gradients":
        """Read them."""
        return cls(trainer.accumulate_grad_batches, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)

    @classmethod
    def take_over(cls, trainer: Trainer) -> "Gradients":
        """Take them from a trainer before it refuses them.

        Raises:
            ValueError: If gradients are to be clipped that a scaler has scaled.
        """
        taken = cls.of(trainer)
        if taken.clip_value and getattr(trainer.precision_plugin, "scaler", None) is not None:
            msg = "gradient_clip_val does not work with precision 16-mixed: set precision bf16-mixed or 32-true"
            raise UserError(msg)
        trainer.accumulate_grad_batches, trainer.gradient_clip_val = 1, None
        return taken

    def restore(self, trainer: Trainer) -> None:
        """Write them back."""
        trainer.accumulate_grad_batches, trainer.gradient_clip_val = self.accumulate, self.clip_value

    def clip(self, parameters: list[nn.Parameter]) -> None:
        """Clip the gradients of parameters as Lightning does."""
        if self.clip_value and self.clip_algorithm == "value":
            nn.utils.clip_grad_value_(parameters, self.clip_value)
        elif self.clip_value:
            nn.utils.clip_grad_norm_(parameters, self.clip_value)


def batch_sizes(trainer: Trainer) -> list[int]:
    """Sizes of the batches of one epoch.

    Raises:
        ValueError: If the loader does not know its length.
    """
    loader, count = trainer.train_dataloader, trainer.num_training_batches
    size = getattr(loader, "batch_size", None)
    if math.isinf(count) or size is None:
        msg = "phases need a training loader with a known length and batch size"
        raise UserError(msg)
    sizes = [size] * int(count)
    images = len(loader.sampler)
    if count == len(loader) and not loader.drop_last and images % size:
        sizes[-1] = images % size
    return sizes
