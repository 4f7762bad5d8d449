# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Timing of several ways to do the same work, in turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

Work = Callable[[], object]
Row = dict[str, Any]

SHORTEST = 0.02  # CPU seconds per timing; shorter work is repeated
MOST_OFTEN = 1e-4  # assumed minimum of CPU seconds of any work, which limits the repeats


class Options(NamedTuple):
    """Options of a measurement.

    Attributes:
        quick: Whether to use small sizes, to test that everything runs.
        rounds: Number of timings of each way.
        data: Folder of real images in MVTec AD's layout, for subjects that need them.
        trained: Folder of checkpoints ``CATEGORY/MODEL.ckpt`` of models trained on these images.
    """

    quick: bool = False
    rounds: int = 5
    data: Path | None = None
    trained: Path | None = None


def times(works: Sequence[Work], rounds: int, shortest: float | None = None) -> Tensor:
    """Time all works in turn, round after round, so that changes of the machine's load affect all of them alike.

    Args:
        works: Functions to time. Each has an uncounted call before to warm up.
        rounds: Number of timings of each.
        shortest: Smallest CPU time of a timing in seconds. Shorter work is repeated. ``None`` uses `SHORTEST`.

    Returns:
        Wall time and CPU time of all threads, in seconds per call, ``(2, works, rounds)``.
    """
    least = SHORTEST if shortest is None else shortest
    repeats = [max(1, round(least / max(_once(work, 1)[1], MOST_OFTEN))) for work in works]
    seconds = torch.empty(2, len(works), rounds, dtype=torch.float64)
    for step in range(rounds):
        for index, (work, count) in enumerate(zip(works, repeats, strict=True)):
            seconds[:, index, step] = torch.tensor(_once(work, count), dtype=torch.float64)
    return seconds


def _once(work: Work, count: int) -> tuple[float, float]:
    """Measure wall and CPU seconds per call over ``count`` calls."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        work()
    return (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count


def compare(what: str, ways: Mapping[str, Work], rounds: int, **extras: Mapping[str, Any]) -> list[Row]:
    """Time several ways to do the same work.

    Args:
        what: Description of the work.
        ways: Functions to time, by name. Others are compared with the first.
        rounds: Number of timings of each.
        extras: Further columns with values by way, e.g. ``error={"bfloat16": 1e-3}``.

    Returns:
        Row for each way with medians in milliseconds and median speed-ups.
    """
    rows = summarise(what, list(ways), times(list(ways.values()), rounds))
    for row in rows:
        row |= {column: values[row["way"]] for column, values in extras.items() if row["way"] in values}
    return rows


def summarise(what: str, names: Sequence[str], seconds: Tensor) -> list[Row]:
    """Summarise times as the rows of :func:`compare`.

    Args:
        what: Description of the work.
        names: Names of the ways.
        seconds: Wall and CPU time ``(2, ways, rounds)``.
    """
    faster = (seconds[:, :1] / seconds).quantile(0.5, dim=-1)
    milliseconds = 1000 * seconds.quantile(0.5, dim=-1)
    return [
        {
            "work": what,
            "way": name,
            "cpu_ms": _digits(milliseconds[1, index].item()),
            "wall_ms": _digits(milliseconds[0, index].item()),
            "times_faster": _digits(faster[1, index].item()),
            "times_faster_wall": _digits(faster[0, index].item()),
        }
        for index, name in enumerate(names)
    ]


def _digits(value: float) -> float:
    """Round to three significant digits, the precision of timings."""
    return float(f"{value:.3g}")


def markdown(rows: Sequence[Row]) -> str:
    """Format rows as a Markdown table; missing columns of a row are empty."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, ["---"] * len(columns), *([str(row.get(column, "")) for column in columns] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
