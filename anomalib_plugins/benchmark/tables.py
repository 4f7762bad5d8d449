# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Markdown tables made of results, and the places in documents where they stand."""

from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, stdev

from anomalib_plugins.benchmark.results import METRICS, Row

START, END = "<!-- compare: start{} -->", "<!-- compare: end{} -->"


def table(rows: list[Row]) -> str:
    """Markdown table of mean results over seeds: a row per category and their mean, a column per model.

    Args:
        rows: Rows of a results file.

    Returns:
        The table and a line that says how it was measured. Models on another schedule or image size are columns of
        their own; what was not run is a dash, what is undefined is "n/a". Of several seeds the standard deviation
        follows the mean; that of the last row is of the means over categories.

    Raises:
        ValueError: If there are no rows.
    """
    if not rows:
        msg = "no results to make a table of: run a benchmark first"
        raise ValueError(msg)
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
    """Means over categories and seeds; a dash unless every category was run.

    The deviation is that of the seeds which every category was run with.
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
    """Replace what stands between the markers of a document.

    Args:
        document: A text file with the lines ``<!-- compare: start NAME -->`` and ``<!-- compare: end NAME -->``, or,
            where one table is enough, the two without a name.
        text: The new content between them.
        name: Which table it is: the name of the results file without its ending.

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
    msg = f"{document} has no place for the table: put the lines {start} and {end} where it belongs"
    raise ValueError(msg)
