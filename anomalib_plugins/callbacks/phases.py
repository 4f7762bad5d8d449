# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Named training phases inside Lightning's one fit loop."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor
from torch.utils.data import RandomSampler

logger = logging.getLogger(__name__)

LIGHTNING_DEFAULT_EPOCHS = 1000
"""What Lightning sets ``max_epochs`` to when the user sets no limit at all."""


@dataclass(frozen=True)
class Phase:
    """One stretch of training with its own step.

    Args:
        name: What the log and the progress bar call it.
        batch_size: Images an optimizer step takes; the loader's batches are cut to it.
        epochs: Length in passes over the training set. Give this or ``steps``.
        steps: Length in optimizer steps.

    Raises:
        ValueError: If not exactly one positive length is given, or ``batch_size`` is below 1.
    """

    name: str
    batch_size: int
    epochs: int | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        """Refuse a phase without one clear length."""
        lengths = [length for length in (self.epochs, self.steps) if length is not None]
        if len(lengths) != 1 or lengths[0] < 1:
            msg = f"phase {self.name!r} needs epochs or steps, at least 1: got epochs={self.epochs}, steps={self.steps}"
            raise ValueError(msg)
        if self.batch_size < 1:
            msg = f"phase {self.name!r}: batch_size must be at least 1, got {self.batch_size}"
            raise ValueError(msg)


class Step(NamedTuple):
    """What one optimizer step works on.

    Attributes:
        phase: Name of the phase it belongs to.
        images: Its share of the loader's batch, ``(n, C, H, W)`` with ``n <= batch_size`` of the phase.
        others: The rest of that batch, ``(N - n, C, H, W)``.
        progress: Share of the phase that lies behind, in ``[0, 1)``; drives learning-rate schedules.
        generator: Seeded by run and step, so that a resumed run draws what an unbroken one would.
    """

    phase: str
    images: Tensor
    others: Tensor
    progress: float
    generator: torch.Generator


