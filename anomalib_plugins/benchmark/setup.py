# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What the jobs of a benchmark share, and how arguments are written down."""

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
# Schedules that anomalib's models have in their configurations and not in themselves.
OWN_SCHEDULE = {"Draem": {"max_epochs": 700}, "Cfa": {"max_epochs": 30}, "EfficientAd": {"max_steps": 70_000}}
OWN_BATCH_SIZE = {"EfficientAd": 1}  # it refuses any other


# Names that metrics are logged under, by their column.
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
    """What all jobs share beside the configuration file.

    Args:
        accelerator: Lightning's name of the device, e.g. ``cpu``.
        image_size: Side of the square that images are resized to, in pixels. ``None`` is each model's own.
        precision: Lightning's name of the arithmetic of training and test, e.g. ``bf16-mixed``.
        max_minutes: Wall time an iterative model trains for at most. ``None`` is the model's own schedule.
        max_epochs: Epochs of an iterative model at most. ``None`` is the model's own schedule.
        max_steps: Training steps of an iterative model at most. ``None`` is the model's own schedule.
        threads: CPU threads of torch. ``None`` leaves it to torch.
        predictions: Keep what was predicted for each image.
        heatmaps: Folder for contact sheets.
        checkpoints: Folder for checkpoints.
        checkpoint_every: Minutes of training between two checkpoints that an interrupted job goes on from.
        unfinished: Folder for these, removed job by job. ``None`` writes none.
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
        """How long an iterative model trains, in words."""
        limits = ((self.max_minutes, "min"), (self.max_epochs, "epochs"), (self.max_steps, "steps"))
        return " or ".join(f"{value:g} {unit}" for value, unit in limits if value) or "own schedule"

    def limits(self, model: str) -> dict[str, Any]:
        """Trainer arguments of an iterative model, by the name of its class."""
        own = OWN_SCHEDULE.get(model, {})
        duration = {"max_time": timedelta(minutes=self.max_minutes)} if self.max_minutes else {}
        counts = {name: value for name in ("max_epochs", "max_steps") if (value := getattr(self, name))}
        return {**own, **duration, **counts}


def file_stem(*parts: Any) -> str:
    """Name of a file about a job, without ending: its parts joined, odd characters replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(map(str, parts)))


def tables_of_lists() -> AbstractContextManager[None]:
    """Let anomalib 2.7 read MVTec LOCO AD: it puts lists of masks where pandas 3 by default takes strings alone."""
    if int(pd.__version__.partition(".")[0]) < 3:
        return nullcontext()
    return pd.option_context("future.infer_string", False)  # noqa: FBT003  # names and values in turn


def class_of(config: dict[str, Any]) -> str:
    """Name of a class in a configuration, without its module."""
    return config["class_path"].rpartition(".")[2]


def wrapped(data: dict[str, Any]) -> dict[str, Any]:
    """Configuration of the datamodule within all that are wrapped around it."""
    inner = data.get("init_args", {}).get("datamodule")
    return wrapped(inner) if isinstance(inner, dict) else data


def as_text(value: Any) -> str:
    """JSON of plain values. Of paths only the name is kept: results are meant to be shared."""
    return json.dumps(without_folders(value), sort_keys=True)


def without_folders(value: Any) -> Any:
    """The same value, at all depths without the folders that files lie in."""
    if isinstance(value, dict):
        return {str(key): without_folders(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(each) for each in value]
    if isinstance(value, Path) or (isinstance(value, str) and os.sep in value):
        return Path(value).name
    return value
