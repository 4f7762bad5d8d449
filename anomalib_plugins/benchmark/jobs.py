# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""One job of a comparison: build a model, train it, test it, all through anomalib's engine."""

import json
import os
import tempfile
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from anomalib.callbacks import ModelCheckpoint
from anomalib.data import MVTecAD
from anomalib.engine import Engine
from anomalib.models import AnomalibModule, get_model
from lightning.pytorch import Callback, seed_everything

from anomalib_plugins.benchmark import results
from anomalib_plugins.benchmark.heatmaps import save_sheet
from anomalib_plugins.benchmark.machine import machine, versions
from anomalib_plugins.callbacks.phases import PhaseSchedule
from anomalib_plugins.metrics import RawScoreEvaluator, threshold_free_metrics

# The same backbone for all, and the small coreset that a CPU affords.
MODEL_DEFAULTS: dict[str, dict[str, Any]] = {
    "Padim": {"backbone": "resnet18"},
    "Patchcore": {"backbone": "resnet18", "coreset_sampling_ratio": 0.001},
}
# Epochs of models whose schedule is not part of the model: anomalib's configuration of Draem.
OWN_EPOCHS = {"Draem": 700}


@dataclass(frozen=True)
class Job:
    """One model on one category with one seed.

    Args:
        label: Name of the row, e.g. ``Patchcore-1%``.
        model: Name anomalib finds the model by.
        category: Folder of the data in MVTec AD's layout.
        seed: Seed of everything, set before the model is built.
    """

    label: str
    model: str
    category: str
    seed: int


@dataclass(frozen=True)
class Setup:
    """What all jobs share.

    Args:
        root: Folder of the categories, in MVTec AD's layout.
        image_size: Side of the square that images are resized to, in pixels.
        batch_size: Images per training batch.
        workers: Data loading processes.
        max_minutes: Wall time every iterative model trains for. ``None`` is the model's own schedule.
        max_steps: Training steps of every iterative model. ``None`` is the model's own schedule.
        accelerator: Lightning's name of the device, e.g. ``cpu``.
        precision: Lightning's name of the arithmetic of training and test, e.g. ``bf16-mixed``.
        textures: Folder of texture images for models that paste them (``Draem``).
        model_args: Constructor arguments by label.
        heatmaps: Folder for contact sheets.
        checkpoints: Folder for checkpoints.
    """

    root: Path
    image_size: int = 256
    batch_size: int = 8
    workers: int = 0
    max_minutes: float | None = None
    max_steps: int | None = None
    accelerator: str = "auto"
    precision: str = "32-true"
    textures: Path | None = None
    model_args: dict[str, dict[str, Any]] = field(default_factory=dict)
    heatmaps: Path | None = None
    checkpoints: Path | None = None

    def options(self, job: Job) -> dict[str, Any]:
        """Constructor arguments of a job's model."""
        textures = {"dtd_dir": self.textures} if job.model == "Draem" and self.textures else {}
        return {**MODEL_DEFAULTS.get(job.model, {}), **textures, **self.model_args.get(job.label, {})}

    def identity(self, job: Job) -> dict[str, Any]:
        """What makes a job's result its own. Of paths only the name is kept: results are meant to be shared."""
        options = {
            name: Path(value).name if isinstance(value, Path) or (isinstance(value, str) and os.sep in value) else value
            for name, value in self.options(job).items()
        }
        return {
            "model": job.label,
            "category": job.category,
            "seed": job.seed,
            "image_size": self.image_size,
            "batch_size": self.batch_size,
            "precision": self.precision,
            "schedule": self.schedule,
            "options": json.dumps(options, sort_keys=True),
        }

    @property
    def schedule(self) -> str:
        """How long an iterative model trains, in words."""
        limits = ((self.max_minutes, "min"), (self.max_steps, "steps"))
        return " or ".join(f"{value:g} {unit}" for value, unit in limits if value) or "own schedule"

    def limits(self, job: Job) -> dict[str, Any]:
        """Trainer arguments of an iterative model."""
        if not (self.max_minutes or self.max_steps):
            return {"max_epochs": OWN_EPOCHS[job.model]} if job.model in OWN_EPOCHS else {}
        duration = {"max_time": timedelta(minutes=self.max_minutes)} if self.max_minutes else {}
        return {**duration, "max_steps": self.max_steps or -1}


def is_one_pass(model: AnomalibModule) -> bool:
    """Whether a model sees its training images once (memory banks), so that no limit applies."""
    return model.trainer_arguments.get("max_epochs") == 1


def build(job: Job, setup: Setup) -> AnomalibModule:
    """Seed everything, then build the job's model at the common image size, with metrics on raw scores."""
    seed_everything(job.seed, workers=True, verbose=False)
    evaluator = RawScoreEvaluator(test_metrics=threshold_free_metrics())
    model = get_model(job.model, evaluator=evaluator, visualizer=False, **setup.options(job))
    model.pre_processor = model.configure_pre_processor((setup.image_size, setup.image_size))
    return model


class BatchCounter(Callback):
    """Counts training batches: ``trainer.global_step`` counts optimizer steps, of which a GAN makes two a batch."""

    def __init__(self) -> None:
        self.count = 0

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Count one batch."""
        del args, kwargs
        self.count += 1


def steps_of(model: AnomalibModule, batches: int) -> int:
    """Optimizer steps a model has taken: as its own phases count them, else one for each of the loader's batches."""
    schedule = getattr(model, "schedule", None)
    return schedule.total_steps if isinstance(schedule, PhaseSchedule) else batches


def run(job: Job, setup: Setup) -> dict[str, Any]:
    """Train and test one model without validation, and return its row of results."""
    model = build(job, setup)
    one_pass = is_one_pass(model)
    data = MVTecAD(
        setup.root, job.category, train_batch_size=setup.batch_size, eval_batch_size=8, num_workers=setup.workers
    )
    batches = BatchCounter()
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(
            # Nothing is saved while the clock runs; the checkpoint callback keeps the engine from adding one that does.
            callbacks=[model.evaluator.raw_scores, batches, ModelCheckpoint(folder, save_top_k=0)],
            default_root_dir=folder,
            accelerator=setup.accelerator,
            precision=setup.precision,
            devices=1,
            limit_val_batches=0,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **({} if one_pass else setup.limits(job)),
        )
        wall, cpu = time.perf_counter(), sum(os.times()[:4])
        engine.fit(model, datamodule=data)
        wall, cpu = time.perf_counter() - wall, sum(os.times()[:4]) - cpu
        metrics = engine.test(model, datamodule=data, verbose=False)[0]
        if setup.checkpoints:
            engine.trainer.save_checkpoint(setup.checkpoints / f"{job.label}-{job.category}-{job.seed}.ckpt")
    if setup.heatmaps:
        save_sheet(model, data.test_data, setup.heatmaps / f"{job.label}-{job.category}-{job.seed}.png")
    names = ("image_AUROC", "pixel_AUROC", "pixel_AUPRO", "pixel_AveragePrecision")
    values = {key: f"{metrics.get(name, float('nan')):.4f}" for key, name in zip(results.METRICS, names, strict=True)}
    return {
        **setup.identity(job),
        **values,
        "schedule": "one pass" if one_pass else setup.schedule,
        "train_seconds": f"{wall:.1f}",
        "train_cpu_seconds": f"{cpu:.1f}",
        "steps": steps_of(model, batches.count),
        "machine": machine(engine.trainer.strategy.root_device),
        "versions": versions(),
    }
