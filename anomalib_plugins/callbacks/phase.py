# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What a schedule of training phases is made of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor


@dataclass(frozen=True)
class Phase:
    """One stretch of training with its own step.

    Args:
        name: What the log and the progress bar call it.
        batch_size: Examples a step takes; the loader's batches are cut to it.
        epochs: Length in passes over the training set. Give this or ``steps``.
        steps: Length in optimizer steps.
        examples: How many examples the phase makes of each image.
        min_steps_per_epoch: Images are repeated until a pass has so many steps, for training sets of a few images.
        whole: It looks at every image and optimises nothing, as a memory bank is filled: it begins with an epoch, is
            never shortened, and starts again where a run is resumed within it. Its steps are no optimizer steps.

    Raises:
        ValueError: If not exactly one positive length is given, a count is below 1, or a whole
            phase has no length in epochs.
    """

    name: str
    batch_size: int
    epochs: int | None = None
    steps: int | None = None
    examples: int = 1
    min_steps_per_epoch: int = 1
    whole: bool = False

    def __post_init__(self) -> None:
        """Refuse a phase without one clear length."""
        lengths = [length for length in (self.epochs, self.steps) if length is not None]
        if len(lengths) != 1 or lengths[0] < 1:
            msg = f"phase {self.name!r} needs epochs or steps, at least 1: got epochs={self.epochs}, steps={self.steps}"
            raise ValueError(msg)
        for name in ("batch_size", "examples", "min_steps_per_epoch"):
            if getattr(self, name) < 1:
                msg = f"phase {self.name!r}: {name} must be at least 1, got {getattr(self, name)}"
                raise ValueError(msg)
        if self.whole and self.epochs is None:
            msg = f"phase {self.name!r} looks at every image: give its length in epochs, not in steps"
            raise ValueError(msg)

    def steps_in(self, images: int) -> int:
        """How many steps it makes of a loader's batch of so many images."""
        return math.ceil(images * self.examples / self.batch_size)

    def repeats(self, batches: Sequence[int]) -> int:
        """How often each of an epoch's batches of so many images is taken."""
        return math.ceil(self.min_steps_per_epoch / sum(map(self.steps_in, batches)))


class Step(NamedTuple):
    """What one optimizer step works on.

    Attributes:
        phase: Name of the phase it belongs to.
        batch: What was cut, the loader's batch ``(N, C, H, W)``.
        share: Which part of it belongs to the step.
        progress: Share of the phase that lies behind, in ``[0, 1)``; drives learning-rate schedules.
        generator: Seeded by run and step, so that a resumed run draws what an unbroken one would.
    """

    phase: str
    batch: Tensor
    share: slice
    progress: float
    generator: torch.Generator

    @property
    def images(self) -> Tensor:
        """The step's share ``(n, C, H, W)`` with ``n <= batch_size`` of the phase."""
        return self.batch[self.share]

    @property
    def others(self) -> Tensor:
        """The rest of the batch ``(N - n, C, H, W)``."""
        return torch.cat([self.batch[: self.share.start], self.batch[self.share.stop :]])


def lengths_within(
    phases: Sequence[Phase], per_epoch: Sequence[int], max_epochs: int = -1, max_steps: int = -1
) -> list[int]:
    """Steps of each phase within a trainer's limits: each has its share, but for whole ones, which are kept.

    A limit that shortens the phases is said.

    Args:
        phases: In their order.
        per_epoch: Steps each makes of one epoch.
        max_epochs: Most passes over the images; -1 for no limit.
        max_steps: Most optimizer steps; -1 for no limit.

    Raises:
        ValueError: If a limit leaves no step to one of them.
    """
    steps = [phase.steps or (phase.epochs or 0) * epoch for phase, epoch in zip(phases, per_epoch, strict=True)]
    epochs = [length / epoch for length, epoch in zip(steps, per_epoch, strict=True)]
    shared = [index for index, phase in enumerate(phases) if not phase.whole]
    shared_epochs, shared_steps = sum(epochs[index] for index in shared), sum(steps[index] for index in shared)
    said = ", ".join(f"{name}={n}" for name, n in (("max_epochs", max_epochs), ("max_steps", max_steps)) if n >= 0)
    epochs_left = max_epochs - sum(epochs) + shared_epochs  # what whole phases leave of the limit
    too_short = epochs_left < 0 or (epochs_left == 0 and shared_steps > 0)
    if (max_epochs >= 0 and too_short) or 0 <= max_steps < len(shared):
        whole = [phase.name for phase in phases if phase.whole]
        msg = f"{said} leaves no step to some of the phases {[phase.name for phase in phases]}: "
        msg += "allow at least one step for each" + f", and an epoch for each of {whole}." * bool(whole)
        raise ValueError(msg)
    scale = 1.0
    if max_epochs > 0 and shared_steps:
        scale = min(scale, epochs_left / shared_epochs)
    if max_steps > 0 and shared_steps:
        scale = min(scale, max_steps / shared_steps)
    lengths = list(steps)
    for index in shared:
        lengths[index] = max(1, int(steps[index] * scale + 1e-9))
    while 0 < max_steps < sum(lengths[index] for index in shared):  # the smallest were rounded up to one step
        lengths[max(shared, key=lengths.__getitem__)] -= 1
    if scale < 1:
        rank_zero_warn(
            f"The trainer's limit ({said}) is shorter than the model's own "
            f"schedule of {sum(epochs):.1f} epochs ({shared_steps} steps): every phase is shortened to {scale:.1%}."
        )
    return lengths


def mix_seed(seed: int, counter: int) -> int:
    """A well spread 63-bit seed for each (seed, counter): neighbouring seeds must not give neighbouring streams."""
    # splitmix64 finaliser (Steele, Lea, Flood 2014); python integers, so masked to 64 bits by hand.
    mask = (1 << 64) - 1
    z = (seed * 0x9E3779B97F4A7C15 + (counter + 1) * 0xD1342543DE82EF95) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 1
