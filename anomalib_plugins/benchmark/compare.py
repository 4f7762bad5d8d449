# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Train and test models side by side: same images, size, seed, weights and metrics, through anomalib's own engine.

``python -m anomalib_plugins.benchmark.compare --root DATA --models Slsg Padim --output results.csv``
"""

import argparse
import itertools
import logging
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from anomalib_plugins.benchmark import results
from anomalib_plugins.benchmark.options import Choice, add_model_options, read_model_options

if TYPE_CHECKING:
    from anomalib_plugins.benchmark.jobs import Job

logger = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """Command line of the program."""
    cli = argparse.ArgumentParser(prog="python -m anomalib_plugins.benchmark.compare", description=__doc__)
    add = cli.add_argument
    add("--root", type=Path, help="folder of categories in MVTec AD's layout")
    add("--categories", nargs="+", metavar="NAME", help="categories to run (default: every folder of the root)")
    add_model_options(cli, default=["Slsg", "Draem", "Padim", "Patchcore"])
    add("--seeds", nargs="+", type=int, default=[0], metavar="N")
    add("--image-size", type=int, default=256, metavar="PIXELS")
    add("--batch-size", type=int, default=8, metavar="N", help="images per training batch")
    add("--max-minutes", type=float, metavar="M", help="same wall time for every iterative model")
    add("--max-steps", type=int, metavar="N", help="same number of steps for every iterative model")
    add("--textures", type=Path, metavar="DIR", help="texture images for models that paste them (Draem)")
    add(
        "--weights-cache",
        type=Path,
        metavar="DIR",
        help="folder with hf/ and torch/ to take pre-trained weights from, offline",
    )
    add("--accelerator", default="auto")
    add("--precision", default="32-true", help="arithmetic of training and test, e.g. bf16-mixed")
    add("--threads", type=int, metavar="N", help="CPU threads of torch")
    add("--workers", type=int, default=0, metavar="N", help="data loading processes")
    add("--heatmaps", type=Path, metavar="DIR", help="write a contact sheet per job")
    add("--checkpoints", type=Path, metavar="DIR", help="write a checkpoint per job")
    add(
        "--output",
        type=Path,
        default=Path("results.csv"),
        metavar="CSV",
        help="results file; finished rows are skipped",
    )
    add("--table", type=Path, metavar="CSV", help="run nothing: print the table of a results file")
    add("--update", type=Path, metavar="FILE", help="with --table: write the table between the markers of this file")
    return cli


def main(arguments: list[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: Command line without the program's name. ``None`` takes the process's own.

    Returns:
        0, or 1 when a job failed.
    """
    cli = parser()
    args = cli.parse_args(arguments)
    if args.table:
        text = results.table(results.read(args.table))
        if args.update:
            results.update(args.update, text)
        print(text)
        return 0
    if args.root is None or not args.root.is_dir():
        cli.error(f"--root must be a folder of categories, got {args.root}")
    if args.weights_cache:  # before the libraries are imported: they read these once
        os.environ.update(
            HF_HOME=str(args.weights_cache / "hf"), TORCH_HOME=str(args.weights_cache / "torch"), HF_HUB_OFFLINE="1"
        )
    return run_all(args)


def run_all(args: argparse.Namespace) -> int:
    """Run every job that has no row yet, and write each row as soon as it exists."""
    import torch

    from anomalib_plugins.benchmark import jobs

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logger.setLevel(logging.INFO)
    if args.threads:
        torch.set_num_threads(args.threads)
    choices, args.model_args = read_model_options(args)
    setup = jobs.Setup(**{each.name: getattr(args, each.name) for each in fields(jobs.Setup)})
    done = {results.setting(row) for row in results.read(args.output)}
    failed = []
    for job in plan(args, choices):
        name = f"{job.label} {job.category} seed {job.seed}"
        same = ({**setup.identity(job), "schedule": schedule} for schedule in (setup.schedule, "one pass"))
        if not done.isdisjoint(map(results.setting, same)):
            logger.info("%s: already in %s", name, args.output)
            continue
        try:
            row = jobs.run(job, setup)
        except Exception:  # one broken job must not cost the others
            logger.exception("%s: failed", name)
            failed.append(name)
            continue
        results.append(args.output, row)
        logger.info("%s: %s in %s s", name, " / ".join(row[m] for m in results.METRICS), row["train_seconds"])
    if failed:
        logger.error("failed: %s", "; ".join(failed))
    return int(bool(failed))


def plan(args: argparse.Namespace, choices: list[Choice]) -> "list[Job]":
    """Jobs in the order they run: category by category, so that a table is complete as early as possible."""
    from anomalib_plugins.benchmark.jobs import Job

    categories = args.categories or sorted(path.name for path in args.root.iterdir() if (path / "train").is_dir())
    return [
        Job(label, model, category, seed)
        for seed, category, (label, model) in itertools.product(args.seeds, categories, choices)
    ]


if __name__ == "__main__":
    sys.exit(main())
