# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Results of a comparison: a CSV file that grows row by row, and the markdown table made of it."""

import csv
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

METRICS = ("image_auroc", "pixel_auroc", "aupro", "pixel_ap")
SETTING = ("model", "category", "seed", "image_size", "batch_size", "precision", "schedule", "options")
MEASURED = ("train_seconds", "train_cpu_seconds", "steps", "machine", "versions")
COLUMNS = (*SETTING[:3], *METRICS, *SETTING[3:], *MEASURED)
MARKERS = ("<!-- compare: start -->", "<!-- compare: end -->")

Row = dict[str, str]


def read(path: Path) -> list[Row]:
    """Rows of a results file; none if there is no such file yet.

    Raises:
        ValueError: If the file has other columns.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            msg = f"{path} has columns {reader.fieldnames}, expected {list(COLUMNS)}: choose another file"
            raise ValueError(msg)
        return list(reader)


def append(path: Path, row: dict[str, Any]) -> None:
    """Add one row, with the header if the file is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def setting(row: dict[str, Any]) -> tuple[str, ...]:
    """What was run: rows with the same setting are the same experiment."""
    return tuple(str(row[name]) for name in SETTING)


def table(rows: list[Row]) -> str:
    """Markdown table of mean results over seeds: a row per category and their mean, a column per model.

    Args:
        rows: Rows of a results file.

    Returns:
        The table and a line that says how it was measured. Models on another schedule or image size are columns of
        their own; what was not run is a dash, what is undefined is "n/a".

    Raises:
        ValueError: If there are no rows.
    """
    if not rows:
        msg = "no results to make a table of: run a comparison first"
        raise ValueError(msg)
    columns: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        columns.setdefault((row["model"], row["schedule"], row["image_size"]), []).append(row)
    categories = sorted({row["category"] for row in rows})
    lines = [["category", *(f"{model}, {schedule}, {size} px" for model, schedule, size in columns)]]
    lines.append(["---"] * len(lines[0]))
    for category in categories:
        cells = [_cell([row for row in each if row["category"] == category]) for each in columns.values()]
        lines.append([category, *cells])
    lines.append(["**mean**", *(_mean_cell(each, categories) for each in columns.values())])
    seeds = ", ".join(sorted({row["seed"] for row in rows}))
    machines = "; ".join(sorted({row["machine"] for row in rows}))
    software = "; ".join(sorted({row["versions"] for row in rows}))
    caption = f"Image AUROC / pixel AUROC / AUPRO / pixel AP on raw scores, seed {seeds}. {machines}; {software}."
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), "", caption])


def update(document: Path, text: str) -> None:
    """Replace what stands between the markers of a document.

    Args:
        document: A text file with both `MARKERS`, each on a line of its own.
        text: The new content between them.

    Raises:
        ValueError: If a marker is missing.
    """
    content = document.read_text(encoding="utf-8")
    start, end = MARKERS
    before, found, rest = content.partition(start)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        msg = f"{document} has no place for the table: put the lines {start} and {end} where it belongs"
        raise ValueError(msg)
    document.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def _cell(rows: Iterable[Row]) -> str:
    values = [[float(row[metric]) for row in rows] for metric in METRICS]
    return " / ".join(_number(fmean(value)) for value in values) if values[0] else "-"


def _mean_cell(rows: list[Row], categories: list[str]) -> str:
    """Mean over categories of the means over seeds; a dash unless every category was run."""
    per_category = [[row for row in rows if row["category"] == category] for category in categories]
    if not all(per_category):
        return "-"
    means = [fmean(fmean(float(row[metric]) for row in each) for each in per_category) for metric in METRICS]
    return " / ".join(map(_number, means))


def _number(value: float) -> str:
    return "n/a" if value != value else f"{value:.3f}"  # noqa: PLR0124 (NaN is what differs from itself)
