# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Random numbers on the CPU, so that anomalies are the same on every device, and transfers to it."""

from collections.abc import Sequence

import torch
from torch import Tensor


def uniform(
    shape: Sequence[int],
    low: float = 0.0,
    high: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw floats in ``[low, high)`` of the given shape, on the CPU whatever the device of ``generator``."""
    device = generator.device if generator is not None else "cpu"
    return torch.rand(tuple(shape), generator=generator, device=device).cpu() * (high - low) + low


def integers(shape: Sequence[int], low: int, high: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw integers in ``[low, high)`` of the given shape, on the CPU whatever the device of ``generator``."""
    device = generator.device if generator is not None else "cpu"
    return torch.randint(low, high, tuple(shape), generator=generator, device=device).cpu()


def chance(count: int, probability: float, generator: torch.Generator | None = None) -> Tensor:
    """Draw ``count`` booleans ``(count,)``, each true with ``probability``, on the CPU."""
    return uniform((count,), generator=generator) < probability


def moved_together(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Move tensors of one type from one device to another in a single transfer: a GPU is slow at many small ones."""
    if len(tensors) == 0 or tensors[0].device == device:
        return list(tensors)
    moved = torch.cat([each.flatten() for each in tensors]).to(device)
    parts = moved.split([each.numel() for each in tensors])
    return [part.view(each.shape) for part, each in zip(parts, tensors, strict=True)]
