# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What a schedule of training phases is made of."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
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
        whole: It looks at every image and optimises nothing, as a memory bank is filled: it begins with an epoch, is
            never shortened, and starts again where a run is resumed within it. Its steps are no optimizer steps.

    Raises:
        ValueError: If not exactly one positive length is given, ``batch_size`` or ``examples`` is below 1, or a whole
            phase has no length in epochs.
    """

    name: str
    batch_size: int
    epochs: int | None = None
    steps: int | None = None
    examples: int = 1
    whole: bool = False

    def __post_init__(self) -> None:
        """Refuse a phase without one clear length."""
        lengths = [length for length in (self.epochs, self.steps) if length is not None]
        if len(lengths) != 1 or lengths[0] < 1:
            msg = f"phase {self.name!r} needs epochs or steps, at least 1: got epochs={self.epochs}, steps={self.steps}"
            raise ValueError(msg)
        for name, value in (("batch_size", self.batch_size), ("examples", self.examples)):
            if value < 1:
                msg = f"phase {self.name!r}: {name} must be at least 1, got {value}"
                raise ValueError(msg)
        if self.whole and self.epochs is None:
            msg = f"phase {self.name!r} looks at every image: give its length in epochs, not in steps"
            raise ValueError(msg)

    def steps_in(self, images: int) -> int:
        """How many steps it makes of a loader's batch of so many images."""
        return math.ceil(images * self.examples / self.batch_size)


class Step(NamedTuple):
    """What one optimizer step works on.

    Attributes:
        phase: Name of the phase it belongs to.
        images: Its share of what was cut, the loader's batch, ``(n, C, H, W)`` with ``n <= batch_size`` of the phase.
        others: The rest of that, ``(N - n, C, H, W)``.
        progress: Share of the phase that lies behind, in ``[0, 1)``; drives learning-rate schedules.
        generator: Seeded by run and step, so that a resumed run draws what an unbroken one would.
    """

    phase: str
    images: Tensor
    others: Tensor
    progress: float
    generator: torch.Generator


def mix_seed(seed: int, counter: int) -> int:
    """A well spread 63-bit seed for each (seed, counter): neighbouring seeds must not give neighbouring streams."""
    # splitmix64 finaliser (Steele, Lea, Flood 2014); python integers, so masked to 64 bits by hand.
    mask = (1 << 64) - 1
    z = (seed * 0x9E3779B97F4A7C15 + (counter + 1) * 0xD1342543DE82EF95) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 1
