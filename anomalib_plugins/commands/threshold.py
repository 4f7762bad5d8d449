# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""``python -m anomalib_plugins threshold``: from what score on a trained model calls a part a defect."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from anomalib.post_processing import PostProcessor

from anomalib_plugins.callbacks.checkpoint_files import STAMP, CheckpointError, SafeCheckpointIO
from anomalib_plugins.callbacks.drift_warning import DriftWarning
from anomalib_plugins.components.normal_scores import NormalScores
from anomalib_plugins.components.thresholds import Scale, pred_scores, raw_threshold

PREFIX = "post_processor."
CONFIG = "anomalib_post_processor_config"
RATES = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)

Of = Literal["image", "pixel"]


class ThresholdError(ValueError):
    """A threshold cannot be set, or not to that."""


class Thresholds:
    """The thresholds in a checkpoint of any model of anomalib's.

    They are anomalib's own buffers: what is changed here counts in `anomalib test`, `predict` and `export`, and in what
    is exported. A validation of the changed checkpoint sets them anew.

    Args:
        path: The checkpoint.

    Raises:
        CheckpointError: If it cannot be read.
        ThresholdError: If it holds no thresholds that can be set.
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
            raise ThresholdError(msg)
        if math.isnan(self.post_processor.image_min):
            msg = f"{path} is of a model that was not validated: train it with validation images"
            raise ThresholdError(msg)

    @property
    def model(self) -> str:
        """Name of the model, as far as the checkpoint tells."""
        return self.checkpoint.get(STAMP, {}).get("model", "a model of anomalib's")

    @property
    def normal(self) -> NormalScores:
        """The model's own scores of validation's good images, with its threshold.

        Raises:
            ThresholdError: If the model was validated without `DriftWarning`.
        """
        scores = self.checkpoint.get("callbacks", {}).get(DriftWarning.__qualname__, {}).get("scores")
        if scores is None or not len(scores):
            msg = (
                f"{self.path} does not tell how good parts score. Models of anomalib_plugins remember it, others with "
                "--trainer.callbacks DriftWarning, when they are validated with good parts"
            )
            raise ThresholdError(msg)
        return NormalScores(scores.numpy(), raw_threshold(self.post_processor))

    @property
    def exported(self) -> NormalScores:
        """The same as predictions and exported models give them.

        Raises:
            ThresholdError: As :attr:`normal`.
        """
        line = float(self.post_processor.normalized_image_threshold)
        return NormalScores(pred_scores(self.post_processor, torch.from_numpy(self.normal.scores)).numpy(), line)

    def set(self, of: Of, threshold: float) -> None:
        """Set a threshold; predictions have it at 0.5.

        Args:
            of: Of scores, or of pixels.
            threshold: On the model's own scale.

        Raises:
            ThresholdError: If it lies outside what validation has seen, so that all or nothing would be a defect.
        """
        scale = Scale.of(self.post_processor, of)
        if math.isnan(threshold):
            msg = f"the {of} threshold must be a number, got {threshold}"
            raise ThresholdError(msg)
        if not scale.low <= threshold <= scale.high:
            what = "nothing" if threshold > scale.high else "everything"
            msg = (
                f"with {threshold:.6g} as {of} threshold {what} in validation would be a defect: its {of} scores "
                f"are {scale.low:.6g} to {scale.high:.6g}, in predictions {scale.shown(scale.low):.3f} to "
                f"{scale.shown(scale.high):.3f}"
            )
            raise ThresholdError(msg)
        name, value = f"_{of}_threshold", torch.tensor(threshold)
        getattr(self.post_processor, name).copy_(value)
        self.checkpoint["state_dict"][PREFIX + name].copy_(value)
        sensitivity = f"{of}_sensitivity"
        setattr(self.post_processor, sensitivity, 0.5)
        self.checkpoint[CONFIG] = {**(self.checkpoint.get(CONFIG) or {}), sensitivity: 0.5}

    def set_shown(self, of: Of, threshold: float) -> None:
        """Set a threshold.

        Args:
            of: Of scores, or of pixels.
            threshold: As predictions have it now, from 0 to 1.

        Raises:
            ThresholdError: As :meth:`set`.
        """
        self.set(of, Scale.of(self.post_processor, of).raw(threshold))

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all.

        Args:
            path: A new file.

        Raises:
            ThresholdError: If there is a file.
            CheckpointError: If it cannot be written.
        """
        if path.exists():
            msg = f"{path} exists: give another --output"
            raise ThresholdError(msg)
        SafeCheckpointIO().save_checkpoint(self.checkpoint, path)


