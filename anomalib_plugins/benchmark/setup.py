# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Settings that all jobs of a benchmark share, and what has to be known of anomalib's own models and data sets."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

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
class Known:
    """What anomalib's own model needs in a benchmark but does not say itself.

    Args:
        limits: Schedule that anomalib sets in its configuration of the model.
        batch_size: The only batch size that the model accepts.
        resumes: Whether training can resume from a checkpoint.
        arguments: Arguments with --root: the same backbone for all models, and a coreset small enough for a CPU.
        textures: Argument that takes a folder of textures.
    """

    limits: dict[str, int] = field(default_factory=dict)
    batch_size: int | None = None
    resumes: bool = True
    arguments: dict[str, Any] = field(default_factory=dict)
    textures: str | None = None


ANOMALIB_MODELS = {
    "Padim": Known(arguments={"backbone": "resnet18"}),
    "Patchcore": Known(arguments={"backbone": "resnet18", "coreset_sampling_ratio": 0.001}),
    # Computes its centroids anew, in another shape, when training resumes.
    "Cfa": Known(limits={"max_epochs": 30}, resumes=False, arguments={"backbone": "resnet18"}),
    "Draem": Known(limits={"max_epochs": 700}, textures="dtd_dir"),
    "EfficientAd": Known(limits={"max_steps": 70_000}, batch_size=1),
}


def known(model: str) -> Known:
    """What is known of a model by the name of its class: nothing of one that says all itself."""
    return ANOMALIB_MODELS.get(model, Known())


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
        duration = {"max_time": timedelta(minutes=self.max_minutes)} if self.max_minutes else {}
        counts = {name: value for name in ("max_epochs", "max_steps") if (value := getattr(self, name))}
        return {**known(model).limits, **duration, **counts}
