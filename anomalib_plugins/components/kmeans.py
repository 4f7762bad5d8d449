# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""K-means of numbers: in one dimension clusters are intervals, so the best ones can be searched for directly."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

EDGES = 256  # places to try: twice as many change the inertia of maps in the fifth digit
ITERATIONS = 100
ROWS = 16  # sorted and summed at a time, for the cache


class KMeans1d(NamedTuple):
    """Clusters of each row of numbers, in ascending order.

    Attributes:
        centroids: ``(..., k)``, ascending.
        thresholds: Smallest number of each cluster but the first ``(..., k - 1)``, ascending.
        inertia: Sum of squared distances to the centroids ``(...)``, float64.
    """

    centroids: Tensor
    thresholds: Tensor
    inertia: Tensor

    def assign(self, values: Tensor) -> Tensor:
        """Cluster of each number ``(..., P)``: 0 for the smallest centroid to ``k - 1`` for the largest, uint8."""
        ranks = torch.zeros(values.shape, dtype=torch.uint8, device=values.device)
        for threshold in self.thresholds.to(values.device).unbind(dim=-1):
            ranks += values >= threshold[..., None]
        return ranks


def kmeans_1d(values: Tensor, k: int) -> KMeans1d:
    """Cluster each row of numbers around ``k`` means, without randomness.

    Dynamic programming finds the best of all ways to cut a row at 512 places, half of them equally far apart and half
    with equally many numbers between them (Wang and Song, 2011, https://doi.org/10.32614/RJ-2011-015). Lloyd's
    iterations on the numbers themselves then move the cuts to where no number is nearer to another centroid. Rows of
    at most 256 numbers may be cut everywhere: their clusters are the best there are.

    A row with fewer than ``k`` different numbers leaves the clusters of the lowest ranks empty, with the centroid of
    the first that is not. The top cluster always has numbers: all, if they are equal.

    Args:
        values: Rows of numbers ``(..., P)``, on any device; the work is done on the CPU.
        k: Number of clusters, 1 to 255.

    Returns:
        Centroids, thresholds and inertia of each row, on the device of ``values``.

    Raises:
        ValueError: If ``k`` is out of range or there are no numbers, or some that are not finite.

    Example:
        >>> kmeans_1d(torch.tensor([0.0, 1.0, 10.0, 12.0]), k=2).centroids
        tensor([ 0.5000, 11.0000])
    """
    if not 1 <= k <= 255:
        msg = f"k must be from 1 to 255 clusters, got {k}"
        raise ValueError(msg)
    if values.ndim == 0 or values.numel() == 0:
        msg = f"expected rows of numbers (..., P) with P >= 1, got shape {tuple(values.shape)}"
        raise ValueError(msg)
    rows = values.detach().cpu().flatten(0, -2) if values.ndim > 1 else values.detach().cpu()[None]
    rows = rows if rows.dtype == torch.float64 else rows.float()
    parts = [_cluster(part, k) for part in rows.split(ROWS)]
    shape = values.shape[:-1]
    centroids, thresholds, inertia = (torch.cat(each).to(values.device) for each in zip(*parts, strict=True))
    return KMeans1d(centroids.view(*shape, k), thresholds.view(*shape, k - 1), inertia.view(shape))


