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
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from anomalib_plugins.benchmark import results
from anomalib_plugins.benchmark.log import everything_into
from anomalib_plugins.benchmark.setup import Setup
from anomalib_plugins.errors import UserError

if TYPE_CHECKING:
    from anomalib_plugins.benchmark.jobs import Job

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


def add_model_options(cli: argparse.ArgumentParser | argparse._ArgumentGroup, default: list[str]) -> None:
    """Add the options ``--models`` and ``--model-args``.

    Args:
        cli: Parser of the program, or a group of its options.
        default: Models to run by default.
    """
    labels = "names of models; labels distinguish variants of one, e.g. Patchcore-1%%=Patchcore"
    cli.add_argument("--models", nargs="+", default=default, metavar="[LABEL=]NAME", help=labels)
    arguments = "YAML or JSON file with constructor arguments by label, e.g. SbmPfamPadim: {shape_bias: false}"
    cli.add_argument("--model-args", type=Path, metavar="FILE", help=arguments)


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
    weights = "folder whose hf/ and torch/ hold pre-trained weights; nothing is downloaded"
    add("--weights-cache", type=Path, metavar="DIR", help=weights)


def _add_cluster(group: Any) -> None:
    add = group.add_argument
    add("--ray", nargs="?", const="local", metavar="ADDRESS", help="address of the cluster; without one, start it here")
    add("--cpus-per-job", type=float, default=1, metavar="N", help="CPU cores per job (default: %(default)s)")
    gpus = "GPUs per job; with 0.5 two jobs share one (default: 1 with --accelerator cuda, else 0)"
    add("--gpus-per-job", type=float, metavar="N", help=gpus)


def _add_places(group: Any) -> None:
    add = group.add_argument
    add("--output", type=Path, default=Path("results.csv"), metavar="CSV", help="results file (default: %(default)s)")
    none = "do not save scores and maps of the test images beside the results (at most 0.2 MB per image)"
    add("--no-predictions", dest="predictions", action="store_false", help=none)
    add("--heatmaps", type=Path, metavar="DIR", help="folder for a contact sheet per job")
    add("--checkpoints", type=Path, metavar="DIR", help="folder for a checkpoint per job")
    every = "minutes of training between the checkpoints that an interrupted job resumes from (default: %(default)s)"
    add("--checkpoint-every", type=float, default=10.0, metavar="M", help=every)


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
        text = results.table(results.read(args.table))
        if args.update:
            results.update(args.update, text, args.table.stem)
        print(text)
        return 0
    _check(cli, args)
    if args.weights_cache:  # before importing the libraries, which read these variables once
        os.environ.update(
            HF_HOME=str(args.weights_cache / "hf"), TORCH_HOME=str(args.weights_cache / "torch"), HF_HUB_OFFLINE="1"
        )
    try:
        jobs = jobs_of(args)
    except (OSError, ValueError, yaml.YAMLError) as error:
        cli.error(str(error))
    return run(jobs, args)


def _check(cli: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse wrong options before the libraries are imported."""
    if args.update:
        cli.error("--update needs --table with the results file")
    if bool(args.config) == bool(args.root):
        cli.error("give either --config FILE or --root FOLDER")
    for name in OF_A_FOLDER:
        if args.config and getattr(args, name) != cli.get_default(name):
            cli.error(f"--{name.replace('_', '-')} works only with --root: set it in the configuration")
    if args.root and not args.root.is_dir():
        cli.error(f"--root must be a folder of categories, got {args.root}")
    if args.checkpoint_every <= 0:
        cli.error(f"--checkpoint-every must be more than 0 minutes, got {args.checkpoint_every:g}")
    if args.heatmaps and find_spec("matplotlib") is None:
        cli.error("--heatmaps needs matplotlib: pip install 'anomalib_plugins[report]'")
    if args.ray and find_spec("ray") is None:
        cli.error("--ray needs Ray: pip install 'anomalib_plugins[ray]'")


def read_models(args: argparse.Namespace) -> dict[str, tuple[str, dict[str, Any]]]:
    """Read the chosen models in their order: names of their classes and constructor arguments, by label.

    The file of arguments may name further models, so one file can serve many runs.

    Raises:
        UserError: If the file of arguments is not a mapping of mappings, if one of its keys is neither a label nor a
            model, or if two models share a label.
    """
    names = {label: name or label for label, _, name in (model.partition("=") for model in args.models)}
    if len(names) < len(args.models):
        msg = f"every model needs its own label, e.g. A=Slsg B=Slsg; got {args.models}"
        raise UserError(msg)
    arguments = yaml.safe_load(args.model_args.read_text(encoding="utf-8")) if args.model_args else {}
    if not isinstance(arguments, dict) or not all(isinstance(each, dict) for each in arguments.values()):
        msg = f"{args.model_args} must hold arguments by label, e.g. `Slsg: {{steps: 100}}`; got {arguments!r}"
        raise UserError(msg)
    if unknown := arguments.keys() - names:
        from anomalib.models import list_models  # takes seconds

        if unknown := unknown - list_models(case="pascal"):
            msg = f"{args.model_args} has arguments for {sorted(unknown)}, but the models are called {list(names)}"
            raise UserError(msg)
    return {label: (name, arguments.get(label, {})) for label, name in names.items()}


def jobs_of(args: argparse.Namespace) -> list["Job"]:
    """Make the jobs for the options: of every configuration, with each of its accelerators.

    Raises:
        UserError: If a configuration is invalid.
    """
    configs = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in args.config or ()]
    models = {} if configs else read_models(args)
    with everything_into(args.output.with_suffix(".log")):  # the libraries emit deprecation warnings
        from anomalib_plugins.benchmark import config

    args.unfinished = args.output.with_name(f"{args.output.stem}_unfinished")
    chosen = {each.name: getattr(args, each.name) for each in fields(Setup) if each.name != "accelerator"}
    jobs = []
    for each in configs or [config.config_of(args, models)]:
        wanted = args.accelerator or each.get("accelerator", "auto")
        for accelerator in wanted if isinstance(wanted, list) else [wanted]:
            setup = Setup(accelerator=accelerator, **chosen)
            jobs += config.jobs_of(each.get("benchmark") or {}, setup, args.seeds)
    config.refuse_unknown(jobs)
    return jobs


def run(jobs: list["Job"], args: argparse.Namespace) -> int:
    """Run jobs, print the table, and return 1 if one failed, else 0."""
    from anomalib_plugins.benchmark import runner

    outcomes = runner.one_by_one
    if args.ray:
        from anomalib_plugins.benchmark.ray_runner import in_parallel

        address = None if args.ray == "local" else args.ray
        outcomes = partial(in_parallel, address=address, cpus=args.cpus_per_job, gpus=args.gpus_per_job)
    failed = runner.run(jobs, args.output, outcomes)
    if rows := results.read(args.output):
        print(results.table(rows))
    if failed:
        log = args.output.with_suffix(".log")
        print(f"{len(failed)} of {len(jobs)} jobs failed, see {log}: {'; '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
