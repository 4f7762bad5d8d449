# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Facts of a report: means, and comparisons with papers and with anomalib's own models."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from anomalib_plugins.benchmark.results import METRICS, Row
from anomalib_plugins.registry import PLUGINS
from anomalib_plugins.report.published import Published, model_of, published

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
    """Results of one model with one schedule and image size.

    Args:
        model: Label of the model.
        schedule: Limit of its training.
        image_size: Side of the images in pixels, as text.
        rows: Rows of the results file.
    """

    model: str
    schedule: str
    image_size: str
    rows: tuple[Row, ...]

    @property
    def is_ours(self) -> bool:
        """Whether the model belongs to this package; any other counts as anomalib's."""
        return model_of(self.model, OURS) is not None

    @property
    def places(self) -> list[Place]:
        """Data sets and categories that the model was run on."""
        return list(dict.fromkeys(map(place_of, self.rows)))

    def value(self, metric: str, place: Place) -> float:
        """Mean over seeds; NaN if nothing was measured."""
        values = [number(row, metric) for row in self.rows if place_of(row) == place]
        return fmean(values) if values else float("nan")

    def mean(self, metric: str, places: Iterable[Place]) -> float:
        """Mean over categories of the means over seeds; NaN if one of them is undefined."""
        values = [self.value(metric, place) for place in places]
        return fmean(values) if values else float("nan")

    def deviation(self, metric: str, places: Sequence[Place]) -> float:
        """Standard deviation over seeds of the mean over categories; NaN with fewer than two complete seeds."""
        by_seed: dict[str, dict[Place, float]] = {}
        for row in self.rows:
            by_seed.setdefault(row["seed"], {})[place_of(row)] = number(row, metric)
        means = [fmean(values[place] for place in places) for values in by_seed.values() if set(places) <= set(values)]
        return stdev(means) if len(means) > 1 else float("nan")


@dataclass(frozen=True)
class Comparison:
    """Comparison of one of our models with the best of anomalib's, in one metric on one data set.

    Args:
        metric: Column of the results.
        ours: Mean of our model over the categories that both models were run on.
        theirs: Mean of anomalib's model over the same categories.
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
    def outcome(self) -> str:
        """Outcome for our model, ``loses``, ``wins`` or ``ties``, to the four digits of results."""
        difference = round(self.ours - self.theirs, 4)
        return "loses" if difference < 0 else "wins" if difference > 0 else "ties"


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
    """Group results by model, schedule and image size, in order of appearance, with this package's models first."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["model"], row["schedule"], row.get("image_size", "")), []).append(row)
    groups = [Group(*key, tuple(each)) for key, each in found.items()]
    return sorted(groups, key=lambda group: not group.is_ours)


def names_of(groups: Sequence[Group]) -> list[str]:
    """Names of the groups: the model, with schedule and image size if the model has several groups."""
    models = [group.model for group in groups]
    return [
        f"{group.model}, {group.schedule}, {group.image_size} px" if models.count(group.model) > 1 else group.model
        for group in groups
    ]


def paper_of(row: Row, metric: str, alias: Mapping[str, Place]) -> Published | None:
    """Find the published result to compare a row with.

    Args:
        row: Row of a results file.
        metric: Column of the results.
        alias: Published data set and category to use for a category of the results.
    """
    place = alias.get(row["category"], place_of(row))
    fitting = (each for each in published() if each.is_about(row, place) and metric in each.values[place[1]])
    return next(fitting, None)


def compare(ours: Group, rivals: Sequence[Group], dataset: str, metrics: Sequence[str]) -> list[Comparison]:
    """Compare one of our models with the best of anomalib's in each metric, on the categories that both were run on.

    Args:
        ours: Results of our model.
        rivals: Results of anomalib's models.
        dataset: Name of the data set.
        metrics: Columns of the results.

    Returns:
        Comparison for each metric that both models have. The best rival may differ between metrics.
    """
    found = []
    for metric in metrics:
        pairs = [each for rival in rivals if (each := _pair(ours, rival, dataset, metric))]
        # The rival with the most shared categories, and of several the one with the best mean.
        best = max(pairs, key=lambda each: (each.categories, each.theirs), default=None)
        if best:
            found.append(best)
    return found


def _pair(ours: Group, rival: Group, dataset: str, metric: str) -> Comparison | None:
    places = [
        place
        for place in ours.places
        if place[0] == dataset and not _is_nan(ours.value(metric, place) - rival.value(metric, place))
    ]
    if not places:
        return None
    lost = sum(round(ours.value(metric, place) - rival.value(metric, place), 4) < 0 for place in places)
    return Comparison(metric, ours.mean(metric, places), rival.mean(metric, places), rival.model, lost, len(places))


def sentence(name: str, dataset: str, comparisons: Sequence[Comparison]) -> str:
    """Write comparisons as a sentence: first the metrics that our model loses, then those that it wins.

    Args:
        name: Name of our model.
        dataset: Name of the data set.
        comparisons: Comparisons, one per metric; at least one.
    """
    tied = [NAMES[each.metric] for each in comparisons if each.outcome == "ties"]
    parts = [
        *_against("loses to anomalib's", "loses", comparisons),
        *_against("is ahead of anomalib's", "wins", comparisons),
        *([f"ties with anomalib's best in {', '.join(tied)}"] if tied else []),
    ]
    return f"{name}{f' on {dataset}' if dataset else ''} {'; it '.join(parts)}."


def _against(words: str, outcome: str, comparisons: Sequence[Comparison]) -> list[str]:
    """Write one part of the sentence for each rival, with the metrics lost to it or won."""
    decided = [each for each in comparisons if each.outcome == outcome]
    parts = []
    for rival in dict.fromkeys(each.rival for each in decided):
        numbers = [
            f"{NAMES[each.metric]} {each.ours:.3f} against {each.theirs:.3f} "
            f"(behind in {each.lost} of {each.categories} categories)"
            for each in decided
            if each.rival == rival
        ]
        parts.append(f"{words} {rival} in {', '.join(numbers)}")
    return parts


def _is_nan(value: float) -> bool:
    return value != value  # noqa: PLR0124 (NaN is what differs from itself)
