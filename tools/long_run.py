# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Check that memory does not grow and scores do not change in 200 epochs of training and 5,000 predictions.

``python -m tools.long_run --output long_run.json --figure long_run.svg``. Needs Linux.
"""

import argparse
import hashlib
import os
import resource
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback

from anomalib_plugins.benchmark.measure import machine, versions
from tools.timing import write

SAMPLES = 200  # measurements of memory in a run of predictions


def resident() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * resource.getpagesize() / 2**20, 2)


def growth(memory: Sequence[float]) -> float:
    """Compute how much memory grew, as the difference of medians between the second fifth of a run and the last.

    Args:
        memory: Memory in MB at equal intervals; at least five values.

    Example:
        >>> growth([1, 5, 5, 5, 6])
        1.0
    """
    fifth = len(memory) // 5
    return float(statistics.median(memory[-fifth:]) - statistics.median(memory[fifth : 2 * fifth]))


class Memory(Callback):
    """Callback that records memory at the end of each epoch.

    Attributes:
        seen: Memory in MB at the end of each epoch.
    """

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_epoch_end(self, *args: Any) -> None:
        """Record the memory."""
        del args
        self.seen.append(resident())


def train(name: str, folder: Path, epochs: int, size: int) -> tuple[Any, list[float], list[Path]]:
    """Train a model on a few demo parts, with validation and checkpoints.

    Args:
        name: Name of a model that trains in epochs.
        folder: Folder for parts and results.
        epochs: Number of epochs.
        size: Side of the images, in pixels.

    Returns:
        Trained model, memory in MB at the end of each epoch, and files of the test images.
    """
    from anomalib.engine import Engine
    from anomalib.models import get_model

    from anomalib_plugins.data.demo_parts.datamodule import DemoParts

    data = DemoParts(folder / "parts", 8, 8, 1, image_size=size, train_batch_size=4)
    model = get_model(name, image_size=(size, size), visualizer=False, epochs=epochs, batch_size=4)
    memory = Memory()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    engine = Engine(default_root_dir=folder, callbacks=[memory], accelerator="cpu", devices=1, **quiet)
    engine.fit(model, datamodule=data)
    return model, memory.seen, [Path(path) for path in data.test_data.samples.image_path]


def predict(model: Any, photos: Sequence[Path], folder: Path, count: int) -> tuple[list[float], int]:
    """Predict photos in turn with the model exported to OpenVINO, through anomalib's inferencer.

    Args:
        model: Model to export.
        photos: Files of the photos.
        folder: Folder for the exported model.
        count: Number of predictions.

    Returns:
        Memory in MB at equal intervals, and number of predictions that were not identical to the first prediction of
        the same photo.
    """
    from anomalib.deploy import OpenVINOInferencer

    inferencer = OpenVINOInferencer(model.to_openvino(folder), device="CPU")
    memory: list[float] = []
    first: dict[Path, bytes] = {}
    changed = 0
    for number in range(count):
        photo = photos[number % len(photos)]
        prediction = inferencer.predict(photo)
        said = hashlib.sha256(prediction.pred_score.tobytes() + prediction.anomaly_map.tobytes()).digest()
        changed += first.setdefault(photo, said) != said
        if number % max(1, count // SAMPLES) == 0:
            memory.append(resident())
    return memory, changed


def draw(runs: dict[str, dict[str, Any]], path: Path) -> None:
    """Plot memory over time.

    Args:
        runs: Runs by title, with ``memory_mb``, ``unit`` and ``count``.
        path: SVG or PNG file to write.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "long run", "font.size": 8}):  # reproducible file
        figure = Figure(figsize=(3.4 * len(runs), 2.4), layout="constrained")
        for axes, (title, run) in zip(figure.subplots(1, len(runs), squeeze=False)[0], runs.items(), strict=True):
            memory = run["memory_mb"]
            axes.plot([run["count"] * step / len(memory) for step in range(len(memory))], memory, linewidth=1)
            axes.set(title=title, xlabel=run["unit"], ylabel="memory in use, MB", ylim=(0, 1.2 * max(memory)))
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main(arguments: list[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: Command-line arguments. ``None`` uses ``sys.argv``.

    Returns:
        0, or 1 if memory grew by more than ``--limit`` or a prediction changed.
    """
    cli = argparse.ArgumentParser(prog="python -m tools.long_run", description=__doc__)
    cli.add_argument("--model", default="Pouta", help="model of this package that trains in epochs")
    cli.add_argument("--epochs", type=int, default=200, metavar="N", help="number of epochs, at least 5")
    cli.add_argument("--predictions", type=int, default=5000, metavar="N", help="number of predictions, at least 5")
    cli.add_argument("--image-size", type=int, default=64, metavar="PIXELS")
    cli.add_argument("--limit", type=float, default=10.0, metavar="MB", help="largest growth of memory after warm-up")
    cli.add_argument("--output", type=Path, metavar="JSON")
    cli.add_argument("--figure", type=Path, metavar="SVG")
    args = cli.parse_args(arguments)
    if min(args.epochs, args.predictions) < 5:
        cli.error("growth can only be measured over at least 5 epochs and 5 predictions")
    output, figure = (path and path.absolute() for path in (args.output, args.figure))
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # anomalib's inferencer writes a cache to the working directory
        try:
            model, trained, photos = train(args.model, Path(folder), args.epochs, args.image_size)
            predicted, changed = predict(model, photos, Path(folder), args.predictions)
        finally:
            os.chdir(here)
    runs = {
        f"{args.epochs} epochs of training": {"unit": "epoch", "count": args.epochs, "memory_mb": trained},
        f"{args.predictions:,} predictions, OpenVINO": {
            "unit": "prediction",
            "count": args.predictions,
            "changed_predictions": changed,
            "memory_mb": predicted,
        },
    }
    for title, run in runs.items():
        run["growth_mb"] = round(growth(run["memory_mb"]), 2)
        print(f"{title}: memory grew by {run['growth_mb']} MB, to {run['memory_mb'][-1]} MB")
    print(f"{changed} predictions of {args.predictions} differed from the first one of the same photo")
    if output:
        where = {"machine": machine(torch.device("cpu")), "versions": versions()}
        write(output, {**where, "model": args.model, "image_size": args.image_size, "runs": runs})
    if figure:
        draw(runs, figure)
    return int(bool(changed) or max(run["growth_mb"] for run in runs.values()) > args.limit)


if __name__ == "__main__":
    sys.exit(main())
