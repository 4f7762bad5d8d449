# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Coreset selection beside anomalib's: time, and distance of the farthest patch to the coreset."""

from collections.abc import Iterator

import torch
from anomalib.models.components.sampling import k_center_greedy
from torch import Tensor
from torch.nn import functional as F

from anomalib_plugins.components.coreset import greedy_coreset
from tools.speed import Options
from tools.timing import Measurement, seconds, summarise

SIZES = ((5_000, 500), (20_000, 2_000), (160_000, 1_600))  # patches and picks
MAKE_ALL = 10_000  # largest number of patches for which anomalib's coreset is completed
TIMED = 100  # picks of anomalib that are timed for more patches; more of them fragmented memory by gigabytes
CHANNELS = 384


def smooth_patches(count: int, channels: int = CHANNELS, seed: int = 0) -> Tensor:
    """Draw patches that resemble a network's: neighbours are similar and few directions hold most of the variance.

    Args:
        count: Number of patches N.
        channels: Number of channels C.
        seed: Seed of the random numbers.

    Returns:
        Patches ``(N, C)``, at least 0.
    """
    generator = torch.Generator().manual_seed(seed)
    side = 32
    fields = torch.randn(-(-count // side**2), 24, side // 4, side // 4, generator=generator)
    fields = F.interpolate(fields, size=(side, side), mode="bicubic")
    mixing = torch.randn(24, channels, generator=generator) / torch.arange(1, 25)[:, None].sqrt()
    patches = fields.permute(0, 2, 3, 1).reshape(-1, 24)[:count] @ mixing
    return (patches + 0.2 * torch.randn(count, channels, generator=generator)).relu_()


def fill_distance(points: Tensor, picks: Tensor) -> float:
    """Largest distance of a point to its nearest pick, which greedy k-centre minimises."""
    chosen = points[picks]
    return max(torch.cdist(part, chosen).amin(dim=1).max().item() for part in points.split(4096))


def theirs(points: Tensor, count: int, made: int) -> tuple[Tensor, Tensor]:
    """Make the first ``made`` picks with anomalib's ``KCenterGreedy``; returns them and the seconds for ``count``."""
    sampler = k_center_greedy.KCenterGreedy(points, sampling_ratio=1.0)
    chosen, took = [], []
    for picks in (1, made):  # the projection runs once, whatever the number of picks
        sampler.coreset_size = picks
        torch.manual_seed(0)
        took.append(seconds(lambda: chosen.append(sampler.select_coreset_idxs())))
    each = (took[1] - took[0]) / max(1, made - 1)
    return torch.tensor(chosen[1]), took[0] + each * (count - 1)


def coreset_rows(count: int, picks: int) -> list[Measurement]:
    """Compare both selections on one size and return two rows.

    For many patches, only anomalib's first picks are made. The time of the others is extrapolated, since every pick is
    the same work, and the fill distances of both are those of the picks made.

    Args:
        count: Number of patches.
        picks: Size of the coreset.
    """
    made = picks if count <= MAKE_ALL else min(picks, TIMED)
    points = smooth_patches(count)
    ours: list[Tensor] = []
    our_seconds = seconds(lambda: ours.append(greedy_coreset(points, picks, progress=False)))
    their_picks, their_seconds = theirs(points, picks, made)
    estimate = "" if made == picks else f" ({made} picks made)"
    names = (f"anomalib KCenterGreedy{estimate}", "greedy_coreset")
    rows = summarise(
        f"{picks} of {count} patches x {CHANNELS}", names, torch.stack([their_seconds, our_seconds], dim=1)[..., None]
    )
    for row, kept in zip(rows, (their_picks, ours[0][:made]), strict=True):
        row["fill_distance"] = round(fill_distance(points, kept), 4)
    return rows


def measure(options: Options) -> Iterator[Measurement]:
    """Yield rows of all sizes."""
    for count, picks in ((500, 50),) if options.quick else SIZES:
        yield from coreset_rows(count, picks)
