# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Callbacks that record progress, checkpoints and predictions of a job."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from anomalib.callbacks import ModelCheckpoint
from lightning.pytorch import Callback, LightningModule, Trainer

from anomalib_plugins.benchmark.predictions import Predictions, shrink_maps, shrink_masks


class Progress(Callback):
    """Counts training batches, times training and reports progress after each. A resumed job continues both counts.

    ``trainer.global_step`` would count optimizer steps, of which a GAN takes two per batch.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self.count = 0
        self._report = report
        self._before, self._start = (0.0, 0.0), _now()

    @property
    def seconds(self) -> tuple[float, float]:
        """Wall time and CPU time since construction, including the runs that this one resumes."""
        wall, cpu = (before + now - start for before, now, start in zip(self._before, _now(), self._start, strict=True))
        return wall, cpu

    def state_dict(self) -> dict[str, Any]:
        """Number of batches and seconds so far."""
        return {"count": self.count, "seconds": list(self.seconds)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the counts of a checkpoint."""
        self.count, self._before = state_dict["count"], tuple(state_dict["seconds"])

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Count and report one batch."""
        del args, kwargs
        self.count += 1
        self._report(f"training, epoch {trainer.current_epoch + 1}, batch {self.count}")

    def on_test_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Report that the test is running."""
        del trainer, args, kwargs
        self._report("testing")


class TimedCheckpoint(ModelCheckpoint):
    """Saves ``unfinished.ckpt`` every few minutes of training, and nothing else.

    Lightning's ``train_time_interval`` has no effect on models that step their optimizers themselves.

    Args:
        folder: Folder of the checkpoint.
        minutes: Minutes between two checkpoints.
    """

    def __init__(self, folder: Path, minutes: float) -> None:
        super().__init__(folder, every_n_epochs=0, every_n_train_steps=0)
        self._every, self._last = 60 * minutes, time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Save when it is time."""
        del args, kwargs
        if time.monotonic() - self._last >= self._every:
            trainer.save_checkpoint(Path(self.dirpath or ".") / "unfinished.ckpt")
            self._last = time.monotonic()


def _now() -> tuple[float, float]:
    """Wall clock and CPU time of this process and its children, in seconds."""
    return time.perf_counter(), sum(os.times()[:4])


class Recorder(Callback):
    """Records raw predictions on each test image; must run before the post-processor, which changes them."""

    def __init__(self) -> None:
        self._parts: dict[str, list[np.ndarray]] = {}

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        """Store one batch on the CPU, with reduced maps."""
        del trainer, pl_module, outputs
        maps, scores = batch.anomaly_map, batch.pred_score
        if scores is None:  # the post-processor would use the maximum of the map
            scores = maps.flatten(1).amax(dim=1)
        # Padim's scores have shape (N, 1).
        part = {"scores": scores.float().flatten(), "labels": batch.gt_label.bool()}
        if maps is not None:
            part["maps"] = shrink_maps(maps.reshape(len(scores), *maps.shape[-2:]))
        if batch.gt_mask is not None:
            part["masks"] = shrink_masks(batch.gt_mask.reshape(len(scores), *batch.gt_mask.shape[-2:]))
        for name, value in part.items():
            self._parts.setdefault(name, []).append(value.detach().cpu().numpy())
        self._parts.setdefault("paths", []).append(np.array([str(Path(path).absolute()) for path in batch.image_path]))

    def predictions(self) -> Predictions:
        """Predictions recorded since construction."""
        return Predictions(**{name: np.concatenate(parts) for name, parts in self._parts.items()})
