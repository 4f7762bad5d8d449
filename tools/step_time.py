# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Time a training step, and the shares of it that loading images and simulating anomalies take.

``python -m tools.step_time --models Pouta Slsg --precisions 32-true bf16-mixed``
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from anomalib.callbacks import ModelCheckpoint
from anomalib.data import AnomalibDataModule, MVTecAD
from anomalib.engine import Engine
from anomalib.models import AnomalibModule, get_model
from lightning.pytorch import Callback

from anomalib_plugins.benchmark.machine import machine, versions
from anomalib_plugins.benchmark.options import add_model_options, read_model_options
from anomalib_plugins.data import DemoParts

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
# Skips to the phase that simulates anomalies.
MODEL_ARGS: dict[str, dict[str, Any]] = {"Slsg": {"pretrain": "none"}}
WARM_UP = 2


class Times(NamedTuple):
    """Seconds of one training step.

    Attributes:
        loading: Time from the end of the previous step until the images are on the device.
        synthesis: Time to simulate anomalies.
        learning: Remaining time: forward, backward and update.
    """

    loading: float
    synthesis: float
    learning: float


class Stopwatch(Callback):
    """Times every training batch, and the model's ``simulator`` within it.

    Args:
        clock: Function that returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.times: list[Times] = []
        self._ended = self._started = self._synthesis = 0.0

    def watch(self, simulator: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the simulator so that its time is measured."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self.clock()
            made = simulator(*args, **kwargs)
            self._synthesis += self.clock() - start
            return made

        return timed

    def on_train_start(self, *args: Any) -> None:
        """Start the first step."""
        del args
        self._ended = self.clock()

    def on_train_batch_start(self, *args: Any) -> None:
        """Record the end of loading."""
        del args
        self._started, self._synthesis = self.clock(), 0.0

    def on_train_batch_end(self, *args: Any) -> None:
        """Record the end of the step."""
        del args
        now = self.clock()
        self.times.append(Times(self._started - self._ended, self._synthesis, now - self._started - self._synthesis))
        self._ended = now


def clock_of(device: str) -> Callable[[], float]:
    """Clock for a device: wall time after all work on a GPU, or CPU time of this process.

    CPU time does not depend on other processes.

    Args:
        device: Lightning's name of the device.
    """
    if device == "cpu":
        return time.process_time

    def wall() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return wall


def timed(
    model: AnomalibModule,
    data: AnomalibDataModule,
    device: str,
    precision: str,
    steps: int,
    clocks: Sequence[Callable[[], float]],
    warm_up: int = WARM_UP,
) -> list[list[Times]]:
    """Train for a few batches and time them.

    Args:
        model: Model with a ``simulator`` that takes one optimizer step per batch.
        data: Training data.
        device: Lightning's name of the device.
        precision: Lightning's name of the precision.
        steps: Number of timed batches.
        clocks: Functions that return the time in seconds.
        warm_up: Number of batches before the timed ones.

    Returns:
        Times of each batch, one list per clock.
    """
    watches, simulator = [Stopwatch(clock) for clock in clocks], model.simulator
    for watch in watches:
        model.simulator = watch.watch(model.simulator)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(
            callbacks=[*watches, ModelCheckpoint(folder, save_top_k=0)],
            default_root_dir=folder,
            accelerator=device,
            devices=1,
            precision=precision,
            max_steps=warm_up + steps,
            limit_val_batches=0,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        engine.fit(model, datamodule=data)
    model.simulator = simulator
    return [watch.times[warm_up:] for watch in watches]


def median(times: Sequence[Times]) -> Times:
    """Median of each part of the time."""
    return Times(*map(statistics.median, zip(*times, strict=True)))


def row(way: tuple[str, str, str], times: Times, base: Times) -> str:
    """Format a row of the table.

    Args:
        way: Model, precision and layout.
        times: Times with this precision and layout.
        base: Times with the model's first precision and layout.
    """
    total = sum(times)
    shares = " | ".join(f"{100 * part / total:.1f} %" for part in times[:2])
    return f"| {' | '.join(way)} | {1000 * total:.0f} | {shares} | {sum(base) / total:.2f} |"


def parser() -> argparse.ArgumentParser:
    """Build the command line parser."""
    cli = argparse.ArgumentParser(prog="python -m tools.step_time", description=__doc__)
    add_model_options(cli, ["Pouta", "Slsg"])
    cli.add_argument("--device", default="cpu", choices=["cpu", "gpu"])
    cli.add_argument("--precisions", nargs="+", default=["32-true", "bf16-mixed"], metavar="NAME")
    cli.add_argument("--layouts", nargs="+", default=list(LAYOUTS), choices=LAYOUTS)
    cli.add_argument("--image-size", type=int, default=224, metavar="PIXELS")
    cli.add_argument("--batch-size", type=int, default=8, metavar="N")
    cli.add_argument("--steps", type=int, default=6, metavar="N", help=f"timed steps, after {WARM_UP} to warm up")
    cli.add_argument("--workers", type=int, default=0, metavar="N", help="loading processes; 0 loads between steps")
    cli.add_argument("--threads", type=int, default=torch.get_num_threads(), metavar="N")
    cli.add_argument("--textures", type=Path, metavar="FOLDER", help="texture images (default: procedural textures)")
    cli.add_argument("--root", type=Path, metavar="FOLDER", help="data in MVTec AD's layout (default: demo parts)")
    cli.add_argument("--category", metavar="NAME", help="category in --root")
    return cli


def main(arguments: list[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: Command-line arguments. ``None`` uses ``sys.argv``.

    Returns:
        0.
    """
    cli = parser()
    args = cli.parse_args(arguments)
    if (args.root is None) != (args.category is None):
        cli.error("--root and --category must be given together")
    choices, model_args = read_model_options(args)
    torch.set_num_threads(args.threads)
    where = machine(torch.device("cuda" if args.device == "gpu" else "cpu"))
    print(f"Median of {args.steps} steps of {args.batch_size} images of {args.image_size} px; {where}; {versions()}.\n")
    print(
        "| model | precision | layout | ms a step | loading | synthesis | speed-up |",
        "|---|---|---|---|---|---|---|",
        sep="\n",
    )
    loading = {"train_batch_size": args.batch_size, "num_workers": args.workers}
    common = {"image_size": [args.image_size] * 2, "batch_size": args.batch_size, "texture_root": args.textures}
    with tempfile.TemporaryDirectory() as folder:
        for label, name in choices:
            options = {**common, **MODEL_ARGS.get(name, {}), **model_args.get(label, {})}
            base = None
            for precision, layout in product(args.precisions, args.layouts):
                data = MVTecAD(args.root, args.category, **loading) if args.root else DemoParts(folder, **loading)
                model = get_model(name, seed=0, visualizer=False, evaluator=False, **options)
                model.to(memory_format=LAYOUTS[layout])
                (steps,) = timed(model, data, args.device, precision, args.steps, [clock_of(args.device)])
                times = median(steps)
                base = base or times
                print(row((label, precision, layout), times, base), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
