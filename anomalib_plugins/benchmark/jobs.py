# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Job of a benchmark: builds, trains and tests a model with anomalib's engine."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from anomalib.callbacks import ModelCheckpoint
from anomalib.data import AnomalibDataModule, get_datamodule
from anomalib.engine import Engine
from anomalib.models import AnomalibModule, get_model
from anomalib.models.components import MemoryBankMixin
from lightning.pytorch import Callback, LightningModule, seed_everything

from anomalib_plugins.benchmark.measure import PeakMemory, machine, speed_and_size, versions
from anomalib_plugins.benchmark.predictions import Predictions, encode_images, file_stem, save_sheet
from anomalib_plugins.benchmark.recorder import Progress, Recorder, TimedCheckpoint
from anomalib_plugins.benchmark.results import MISTAKES
from anomalib_plugins.benchmark.setup import LOCO_NAMES, METRIC_NAMES, Setup, known
from anomalib_plugins.callbacks.safe_checkpoints import SafeCheckpoints
from anomalib_plugins.components.thresholds import mistakes
from anomalib_plugins.inspection.photos import makes_anomalies
from anomalib_plugins.metrics import SPRO, RawScoreEvaluator, loco_metrics, threshold_free_metrics
from anomalib_plugins.phases.schedule import PhaseSchedule

logger = logging.getLogger(__name__)

MEMORY_SCHEDULE = "one pass"


class Outcome(NamedTuple):
    """Outcome of a finished job.

    Attributes:
        row: Row of the results file.
        predictions: Predictions on the test images, if they are saved.
    """

    row: dict[str, Any]
    predictions: Predictions | None


