# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Thresholds in a checkpoint of any of anomalib's models."""

import math
from pathlib import Path
from typing import Any, Literal

import torch
from anomalib.post_processing import PostProcessor

from anomalib_plugins.callbacks.checkpoint_files import STAMP, SafeCheckpointIO
from anomalib_plugins.callbacks.drift_warning import DriftWarning
from anomalib_plugins.components.names import counted
from anomalib_plugins.components.normal_scores import NormalScores
from anomalib_plugins.components.thresholds import Scale, pred_scores, raw_threshold
from anomalib_plugins.errors import UserError

PREFIX = "post_processor."
CONFIG = "anomalib_post_processor_config"
RATES = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)


class Thresholds:
    """Thresholds in a checkpoint, which ``anomalib test``, ``predict`` and ``export`` use.

    They are anomalib's own buffers. Validating the changed checkpoint sets them anew.

    Args:
        path: Checkpoint.

    Raises:
        CheckpointError: If the file cannot be read.
        UserError: If the checkpoint holds no thresholds that can be set.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint: dict[str, Any] = SafeCheckpointIO().load_checkpoint(path, "cpu")
        state = self.checkpoint.get("state_dict", {})
        own = {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
        self.post_processor = PostProcessor()
        self.post_processor.load_checkpoint_config(self.checkpoint.get(CONFIG) or {})
        unknown = self.post_processor.load_state_dict(own, strict=False).missing_keys
        if unknown or not (self.post_processor.enable_thresholding and self.post_processor.enable_normalization):
            msg = f"{path} is of a model without anomalib's normalisation and thresholds: there is nothing to set"
            raise UserError(msg)
        if math.isnan(self.post_processor.image_min):
            msg = f"{path} is of a model that was not validated: train it with validation images"
            raise UserError(msg)

    @property
    def normal(self) -> NormalScores:
        """Raw scores of the good parts in validation, with the raw threshold.

        Raises:
            UserError: If the model was validated without `DriftWarning`.
        """
        scores = self.checkpoint.get("callbacks", {}).get(DriftWarning.__qualname__, {}).get("scores")
        if scores is None or not len(scores):
            msg = (
                f"{self.path} does not tell how good parts score. Models of anomalib_plugins remember it when they are "
                "validated with good parts, others with --trainer.callbacks DriftWarning"
            )
            raise UserError(msg)
        return NormalScores(scores.numpy(), raw_threshold(self.post_processor))

    @property
    def exported(self) -> NormalScores:
        """Scores and threshold of `normal` on the scale of predictions and exported models."""
        threshold = float(self.post_processor.normalized_image_threshold)
        shown = pred_scores(self.post_processor, torch.from_numpy(self.normal.scores))
        return NormalScores(shown.numpy(), threshold)

    def set(self, what: Literal["image", "pixel"], threshold: float, *, shown: bool = False) -> None:
        """Set a threshold, which becomes 0.5 in predictions.

        Args:
            what: Threshold of image scores or of pixels.
            threshold: New threshold on the model's own scale.
            shown: Whether it is on the scale of today's predictions instead, from 0 to 1.

        Raises:
            UserError: If the threshold lies outside the scores of validation, so that everything or nothing would be a
                defect.
        """
        scale = Scale.of(self.post_processor, what)
        if math.isnan(threshold):
            msg = f"the {what} threshold must be a number, got {threshold}"
            raise UserError(msg)
        threshold = scale.raw(threshold) if shown else threshold
        if not scale.low <= threshold <= scale.high:
            all_or_none = "nothing" if threshold > scale.high else "everything"
            msg = (
                f"with {threshold:.6g} as {what} threshold {all_or_none} in validation would be a defect: its {what} "
                f"scores are {scale.low:.6g} to {scale.high:.6g}, in predictions {scale.shown(scale.low):.3f} to "
                f"{scale.shown(scale.high):.3f}"
            )
            raise UserError(msg)
        name, value = f"_{what}_threshold", torch.tensor(threshold)
        getattr(self.post_processor, name).copy_(value)
        self.checkpoint["state_dict"][PREFIX + name].copy_(value)
        setattr(self.post_processor, f"{what}_sensitivity", 0.5)
        self.checkpoint[CONFIG] = {**(self.checkpoint.get(CONFIG) or {}), f"{what}_sensitivity": 0.5}

    def save(self, path: Path) -> None:
        """Write the checkpoint to a new file.

        Args:
            path: File to write.

        Raises:
            UserError: If the file exists.
            CheckpointError: If the file cannot be written.
        """
        if path.exists():
            msg = f"{path} exists: give another --output"
            raise UserError(msg)
        SafeCheckpointIO().save_checkpoint(self.checkpoint, path)

    def __str__(self) -> str:
        """Table of thresholds for rates of false alarms, and what the present one means."""
        normal, exported = self.normal, self.exported
        count = len(normal.scores)
        parts = counted(count, "good part/parts")
        lines = [f"{self.checkpoint.get(STAMP, {}).get('model', 'Model')}: scores of {parts} in validation", ""]
        rates = [rate for rate in RATES if rate * (count + 1) >= 1]
        if rates:
            lines.append(f"{'false alarms':>12}{'threshold':>12}   likely share of false alarms (90 % confidence)")
        else:
            lines.append(f"{parts}: too few for a rate of false alarms below {1 / (count + 1):.0%}")
        for rate in rates:
            low, high = normal.likely_rates(rate)
            lines.append(f"{rate:>12.1%}{exported.threshold_for(rate):>12.4f}   {low:.1%} to {high:.1%}")
        above = int((normal.scores > normal.threshold).sum())
        low, high = normal.likely_rates_now()
        lines += ["", f"Threshold now: {exported.threshold:.4g}. Of these good parts, {above} would be false alarms;"]
        lines.append(f"of others, likely {low:.1%} to {high:.1%} (90 % confidence).")
        return "\n".join(lines)
