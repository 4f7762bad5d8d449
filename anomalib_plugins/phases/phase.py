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

from anomalib_plugins.errors import UserError
from anomalib_plugins.phases.gathering import rows


@dataclass(frozen=True)
class Phase:
    """One stretch of training with its own step.

    Args:
        name: What the log and the progress bar call it.
        batch_size: Examples a step takes, gathered from as many of the loader's batches as need be. The last step of an
            epoch takes what is left.
        epochs: Length in passes over the training set. Give this or ``steps``.
        steps: Length in optimizer steps.
        examples: How many examples the phase makes of each image.
        min_steps_per_epoch: All images of an epoch are repeated until it has so many steps, for training sets of a few
            images.
        full_pass: Whether it looks at every image and optimises nothing, as a memory bank is filled: it begins with an
            epoch, is never shortened, and starts again where a run is resumed within it. Its steps are no optimizer
            steps.

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
    full_pass: bool = False

    def __post_init__(self) -> None:
        """Refuse a phase without one clear length."""
        lengths = [length for length in (self.epochs, self.steps) if length is not None]
        if len(lengths) != 1 or lengths[0] < 1:
            msg = f"phase {self.name!r} needs epochs or steps, at least 1: got epochs={self.epochs}, steps={self.steps}"
            raise UserError(msg)
        for name in ("batch_size", "examples", "min_steps_per_epoch"):
            if getattr(self, name) < 1:
                msg = f"phase {self.name!r}: {name} must be at least 1, got {getattr(self, name)}"
                raise UserError(msg)
        if self.full_pass and self.epochs is None:
            msg = f"phase {self.name!r} looks at every image: give its length in epochs, not in steps"
            raise UserError(msg)

    def repeats(self, images: int) -> int:
        """How often each of an epoch's images is taken."""
        return 1 + (self.min_steps_per_epoch - 1) * self.batch_size // (images * self.examples)

    def steps_in(self, batches: Sequence[int]) -> int:
        """How many steps it makes of an epoch of batches of so many images; a whole phase gathers none."""
        if self.full_pass:
            return sum(math.ceil(images / self.batch_size) for images in batches)
        images = sum(batches)
        return math.ceil(images * self.repeats(images) * self.examples / self.batch_size)


class Step(NamedTuple):
    """What one optimizer step works on.

    Attributes:
        phase: Name of the phase it belongs to.
        images: Its images ``(n, C, H, W)`` with ``n <= batch_size`` of the phase.
        paths: Their files ``(n,)``, where known.
        versions: Which of the phase's examples of its image each is ``(n,)``.
        at_hand: All images at hand ``(N, C, H, W)``.
        which: Their numbers of those in the step ``(n,)``.
        progress: Share of the phase that lies behind, in ``[0, 1)``; drives learning-rate schedules.
        generator: Seeded by run and step, so that a resumed run draws what an unbroken one would.
    """

    phase: str
    images: Tensor
    paths: list[str]
    versions: Tensor
    at_hand: Tensor
    which: Tensor
    progress: float
    generator: torch.Generator

    @property
    def others(self) -> Tensor:
        """Images at hand that are not in the step ``(m, C, H, W)``."""
        rest = torch.ones(len(self.at_hand), dtype=torch.bool).index_fill(0, self.which, value=False)
        return rows(self.at_hand, rest.nonzero()[:, 0])


def lengths_within(
    phases: Sequence[Phase], per_epoch: Sequence[int], max_epochs: int = -1, max_steps: int = -1, accumulate: int = 1
) -> list[int]:
    """Steps of each phase within a trainer's limits.

    The phases share what a limit allows, and each keeps at least one step. Whole phases are left as they are: a memory
    of half the images would take the other half for defects. A warning says how much is cut.

    Args:
        phases: In their order.
        per_epoch: Steps each makes of one epoch.
        max_epochs: Most passes over the images, whole phases aside; -1 for no limit.
        max_steps: Most optimizer steps; -1 for no limit.
        accumulate: Steps whose gradients make one optimizer step.
    """
    steps = [
        (phase.steps or 0) * accumulate or (phase.epochs or 0) * epoch
        for phase, epoch in zip(phases, per_epoch, strict=True)
    ]
    said = ", ".join(f"{name}={n}" for name, n in (("max_epochs", max_epochs), ("max_steps", max_steps)) if n >= 0)
    max_steps = max_steps * accumulate if max_steps >= 0 else -1
    shared = [index for index, phase in enumerate(phases) if not phase.full_pass]
    total_steps, epochs = (
        sum(steps[index] for index in shared),
        sum(steps[index] / per_epoch[index] for index in shared),
    )
    scales = [limit / own for limit, own in ((max_epochs, epochs), (max_steps, total_steps)) if limit >= 0 and own]
    scale = min([1.0, *scales])
    if scale == 1:
        return steps
    lengths = list(steps)
    for index in shared:
        lengths[index] = max(1, int(steps[index] * scale + 1e-9))
    while len(shared) < sum(lengths[index] for index in shared) > max_steps >= 0:
        lengths[max(shared, key=lengths.__getitem__)] -= 1  # the smallest were rounded up to one step
    cut = ", ".join(f"{phases[index].name} to {lengths[index]} of {steps[index]} steps" for index in shared)
    least = "; each phase takes at least one step" if sum(lengths[index] for index in shared) > max_steps >= 0 else ""
    whole = "".join(f"; {phase.name} is not cut" for phase in phases if phase.full_pass)
    rank_zero_warn(f"The trainer's limit ({said}) cuts {cut}{least}{whole}.")
    return lengths


def mix_seed(seed: int, counter: int) -> int:
    """A well spread 63-bit seed for each (seed, counter): neighbouring seeds must not give neighbouring streams."""
    # splitmix64 finaliser (Steele, Lea, Flood 2014); python integers, so masked to 64 bits by hand.
    mask = (1 << 64) - 1
    z = (seed * 0x9E3779B97F4A7C15 + (counter + 1) * 0xD1342543DE82EF95) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 1
