# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Settings that all jobs of a benchmark share, and helpers that write arguments as text."""

import json
import os
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd

MEMORY_SCHEDULE = "one pass"
# Schedules that anomalib sets in the configurations of its models but not in the models.
OWN_SCHEDULE = {"Draem": {"max_epochs": 700}, "Cfa": {"max_epochs": 30}, "EfficientAd": {"max_steps": 70_000}}
OWN_BATCH_SIZE = {"EfficientAd": 1}  # refuses any other
# anomalib's Cfa computes its centroids anew, in another shape, when training resumes.
NOT_RESUMABLE = {"Cfa"}


# Logged names of metrics, by column.
METRIC_NAMES = {
    "image_auroc": "image_AUROC",
    "pixel_auroc": "pixel_AUROC",
    "aupro": "pixel_AUPRO",
    "pixel_ap": "pixel_AveragePrecision",
}
LOCO_NAMES = {
    "spro": "pixel_SPRO",
    **{f"{kind}_auroc": f"{kind}_image_AUROC" for kind in ("structural", "logical")},
    **{f"{kind}_spro": f"{kind}_pixel_SPRO" for kind in ("structural", "logical")},
}


@dataclass(frozen=True)
class Setup:
    """Settings of all jobs that are not part of the configuration file.

    Args:
        accelerator: Lightning's name of the accelerator, e.g. ``cpu``.
        image_size: Side of the square that images are resized to, in pixels. ``None`` uses each model's own size.
        precision: Lightning's name of the precision of training and test, e.g. ``bf16-mixed``.
        max_minutes: Longest training time of an iterative model. ``None`` uses the model's own schedule.
        max_epochs: Largest number of epochs of an iterative model. ``None`` uses the model's own schedule.
        max_steps: Largest number of training steps of an iterative model. ``None`` uses the model's own schedule.
        threads: CPU threads of torch. ``None`` uses torch's default.
        predictions: Whether to save predictions on each test image.
        heatmaps: Folder for contact sheets. ``None`` writes none.
        checkpoints: Folder for checkpoints of trained models. ``None`` writes none.
        checkpoint_every: Minutes of training between two checkpoints that an interrupted job resumes from.
        unfinished: Folder for these checkpoints. Each is removed when its job ends. ``None`` writes none.
    """

    accelerator: str = "auto"
    image_size: int | None = None
    precision: str = "32-true"
    max_minutes: float | None = None
    max_epochs: int | None = None
    max_steps: int | None = None
    threads: int | None = None
    predictions: bool = True
    heatmaps: Path | None = None
    checkpoints: Path | None = None
    checkpoint_every: float = 10.0
    unfinished: Path | None = None

    @property
    def schedule(self) -> str:
        """Training limit of iterative models in words."""
        limits = ((self.max_minutes, "min"), (self.max_epochs, "epochs"), (self.max_steps, "steps"))
        return " or ".join(f"{value:g} {unit}" for value, unit in limits if value) or "own schedule"

    def limits(self, model: str) -> dict[str, Any]:
        """Trainer arguments that limit training of an iterative model, given the name of its class."""
        own = OWN_SCHEDULE.get(model, {})
        duration = {"max_time": timedelta(minutes=self.max_minutes)} if self.max_minutes else {}
        counts = {name: value for name in ("max_epochs", "max_steps") if (value := getattr(self, name))}
        return {**own, **duration, **counts}


def file_stem(*parts: Any) -> str:
    """Join parts into a file name without extension, with special characters replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(map(str, parts)))


def tables_of_lists() -> AbstractContextManager[None]:
    """Let anomalib 2.7 read MVTec LOCO AD: it stores lists of masks in a column that pandas 3 limits to strings."""
    if int(pd.__version__.partition(".")[0]) < 3:
        return nullcontext()
    return pd.option_context("future.infer_string", False)  # noqa: FBT003  # names and values alternate


def class_of(config: dict[str, Any]) -> str:
    """Name of the class in a configuration, without its module."""
    return config["class_path"].rpartition(".")[2]


def wrapped(data: dict[str, Any]) -> dict[str, Any]:
    """Configuration of the innermost datamodule, which others may wrap."""
    inner = data.get("init_args", {}).get("datamodule")
    return wrapped(inner) if isinstance(inner, dict) else data


def as_text(value: Any) -> str:
    """Convert plain values to JSON. Paths lose their folders because results are meant to be shared."""
    return json.dumps(without_folders(value), sort_keys=True)


def without_folders(value: Any) -> Any:
    """Replace every path in a nested value by its file name."""
    if isinstance(value, dict):
        return {str(key): without_folders(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(each) for each in value]
    if isinstance(value, Path) or (isinstance(value, str) and os.sep in value):
        return Path(value).name
    return value