class PhaseSchedule(Callback):
    """Walks a model through its phases, one optimizer step at a time, and ends the fit when the last one is over.

    A phase has its own batch size, so the loader's batch size (the user's choice) changes how images are loaded, not
    how the model learns: the model asks :meth:`steps_of` to cut every batch into optimizer steps.

    The phases' own lengths are the default. The trainer's ``max_epochs``, ``max_steps`` (counted in optimizer steps of
    this schedule) and ``max_time`` are upper limits: when one is shorter, every phase gets its share of what is left,
    and the log says so. Validation is off until the last phase and always runs on the final weights, which thresholds
    are taken from.

    Args:
        phases: The phases in their order.
        seed: Seeds every step's generator and the order of the images; ``None`` takes torch's initial seed.

    Raises:
        ValueError: If there are no phases or two share a name.
    """

    def __init__(self, phases: Sequence[Phase], seed: int | None = None) -> None:
        names = [phase.name for phase in phases]
        if not names or len(set(names)) != len(names):
            msg = f"a schedule needs phases with different names, got {names}"
            raise ValueError(msg)
        self.phases = tuple(phases)
        self.seed = torch.initial_seed() % 2**31 if seed is None else seed
        self.lengths: list[int] = []  # optimizer steps of each phase, known once the loader is
        self.index = 0  # of the current phase
        self.taken = [0] * len(self.phases)  # optimizer steps of each phase so far
        self._timer: Timer | None = None
        self._rank_and_world = (0, 1)
        self._settings = TrainerSettings()

    @property
    def phase(self) -> Phase:
        """The current phase; the last one when all are over."""
        return self.phases[min(self.index, len(self.phases) - 1)]

    @property
    def total_steps(self) -> int:
        """Optimizer steps of all phases so far."""
        return sum(self.taken)

    @property
    def finished(self) -> bool:
        """Whether every phase is over."""
        return self.index >= len(self.phases)

    def steps_of(self, images: Tensor) -> Iterator[Step]:
        """Cut a loader's batch into optimizer steps, changing phase in mid-batch where one ends.

        Args:
            images: Batch ``(N, C, H, W)``.

        Yields:
            The steps in their order; none once the schedule is over.
        """
        start = 0
        while start < len(images):
            self._leave_ended_phases()
            if self.finished:
                return
            stop = start + self.phase.batch_size
            others = torch.cat([images[:start], images[stop:]])
            yield Step(self.phase.name, images[start:stop], others, self._progress(), self._generator())
            self.taken[self.index] += 1
            start = stop
        self._leave_ended_phases()

    def _progress(self) -> float:
        """Share of the current phase behind us: by steps, or by the clock where ``max_time`` runs out sooner."""
        by_steps = self.taken[self.index] / self.lengths[self.index]
        return max(by_steps, self._progress_by_time())

    def _progress_by_time(self) -> float:
        if self._timer is None:
            return 0.0
        elapsed, remaining = self._timer.time_elapsed(), self._timer.time_remaining()
        if remaining is None or elapsed + remaining <= 0:
            return 0.0
        total = sum(self.lengths)
        begin, share = sum(self.lengths[: self.index]) / total, self.lengths[self.index] / total
        return (elapsed / (elapsed + remaining) - begin) / share

    def _leave_ended_phases(self) -> None:
        while not self.finished and self._progress() >= 1:
            self.index += 1
            if not self.finished:
                rank_zero_info(f"Phase {self.phase.name!r} begins after {self.total_steps} steps.")

    def _generator(self) -> torch.Generator:
        rank, world = self._rank_and_world
        return torch.Generator().manual_seed(_mix(self.seed, self.total_steps * world + rank))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the user's limits over from Lightning, which would count both optimizers of a GAN as steps."""
        del pl_module
        self._settings = TrainerSettings.of(trainer)
        trainer.fit_loop.max_epochs = -1
        trainer.fit_loop.epoch_loop.max_steps = -1
        if trainer.ckpt_path is None:
            self.index, self.taken = 0, [0] * len(self.phases)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Turn the phases into steps, now that the loader's length is known, and hold back validation."""
        del pl_module
        self._rank_and_world = (trainer.global_rank, trainer.world_size)
        self._timer = next((c for c in trainer.callbacks if isinstance(c, Timer)), None)
        if self._timer is not None and trainer.world_size > 1:
            msg = "max_time would let every device change phase by its own clock: set max_steps with several devices."
            raise ValueError(msg)
        epochs = self._set_lengths(_batch_sizes(trainer))
        if self.finished:  # a finished run goes on in its last phase, if that has become longer
            self.index = len(self.phases) - 1
        self._leave_ended_phases()
        if self.finished:
            msg = (
                f"the checkpoint has all of its {self.total_steps} steps behind it and the limits allow no more: raise "
                "max_steps, max_epochs or the model's own lengths to train on, or test it with `anomalib test`."
            )
            raise ValueError(msg)
        # One epoch to spare: a phase that ends in mid-batch leaves images unused. The end itself is set by the steps.
        trainer.fit_loop.max_epochs = trainer.current_epoch + math.ceil(epochs) + 1
        self._hold_back_validation(trainer)

    def _set_lengths(self, batches: Sequence[int]) -> float:
        """Set every phase's steps from the sizes of one epoch's batches; returns how many epochs are to go."""
        per_epoch = [sum(math.ceil(size / phase.batch_size) for size in batches) for phase in self.phases]
        steps = [
            phase.steps or (phase.epochs or 0) * epoch for phase, epoch in zip(self.phases, per_epoch, strict=True)
        ]
        epochs = sum(length / epoch for length, epoch in zip(steps, per_epoch, strict=True))
        max_epochs, max_steps = self._settings.limits(len(self.phases))
        limits = {"max_epochs": max_epochs, "max_steps": max_steps}
        said = ", ".join(f"{name}={value}" for name, value in limits.items() if value >= 0)
        if max_epochs == 0 or 0 <= max_steps < len(self.phases):
            names = [phase.name for phase in self.phases]
            msg = f"{said} leaves no step to some of the phases {names}: allow at least one step for each."
            raise ValueError(msg)
        scale = min(
            1.0,
            max_epochs / epochs if max_epochs > 0 else 1.0,
            max_steps / sum(steps) if max_steps > 0 else 1.0,
        )
        self.lengths = [max(1, int(length * scale + 1e-9)) for length in steps]
        while 0 < max_steps < sum(self.lengths):  # the smallest were rounded up to one step
            self.lengths[self.lengths.index(max(self.lengths))] -= 1
        described = ", ".join(f"{phase.name} {n} steps" for phase, n in zip(self.phases, self.lengths, strict=True))
        if scale < 1:
            rank_zero_warn(
                f"The trainer's limit ({said}) is shorter than the model's own "
                f"schedule of {epochs:.1f} epochs ({sum(steps)} steps): every phase is shortened to {scale:.1%}."
            )
        rank_zero_info(f"Phases: {described}.")
        to_go = [length - taken for length, taken in zip(self.lengths, self.taken, strict=True)]
        return sum(max(0, left) / epoch for left, epoch in zip(to_go, per_epoch, strict=True))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Order the images by seed and epoch alone, so that a resumed run sees them as an unbroken one would."""
        del pl_module
        sampler = getattr(trainer.train_dataloader, "sampler", None)
        if isinstance(sampler, RandomSampler):
            sampler.generator = torch.Generator().manual_seed(_mix(self.seed, trainer.current_epoch))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Stop at the end of the last phase; release validation when the last phase has begun."""
        del pl_module, args, kwargs
        if self.finished:
            trainer.should_stop = True
        self._hold_back_validation(trainer)

    def _hold_back_validation(self, trainer: Trainer) -> None:
        last_has_begun = self.finished or (self.index == len(self.phases) - 1 and self.taken[self.index] > 0)
        validate = last_has_begun or trainer.should_stop
        trainer.limit_val_batches = self._settings.limit_val_batches if validate else 0
        if trainer.should_stop:
            trainer.check_val_every_n_epoch = 1  # thresholds must come from the final weights

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the trainer its settings back and say so when a limit cut the last phase off entirely."""
        self._settings.restore(trainer)
        if self.index < len(self.phases) - 1:
            rank_zero_warn(
                f"{type(pl_module).__name__} stopped in phase {self.phase.name!r}: "
                f"{self.phases[-1].name!r} was never trained, so its scores mean nothing. Allow more time or steps."
            )

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the trainer its settings back."""
        del pl_module, exception
        self._settings.restore(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Where in the schedule the run is, and its seed."""
        return {"seed": self.seed, "index": self.index, "taken": list(self.taken)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the checkpoint was written."""
        self.seed, self.index, self.taken = state_dict["seed"], state_dict["index"], list(state_dict["taken"])


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

    def limits(self, phases: int) -> tuple[int, int]:
        """Most epochs and steps the user allows, -1 for no limit; a fast development run takes one step a phase."""
        if self.fast_dev_run:
            return -1, phases
        unlimited = self.max_epochs in {None, -1, LIGHTNING_DEFAULT_EPOCHS}
        return -1 if unlimited else int(self.max_epochs or 0), self.max_steps

    def restore(self, trainer: Trainer) -> None:
        """Write them back."""
        trainer.fit_loop.max_epochs = self.max_epochs
        trainer.fit_loop.epoch_loop.max_steps = self.max_steps
        trainer.limit_val_batches = self.limit_val_batches
        trainer.check_val_every_n_epoch = self.check_val_every_n_epoch


def _mix(seed: int, counter: int) -> int:
    """A well spread 63-bit seed for each (seed, counter): neighbouring seeds must not give neighbouring streams."""
    # splitmix64 finaliser (Steele, Lea, Flood 2014); python integers, so masked to 64 bits by hand.
    mask = (1 << 64) - 1
    z = (seed * 0x9E3779B97F4A7C15 + (counter + 1) * 0xD1342543DE82EF95) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 1


def _batch_sizes(trainer: Trainer) -> list[int]:
    """Sizes of the batches of one epoch.

    Raises:
        ValueError: If the loader does not know its length.
    """
    loader, count = trainer.train_dataloader, trainer.num_training_batches
    size = getattr(loader, "batch_size", None)
    if math.isinf(count) or size is None:
        msg = "phases need a training loader with a known length and batch size"
        raise ValueError(msg)
    sizes = [size] * int(count)
    images = len(loader.sampler)
    if count == len(loader) and not loader.drop_last and images % size:
        sizes[-1] = images % size
    return sizes
