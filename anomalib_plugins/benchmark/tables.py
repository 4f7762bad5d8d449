# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Markdown tables of results, printed or written between markers of a document."""

from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, stdev

from anomalib_plugins.benchmark.results import METRICS, Row
from anomalib_plugins.errors import UserError

START, END = "<!-- compare: start{} -->", "<!-- compare: end{} -->"


def table(rows: list[Row]) -> str:
    """Format results as a Markdown table, with a row per category, a row of means and a column per model.

    Each schedule and image size of a model has its own column. Cells are means over seeds, followed by the standard
    deviation if there are several; in the last row it is the deviation of the means over categories. A dash means not
    run, "n/a" means undefined.

    Args:
        rows: Rows of a results file.

    Returns:
        Table, followed by a line about metrics, seeds, machine and versions.

    Raises:
        ValueError: If there are no rows.
    """
    if not rows:
        msg = "no results for a table: run a benchmark first"
        raise UserError(msg)
    columns: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        columns.setdefault((row["model"], row["schedule"], row["image_size"]), []).append(row)
    places = sorted({(row["dataset"], row["category"]) for row in rows})
    single = len({dataset for dataset, _ in places}) == 1
    lines = [["category", *(f"{model}, {schedule}, {size} px" for model, schedule, size in columns)]]
    lines.append(["---"] * len(lines[0]))
    for place in places:
        cells = [_cell([_at(place, each)]) for each in columns.values()]
        lines.append([place[1] if single else " ".join(place).strip(), *cells])
    lines.append(["**mean**", *(_cell([_at(place, each) for place in places]) for each in columns.values())])
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), "", _caption(rows)])


def _caption(rows: list[Row]) -> str:
    seeds = sorted({int(row["seed"]) for row in rows})
    spread = ", mean ± standard deviation over seeds" if len(seeds) > 1 else ""
    machines = "; ".join(sorted({row["machine"] for row in rows}))
    software = "; ".join(sorted({row["versions"] for row in rows} - {""})) or "versions unknown"
    numbers = ", ".join(map(str, seeds))
    return (
        f"Image AUROC / pixel AUROC / AUPRO / pixel AP on raw scores{spread}, seed {numbers}. {machines}; {software}."
    )


def _at(place: tuple[str, str], rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if (row["dataset"], row["category"]) == place]


def _cell(categories: list[list[Row]]) -> str:
    """Format means over categories and seeds; a dash unless every category was run.

    The standard deviation uses only seeds with which every category was run.
    """
    if not all(categories):
        return "-"
    return " / ".join(_statistic(categories, metric) for metric in METRICS)


def _statistic(categories: list[list[Row]], metric: str) -> str:
    mean = fmean(fmean(float(row[metric]) for row in rows) for rows in categories)
    if mean != mean:  # noqa: PLR0124 (NaN is what differs from itself)
        return "n/a"
    seeds = set.intersection(*({row["seed"] for row in rows} for rows in categories))
    if len(seeds) < 2:
        return f"{mean:.3f}"
    means = [fmean(float(row[metric]) for rows in categories for row in rows if row["seed"] == seed) for seed in seeds]
    return f"{mean:.3f} ± {stdev(means):.3f}"


def update(document: Path, text: str, name: str) -> None:
    """Replace the text between two markers of a document.

    Args:
        document: Text file with the lines ``<!-- compare: start NAME -->`` and ``<!-- compare: end NAME -->``. A
            document with a single table may omit the name.
        text: New text between the markers.
        name: Name of the table: the name of the results file without its extension.

    Raises:
        ValueError: If a marker is missing.
    """
    content = document.read_text(encoding="utf-8")
    for mark in (f" {name}", ""):
        start, end = START.format(mark), END.format(mark)
        before, found, rest = content.partition(start)
        _, found_end, after = rest.partition(end)
        if found and found_end:
            document.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")
            return
    start, end = START.format(f" {name}"), END.format(f" {name}")
    msg = f"{document} has no markers for the table: add the lines {start} and {end} where it belongs"
    raise UserError(msg)
