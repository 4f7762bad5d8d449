# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Timing of several ways to do the same work, in turns, and results as Markdown and JSON."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anomalib_plugins.benchmark.measure import machine, versions
from anomalib_plugins.components.files import atomic_write

Work = Callable[[], object]
Measurement = dict[str, Any]

SHORTEST = 0.02  # CPU seconds per timing; shorter work is repeated
MOST_OFTEN = 1e-4  # assumed minimum of CPU seconds of any work, which limits the repeats


def now() -> Tensor:
    """Wall time, and CPU time of all threads of this process, in seconds ``(2,)``, once a GPU has done its work."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return torch.tensor([time.perf_counter(), time.process_time()], dtype=torch.float64)


def seconds(work: Work, count: int = 1) -> Tensor:
    """Wall and CPU seconds per call over ``count`` calls ``(2,)``."""
    start = now()
    for _ in range(count):
        work()
    return (now() - start) / count


def times(works: Sequence[Work], rounds: int, shortest: float | None = None) -> Tensor:
    """Time all works in turn, round after round, so that changes of the machine's load affect all of them alike.

    Args:
        works: Functions to time. Each has an uncounted call before to warm up.
        rounds: Number of timings of each.
        shortest: Smallest CPU time of a timing in seconds. Shorter work is repeated. ``None`` uses `SHORTEST`.

    Returns:
        Wall and CPU seconds per call ``(2, works, rounds)``.
    """
    least = SHORTEST if shortest is None else shortest
    repeats = [max(1, round(least / max(seconds(work)[1].item(), MOST_OFTEN))) for work in works]
    turns = [torch.stack(list(map(seconds, works, repeats)), dim=-1) for _ in range(rounds)]
    return torch.stack(turns, dim=-1)


def side_by_side(what: str, ways: Mapping[str, Work], rounds: int, **extras: Mapping[str, Any]) -> list[Measurement]:
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


def summarise(what: str, names: Sequence[str], seconds: Tensor) -> list[Measurement]:
    """Summarise times as the rows of :func:`side_by_side`.

    Args:
        what: Description of the work.
        names: Names of the ways.
        seconds: Wall and CPU time ``(2, ways, rounds)``.
    """
    columns = {
        "cpu_ms": 1000 * seconds[1].quantile(0.5, dim=-1),
        "wall_ms": 1000 * seconds[0].quantile(0.5, dim=-1),
        "times_faster": (seconds[1, :1] / seconds[1]).quantile(0.5, dim=-1),
        "times_faster_wall": (seconds[0, :1] / seconds[0]).quantile(0.5, dim=-1),
    }
    return [
        # Three significant digits are the precision of timings.
        {"work": what, "way": name, **{column: float(f"{each[way]:.3g}") for column, each in columns.items()}}
        for way, name in enumerate(names)
    ]


def markdown(rows: Sequence[Measurement]) -> str:
    """Format rows as a Markdown table; missing columns of a row are empty."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, ["---"] * len(columns), *([str(row.get(column, "")) for column in columns] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report(rows: Sequence[Measurement], output: Path | None, **how: Any) -> None:
    """Print rows as a table and write them to a JSON file, with the machine and the versions.

    Args:
        rows: Rows of the table.
        output: JSON file to write, if any.
        how: What else the file says about the measurement.
    """
    print(markdown(rows))
    if output:
        write(output, {**how, "machine": machine(torch.device("cpu")), "versions": versions(), "rows": rows})


def write(output: Path, result: Mapping[str, Any]) -> None:
    """Write a JSON file, completely or not at all."""
    with atomic_write(output, "w", encoding="utf-8") as file:
        file.write(json.dumps(result, indent=1) + "\n")
