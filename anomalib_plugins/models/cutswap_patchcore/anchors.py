# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""From saliency maps to the pixels where CutSwap may anchor its patches, in a form that is small enough to keep."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from anomalib_plugins.errors import UserError
from anomalib_plugins.models.cutswap_patchcore.kmeans import kmeans_1d
from anomalib_plugins.synthesis.draws import uniform

Which = Literal["max", "min", "random"]


def clusters(maps: Tensor, k: int = 4) -> Tensor:
    """Cluster the intensities of each map by k-means, position apart.

    Args:
        maps: Saliency ``(N, L, H, W)``.
        k: Number of clusters; with 1 every pixel is in the only one.

    Returns:
        Rank of each pixel's cluster, 0 for the least salient to ``k - 1``, uint8 ``(N, L, H, W)``: 65,536 bytes a map
        of 256 x 256, a quarter of the map itself. A constant map is all of rank ``k - 1``.
    """
    values = maps.flatten(2)
    return kmeans_1d(values, k).assign(values).view(maps.shape)


def salient(ranks: Tensor, which: Which = "max", generator: torch.Generator | None = None) -> Tensor:
    """The pixels of one cluster of each map.

    Args:
        ranks: What ``clusters`` gives ``(N, L, H, W)``.
        which: The most salient cluster, the least salient or a random one.
        generator: Source of the random choice.

    Returns:
        Boolean ``(N, L, H, W)``, at least one pixel of each map.

    Raises:
        ValueError: If ``which`` is unknown.
    """
    if which not in get_args(Which):
        msg = f"which must be one of {', '.join(get_args(Which))}, got {which!r}"
        raise UserError(msg)
    if which == "max":
        rank = ranks.amax(dim=(2, 3), keepdim=True)
    elif which == "min":
        rank = ranks.amin(dim=(2, 3), keepdim=True)
    else:
        present = every_cluster(ranks, int(ranks.max()) + 1).flatten(3).any(dim=3)  # (N, L, k)
        rank = random_one(present, generator)[:, :, None, None]
    return ranks == rank


def every_cluster(ranks: Tensor, k: int) -> Tensor:
    """The pixels of all clusters: ``(N, L, K, H, W)``, boolean, of ranks ``(N, L, H, W)`` from 0 to ``K - 1``."""
    return ranks[:, :, None] == torch.arange(k, device=ranks.device)[:, None, None]


def random_one(present: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Number of a random true value of each row of booleans ``(..., K)``: ``(...)``."""
    lots = uniform(present.shape, 0.0, 1.0, generator).to(present.device)
    return torch.where(present, lots, -1.0).argmax(dim=-1)


def topk(maps: Tensor, count: int = 300) -> Tensor:
    """The most salient pixels of each map, which CutSwap compares its clusters with.

    Args:
        maps: Saliency ``(N, L, H, W)``.
        count: Number of pixels; all pixels where a map has fewer.

    Returns:
        Boolean ``(N, L, H, W)``.

    Raises:
        ValueError: If ``count`` is below 1.
    """
    if count < 1:
        msg = f"count must be at least 1 pixel, got {count}"
        raise UserError(msg)
    values = maps.flatten(2)
    best = values.topk(min(count, values.shape[2]), dim=2).indices
    return torch.zeros_like(values, dtype=torch.bool).scatter_(2, best, value=True).view(maps.shape)


def pack(masks: Tensor) -> Tensor:
    """Eight pixels a byte, to keep the anchors of a whole training set.

    Args:
        masks: Boolean ``(..., H, W)``.

    Returns:
        uint8 ``(..., ceil(H * W / 8))`` on the CPU: 8,192 bytes a map of 256 x 256, 41 kB an image with five layers
        and 41 MB a thousand images; float maps take 32 times as much.
    """
    return torch.from_numpy(np.packbits(masks.flatten(-2).cpu().numpy(), axis=-1))


def unpack(packed: Tensor, size: Sequence[int]) -> Tensor:
    """What ``pack`` was given.

    Args:
        packed: uint8 ``(..., B)``.
        size: Height and width.

    Returns:
        Boolean ``(..., H, W)`` on the CPU.
    """
    height, width = size
    bits = np.unpackbits(packed.cpu().numpy(), axis=-1, count=height * width)
    return torch.from_numpy(bits).bool().unflatten(-1, (height, width))