@dataclass(frozen=True)
class Job:
    """One model on one category with one seed.

    Args:
        label: Name of the model in tables, e.g. ``Patchcore-1%``.
        dataset: Name of the data set in tables.
        category: Category of the data set.
        seed: Seed of all random generators, set before the model is built.
        model: Configuration of the model, with ``class_path`` and ``init_args`` as in a configuration file.
        data: Configuration of the datamodule, in the same form.
        setup: Settings of all jobs.
        report: Function that is called with a short text about the job's progress.
    """

    label: str
    dataset: str
    category: str
    seed: int
    model: dict[str, Any]
    data: dict[str, Any]
    setup: Setup = field(default_factory=Setup)
    report: Callable[[str], None] | None = field(default=None, compare=False)

    @property
    def title(self) -> str:
        """Name of the job in messages."""
        return " ".join(dict.fromkeys([self.label, self.dataset, self.category])) + f", seed {self.seed}"

    @property
    def model_name(self) -> str:
        """Name of the model's class."""
        return class_of(self.model)

    @property
    def number(self) -> str:
        """Identifier made from all that decides the result except the schedule: model, data, arguments, seed, setup."""
        data = _in_one_process({**self.data, "init_args": self.data.get("init_args", {})})
        data["init_args"].pop("num_workers", None)
        setup = [self.setup.accelerator, self.setup.image_size, self.setup.precision]
        parts = [self.model_name, self.model.get("init_args", {}), data, self.seed, setup]
        return hashlib.sha256(as_text(parts).encode()).hexdigest()[:12]

    @property
    def files(self) -> set[Path]:
        """Every text of the configuration as a path: where the files lie that ``number`` knows by name."""
        return _files([self.model.get("init_args", {}), self.data])

    @property
    def is_loco(self) -> bool:
        """Whether the data set is MVTec LOCO AD, which has metrics of its own."""
        return class_of(wrapped(self.data)) == "MVTecLOCO"

    @property
    def unfinished(self) -> Path | None:
        """Folder of the checkpoints that this job resumes from, if any are written."""
        folder = self.setup.unfinished if known(self.model_name).resumes else None
        return folder and folder / file_stem(self.label, self.category, self.seed, self.setup.schedule, self.number)

    def build(self) -> AnomalibModule:
        """Seed everything and build the model, with metrics on raw scores and the image size of the setup, if any."""
        seed_everything(self.seed, workers=True, verbose=False)
        model = get_model(dict(self.model), evaluator=False, visualizer=False)
        loco = [SPRO(prefix="pixel_", strict=False), *loco_metrics()] if self.is_loco else []
        model.evaluator = RawScoreEvaluator(test_metrics=[*threshold_free_metrics(), *loco])
        if self.setup.image_size:
            model.pre_processor = model.configure_pre_processor((self.setup.image_size, self.setup.image_size))
        return model

    def build_data(self) -> AnomalibDataModule:
        """Build the datamodule, with the model's own batch size if it accepts no other, and the same splits always."""
        data = get_datamodule(dict(self.data))
        if data.seed is None:  # anomalib would split by what the model has drawn
            data.seed = 0
        data.train_batch_size = known(self.model_name).batch_size or data.train_batch_size
        return data

    def run(self) -> Outcome:
        """Train and test the model."""
        # anomalib 2.7 stores LOCO's lists of masks in a column that pandas 3 limits to strings.
        with pd.option_context("future.infer_string", False) if self.is_loco else nullcontext():  # noqa: FBT003
            return self._run()

    def _run(self) -> Outcome:
        if self.setup.threads:
            torch.set_num_threads(self.setup.threads)
        memory = PeakMemory()
        model, data = self.build(), self.build_data()
        progress, recorder = Progress(self._say), Recorder()
        with tempfile.TemporaryDirectory() as folder:
            engine = self._engine(model, [progress, recorder], folder)
            engine.fit(model, datamodule=data, ckpt_path=self._checkpoint())
            wall, cpu = progress.seconds
            if learns_from_validation(model):
                engine.validate(model, datamodule=data, verbose=False)
            metrics = engine.test(model, datamodule=data, verbose=False)[0]
            predictions = recorder.predictions()
            errors = mistakes(predictions.scores, predictions.labels)
            if self.setup.predictions and makes_anomalies(data.test_data):
                predictions = replace(predictions, images=encode_images(data.test_data))
            self._save_pictures_and_weights(predictions, data, engine)
        device = engine.trainer.strategy.root_device
        names = {**METRIC_NAMES, **(LOCO_NAMES if self.is_loco else {})}
        schedule = getattr(model, "schedule", None)
        row = {
            "model": self.label,
            "dataset": self.dataset,
            "category": self.category,
            "seed": self.seed,
            **{column: f"{metrics.get(name, float('nan')):.4f}" for column, name in names.items()},
            **{column: f"{share:.4f}" for column, share in zip(MISTAKES, errors, strict=True)},
            "batch_size": data.train_batch_size,
            "precision": self.setup.precision,
            "schedule": MEMORY_SCHEDULE if is_one_pass(model) else self.setup.schedule,
            "class": self.model_name,
            "options": as_text(self.model.get("init_args", {})),
            "data": as_text({key: self.data[key] for key in ("class_path", "init_args") if key in self.data}),
            "train_seconds": f"{wall:.1f}",
            "train_cpu_seconds": f"{cpu:.1f}",
            # Optimizer steps of models that train in phases; of others, the number of batches.
            "steps": schedule.total_steps if isinstance(schedule, PhaseSchedule) else progress.count,
            "peak_memory_mb": memory.megabytes(device),
            **self._speed(model, data, engine),
            "machine": machine(device),
            "versions": versions(),
            "job": self.number,
        }
        return Outcome(row, predictions if self.setup.predictions else None)

    def _say(self, stage: str) -> None:
        if self.report:
            self.report(f"{self.title}: {stage}")

    def _engine(self, model: AnomalibModule, callbacks: list[Callback], folder: str) -> Engine:
        validate = {"check_val_every_n_epoch": 10**9} if learns_from_validation(model) else {"limit_val_batches": 0}
        return Engine(
            callbacks=[model.evaluator.raw_scores, *callbacks, *self._checkpoint_callbacks(model, folder)],
            default_root_dir=folder,
            accelerator=self.setup.accelerator,
            precision=self.setup.precision,
            devices=1,
            num_sanity_val_steps=0,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **validate,
            **({} if is_one_pass(model) else self.setup.limits(self.model_name)),
        )

    def _checkpoint(self) -> Path | None:
        """Newest checkpoint of an interrupted run of this job, if there is one."""
        found = list(self.unfinished.glob("*.ckpt")) if self.unfinished else []
        return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)

    def _checkpoint_callbacks(self, model: AnomalibModule, folder: str) -> list[Callback]:
        """Checkpoint every few minutes, except for memory banks: a checkpoint cannot hold half of their only pass."""
        if self.unfinished is None or is_one_pass(model):
            return [ModelCheckpoint(folder, save_top_k=0)]  # keeps the engine from adding a callback that saves
        return [SafeCheckpoints(), TimedCheckpoint(self.unfinished, self.setup.checkpoint_every)]

    def _save_pictures_and_weights(self, predictions: Predictions, data: AnomalibDataModule, engine: Engine) -> None:
        name = file_stem(self.label, self.dataset, self.category, self.seed, self.setup.schedule, self.number)
        if self.setup.checkpoints:
            engine.trainer.save_checkpoint(self.setup.checkpoints / f"{name}.ckpt")
        if self.setup.heatmaps:
            save_sheet(predictions, data.test_data, self.setup.heatmaps / f"{name}.png")

    def _speed(self, model: AnomalibModule, data: AnomalibDataModule, engine: Engine) -> dict[str, str]:
        """Measure image size and speed. If timing fails, only the image size is returned, and accuracy is kept."""
        self._say("timing")
        precision, device = engine.trainer.precision_plugin, engine.trainer.strategy.root_device
        model.to(device)
        image = data.test_data[0].image[None].to(device)
        if model.pre_processor:
            image = image.new_empty(1, 3, *model.pre_processor(image).shape[-2:]).uniform_()
        height, width = image.shape[-2:]
        size = {"image_size": str(width) if height == width else f"{height}x{width}"}
        try:
            with precision.forward_context():
                return {**size, **speed_and_size(model, precision.convert_input(image), data.eval_batch_size)}
        except Exception:
            logger.exception("%s: timing failed", self.title)
            return size


