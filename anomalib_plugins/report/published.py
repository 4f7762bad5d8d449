# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What the papers of this package's models report, category by category, from the files in ``papers``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).with_name("papers")


@dataclass(frozen=True)
class Published:
    """Results of one method on one data set, as a paper prints them.

    Args:
        paper: Who says so.
        dataset: anomalib's name of the data set.
        method: anomalib's name of the model.
        values: Metrics in ``[0, 1]`` by category and by the columns of a results file; beside those ``spro``, MVTec
            LOCO's area up to a false positive rate of 0.05.
        mean: Their means as printed, which rounding and slips may keep from being those of ``values``.
        arguments: Arguments of the model that give the paper's setting.
        defaults: Further ones, which are the model's defaults.
        note: What else is to be known.
    """

    paper: str
    dataset: str
    method: str
    values: dict[str, dict[str, float]]
    mean: dict[str, float] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def setting(self) -> str:
        """The paper's setting in words."""
        return ", ".join(f"{name} {value}" for name, value in {**self.arguments, **self.defaults}.items())

    def is_about(self, row: Mapping[str, str], category: tuple[str, str]) -> bool:
        """Whether the method is that of a row of results, with the same arguments, and has the category.

        Args:
            row: Row of a results file. Its model is called by its class, perhaps followed by what tells it from others.
            category: Data set (perhaps unknown, ``""``) and category.
        """
        dataset, name = category
        options = json.loads(row.get("options") or "{}")
        same = all(options.get(key) == value for key, value in self.arguments.items())
        same &= all(options.get(key, value) == value for key, value in self.defaults.items())
        same &= dataset in {self.dataset, ""} and name in self.values
        return same and model_of(row["model"], {self.method}) == self.method


def model_of(label: str, names: Sequence[str] | set[str]) -> str | None:
    """Name of the model that a label of results starts with, as ``Patchcore`` in ``Patchcore-1%``; the longest fits."""
    fitting = [name for name in names if label.startswith(name) and not label[len(name) :][:1].isalnum()]
    return max(fitting, key=len, default=None)


@cache
def published() -> tuple[Published, ...]:
    """All results of all papers."""
    return tuple(each for path in sorted(FOLDER.glob("*.yaml")) for each in read(path))


def read(path: Path) -> list[Published]:
    """Results of one paper.

    Args:
        path: YAML file with ``paper``, ``scale`` (what a perfect result is printed as) and ``tables``.

    Raises:
        ValueError: If a row has another number of values than there are metrics, or a value is out of range.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [_table(content["paper"], content["scale"], table) for table in content["tables"]]


def _table(paper: str, scale: float, table: dict[str, Any]) -> Published:
    metrics, rest = table["metrics"], {key: table[key] for key in table.keys() - {"metrics", "values", "mean"}}
    rows = {category: _row(category, metrics, values, scale) for category, values in table["values"].items()}
    mean = _row("mean", metrics, table["mean"], scale) if "mean" in table else {}
    return Published(paper, values=rows, mean=mean, **rest)


def _row(name: str, metrics: list[str], values: list[float], scale: float) -> dict[str, float]:
    if len(values) != len(metrics) or not all(0 <= value <= scale for value in values):
        msg = f"{name} must have {metrics} between 0 and {scale}, got {values}"
        raise ValueError(msg)
    return {metric: value / scale for metric, value in zip(metrics, values, strict=True)}
