# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Results of a benchmark by model, and how this package's models compare with anomalib's, in words."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from anomalib_plugins.benchmark.results import METRICS, Row, variants
from anomalib_plugins.registry import PLUGINS
from anomalib_plugins.report.published import is_model

NAMES = {
    "image_auroc": "Image AUROC",
    "pixel_auroc": "Pixel AUROC",
    "aupro": "AUPRO",
    "pixel_ap": "Pixel AP",
    # MVTec LOCO AD, by kind of anomaly
    "spro": "sPRO",
    "structural_auroc": "Image AUROC, structural",
    "logical_auroc": "Image AUROC, logical",
    "structural_spro": "sPRO, structural",
    "logical_spro": "sPRO, logical",
}
OURS = {plugin.name for plugin in PLUGINS if plugin.kind == "model"}

Place = tuple[str, str]  # data set and category


@dataclass(frozen=True)
class Group:
    """Results of one model with the same settings.

    Args:
        name: Label of the model, with the settings in which groups of the model differ.
        rows: Rows of the results file.
    """

    name: str
    rows: tuple[Row, ...]

    @property
    def is_ours(self) -> bool:
        """Whether the model belongs to this package; any other counts as anomalib's."""
        return any(is_model(self.rows[0], name) for name in OURS)

    @property
    def places(self) -> list[Place]:
        """Data sets and categories that the model was run on."""
        return list(dict.fromkeys(map(place_of, self.rows)))

    @property
    def places_by_dataset(self) -> dict[str, list[Place]]:
        """Places of each data set."""
        return {dataset: [each for each in self.places if each[0] == dataset] for dataset, _ in self.places}

    def value(self, metric: str, place: Place) -> float:
        """Mean over seeds; NaN if nothing was measured."""
        values = [number(row, metric) for row in self.rows if place_of(row) == place]
        return fmean(values) if values else math.nan

    def mean(self, metric: str, places: Iterable[Place]) -> float:
        """Mean over categories of the means over seeds; NaN if one of them is undefined."""
        return fmean(self.value(metric, place) for place in places)

    def deviation(self, metric: str, places: Sequence[Place]) -> float:
        """Standard deviation over seeds of the mean over categories; NaN with fewer than two complete seeds."""
        by_seed: dict[str, dict[Place, list[float]]] = {}
        for row in self.rows:
            by_seed.setdefault(row["seed"], {}).setdefault(place_of(row), []).append(number(row, metric))
        complete = [values for values in by_seed.values() if set(places) <= set(values)]
        means = [fmean(fmean(values[place]) for place in places) for values in complete]
        return stdev(means) if len(means) > 1 else math.nan


def place_of(row: Mapping[str, str]) -> Place:
    """Data set and category of a row."""
    return row.get("dataset", ""), row["category"]


def number(row: Mapping[str, str], column: str) -> float:
    """Cell of a row as a number; NaN if it is empty."""
    return float(row.get(column) or "nan")


def metrics_of(rows: Sequence[Row]) -> list[str]:
    """Metrics in the results, in the order of `NAMES`."""
    return [name for name in NAMES if name in METRICS or any(row.get(name) for row in rows)]


def groups_of(rows: Iterable[Row]) -> list[Group]:
    """Group results by `variants` of models, in order of appearance, with this package's models first."""
    found = variants(rows)
    models = [model for model, _, _ in found]
    groups = [
        Group(f"{model}, {schedule}, {size} px" if models.count(model) > 1 else model, tuple(each))
        for (model, schedule, size), each in found.items()
    ]
    return sorted(groups, key=lambda group: not group.is_ours)


@dataclass(frozen=True)
class Comparison:
    """Comparison of one of our models with one of anomalib's, in one metric on the categories both were run on.

    Args:
        metric: Column of the results.
        ours: Mean of our model.
        theirs: Mean of anomalib's model.
        rival: Name of anomalib's model.
        lost: Number of categories where our model is behind.
        categories: Number of categories.
    """

    metric: str
    ours: float
    theirs: float
    rival: str
    lost: int
    categories: int

    @property
    def sign(self) -> int:
        """-1 if our model loses, 1 if it is ahead, and 0 if both are equal to the four digits of results."""
        lead = round(self.ours - self.theirs, 4)
        return (lead > 0) - (lead < 0)


def against_best(ours: Group, rivals: Sequence[Group], dataset: str, metrics: Sequence[str]) -> list[Comparison]:
    """Compare one of our models with the best of anomalib's in each metric on a data set.

    The best is the one with the most shared categories, and of several the one with the best mean, so it may differ
    between metrics.
    """
    found = []
    for metric in metrics:
        pairs = [_pair(ours, rival, dataset, metric) for rival in rivals]
        best = max(filter(None, pairs), key=lambda pair: (pair.categories, pair.theirs), default=None)
        found += [best] if best else []
    return found


def _pair(ours: Group, rival: Group, dataset: str, metric: str) -> Comparison | None:
    shared = ours.places_by_dataset.get(dataset, [])
    leads = {place: ours.value(metric, place) - rival.value(metric, place) for place in shared}
    leads = {place: lead for place, lead in leads.items() if not math.isnan(lead)}
    if not leads:
        return None
    lost = sum(round(lead, 4) < 0 for lead in leads.values())
    return Comparison(metric, ours.mean(metric, leads), rival.mean(metric, leads), rival.name, lost, len(leads))


def sentence(name: str, dataset: str, comparisons: Sequence[Comparison]) -> str:
    """Write comparisons, one per metric, as a sentence: first the metrics that our model loses."""
    verbs = {-1: "loses to", 0: "ties with", 1: "is ahead of"}
    grouped: dict[tuple[int, str], list[str]] = {}
    for each in sorted(comparisons, key=lambda each: each.sign):
        grouped.setdefault((each.sign, each.rival), []).append(
            f"{NAMES[each.metric]} {each.ours:.3f} against {each.theirs:.3f} "
            f"(behind in {each.lost} of {each.categories} categories)"
        )
    parts = [f"{verbs[sign]} anomalib's {rival} in {', '.join(each)}" for (sign, rival), each in grouped.items()]
    return f"{name}{f' on {dataset}' if dataset else ''} {'; it '.join(parts)}."


def sentences(groups: Sequence[Group], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Compare each of our models with anomalib's in words, starting with those that lose."""
    rivals = [group for group in groups if not group.is_ours]
    found = []
    for group in (group for group in groups if group.is_ours):
        for dataset in group.places_by_dataset:
            if comparisons := against_best(group, rivals, dataset, metrics):
                loses = any(each.sign < 0 for each in comparisons)
                found.append({"loses": loses, "text": sentence(group.name, dataset, comparisons)})
    return sorted(found, key=lambda each: not each["loses"])
