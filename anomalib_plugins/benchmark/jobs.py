# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Job of a benchmark: builds, trains and tests a model with anomalib's engine."""

import hashlib
import logging
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from anomalib.callbacks import ModelCheckpoint
from anomalib.data import AnomalibDataModule, get_datamodule
from anomalib.engine import Engine
from anomalib.models import AnomalibModule, get_model
from anomalib.pipelines.components import Job as HostJob
from lightning.pytorch import Callback, seed_everything

from anomalib_plugins.benchmark.heatmaps import save_sheet
from anomalib_plugins.benchmark.machine import machine, versions
from anomalib_plugins.benchmark.measure import PeakMemory, speed_and_size
from anomalib_plugins.benchmark.predictions import Predictions
from anomalib_plugins.benchmark.recorder import Progress, Recorder, TimedCheckpoint
from anomalib_plugins.benchmark.setup import (
    LOCO_NAMES,
    MEMORY_SCHEDULE,
    METRIC_NAMES,
    NOT_RESUMABLE,
    OWN_BATCH_SIZE,
    Setup,
    as_text,
    class_of,
    file_stem,
    tables_of_lists,
    wrapped,
)
from anomalib_plugins.benchmark.traits import is_one_pass, learns_from_validation, steps_of
from anomalib_plugins.callbacks.safe_checkpoints import SafeCheckpoints
from anomalib_plugins.metrics import SPRO, RawScoreEvaluator, loco_metrics, threshold_free_metrics

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """Outcome of a finished job.

    Attributes:
        row: Row of the results file.
        predictions: Predictions on the test images, if they are saved.
    """

    row: dict[str, Any]
    predictions: Predictions | None


