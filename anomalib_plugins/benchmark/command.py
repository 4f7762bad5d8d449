# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Train and test models side by side, with one result per model, category and seed.

Use --config to run a configuration of `anomalib benchmark`, or --root to run every category of a folder in MVTec AD's
layout. Each result is written as soon as it is measured. Jobs with a result in --output are skipped, so after an
interruption run the same command again.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from anomalib_plugins.benchmark import results, tables
from anomalib_plugins.benchmark.options import add_model_options, read_model_options
from anomalib_plugins.benchmark.progress import everything_into

if TYPE_CHECKING:
    from anomalib_plugins.benchmark.config import BenchmarkGenerator
    from anomalib_plugins.benchmark.runner import ResumingRunner

# With --root: the same backbone for all models, and a coreset small enough for a CPU.
MODEL_DEFAULTS: dict[str, dict[str, Any]] = {
    "Padim": {"backbone": "resnet18"},
    "Patchcore": {"backbone": "resnet18", "coreset_sampling_ratio": 0.001},
    "Cfa": {"backbone": "resnet18"},
}

OF_A_FOLDER = ("categories", "models", "model_args", "batch_size", "workers", "textures")


def parser() -> argparse.ArgumentParser:
    """Build the command line parser."""
    cli = argparse.ArgumentParser(prog="anomalib-plugins benchmark", description=__doc__)
    what = cli.add_argument_group("what to run: configurations, or models on the categories of a folder")
    what.add_argument("--config", nargs="+", type=Path, metavar="FILE", help="configurations of `anomalib benchmark`")
    what.add_argument("--root", type=Path, help="folder of categories in MVTec AD's layout")
    what.add_argument("--categories", nargs="+", metavar="NAME", help="categories to run (default: all in --root)")
    add_model_options(what, default=["Slsg", "Draem", "Padim", "Patchcore"])
    what.add_argument("--batch-size", type=int, default=8, metavar="N", help="images per training batch")
    what.add_argument("--workers", type=int, default=0, metavar="N", help="data loading processes")
    what.add_argument("--textures", type=Path, metavar="DIR", help="folder of texture images for Draem")
    _add_setup(cli.add_argument_group("how to run it, instead of the models' and the configuration's own settings"))
    _add_cluster(cli.add_argument_group("several jobs at once, on a Ray cluster (pip install 'anomalib_plugins[ray]')"))
    _add_places(cli.add_argument_group("what to write"))
    table = cli.add_argument_group("print a table and run nothing")
    table.add_argument("--table", type=Path, metavar="CSV", help="results file to print as a table")
    table.add_argument("--update", type=Path, metavar="FILE", help="document to write it to, between its markers")
    return cli


def _add_setup(group: Any) -> None:
    add = group.add_argument
    add("--seeds", nargs="+", type=int, metavar="N", help="seeds to run (default: the configuration's)")
    add("--image-size", type=int, metavar="PIXELS", help="side of the square images (default: each model's own)")
    add("--max-minutes", type=float, metavar="M", help="longest training time of an iterative model, in minutes")
    add("--max-epochs", type=int, metavar="N", help="largest number of training epochs of an iterative model")
    add("--max-steps", type=int, metavar="N", help="largest number of training steps of an iterative model")
    add("--accelerator", help="Lightning accelerator, e.g. cpu or cuda (default: the configuration's)")
    add("--precision", default="32-true", help="precision of training and test, e.g. bf16-mixed (default: %(default)s)")
    add("--threads", type=int, metavar="N", help="CPU threads of torch")
    add(
        "--weights-cache",
        type=Path,
        metavar="DIR",
        help="folder whose hf/ and torch/ hold pre-trained weights; nothing is downloaded",
    )


def _add_cluster(group: Any) -> None:
    add = group.add_argument
    add("--ray", nargs="?", const="local", metavar="ADDRESS", help="address of the cluster; without one, start it here")
    add("--cpus-per-job", type=float, default=1, metavar="N", help="CPU cores per job (default: %(default)s)")
    add(
        "--gpus-per-job",
        type=float,
        metavar="N",
        help="GPUs per job; with 0.5 two jobs share one (default: 1 with --accelerator cuda, else 0)",
    )