def _cluster(rows: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """``kmeans_1d`` of rows ``(R, P)``."""
    ordered = torch.from_numpy(np.sort(rows.numpy(), axis=1))  # many times as fast as torch's
    if not torch.isfinite(ordered[:, [0, -1]]).all():
        msg = "the numbers to cluster hold a NaN or an infinity"
        raise ValueError(msg)
    sums = _PrefixSums(ordered)
    edges = _edges(ordered)
    cuts = _lloyd(ordered, sums, edges.gather(1, _best_cuts(sums.cost(edges), k)))
    count, total = sums.segments(cuts)
    means = sums.centre + total / count
    # Empty clusters are the first ones, so the next one that is not empty lies above.
    centroids = means.masked_fill(count == 0, torch.inf).flip(1).cummin(dim=1).values.flip(1)
    thresholds = ordered.gather(1, cuts[:, 1:-1])
    inertia = sums.inertia(cuts)
    return centroids.to(rows.dtype), thresholds, inertia


class _PrefixSums:
    """Sums of the first ``p`` of the sorted numbers ``(R, P)`` and of their squares, less their mean for precision."""

    def __init__(self, ordered: Tensor) -> None:
        numbers = ordered.double()
        self.centre = numbers.mean(dim=1, keepdim=True)
        numbers -= self.centre
        self.first = torch.nn.functional.pad(numbers.cumsum(dim=1), (1, 0))  # (R, P + 1)
        self.second = torch.nn.functional.pad(numbers.square_().cumsum(dim=1), (1, 0))

    def segments(self, cuts: Tensor) -> tuple[Tensor, Tensor]:
        """Count and sum of the numbers between neighbouring cuts ``(R, C)``: ``(R, C - 1)`` each."""
        return cuts.diff(dim=1), self.first.gather(1, cuts).diff(dim=1)

    def inertia(self, cuts: Tensor) -> Tensor:
        """Sum over segments of the squared distances to the segment's mean ``(R,)``."""
        count, total = self.segments(cuts)
        squares = self.second.gather(1, cuts).diff(dim=1) - total.square() / count.clamp(min=1)
        return squares.clamp(min=0).sum(dim=1)

    def cost(self, edges: Tensor) -> Tensor:
        """Inertia of one cluster from edge ``i`` to edge ``j``: ``(R, E, E)``, infinite unless it has numbers."""
        count = edges[:, None, :] - edges[:, :, None]
        first, second = (sums.gather(1, edges) for sums in (self.first, self.second))
        total = first[:, None, :] - first[:, :, None]
        squares = second[:, None, :] - second[:, :, None]
        return (squares - total.square() / count).clamp_(min=0).masked_fill_(count <= 0, torch.inf)


def _edges(ordered: Tensor) -> Tensor:
    """Where rows ``(R, P)`` may be cut ``(R, E)``: positions from 0 to P, never between equal numbers."""
    length = ordered.shape[1]
    if length <= EDGES:
        values = ordered
    else:
        share = torch.linspace(0, 1, EDGES, dtype=ordered.dtype)
        low, high = ordered[:, :1], ordered[:, -1:]
        values = torch.cat((low + share * (high - low), ordered[:, (share * (length - 1)).long()]), dim=1)
    positions = torch.searchsorted(ordered, values.contiguous()).sort(dim=1).values
    return torch.nn.functional.pad(positions, (0, 1), value=length)


def _best_cuts(cost: Tensor, k: int) -> Tensor:
    """Edges that bound the ``k`` segments of the least total cost ``(R, k + 1)``, by dynamic programming.

    Only the first segments may be empty.
    """
    best = cost[:, 0].clone()  # of one segment from edge 0 to each edge
    best[:, 0] = 0
    choices = []
    for _ in range(k - 1):
        best, choice = (best[:, :, None] + cost).min(dim=1)
        best[:, 0], choice[:, 0] = 0, 0
        choices.append(choice)
    cuts = [torch.full_like(cost[:, 0, :1], cost.shape[1] - 1, dtype=torch.long)]
    for choice in reversed(choices):
        cuts.append(choice.gather(1, cuts[-1]))
    return torch.cat((torch.zeros_like(cuts[0]), *reversed(cuts)), dim=1)


def _lloyd(ordered: Tensor, sums: _PrefixSums, cuts: Tensor) -> Tensor:
    """Move the inner cuts ``(R, k + 1)`` half way between the means on both sides until they rest."""
    centroids = torch.full_like(cuts[:, 1:], -torch.inf, dtype=torch.float64)
    for _ in range(ITERATIONS):
        count, total = sums.segments(cuts)
        centroids = torch.where(count > 0, sums.centre + total / count, centroids)
        middles = ((centroids[:, 1:] + centroids[:, :-1]) / 2).to(ordered.dtype)
        moved = cuts.clone()
        moved[:, 1:-1] = torch.searchsorted(ordered, middles)
        if torch.equal(moved, cuts):
            break
        cuts = moved
    return cuts