def is_one_pass(model: AnomalibModule) -> bool:
    """Whether a model sees its training images only once, as memory banks do, so that no limit applies."""
    return model.trainer_arguments.get("max_epochs") == 1


def learns_from_validation(model: AnomalibModule) -> bool:
    """Whether a model learns more than thresholds from validation images, as EfficientAd does to scale its maps."""
    hook = type(model).on_validation_start
    return hook not in {LightningModule.on_validation_start, MemoryBankMixin.on_validation_start}


def class_of(config: dict[str, Any]) -> str:
    """Name of the class in a configuration, without its module."""
    return config["class_path"].rpartition(".")[2]


def wrapped(data: dict[str, Any]) -> dict[str, Any]:
    """Configuration of the innermost datamodule, which others may wrap."""
    inner = data.get("init_args", {}).get("datamodule")
    return wrapped(inner) if isinstance(inner, dict) else data


def _in_one_process(data: dict[str, Any]) -> dict[str, Any]:
    """Configuration with 0 for every ``num_workers``, those of wrapped datamodules included."""
    inner = {key: _in_one_process(value) if isinstance(value, dict) else value for key, value in data.items()}
    return {**inner, "num_workers": 0} if "num_workers" in data else inner


def _files(value: Any) -> set[Path]:
    if isinstance(value, dict | list | tuple):
        return set().union(*map(_files, value.values() if isinstance(value, dict) else value))
    return {Path(value).resolve()} if isinstance(value, str | Path) else set()


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
