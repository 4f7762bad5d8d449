# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Train a model to the end of its schedule and write a curve of test metrics. The same command resumes a run.

``python -m tools.full_schedule Slsg -c configs/model/slsg/cpu.yaml --root DATA --category screw --output runs/screw``
"""

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from anomalib.callbacks import ModelCheckpoint
from anomalib.data import MVTecAD
from anomalib.engine import Engine
from anomalib.models import AnomalibModule, get_model
from lightning.pytorch import Callback, Trainer, seed_everything

from anomalib_plugins.components.files import atomic_write
from anomalib_plugins.metrics import RawScoreEvaluator, threshold_free_metrics


class Curve(Callback):
    """Adds a row of metrics to a CSV file after each validation.

    Args:
        path: CSV file. Its rows hold the epoch, the number of steps, the CPU minutes of this process and the metrics,
            which differ between the phases of a model.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._start = path, time.process_time()

    def on_validation_end(self, trainer: Trainer, pl_module: AnomalibModule) -> None:
        """Add a row."""
        del pl_module
        minutes = round((time.process_time() - self._start) / 60, 1)
        row = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step, "cpu_minutes_of_this_process": minutes}
        row |= {name: round(float(value), 4) for name, value in sorted(trainer.callback_metrics.items())}
        rows = [*(csv.DictReader(self.path.read_text().splitlines()) if self.path.exists() else ()), row]
        with atomic_write(self.path, "w", newline="") as file:
            writer = csv.DictWriter(file, dict.fromkeys(name for each in rows for name in each))
            writer.writeheader()
            writer.writerows(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("-c", "--config", type=Path, help="file of configs/model to take the model's arguments from")
    parser.add_argument("--root", type=Path, required=True, help="folder of categories in MVTec AD's layout")
    parser.add_argument("--category", required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder for curve.csv and the checkpoint")
    parser.add_argument("--model-args", type=yaml.safe_load, default={}, help="more arguments of the model, as YAML")
    parser.add_argument("--every", type=int, default=5, help="epochs between two validations")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="bf16-mixed")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    seed_everything(args.seed)
    options = yaml.safe_load(args.config.read_text())["model"]["init_args"] if args.config else {}
    evaluator = RawScoreEvaluator(val_metrics=threshold_free_metrics())
    model = get_model(args.model, **{**options, **args.model_args, "seed": args.seed, "evaluator": evaluator})
    data = MVTecAD(args.root, args.category, eval_batch_size=16, num_workers=0, seed=args.seed)
    args.output.mkdir(parents=True, exist_ok=True)
    newest = max(args.output.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns, default=None)
    keep = ModelCheckpoint(
        args.output, "last", every_n_epochs=5, save_on_train_epoch_end=True, enable_version_counter=False
    )
    engine = Engine(
        default_root_dir=args.output,
        accelerator="cpu",
        logger=False,
        precision=args.precision,
        check_val_every_n_epoch=args.every,
        callbacks=[keep, Curve(args.output / "curve.csv")],
        enable_progress_bar=False,
    )
    engine.fit(model, datamodule=data, ckpt_path=newest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
