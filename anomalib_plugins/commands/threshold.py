# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Command ``threshold``: how often good parts exceed a threshold, and checkpoints with another one."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from anomalib_plugins.errors import UserError

from .arguments import existing_file


def main(argv: Sequence[str] | None = None) -> int:
    """Print what thresholds mean, and set them.

    Args:
        argv: Command-line arguments after ``threshold``.

    Returns:
        Exit code, 0; errors end with 2.
    """
    parser = argparse.ArgumentParser(
        prog="anomalib-plugins threshold",
        description="Show how many good parts are called defects at which threshold of pred_score. With a threshold to "
        "set, write a new checkpoint for `anomalib predict` and `anomalib export`, in which it becomes 0.5.",
    )
    parser.add_argument("checkpoint", type=existing_file)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--false-alarms",
        type=float,
        metavar="SHARE",
        help="largest share of good parts that may be called defects, e.g. 0.01; a smaller one finds fewer defects",
    )
    how.add_argument(
        "--image-threshold",
        type=float,
        metavar="SCORE",
        help="pred_score of the given checkpoint, from 0 to 1, above which a part is a defect",
    )
    parser.add_argument(
        "--pixel-threshold",
        type=float,
        metavar="SCORE",
        help="value in the anomaly_map of the given checkpoint, from 0 to 1, above which a pixel is marked",
    )
    parser.add_argument("--output", type=Path, metavar="NEW.ckpt", help="default: beside it, NAME_threshold.ckpt")
    parser.add_argument("--scores", type=Path, metavar="FILE.json", help="file for the scores of good parts, to write")
    arguments = parser.parse_args(argv)
    try:
        _run(arguments)
    except UserError as error:
        parser.error(str(error))
    return 0


def _run(arguments: argparse.Namespace) -> None:
    from .thresholds import Thresholds

    thresholds, given = Thresholds(arguments.checkpoint), arguments.checkpoint
    changed = any(
        each is not None for each in (arguments.false_alarms, arguments.image_threshold, arguments.pixel_threshold)
    )
    if arguments.output and not changed:
        msg = "--output needs a threshold to set: --false-alarms, --image-threshold or --pixel-threshold"
        raise UserError(msg)
    if arguments.false_alarms is not None:
        thresholds.set("image", thresholds.normal.threshold_for(arguments.false_alarms))
    if arguments.image_threshold is not None:
        thresholds.set("image", arguments.image_threshold, shown=True)
    if arguments.pixel_threshold is not None:
        thresholds.set("pixel", arguments.pixel_threshold, shown=True)
    if changed:
        output = arguments.output or given.with_name(f"{given.stem}_threshold{given.suffix}")
        thresholds.save(output)
        print(f"New checkpoint, to predict and export with: {output}\nIn its scores the threshold you set is 0.5.\n")
    if arguments.scores:
        thresholds.exported.save(arguments.scores)
        print(f"Scores of good parts: {arguments.scores}\n")
    try:
        print(thresholds)
    except UserError as error:  # a threshold can be set without the scores of good parts
        if not changed:
            raise
        print(error)