@dataclass(frozen=True)
class Job(HostJob):
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

    name: ClassVar[str] = "benchmark"  # section of a configuration file

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
        data = {**self.data, "init_args": dict(self.data.get("init_args", {}))}
        data["init_args"].pop("num_workers", None)
        setup = [self.setup.accelerator, self.setup.image_size, self.setup.precision]
        parts = [self.model_name, self.model.get("init_args", {}), data, self.seed, setup]
        return hashlib.sha256(as_text(parts).encode()).hexdigest()[:12]

    @property
    def is_loco(self) -> bool:
        """Whether the data set is MVTec LOCO AD, which has metrics of its own."""
        return class_of(wrapped(self.data)) == "MVTecLOCO"

    def settings(self) -> dict[str, Any]:
        """Columns of the results that are known before the job runs."""
        return {
            "model": self.label,
            "dataset": self.dataset,
            "category": self.category,
            "seed": self.seed,
            "precision": self.setup.precision,
            "schedule": self.setup.schedule,
            "options": as_text(self.model.get("init_args", {})),
            "data": as_text({key: self.data[key] for key in ("class_path", "init_args") if key in self.data}),
            "job": self.number,
        }

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
        """Build the datamodule, with the model's own batch size if it accepts no other."""
        data = get_datamodule(dict(self.data))
        if self.model_name in OWN_BATCH_SIZE:
            data.train_batch_size = OWN_BATCH_SIZE[self.model_name]
        return data

    def run(self, task_id: int | None = None) -> Outcome:
        """Train and test the model.

        Args:
            task_id: Index of the device. ``None`` leaves the choice to Lightning.
        """
        with tables_of_lists() if self.is_loco else nullcontext():
            return self._run(task_id)

    def _run(self, task_id: int | None) -> Outcome:
        if self.setup.threads:
            torch.set_num_threads(self.setup.threads)
        memory = PeakMemory()
        model, data = self.build(), self.build_data()
        recorder = Recorder()
        with tempfile.TemporaryDirectory() as folder:
            progress = Progress(self.report)
            engine = self._engine(model, [progress, recorder], folder, task_id)
            engine.fit(model, datamodule=data, ckpt_path=self._checkpoint())
            wall, cpu = progress.seconds
            if learns_from_validation(model):
                engine.validate(model, datamodule=data, verbose=False)
            metrics = engine.test(model, datamodule=data, verbose=False)[0]
            self._save_pictures_and_weights(model, data, engine)
        device = engine.trainer.strategy.root_device
        names = {**METRIC_NAMES, **(LOCO_NAMES if self.is_loco else {})}
        row = {
            **self.settings(),
            **{column: f"{metrics.get(name, float('nan')):.4f}" for column, name in names.items()},
            "schedule": MEMORY_SCHEDULE if is_one_pass(model) else self.setup.schedule,
            "batch_size": data.train_batch_size,
            "train_seconds": f"{wall:.1f}",
            "train_cpu_seconds": f"{cpu:.1f}",
            "steps": steps_of(model, progress.count),
            "peak_memory_mb": memory.megabytes(device),
            **self._speed(model, data, engine),
            "machine": machine(device),
            "versions": versions(),
        }
        return Outcome(row, recorder.predictions() if self.setup.predictions else None)

    def _engine(self, model: AnomalibModule, callbacks: list[Any], folder: str, task_id: int | None) -> Engine:
        validate = {"check_val_every_n_epoch": 10**9} if learns_from_validation(model) else {"limit_val_batches": 0}
        return Engine(
            callbacks=[model.evaluator.raw_scores, *callbacks, *self._checkpoint_callbacks(model, folder)],
            default_root_dir=folder,
            accelerator=self.setup.accelerator,
            precision=self.setup.precision,
            devices=1 if task_id is None else [task_id],
            num_sanity_val_steps=0,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **validate,
            **({} if is_one_pass(model) else self.setup.limits(self.model_name)),
        )

    @property
    def unfinished(self) -> Path | None:
        """Folder of the checkpoints that this job resumes from, if any are written."""
        folder = None if self.model_name in NOT_RESUMABLE else self.setup.unfinished
        return folder and folder / file_stem(self.label, self.category, self.seed, self.setup.schedule, self.number)

    def _checkpoint(self) -> Path | None:
        """Newest checkpoint of an interrupted run of this job, if there is one."""
        found = list(self.unfinished.glob("*.ckpt")) if self.unfinished else []
        return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)

    def _checkpoint_callbacks(self, model: AnomalibModule, folder: str) -> list[Callback]:
        """Checkpoint every few minutes, except for memory banks: a checkpoint cannot hold half of their only pass."""
        if self.unfinished is None or is_one_pass(model):
            return [ModelCheckpoint(folder, save_top_k=0)]  # keeps the engine from adding a callback that saves
        return [SafeCheckpoints(), TimedCheckpoint(self.unfinished, self.setup.checkpoint_every)]

    def _save_pictures_and_weights(self, model: AnomalibModule, data: AnomalibDataModule, engine: Engine) -> None:
        name = file_stem(self.label, self.dataset, self.category, self.seed)
        if self.setup.checkpoints:
            engine.trainer.save_checkpoint(self.setup.checkpoints / f"{name}.ckpt")
        if self.setup.heatmaps:
            save_sheet(model, data.test_data, self.setup.heatmaps / f"{name}.png")

    def _speed(self, model: AnomalibModule, data: AnomalibDataModule, engine: Engine) -> dict[str, str]:
        """Measure image size and speed. If timing fails, only the image size is returned, and accuracy is kept."""
        if self.report:
            self.report("timing")
        trainer = engine.trainer
        device = trainer.strategy.root_device
        model.to(device)
        image = data.test_data[0].image[None].to(device)
        if model.pre_processor:
            image = image.new_empty(1, 3, *model.pre_processor(image).shape[-2:]).uniform_()
        height, width = image.shape[-2:]
        size = {"image_size": str(width) if height == width else f"{height}x{width}"}
        try:
            with trainer.precision_plugin.forward_context():
                return {
                    **size,
                    **speed_and_size(model, trainer.precision_plugin.convert_input(image), data.eval_batch_size),
                }
        except Exception:
            logger.exception("%s: timing failed", self.title)
            return size

    @staticmethod
    def collect(results: list[Outcome]) -> list[dict[str, Any]]:
        """Collect the rows of all jobs."""
        return [each.row for each in results]

    @staticmethod
    def save(results: list[dict[str, Any]]) -> None:
        """Do nothing: the runner writes each row when its job ends."""
