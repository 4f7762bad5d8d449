# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Greedy k-centre coreset: exact, with one pass over all points for hundreds of picks."""

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from anomalib_plugins.errors import UserError

CANDIDATES = 1024
BLOCK = 1 << 24  # distances in memory at a time: 64 MB


def greedy_coreset(
    points: Tensor, count: int, seed: int = 0, candidates: int = CANDIDATES, progress: bool = True
) -> Tensor:
    """Pick points one by one, each the farthest from those already picked (Gonzalez, 1985).

    The plain algorithm computes the distances of all points after each pick. Since distances to the picks only shrink,
    this one makes several picks per pass over all points: it picks among the farthest points of the last pass as long
    as the best of them is at least as far as the farthest other point was. Apart from rounding and the order of equally
    far points, the picks are those of the plain algorithm. It takes a copy of the points and about 100 MB.

    Args:
        points: Points ``(N, C)``, on any device.
        count: Number of points to pick, at most N. Duplicates of picked points are picked last.
        seed: Seed of the first pick.
        candidates: Number of farthest points that are compared between two passes; affects the time, not the picks.
        progress: Whether to show a progress bar.

    Returns:
        Indices of the picked points in picking order ``(count,)``.

    Raises:
        ValueError: If ``points`` is not a matrix of finite numbers, or ``count`` is not in ``[1, N]``.
    """
    if points.ndim != 2 or not 1 <= count <= len(points):
        msg = f"cannot pick {count} of points of shape {tuple(points.shape)}: expected (N, C) and a count in [1, N]"
        raise UserError(msg)
    first = int(torch.randint(len(points), (), generator=torch.Generator().manual_seed(seed)))
    bar = tqdm(total=count, initial=1, desc="Selecting the coreset", disable=not progress)
    with bar, torch.no_grad(), torch.autocast(points.device.type, enabled=False):
        search, picks = _Search(points, first), [first]
        while len(picks) < count:
            new = search.farthest(min(candidates, len(points)), count - len(picks))
            search.look(new)
            picks += new
            bar.update(len(new))
    return torch.tensor(picks, device=points.device)


class _Search:
    """Squared distances of all points to their nearest pick; -1 for picks, which are never picked again.

    Args:
        points: Points ``(N, C)``.
        first: Index of the first pick.
    """

    def __init__(self, points: Tensor, first: int) -> None:
        # The rounding error of |x|^2 - 2 x y + |y|^2 grows with the norms, which are smallest around the mean.
        self.points = points - points.mean(dim=0)
        self.norms = self.points.square().sum(dim=1)
        if not torch.isfinite(self.norms.sum()):
            msg = "the points contain a NaN or an infinity"
            raise UserError(msg)
        self.distances = torch.full_like(self.norms, torch.inf)
        self.look([first])

    def look(self, picks: list[int]) -> None:
        """Update all distances after new picks."""
        centres, norms = self.points[picks], self.norms[picks]
        rows = max(1, BLOCK // len(picks))
        for part, own, distances in zip(
            self.points.split(rows), self.norms.split(rows), self.distances.split(rows), strict=True
        ):
            nearest = torch.addmm(norms, part, centres.T, alpha=-2).amin(dim=1).add_(own).clamp_(min=0)
            torch.minimum(distances, nearest, out=distances)
        self.distances[picks] = -1

    def farthest(self, candidates: int, count: int) -> list[int]:
        """Make the next picks, at least one and at most ``count``: as many as the candidates alone determine."""
        top = self.distances.topk(min(candidates + 1, len(self.distances)))
        bound = float(top.values[candidates]) if len(top.values) > candidates else -np.inf
        numbers = top.indices[:candidates].sort().values  # so that the first of equally far points is picked
        rows, norms = self.points[numbers], self.norms[numbers]
        between = torch.addmm(norms, rows, rows.T, alpha=-2).add_(norms[:, None]).clamp_(min=0).cpu().numpy()
        left = self.distances[numbers].cpu().numpy()
        picks: list[int] = []
        while len(picks) < count:
            best = int(left.argmax())
            if left[best] < bound or left[best] < 0:
                break
            picks.append(best)
            np.minimum(left, between[best], out=left)
            left[best] = -1
        return numbers[picks].tolist()
