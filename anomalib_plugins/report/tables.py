# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Rows of the report's tables."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from anomalib_plugins.benchmark.results import Row
from anomalib_plugins.report.facts import Group, Place, compare, number, paper_of, place_of, sentence
from anomalib_plugins.report.published import Published, conditions

# Columns of speed and size: header, unit, and factor from the column of the results.
COSTS = {
    "latency_ms": ("Latency", "ms", 1.0),
    "images_per_second": ("Throughput", "images/s", 1.0),
    "parameters": ("Parameters", "M", 1e-6),
    "gmacs": ("MACs", "G", 1.0),
    "peak_memory_mb": ("Peak memory", "MB", 1.0),
    "train_seconds": ("Training", "s", 1.0),
}
MEAN = "mean of the published"
FACTS = ("seed", "schedule", "image_size", "batch_size", "precision", "options", "machine", "versions")


def mean_rows(groups: Sequence[Group], names: Sequence[str], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Build a row of means and costs for every group and data set.

    Args:
        groups: Groups of results.
        names: Names of the groups.
        metrics: Columns of the results.
    """
    rows = []
    for index, (group, name) in enumerate(zip(groups, names, strict=True)):
        for dataset in dict.fromkeys(dataset for dataset, _ in group.places):
            places = [place for place in group.places if place[0] == dataset]
            rows.append({
                "group": index,
                "name": name,
                "ours": group.is_ours,
                "dataset": dataset,
                "categories": len(places),
                "of": len({place for each in groups for place in each.places if place[0] == dataset}),
                "seeds": len({row["seed"] for row in group.rows if place_of(row) in places}),
                "metrics": {metric: _finite(group.mean(metric, places)) for metric in metrics},
                "deviations": {metric: _finite(group.deviation(metric, places)) for metric in metrics},
                "costs": {column: _cost(group, places, column) for column in COSTS},
            })
    for row in rows:
        row["best"] = {metric: _is_best(row, rows, metric) for metric in metrics}
    return rows


def _is_best(row: dict[str, Any], rows: Sequence[dict[str, Any]], metric: str) -> bool:
    """Whether a mean is the highest of its data set, to three digits, among means over all categories."""
    rivals = [each for each in rows if each["dataset"] == row["dataset"] and each["categories"] == each["of"]]
    known = [round(each["metrics"][metric], 3) for each in rivals if each["metrics"][metric] is not None]
    return row in rivals and len(known) > 1 and round(row["metrics"][metric] or 0, 3) == max(known)


def category_rows(
    groups: Sequence[Group], names: Sequence[str], metrics: Sequence[str], alias: Mapping[str, Place]
) -> list[dict[str, Any]]:
    """Build rows of measured beside published results for every category, and their means.

    Args:
        groups: Groups of results.
        names: Names of the groups.
        metrics: Columns of the results.
        alias: Published data set and category to use for a category of the results.
    """
    rows = []
    for group, name in zip(groups, names, strict=True):
        shared = {"name": name, "ours": group.is_ours}
        own = []
        for place in group.places:
            row = next(each for each in group.rows if place_of(each) == place)
            cells = {metric: _cell(group, row, metric, alias) for metric in metrics}
            where = {"dataset": place[0], "category": place[1], "conditions": conditions(row)}
            own.append({**shared, **where, "cells": cells, "source": _source(cells)})
        rows += [*own, *_published_means(own, metrics)]
    for metric in metrics:
        _mark_best(rows, metric)
    return sorted(rows, key=lambda row: (row["dataset"], row["category"] == MEAN, row["category"]))


def _source(cells: Mapping[str, Any]) -> Published | None:
    return next((cell["source"] for cell in cells.values() if cell["source"]), None)


def _published_means(rows: Sequence[dict[str, Any]], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Build a row of means over the published categories for each data set that has several of them."""
    means = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        cells = {}
        for metric in metrics:
            pairs = [row["cells"][metric] for row in rows if row["dataset"] == dataset]
            pairs = [cell for cell in pairs if cell["difference"] is not None]
            ours, paper = (fmean(cell[key] for cell in pairs) if pairs else None for key in ("ours", "paper"))
            difference = None if ours is None or paper is None else ours - paper
            source = pairs[0]["source"] if len(pairs) > 1 else None
            cells[metric] = {"ours": ours, "paper": paper, "difference": difference, "source": source}
        if source := _source(cells):
            means.append({**rows[0], "dataset": dataset, "category": MEAN, "cells": cells, "source": source})
    return means


def _mark_best(rows: Sequence[dict[str, Any]], metric: str) -> None:
    """Mark in every cell whether it is the best of its category, to three digits."""
    best: dict[Place, list[float]] = {}
    for row in rows:
        value = row["cells"][metric]["ours"]
        best.setdefault((row["dataset"], row["category"]), []).append(-1 if value is None else round(value, 3))
    for row in rows:
        rivals, value = best[row["dataset"], row["category"]], row["cells"][metric]["ours"]
        is_best = value is not None and round(value, 3) == max(rivals)
        row["cells"][metric]["best"] = is_best and len(rivals) > 1 and row["category"] != MEAN


def _cell(group: Group, row: Row, metric: str, alias: Mapping[str, Place]) -> dict[str, Any]:
    place = place_of(row)
    value, paper = _finite(group.value(metric, place)), paper_of(row, metric, alias)
    printed = paper.values[alias.get(place[1], place)[1]][metric] if paper else None
    return {
        "ours": value,
        "paper": printed,
        "difference": None if value is None or printed is None else value - printed,
        "source": paper,
    }


def sentences(groups: Sequence[Group], names: Sequence[str], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Compare each of our models with anomalib's in words, starting with those that lose.

    Args:
        groups: Groups of results.
        names: Names of the groups.
        metrics: Columns of the results.
    """
    rivals = [group for group in groups if not group.is_ours]
    found = []
    for group, name in zip(groups, names, strict=True):
        for dataset in dict.fromkeys(dataset for dataset, _ in group.places) if group.is_ours else ():
            comparisons = compare(group, rivals, dataset, metrics)
            if comparisons:
                loses = any(each.outcome == "loses" for each in comparisons)
                found.append({"loses": loses, "text": sentence(name, dataset, comparisons)})
    return sorted(found, key=lambda each: not each["loses"])


def run_facts(groups: Sequence[Group], names: Sequence[str]) -> list[dict[str, Any]]:
    """List the settings of each group's results, with every value that occurs.

    Args:
        groups: Groups of results.
        names: Names of the groups.
    """
    return [
        {"name": name, **{fact: list(dict.fromkeys(row.get(fact, "") for row in group.rows)) for fact in FACTS}}
        for group, name in zip(groups, names, strict=True)
    ]


def _cost(group: Group, places: Sequence[Place], column: str) -> float | None:
    """Mean over all measured jobs."""
    values = [number(row, column) for row in group.rows if place_of(row) in places]
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) * COSTS[column][2] if known else None


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value
