# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Time a training step, and the shares of it that loading images and simulating anomalies take.

``python -m tools.step_time --models Pouta Slsg --precisions 32-true bf16-mixed``
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from anomalib.callbacks import ModelCheckpoint
from anomalib.data import AnomalibDataModule, MVTecAD
from anomalib.engine import Engine
from anomalib.models import AnomalibModule, get_model
from lightning.pytorch import Callback
from torch import Tensor

from anomalib_plugins.benchmark.command import add_model_options, read_models
from anomalib_plugins.benchmark.measure import machine, versions
from anomalib_plugins.data import DemoParts
from tools.timing import now

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
# Skips to the phase that simulates anomalies.
MODEL_ARGS: dict[str, dict[str, Any]] = {"Slsg": {"pretrain": "none"}}
WARM_UP = 2


class Stopwatch(Callback):
    """Times every training batch, and the model's ``simulator`` within it.

    Attributes:
        steps: For each step the wall and CPU seconds ``(3, 2)`` of loading, from the end of the previous step until the
            images are on the device; of simulating anomalies; and of learning, which is the rest.
    """

    def __init__(self) -> None:
        self.steps: list[Tensor] = []
        self._ended = self._started = self._synthesis = torch.zeros(2)

    def watch(self, simulator: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the simulator so that its time is measured."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = now()
            made = simulator(*args, **kwargs)
            self._synthesis = self._synthesis + now() - start
            return made

        return timed

    def on_train_start(self, *args: Any) -> None:
        """Start the first step."""
        del args
        self._ended = now()

    def on_train_batch_start(self, *args: Any) -> None:
        """Record the end of loading."""
        del args
        self._started, self._synthesis = now(), torch.zeros(2)

    def on_train_batch_end(self, *args: Any) -> None:
        """Record the end of the step."""
        del args
        end = now()
        learning = end - self._started - self._synthesis
        self.steps.append(torch.stack([self._started - self._ended, self._synthesis, learning]))
        self._ended = end


def timed(
    model: AnomalibModule, data: AnomalibDataModule, device: str, precision: str, steps: int, warm_up: int = WARM_UP
) -> Tensor:
    """Train for a few batches and time them.

    Args:
        model: Model with a ``simulator`` that takes one optimizer step per batch.
        data: Training data.
        device: Lightning's name of the device.
        precision: Lightning's name of the precision.
        steps: Number of timed batches.
        warm_up: Number of batches before the timed ones.

    Returns:
        Wall and CPU seconds of loading, simulating anomalies and learning in each step ``(steps, 3, 2)``.
    """
    watch, simulator = Stopwatch(), model.simulator
    model.simulator = watch.watch(simulator)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(
            callbacks=[watch, ModelCheckpoint(folder, save_top_k=0)],
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
    return torch.stack(watch.steps[warm_up:])


def shares(seconds: Tensor) -> list[str]:
    """Shares of loading and of simulating anomalies in a step of ``(3,)`` seconds, in percent."""
    return [f"{100 * part / seconds.sum():.1f} %" for part in seconds[:2]]


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
    """Print the table: CPU time, or wall time on a GPU.

    Args:
        arguments: Command-line arguments. ``None`` uses ``sys.argv``.

    Returns:
        0.
    """
    cli = parser()
    args = cli.parse_args(arguments)
    if (args.root is None) != (args.category is None):
        cli.error("--root and --category must be given together")
    torch.set_num_threads(args.threads)
    where = machine(torch.device("cuda" if args.device == "gpu" else "cpu"))
    print(f"Median of {args.steps} steps of {args.batch_size} images of {args.image_size} px; {where}; {versions()}.\n")
    print("| model | precision | layout | ms a step | loading | synthesis | speed-up |\n|---|---|---|---|---|---|---|")
    loading = {"train_batch_size": args.batch_size, "num_workers": args.workers}
    common = {"image_size": [args.image_size] * 2, "batch_size": args.batch_size, "texture_root": args.textures}
    with tempfile.TemporaryDirectory() as folder:
        for label, (name, own) in read_models(args).items():
            options = {**common, **MODEL_ARGS.get(name, {}), **own}
            base = None
            for precision, layout in product(args.precisions, args.layouts):
                data = MVTecAD(args.root, args.category, **loading) if args.root else DemoParts(folder, **loading)
                model = get_model(name, seed=0, visualizer=False, evaluator=False, **options)
                model.to(memory_format=LAYOUTS[layout])
                steps = timed(model, data, args.device, precision, args.steps)
                seconds = steps[..., int(args.device == "cpu")].quantile(0.5, dim=0)
                total = seconds.sum().item()
                base = base or total
                cells = [label, precision, layout, f"{1000 * total:.0f}", *shares(seconds), f"{base / total:.2f}"]
                print("| " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
