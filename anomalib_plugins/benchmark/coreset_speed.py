# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CPU time and quality of the coreset beside anomalib's: ``python -m anomalib_plugins.benchmark.coreset_speed``."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from anomalib.models.components.sampling import k_center_greedy
from torch import Tensor
from torch.nn import functional as F

from anomalib_plugins.benchmark.machine import machine, versions
from anomalib_plugins.components.coreset import greedy_coreset

MAKE_ALL = 50_000  # patches up to which anomalib's coreset is finished


def smooth_patches(count: int, channels: int, seed: int = 0) -> Tensor:
    """Patches as a network gives them: neighbours are alike, and few directions hold most of the variance.

    Args:
        count: How many, N.
        channels: Their length, C.
        seed: Of the random numbers.

    Returns:
        ``(N, C)``, at least 0.
    """
    generator = torch.Generator().manual_seed(seed)
    side = 32
    fields = torch.randn(-(-count // side**2), 24, side // 4, side // 4, generator=generator)
    fields = F.interpolate(fields, size=(side, side), mode="bicubic")
    mixing = torch.randn(24, channels, generator=generator) / torch.arange(1, 25)[:, None].sqrt()
    patches = fields.permute(0, 2, 3, 1).reshape(-1, 24)[:count] @ mixing
    return (patches + 0.2 * torch.randn(count, channels, generator=generator)).relu_()


def fill_distance(points: Tensor, picks: Tensor) -> float:
    """Largest distance of a point to its nearest pick: what greedy k-centre makes small."""
    chosen = points[picks]
    return max(torch.cdist(part, chosen).amin(dim=1).max().item() for part in points.split(4096))


def ours(points: Tensor, count: int) -> tuple[Tensor, float]:
    """Picks and CPU seconds."""
    start = time.process_time()
    picks = greedy_coreset(points, count, progress=False)
    return picks, time.process_time() - start


def theirs(points: Tensor, count: int, timed: int) -> tuple[Tensor, float]:
    """Picks of anomalib's ``KCenterGreedy`` and CPU seconds; ``timed`` picks, and the seconds for ``count`` of them."""
    sampler = k_center_greedy.KCenterGreedy(points, sampling_ratio=1.0)
    seconds = []
    for picks in (1, timed):  # the projection comes once, however many are picked
        sampler.coreset_size = picks
        torch.manual_seed(0)
        start = time.process_time()
        chosen = sampler.select_coreset_idxs()
        seconds.append(time.process_time() - start)
    each = (seconds[1] - seconds[0]) / max(1, timed - 1)
    return torch.tensor(chosen), seconds[0] + each * (count - 1)


def compare(count: int, channels: int, picks: int, timed: int) -> dict[str, Any]:
    """One row of the results.

    Args:
        count: Number of patches.
        channels: Their length.
        picks: How many are kept.
        timed: How many of anomalib's picks are made; its time for the others is that of these, as each pick is the
            same work. The fill distances are compared only if it makes all.
    """
    points = smooth_patches(count, channels)
    chosen, seconds = ours(points, picks)
    their_chosen, their_seconds = theirs(points, picks, timed)
    row = {
        "patches": count,
        "channels": channels,
        "picks": picks,
        "anomalib_picks_made": timed,
        "anomalib_seconds": round(their_seconds, 3),
        "seconds": round(seconds, 3),
        "speed_up": round(their_seconds / seconds, 1),
    }
    if timed == picks:
        row["fill_distance"] = round(fill_distance(points, chosen), 4)
        row["anomalib_fill_distance"] = round(fill_distance(points, their_chosen), 4)
    return row


def main() -> None:
    """Print the rows, and write them to a file if one is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = ["5000:500", "20000:2000", "160000:1600"]
    parser.add_argument("--sizes", nargs="+", default=sizes, metavar="PATCHES:PICKS")
    parser.add_argument("--channels", type=int, default=384)
    parser.add_argument("--timed", type=int, default=100, help="anomalib's picks made where patches are above 50,000")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for size in arguments.sizes:
        count, picks = map(int, size.split(":"))
        timed = picks if count <= MAKE_ALL else min(picks, arguments.timed)
        rows.append(compare(count, arguments.channels, picks, timed))
        print(json.dumps(rows[-1]), flush=True)
    if arguments.output is not None:
        arguments.output.write_text(
            json.dumps({"machine": machine(torch.device("cpu")), "versions": versions(), "rows": rows}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
