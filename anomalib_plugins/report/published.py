# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What the papers of this package's models report, category by category, from the files in ``papers``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from anomalib_plugins.benchmark.results import flat
from anomalib_plugins.errors import UserError

FOLDER = Path(__file__).with_name("papers")
# Options that say how long and at what size a model was trained: a result with others is compared, and they are named.
SCHEDULE = {
    *("steps", "epochs", "batch_size", "min_steps_per_epoch", "learning_rate", "optimizer", "freeze_steps"),
    *("pretrain_epochs", "pretrain_batch_size", "backbone_bn", "image_size", "center_crop"),
    *("jigsaw_epochs", "jigsaw_steps", "jigsaw_batch_size", "jigsaw_learning_rate", "jigsaw_head_learning_rate"),
    *("jigsaw_warmup", "head_learning_rate", "weight_interpolation"),
}
# Options that change neither the method nor its schedule.
FREE = {"seed", "weights", "saliency_weights", "texture_root", "dtd_dir", "search", "half", "max_bank_size"}


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
        categories: Categories of ``mean``, if the paper prints no ``values``.
        arguments: Arguments of the model that give the paper's setting.
        defaults: Further ones, which are the model's defaults.
        ablated: More defaults, which only ablations change; a result with others is not compared.
        exceptions: Arguments of single categories.
        note: What else is to be known.
    """

    paper: str
    dataset: str
    method: str
    values: dict[str, dict[str, float]]
    mean: dict[str, float] = field(default_factory=dict)
    categories: list[str] = field(default_factory=list)
    arguments: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    ablated: dict[str, Any] = field(default_factory=dict)
    exceptions: dict[str, dict[str, Any]] = field(default_factory=dict)
    note: str = ""

    @property
    def setting(self) -> str:
        """The paper's setting in words."""
        named = flat({**self.arguments, **self.defaults})
        return ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in named.items())

    def is_about(self, row: Mapping[str, str], category: tuple[str, str]) -> bool:
        """Whether the method is that of a row of results, with the same arguments, and has the category.

        Arguments in ``SCHEDULE`` and ``FREE`` may differ, and the data set may be unknown, ``""``.
        """
        dataset, name = category
        has_it = name in (self.values or self.categories)
        if dataset not in {self.dataset, ""} or not has_it or not is_model(row, self.method):
            return False
        arguments = flat({**self.arguments, **self.exceptions.get(name, {})})
        given = flat({key: value for key, value in options_of(row).items() if key not in SCHEDULE | FREE})
        wanted = {**flat({**self.ablated, **self.defaults}), **arguments}
        return given.items() <= wanted.items() and arguments.keys() <= given.keys()


def options_of(row: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of the model that a row of results names."""
    options: dict[str, Any] = json.loads(row.get("options") or "{}")
    return options


def conditions(row: Mapping[str, str]) -> str:
    """How a row of results was trained, in words: what may differ from the paper's."""
    size, schedule = row.get("image_size"), row.get("schedule")
    options = [f"{name} {value}" for name, value in options_of(row).items() if name in SCHEDULE and value is not None]
    return ", ".join([*([f"{size} px"] if size else []), *([schedule] if schedule else []), *options])


def is_model(row: Mapping[str, str], name: str) -> bool:
    """Whether a row is of a model: by its class or, in files of older versions, by the start of its label."""
    label = row["model"]
    return row.get("class") == name or (
        not row.get("class") and label.startswith(name) and not label[len(name) :][:1].isalnum()
    )


@cache
def published() -> tuple[Published, ...]:
    """All results of all papers."""
    return tuple(each for path in sorted(FOLDER.glob("*.yaml")) for each in read(path))


def read(path: Path) -> list[Published]:
    """Read a YAML file with ``paper``, ``scale`` (what a perfect result is printed as) and ``tables``.

    Raises:
        UserError: If a row has another number of values than there are metrics, or a value is out of range.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [_table(content["paper"], content["scale"], table) for table in content["tables"]]


def _table(paper: str, scale: float, table: dict[str, Any]) -> Published:
    metrics, rest = table["metrics"], {key: table[key] for key in table.keys() - {"metrics", "values", "mean"}}
    rows = {category: _row(category, metrics, values, scale) for category, values in table.get("values", {}).items()}
    mean = _row("mean", metrics, table["mean"], scale) if "mean" in table else {}
    return Published(paper, values=rows, mean=mean, **rest)


def _row(name: str, metrics: list[str], values: list[float], scale: float) -> dict[str, float]:
    if len(values) != len(metrics) or not all(0 <= value <= scale for value in values):
        msg = f"{name} must have {metrics} between 0 and {scale}, got {values}"
        raise UserError(msg)
    return {metric: value / scale for metric, value in zip(metrics, values, strict=True)}