def _add_places(group: Any) -> None:
    add = group.add_argument
    add("--output", type=Path, default=Path("results.csv"), metavar="CSV", help="results file (default: %(default)s)")
    add(
        "--no-predictions",
        dest="predictions",
        action="store_false",
        help="do not save scores and maps of the test images beside the results (at most 0.2 MB per image)",
    )
    add("--heatmaps", type=Path, metavar="DIR", help="folder for a contact sheet per job")
    add("--checkpoints", type=Path, metavar="DIR", help="folder for a checkpoint per job")
    add(
        "--checkpoint-every",
        type=float,
        default=10.0,
        metavar="M",
        help="minutes of training between the checkpoints that an interrupted job resumes from (default: %(default)s)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: Arguments after ``benchmark``. ``None`` uses ``sys.argv``.

    Returns:
        0, or 1 if a job failed.
    """
    cli = parser()
    args = cli.parse_args(argv)
    if args.table:
        text = tables.table(results.read(args.table))
        if args.update:
            tables.update(args.update, text, args.table.stem)
        print(text)
        return 0
    if complaint := _complaint(cli, args):
        cli.error(complaint)
    if args.checkpoint_every <= 0:
        cli.error(f"--checkpoint-every must be more than 0 minutes, got {args.checkpoint_every:g}")
    args.unfinished = args.output.with_name(f"{args.output.stem}_unfinished")
    if args.weights_cache:  # before importing the libraries, which read these variables once
        os.environ.update(
            HF_HOME=str(args.weights_cache / "hf"), TORCH_HOME=str(args.weights_cache / "torch"), HF_HUB_OFFLINE="1"
        )
    try:
        configs = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in args.config or ()] or [config_of(args)]
        plan = plan_of(configs, args)
    except (OSError, ValueError, yaml.YAMLError) as error:
        cli.error(str(error))
    return run(plan, args)


def _complaint(cli: argparse.ArgumentParser, args: argparse.Namespace) -> str | None:
    """Error message for wrong options, found before the libraries are imported."""
    if args.update:
        return "--update needs --table with the results file"
    if bool(args.config) == bool(args.root):
        return "give either --config FILE or --root FOLDER"
    ignored = [name for name in OF_A_FOLDER if args.config and getattr(args, name) != cli.get_default(name)]
    if ignored:
        return f"--{ignored[0].replace('_', '-')} works only with --root: set it in the configuration"
    if args.root and not args.root.is_dir():
        return f"--root must be a folder of categories, got {args.root}"
    if args.ray and find_spec("ray") is None:
        return "--ray needs Ray: pip install 'anomalib_plugins[ray]'"
    return None


def config_of(args: argparse.Namespace) -> dict[str, Any]:
    """Build the configuration for the options of --root."""
    choices, arguments = read_model_options(args)
    textures = {"Draem": {"dtd_dir": str(args.textures)}} if args.textures else {}
    models = [
        {
            "class_path": model,
            "label": label,
            "init_args": {**MODEL_DEFAULTS.get(model, {}), **textures.get(model, {}), **arguments.get(label, {})},
        }
        for label, model in choices
    ]
    categories = args.categories or sorted(path.name for path in args.root.iterdir() if (path / "train").is_dir())
    batches = {"train_batch_size": args.batch_size, "eval_batch_size": 8, "num_workers": args.workers}
    data = [
        {"class_path": name, "label": args.root.name, "init_args": {**arguments, **batches}}
        for name, arguments in (_data_of(args.root, category) for category in categories)
    ]
    return {"accelerator": "auto", "benchmark": {"seed": 0, "model": {"grid": models}, "data": {"grid": data}}}


def _data_of(root: Path, category: str) -> tuple[str, dict[str, Any]]:
    """Choose the datamodule of a category and its arguments; MVTecAD fails without masks."""
    folder = root / category
    if any((folder / "ground_truth").glob("*/*")):
        return "MVTecAD", {"root": str(root), "category": category}
    defects = [f"test/{path.name}" for path in sorted((folder / "test").glob("*/")) if path.name != "good"]
    folders = {"normal_dir": "train/good", "normal_test_dir": "test/good", "abnormal_dir": defects}
    return "Folder", {"name": category, "root": str(folder), **folders, "val_split_mode": "same_as_test"}


def plan_of(configs: list[dict[str, Any]], args: argparse.Namespace) -> list[tuple["BenchmarkGenerator", Any]]:
    """Pair a job generator with a configuration section, for every configuration and each of its accelerators.

    Raises:
        ValueError: If a configuration is invalid.
    """
    with everything_into(args.output.with_suffix(".log")):  # the libraries emit deprecation warnings
        from anomalib_plugins.benchmark.config import BenchmarkGenerator, refuse_unknown
        from anomalib_plugins.benchmark.setup import Setup

    chosen = {each.name: getattr(args, each.name) for each in fields(Setup) if each.name != "accelerator"}
    plan = [
        (BenchmarkGenerator(Setup(accelerator=accelerator, **chosen), args.seeds), config.get("benchmark") or {})
        for config in configs
        for accelerator in _accelerators(config, args)
    ]
    for generator, section in plan:
        refuse_unknown(generator.generate_jobs(section))
    return plan


def run(plan: list[tuple["BenchmarkGenerator", Any]], args: argparse.Namespace) -> int:
    """Run all jobs of a plan and return 1 if one failed, else 0."""
    failures = [failure for generator, section in plan if (failure := _failure(_runner(generator, args), section))]
    if rows := results.read(args.output):
        print(tables.table(rows))
    print("\n".join(failures), file=sys.stderr, end="\n" if failures else "")
    return int(bool(failures))


def _failure(runner: "ResumingRunner", section: Any) -> str:
    """Run the jobs of one section and return a message that names those that failed, or an empty text."""
    from anomalib_plugins.benchmark.runner import FailedJobsError

    try:
        runner.run(section)
    except FailedJobsError as error:
        return str(error)
    return ""


def _runner(generator: "BenchmarkGenerator", args: argparse.Namespace) -> "ResumingRunner":
    """Create the runner: on this machine, or on a Ray cluster with --ray."""
    if not args.ray:
        from anomalib_plugins.benchmark.runner import ResumingRunner

        return ResumingRunner(generator, args.output)
    from anomalib_plugins.benchmark.ray_runner import RayRunner

    address = None if args.ray == "local" else args.ray
    on_gpu = generator.setup.accelerator in {"cuda", "gpu"}
    gpus = float(on_gpu) if args.gpus_per_job is None else args.gpus_per_job
    return RayRunner(generator, args.output, address, args.cpus_per_job, gpus)


def _accelerators(config: dict[str, Any], args: argparse.Namespace) -> list[str]:
    wanted = args.accelerator or config.get("accelerator", "auto")
    return wanted if isinstance(wanted, list) else [wanted]


if __name__ == "__main__":
    sys.exit(main())
