# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Rows of the report's tables."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import starmap
from statistics import fmean
from typing import Any

from anomalib_plugins.benchmark.results import Row
from anomalib_plugins.report.groups import Group, Place, number, place_of
from anomalib_plugins.report.published import Published, conditions, published

# Columns of mistakes, speed and size: header, unit, and factor from the column of the results.
COSTS = {
    "false_alarms": ("False alarms", "% of good parts", 100.0),
    "misses": ("Misses", "% of defects", 100.0),
    "latency_ms": ("Latency", "ms", 1.0),
    "images_per_second": ("Throughput", "images/s", 1.0),
    "parameters": ("Parameters", "M", 1e-6),
    "gmacs": ("MACs", "G", 1.0),
    "peak_memory_mb": ("Peak memory", "MB", 1.0),
    "train_seconds": ("Training", "s", 1.0),
    "train_cpu_seconds": ("Training", "CPU s", 1.0),
}
AXES = ("latency_ms", "train_cpu_seconds", "train_seconds", "peak_memory_mb", "parameters")  # the lower, the better
MEAN = "mean of the published"
FACTS = ("seed", "schedule", "image_size", "batch_size", "precision", "options", "machine", "versions")


def mean_rows(groups: Sequence[Group], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Build a row of means and costs for every group and data set."""
    rows: list[dict[str, Any]] = []
    for index, group in enumerate(groups):
        for dataset, places in group.places_by_dataset.items():
            own = [row for row in group.rows if place_of(row) in places]
            rows.append({
                "group": index,
                "name": group.name,
                "ours": group.is_ours,
                "dataset": dataset,
                "categories": len(places),
                "of": len({place for each in groups for place in each.places_by_dataset.get(dataset, ())}),
                "seeds": len({row["seed"] for row in own}),
                "metrics": {metric: _finite(group.mean(metric, places)) for metric in metrics},
                "deviations": {metric: _finite(group.deviation(metric, places)) for metric in metrics},
                "costs": {column: _cost(own, column) for column in COSTS},
            })
    for dataset in {row["dataset"] for row in rows}:
        # Means over fewer categories than others are of other tasks.
        rivals = [row for row in rows if row["dataset"] == dataset and row["categories"] == row["of"]]
        for metric in metrics:
            best = _best(row["metrics"][metric] for row in rivals)
            for row in rows:
                if row["dataset"] == dataset:
                    is_best = row in rivals and _rounded(row["metrics"][metric]) == best
                    row.setdefault("best", {})[metric] = is_best
    return rows


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _best(values: Iterable[float | None]) -> float:
    """Highest of several values to three digits; NaN if there is no second one to compare it with."""
    known = [round(value, 3) for value in values if value is not None]
    return max(known) if len(known) > 1 else math.nan


def _cost(rows: Sequence[Row], column: str) -> float | None:
    """Mean over all measured jobs."""
    known = [value for value in (number(row, column) for row in rows) if not math.isnan(value)]
    return fmean(known) * COSTS[column][2] if known else None


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value


def category_rows(groups: Sequence[Group], metrics: Sequence[str], alias: Mapping[str, Place]) -> list[dict[str, Any]]:
    """Build rows of measured beside published results for every category, and their means.

    Args:
        groups: Groups of results.
        metrics: Columns of the results.
        alias: Published data set and category to use for a category of the results.
    """
    rows = []
    for group in groups:
        own = [_category_row(group, place, metrics, alias) for place in group.places]
        rows += [*own, *_published_means(own, group, metrics, alias)]
    for metric in metrics:
        for row in rows:
            rivals = [each for each in rows if (each["dataset"], each["category"]) == (row["dataset"], row["category"])]
            best = _best(each["cells"][metric]["ours"] for each in rivals)
            cell = row["cells"][metric]
            cell["best"] = row["category"] != MEAN and _rounded(cell["ours"]) == best
    return sorted(rows, key=lambda row: (row["dataset"], row["category"] == MEAN, row["category"]))


def _category_row(group: Group, place: Place, metrics: Sequence[str], alias: Mapping[str, Place]) -> dict[str, Any]:
    row = next(each for each in group.rows if place_of(each) == place)
    printed = alias.get(place[1], place)
    papers = [each for each in published() if each.is_about(row, printed)]
    sources = {
        metric: next((each for each in papers if metric in each.values.get(printed[1], ())), None) for metric in metrics
    }
    cells = {
        metric: _cell(_finite(group.value(metric, place)), source.values[printed[1]][metric] if source else None)
        for metric, source in sources.items()
    }
    shown = {"name": group.name, "ours": group.is_ours, "dataset": place[0], "category": place[1]}
    source = next(filter(None, sources.values()), None)
    return {**shown, "cells": cells, "conditions": conditions(row), "source": source}


def _cell(ours: float | None, paper: float | None) -> dict[str, Any]:
    return {"ours": ours, "paper": paper, "difference": None if ours is None or paper is None else ours - paper}


def _published_means(
    rows: Sequence[dict[str, Any]], group: Group, metrics: Sequence[str], alias: Mapping[str, Place]
) -> list[dict[str, Any]]:
    """Build a row of means for each data set with several published categories, or whose mean alone is published."""
    means = []
    for dataset, places in group.places_by_dataset.items():
        own = [row for row in rows if row["dataset"] == dataset]
        papers = _papers_of_mean([row for row in group.rows if place_of(row) in places], alias)
        cells, sources = {}, []
        for metric in metrics:
            pairs = [cell for row in own if (cell := row["cells"][metric])["difference"] is not None]
            ours, paper = (fmean(cell[key] for cell in pairs) if pairs else None for key in ("ours", "paper"))
            if len(pairs) > 1:
                sources += [row["source"] for row in own if row["source"]]
            elif not pairs and (source := next((each for each in papers if metric in each.mean), None)):
                ours, paper = _finite(group.mean(metric, places)), source.mean[metric]
                sources.append(source)
            cells[metric] = _cell(ours, paper)
        if sources:
            means.append({**own[0], "category": MEAN, "cells": cells, "source": sources[0]})
    return means


def _papers_of_mean(rows: Sequence[Row], alias: Mapping[str, Place]) -> list[Published]:
    """Published means without values of categories, if the rows are of all their categories and of no others."""
    pairs = [(row, alias.get(row["category"], place_of(row))) for row in rows]
    names = {name for _, (_, name) in pairs}
    return [each for each in published() if set(each.categories) == names and all(starmap(each.is_about, pairs))]


def run_facts(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """List the settings of each group's results, with every value that occurs."""
    return [
        {"name": group.name, **{fact: list(dict.fromkeys(row.get(fact, "") for row in group.rows)) for fact in FACTS}}
        for group in groups
    ]
