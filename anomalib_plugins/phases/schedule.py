# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Named training phases inside Lightning's one fit loop."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from anomalib_plugins.compat import count_optimizer_step, silence
from anomalib_plugins.errors import UserError
from anomalib_plugins.phases.early_stopping import leave_phases, watch_phases
from anomalib_plugins.phases.gathering import Gathering, rows
from anomalib_plugins.phases.image_order import continue_epoch, order_images
from anomalib_plugins.phases.phase import Phase, Step, lengths_within, mix_seed
from anomalib_plugins.phases.trainer_settings import Gradients, TrainerSettings, batch_sizes


class PhaseSchedule(Callback):
    """Walks a model through its phases, one optimizer step at a time, and ends the fit when the last one is over.

    A phase has its own batch size, so the loader's batch size (the user's choice) changes how images are loaded, not
    how the model learns: :meth:`steps_of` gathers what a step needs from several of the loader's batches, or makes
    several steps of one. The last step of an epoch takes what is left, so a training set may be smaller than a step.

    The phases' own lengths are the default. The trainer's ``max_epochs``, ``max_steps`` (counted in optimizer steps of
    this schedule) and ``max_time`` are upper limits: when one is shorter, every phase gets its share of it, one step at
    least, and the log says so. Whole phases, which fill a memory, come on top: a memory of half the images would take
    the other half for defects. Validation is off until the last phase and always runs on the final weights, which
    thresholds are taken from. Where the training set is so small that an epoch has fewer than 50 steps, validation and
    the checkpoint that follows it wait for 50, unless the user set ``check_val_every_n_epoch``. ``EarlyStopping`` ends
    the phase whose metric it watches. With ``accumulate_grad_batches`` so many steps share an optimizer step.

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
            raise UserError(msg)
        self.phases = tuple(phases)
        self.seed = torch.initial_seed() % 2**31 if seed is None else seed
        self.lengths: list[int] = []  # optimizer steps of each phase, known once the loader is
        self.index = 0  # of the current phase
        self.taken = [0] * len(self.phases)  # optimizer steps of each phase so far
        self._repeats = [1] * len(self.phases)  # how often an image is taken
        self._gathering = Gathering()
        self._batch_idx = 0  # of this batch in the whole run
        self._epoch_ends = True  # with this batch
        self._last_per_epoch = 0  # steps of the last phase
        self._timer: Timer | None = None
        self._waited: float | None = None  # seconds before the first step of this run, which no phase is charged for
        self._began = 0.0  # what the timer showed when this run began
        self._epoch_is_fresh = False  # nobody has seen an image of it yet
        self._looked = False  # a whole phase has, at this batch
        self._rank_and_world = (0, 1)
        self._settings = TrainerSettings()
        self.gradients = Gradients()

    @property
    def phase(self) -> Phase:
        """The current phase; the last one when all are over."""
        return self.phases[min(self.index, len(self.phases) - 1)]

    @property
    def total_steps(self) -> int:
        """Optimizer steps of all phases so far."""
        return sum(taken for phase, taken in zip(self.phases, self.taken, strict=True) if not phase.full_pass)

    @property
    def accumulated(self) -> tuple[int, int]:
        """How many steps' gradients the current optimizer step has already, and how many it takes."""
        if self.gradients.accumulate == 1:
            return 0, 1
        has = self.taken[self.index] % self.gradients.accumulate
        return has, min(self.gradients.accumulate, has + self.lengths[self.index] - self.taken[self.index])

    @property
    def finished(self) -> bool:
        """Whether every phase is over."""
        return self.index >= len(self.phases)

    def steps_of(self, images: Tensor, paths: Sequence[str] | None = None) -> Iterator[Step]:
        """Make optimizer steps of a loader's batch and of what is left of those before, changing phase where one ends.

        Args:
            images: Batch ``(N, C, H, W)``.
            paths: Files of the images ``(N,)``, for models that need them.

        Yields:
            The steps in their order; none while more images are needed, once the schedule is over, or while a whole
            phase waits for the next epoch.
        """
        if self._waited is None:
            self._waited = self._timer.time_elapsed() - self._began if self._timer else 0.0
        self._leave_ended_phases()
        phase, fresh = self.phase, self._epoch_is_fresh
        order = torch.Generator().manual_seed(mix_seed(self.seed, -1 - self._batch_idx))
        self._gathering.add(images, paths or (), phase.examples, order)
        if self._epoch_ends:
            self._gathering.repeat(self._repeats[self.phases.index(phase)])
        while not self.finished and self._goes_on_with(phase, fresh) and (count := self._size_of_step()):
            yield self._step(count)
            self.taken[self.index] += 1
            self._looked = self.phase.full_pass
            fresh = False
            self._leave_ended_phases()
        if self.finished or not self._goes_on_with(phase, fresh):
            self._gathering.clear()
        self._gathering.prune()

    def _goes_on_with(self, gathered_for: Phase, fresh: bool) -> bool:
        """Whether what was gathered for a phase is of use to the current one; a whole one waits for an epoch."""
        begins = self.taken[self.index] == 0
        return self.phase.examples == gathered_for.examples and (fresh or not (self.phase.full_pass and begins))

    def _size_of_step(self) -> int:
        """How many examples the next step takes; 0 if it has to wait for more."""
        if self._epoch_ends or self.phase.full_pass:
            return min(self.phase.batch_size, len(self._gathering))
        repeated = self._repeats[self.index] > 1  # then it waits for the end of the epoch, and all its images
        return 0 if repeated or len(self._gathering) < self.phase.batch_size else self.phase.batch_size

    def _step(self, count: int) -> Step:
        which, versions = self._gathering.take(count)
        images, paths = self._gathering.images, self._gathering.paths
        return Step(
            self.phase.name,
            rows(images, which),
            [paths[number] for number in which.tolist()] if paths else [],
            versions,
            images,
            which,
            self._progress(),
            self._generator(),
        )

    def _progress(self) -> float:
        """Share of the current phase behind us: by steps, or by the clock where ``max_time`` runs out sooner."""
        by_steps = self.taken[self.index] / self.lengths[self.index]
        begun = self.taken[self.index] > 0  # no phase is passed over, however late it is
        return max(by_steps, self._progress_by_time()) if begun and not self.phase.full_pass else by_steps

    def _progress_by_time(self) -> float:
        if self._timer is None:
            return 0.0
        elapsed, remaining = self._timer.time_elapsed() - (self._waited or 0.0), self._timer.time_remaining()
        if remaining is None:
            return 0.0
        if remaining <= 0:
            return math.inf
        total = sum(self.lengths)
        begin, share = sum(self.lengths[: self.index]) / total, self.lengths[self.index] / total
        return (elapsed / (elapsed + remaining) - begin) / share

    def _leave_ended_phases(self) -> None:
        while not self.finished and self._progress() >= 1:
            taken, length = self.taken[self.index], self.lengths[self.index]
            if taken < length:
                rank_zero_warn(f"max_time ends phase {self.phase.name!r} after {taken} of its {length} steps.")
            self.index += 1
            if not self.finished:
                rank_zero_info(f"Phase {self.phase.name!r} begins after {self.total_steps} steps.")

    def end_phase(self) -> None:
        """End the current phase after its next step."""
        self.lengths[self.index] = self.taken[self.index] + 1

    def _generator(self) -> torch.Generator:
        rank, world = self._rank_and_world
        return torch.Generator().manual_seed(mix_seed(self.seed, self.total_steps * world + rank))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the user's limits over from Lightning, which would count both optimizers of a GAN as steps."""
        del pl_module
        self._settings = TrainerSettings.of(trainer)
        watch_phases(trainer, self)
        self.lengths = []
        if 0 not in {trainer.max_epochs, trainer.max_steps}:  # else Lightning trains nothing
            trainer.fit_loop.max_epochs = -1
            trainer.fit_loop.epoch_loop.max_steps = -1
        if trainer.ckpt_path is None:
            self.index, self.taken = 0, [0] * len(self.phases)
            self._gathering.clear()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Turn the phases into steps, now that the loader's length is known, and hold back validation."""
        del pl_module
        self._rank_and_world = (trainer.global_rank, trainer.world_size)
        continue_epoch(trainer, self.seed)
        self._timer = next((c for c in trainer.callbacks if isinstance(c, Timer)), None)
        if self._timer is not None and trainer.world_size > 1:
            msg = "max_time would let every device change phase by its own clock: set max_steps with several devices."
            raise UserError(msg)
        if self._timer is not None:
            silence(self._timer)  # what it says once, we say with the phase
        self._waited, self._began = None, self._timer.time_elapsed() if self._timer else 0.0
        epochs = self._set_lengths(batch_sizes(trainer))
        if self.finished:
            self._go_on()
        self._leave_ended_phases()
        if self.finished:
            rank_zero_warn(
                f"The checkpoint has all of its {self.total_steps} steps behind it: nothing is trained. To train on, "
                "raise max_steps, max_epochs or the model's own lengths."
            )
            trainer.fit_loop.max_epochs = trainer.fit_loop.epoch_progress.current.processed
            return
        self._warn_of_unseen_images(trainer)
        # Epochs to spare: a phase that ends in mid-batch leaves images unused, and a whole one waits for an epoch to
        # begin. The end itself is set by the steps.
        waits = sum(phase.full_pass for phase in self.phases)
        trainer.fit_loop.max_epochs = trainer.current_epoch + math.ceil(epochs) + 1 + waits
        if not self.phases[-1].full_pass:
            self._settings.spare_short_epochs(trainer, self._last_per_epoch)
        self._hold_back_validation(trainer)

    def _warn_of_unseen_images(self, trainer: Trainer) -> None:
        seen, batches = trainer.num_training_batches, len(trainer.train_dataloader)
        whole = next((phase.name for phase in self.phases if phase.full_pass), None)
        if whole is not None and seen < batches and not trainer.fast_dev_run:
            rank_zero_warn(
                f"The trainer's limits leave phase {whole!r} {seen} of {batches} batches: what only the other images "
                "show will count as a defect."
            )

    def _go_on(self) -> None:
        """Let a finished run go on in the phase that has become longer: the last one, or one before a memory."""
        self.index = len(self.phases) - 1
        before = self.index - 1
        if self.phase.full_pass and before >= 0 and self.taken[before] < self.lengths[before]:
            self.index, self.taken[-1] = before, 0

    def _set_lengths(self, batches: Sequence[int]) -> float:
        """Set every phase's steps from the sizes of one epoch's batches; returns how many epochs are to go."""
        self._repeats = [phase.repeats(sum(batches)) for phase in self.phases]
        per_epoch = [phase.steps_in(batches) for phase in self.phases]
        self.lengths = lengths_within(
            self.phases, per_epoch, *self._settings.limits(self.phases), self.gradients.accumulate
        )
        self._last_per_epoch = per_epoch[-1]
        described = ", ".join(f"{phase.name} {n} steps" for phase, n in zip(self.phases, self.lengths, strict=True))
        shared = f"; {n} share an optimizer step" if (n := self.gradients.accumulate) > 1 else ""
        rank_zero_info(f"Phases: {described}{shared}.")
        for index, phase in enumerate(self.phases):
            is_over = index < min(self.index, len(self.phases) - 1)  # and the phases after it have used its memory
            if phase.full_pass and not is_over and self.taken[index] != self.lengths[index]:
                self.taken[index] = 0  # what it has gathered is in no checkpoint, or is of other images
        to_go = [length - taken for length, taken in zip(self.lengths, self.taken, strict=True)]
        return sum(max(0, left) / epoch for left, epoch in zip(to_go, per_epoch, strict=True))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Order the images by seed and epoch alone, so that a resumed run sees them as an unbroken one would."""
        del pl_module
        self._epoch_is_fresh = True
        order_images(trainer, self.seed)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Find out whether an epoch ends with this batch, whose last step takes what is left."""
        del pl_module, args, kwargs
        self._batch_idx, self._epoch_ends = trainer.fit_loop.total_batch_idx, trainer.is_last_batch

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Stop at the end of the last phase, not within a whole one; release validation when the last has begun."""
        del pl_module, args, kwargs
        self._epoch_is_fresh = False
        if self._looked:
            count_optimizer_step(trainer)  # a memory's steps are saved, too
            self._looked = False
        self._leave_ended_phases()
        if self.finished:
            trainer.should_stop = True
        elif (self.phase.full_pass or self.taken[self.index] == 0) and self._time_is_up():
            trainer.should_stop = False  # the timer's doing: without this phase the others were for nothing
        self._hold_back_validation(trainer)

    def _time_is_up(self) -> bool:
        return self._timer is not None and (self._timer.time_remaining() or 0) <= 0

    def _hold_back_validation(self, trainer: Trainer) -> None:
        in_last = self.index == len(self.phases) - 1 and self.taken[self.index] > 0
        validate = self.finished or trainer.should_stop or (in_last and not self.phase.full_pass)
        trainer.limit_val_batches = self._settings.limit_val_batches if validate else 0
        if trainer.should_stop:
            trainer.check_val_every_n_epoch = 1  # thresholds must come from the final weights

    def remember(self, trainer: Trainer) -> None:
        """Remember what the user set on the trainer, before anything of it is changed.

        Raises:
            ValueError: If gradients are to be clipped that a scaler has scaled.
        """
        self._settings = TrainerSettings.of(trainer)
        fits = trainer.state.fn == TrainerFn.FITTING
        self.gradients = Gradients.take_over(trainer) if fits else Gradients.of(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the trainer its settings back and say so when a phase was never trained."""
        self._give_back(trainer)
        if not self.lengths:
            rank_zero_warn(f"The trainer's limits leave {type(pl_module).__name__} no batch: nothing was trained.")
        elif 0 in self.taken:
            names = [repr(phase.name) for phase, taken in zip(self.phases, self.taken, strict=True) if taken == 0]
            rank_zero_warn(
                f"{type(pl_module).__name__} stopped in phase {self.phase.name!r}: {', '.join(names)} was never "
                "trained, so its scores mean nothing. Allow more time or steps."
            )

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the trainer its settings back."""
        del pl_module, exception
        self._give_back(trainer)

    def _give_back(self, trainer: Trainer) -> None:
        self._settings.restore(trainer)
        self.gradients.restore(trainer)
        leave_phases(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Where in the schedule the run is, its seed, and in mid-epoch the images that wait for a step."""
        waiting = {"gathering": self._gathering.state_dict()} if len(self._gathering) else {}
        return {"seed": self.seed, "index": self.index, "taken": list(self.taken), **waiting}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the checkpoint was written."""
        self.seed, self.index, self.taken = state_dict["seed"], state_dict["index"], list(state_dict["taken"])
        self._gathering.clear()
        if "gathering" in state_dict:
            self._gathering.load_state_dict(state_dict["gathering"])
