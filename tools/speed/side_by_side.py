# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Ways to do the same work, timed in turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

Work = Callable[[], object]
Row = dict[str, Any]

SHORTEST = 0.02  # CPU seconds of one timing; shorter work is repeated
MOST_OFTEN = 1e-4  # CPU seconds that all work is taken to need at least


class Options(NamedTuple):
    """What subjects are told.

    Attributes:
        quick: Small sizes and few turns, to see that everything runs.
        rounds: Turns of each way.
        data: Folder in MVTec AD's layout with real images, for subjects that need some.
        trained: Folder of checkpoints ``CATEGORY/MODEL.ckpt`` of models trained on them.
    """

    quick: bool = False
    rounds: int = 5
    data: Path | None = None
    trained: Path | None = None


def times(works: Sequence[Work], rounds: int, shortest: float | None = None) -> Tensor:
    """Time all in turn, round after round, so that a change of the machine's load meets all alike.

    Args:
        works: What to run; each once more before, to warm up.
        rounds: Timings of each.
        shortest: CPU seconds; work that takes less is repeated within a timing. Default `SHORTEST`.

    Returns:
        Wall time and CPU time of all threads, in seconds a call, ``(2, works, rounds)``.
    """
    least = SHORTEST if shortest is None else shortest
    repeats = [max(1, round(least / max(_once(work, 1)[1], MOST_OFTEN))) for work in works]
    seconds = torch.empty(2, len(works), rounds, dtype=torch.float64)
    for step in range(rounds):
        for index, (work, count) in enumerate(zip(works, repeats, strict=True)):
            seconds[:, index, step] = torch.tensor(_once(work, count), dtype=torch.float64)
    return seconds


def _once(work: Work, count: int) -> tuple[float, float]:
    """Wall and CPU seconds a call, of so many calls."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        work()
    return (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count


def compare(what: str, ways: Mapping[str, Work], rounds: int, **extras: Mapping[str, Any]) -> list[Row]:
    """Rows about ways to do the same.

    Args:
        what: The work.
        ways: What to call, by name; the first is what the others are compared with.
        rounds: Turns of each.
        extras: More columns: values by way, e.g. ``error={"bfloat16": 1e-3}``.

    Returns:
        A row a way with medians in milliseconds, and the median over rounds of how many times faster it is.
    """
    rows = summarise(what, list(ways), times(list(ways.values()), rounds))
    for row in rows:
        row |= {column: values[row["way"]] for column, values in extras.items() if row["way"] in values}
    return rows


def summarise(what: str, names: Sequence[str], seconds: Tensor) -> list[Row]:
    """The rows of :func:`compare`.

    Args:
        what: The work.
        names: Of the ways.
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
    """Three significant digits are all that timings hold."""
    return float(f"{value:.3g}")


def markdown(rows: Sequence[Row]) -> str:
    """Rows as a markdown table; a column that a row does not have is empty."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, ["---"] * len(columns), *([str(row.get(column, "")) for column in columns] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