def table(thresholds: Thresholds) -> str:
    """Which scores good parts exceed how often.

    Args:
        thresholds: Of a checkpoint.
    """
    normal, exported = thresholds.normal, thresholds.exported
    count = len(normal.scores)
    lines = [f"{thresholds.model}, {count} good parts in validation", ""]
    rates = [rate for rate in RATES if rate * (count + 1) >= 1]
    if rates:
        lines.append(f"{'false alarms':>12}{'pred_score above':>20}   the rate is, 9 times in 10,")
    else:
        lines.append(f"too few to tell rates of false alarms below {1 / (count + 1):.0%}")
    for rate in rates:
        low, high = normal.likely_rates(rate)
        lines.append(f"{rate:>12.1%}{exported.threshold_for(rate):>20.4f}   {low:.1%} to {high:.1%}")
    above = int((normal.scores > normal.threshold).sum())
    lines += ["", f"now {exported.threshold:.4g}, which {above} of these good parts exceed"]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print what thresholds mean, and set them.

    Args:
        argv: Command-line arguments after ``threshold``.

    Returns:
        Exit code, 0; what cannot be done ends with 2.
    """
    parser = argparse.ArgumentParser(
        prog="anomalib-plugins threshold",
        description="Shows how often good parts exceed which score, and writes a checkpoint with other thresholds, "
        "which `anomalib predict` and `anomalib export` take as it is. In its predictions the thresholds are 0.5.",
    )
    parser.add_argument("checkpoint", type=Path)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--false-alarms",
        type=float,
        metavar="SHARE",
        help="largest share of good parts that may be called defects, e.g. 0.01; less of it finds fewer defects",
    )
    how.add_argument(
        "--image-threshold",
        type=float,
        metavar="SCORE",
        help="call a part a defect above this pred_score of the checkpoint as it is, from 0 to 1",
    )
    parser.add_argument(
        "--pixel-threshold",
        type=float,
        metavar="SCORE",
        help="mark pixels above this value of the anomaly_map of the checkpoint as it is, from 0 to 1",
    )
    parser.add_argument("--output", type=Path, metavar="NEW.ckpt", help="default: beside it, NAME_threshold.ckpt")
    parser.add_argument("--scores", type=Path, metavar="FILE.json", help="scores of good parts, for exported models")
    arguments = parser.parse_args(argv)
    try:
        _run(arguments)
    except (ValueError, CheckpointError) as error:
        parser.error(str(error))
    return 0


def _run(arguments: argparse.Namespace) -> None:
    thresholds = Thresholds(arguments.checkpoint)
    changes = [arguments.false_alarms, arguments.image_threshold, arguments.pixel_threshold]
    if arguments.output and changes == [None] * 3:
        msg = "--output needs a threshold to set: --false-alarms, --image-threshold or --pixel-threshold"
        raise ThresholdError(msg)
    if arguments.false_alarms is not None:
        thresholds.set("image", thresholds.normal.threshold_for(arguments.false_alarms))
    if arguments.image_threshold is not None:
        thresholds.set_shown("image", arguments.image_threshold)
    if arguments.pixel_threshold is not None:
        thresholds.set_shown("pixel", arguments.pixel_threshold)
    if changes != [None] * 3:
        given: Path = arguments.checkpoint
        output = arguments.output or given.with_name(f"{given.stem}_threshold{given.suffix}")
        thresholds.save(output)
        sys.stdout.write(f"written: {output}\n\n")
    if arguments.scores:
        thresholds.exported.save(arguments.scores)
        sys.stdout.write(f"written: {arguments.scores}\n\n")
    try:
        sys.stdout.write(table(thresholds) + "\n")
    except ThresholdError as error:  # a threshold can be set without them
        if changes == [None] * 3:
            raise
        sys.stdout.write(f"{error}\n")
