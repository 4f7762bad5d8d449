# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Jobs from a configuration of anomalib's benchmark, or from the options of --root."""

import argparse
import copy
import inspect
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

import anomalib.data
import anomalib.models
from anomalib.pipelines.components.utils import get_iterator_from_grid_dict
from anomalib.utils.config import flatten_dict

from anomalib_plugins.benchmark.jobs import Job, as_text, class_of, without_folders, wrapped
from anomalib_plugins.benchmark.results import NOT_A_SETTING
from anomalib_plugins.benchmark.setup import Setup, known
from anomalib_plugins.components.names import did_you_mean
from anomalib_plugins.errors import UserError

# Arguments that have a column of their own, or only say where the data are and how they are loaded.
NOT_IN_MODEL = {"seed"}
NOT_IN_DATASET = NOT_A_SETTING - {"name"}

Config = dict[str, Any]


def config_of(args: argparse.Namespace, models: dict[str, tuple[str, Config]]) -> Config:
    """Build the configuration for the options of --root, and for models by label: their classes and arguments.

    Raises:
        UserError: If no folder in the root has training photos.
    """
    grid = []
    for label, (name, arguments) in models.items():
        own = dict(known(name).arguments)
        if args.textures and (argument := known(name).textures):
            own[argument] = str(args.textures)
        grid.append({"class_path": name, "label": label, "init_args": {**own, **arguments}})
    categories = args.categories or sorted(path.name for path in args.root.iterdir() if (path / "train").is_dir())
    if not categories:
        msg = f"--root must be a folder of categories, but no folder in {args.root} has a folder train"
        hint = f": give the folder above it, {args.root.resolve().parent}" if (args.root / "train").is_dir() else ""
        raise UserError(msg + hint)
    batches = {"train_batch_size": args.batch_size, "eval_batch_size": 8, "num_workers": args.workers}
    data = [_data_of(args.root, category, batches) for category in categories]
    return {"accelerator": "auto", "benchmark": {"seed": 0, "model": {"grid": grid}, "data": {"grid": data}}}


def _data_of(root: Path, category: str, batches: dict[str, int]) -> Config:
    """Choose the datamodule of a category: MVTecAD fails without masks, and without defects they are simulated."""
    folder = root / category
    if any((folder / "ground_truth").glob("*/*")):
        arguments = {"root": str(root), "category": category, **batches}
        return {"class_path": "MVTecAD", "label": root.name, "init_args": arguments}
    parts = sorted(path.name for path in (folder / "test").glob("*") if path.is_dir())
    defects = [f"test/{part}" for part in parts if part != "good"]
    good = {"normal_test_dir": "test/good"} if (folder / "test" / "good").is_dir() else {}
    arguments = {"name": category, "root": str(folder), "normal_dir": "train/good", **good, **batches}
    if defects:
        arguments |= {"abnormal_dir": defects, "val_split_mode": "same_as_test"}
        return {"class_path": "Folder", "label": root.name, "init_args": arguments}
    arguments |= {"val_split_mode": "none", "test_split_mode": "from_dir" if good else "none"}
    inner = {"class_path": "Folder", "init_args": arguments}
    simulated = {"datamodule": inner, "val": False, "test": True}
    return {"class_path": "SyntheticAnomaly", "label": f"{root.name}, simulated defects", "init_args": simulated}


def jobs_of(section: Config, setup: Setup, seeds: Sequence[int] | None = None) -> list[Job]:
    """Make the jobs of the section ``benchmark`` of a configuration, grids included. Builds no model.

    Jobs are in running order: category by category, so that tables fill row by row. Models and data sets are named
    after their class, e.g. ``FewShot MVTecAD``. If a class occurs with different arguments, these follow:
    ``Patchcore num_neighbors=3``. A key ``label`` beside ``class_path`` replaces the name.

    Args:
        section: Mapping with ``seed``, ``model`` and ``data``. Each of them and of their arguments may be a ``grid``.
        setup: Settings of all jobs.
        seeds: Seeds to run instead of the configuration's ``seed``. They are passed to models that take a ``seed``.

    Raises:
        UserError: If a key is missing or unknown.
    """
    if seeds:
        section = {**section, "seed": {"grid": list(seeds)}}
    _check(section)
    runs = [copy.deepcopy(run) for run in get_iterator_from_grid_dict(section)]
    models = labels([run["model"] for run in runs], NOT_IN_MODEL)
    datasets = labels([run["data"] for run in runs], NOT_IN_DATASET)
    jobs = []
    for run, label, dataset in zip(runs, models, datasets, strict=True):
        model = run["model"]
        if seeds and "seed" in _parameters(anomalib.models, model):
            model["init_args"] = {**model.get("init_args", {}), "seed": run["seed"]}
        jobs.append(Job(label, dataset, category_of(run["data"]), run["seed"], model, run["data"], setup))
    order = list(dict.fromkeys(job.seed for job in jobs))
    places = list(dict.fromkeys((job.dataset, job.category) for job in jobs))
    return sorted(jobs, key=lambda job: (order.index(job.seed), places.index((job.dataset, job.category))))


def _check(section: Config) -> None:
    wanted = {"seed", "model", "data"}
    if set(section) != wanted:
        msg = f"the section 'benchmark' of a configuration needs the keys {sorted(wanted)}, got {sorted(section)}"
        raise UserError(msg)
    for part in ("model", "data"):
        for config in section[part].get("grid", [section[part]]):
            if "class_path" not in config:
                msg = f"'{part}' of a benchmark needs a class_path, got {config}"
                raise UserError(msg)


def refuse_unknown(jobs: Iterable[Job]) -> None:
    """Refuse jobs whose model or datamodule anomalib does not know, before the first one runs.

    Raises:
        UserError: If a name without dots is unknown. The message suggests the nearest known one.
    """
    for job in jobs:
        for name, host in ((job.model["class_path"], anomalib.models), (job.data["class_path"], anomalib.data)):
            if "." not in name and not hasattr(host, name):
                msg = f"anomalib knows no {name!r}{did_you_mean(name, dir(host))}"
                raise UserError(msg)


def labels(configs: Sequence[Config], ignored: Container[str]) -> list[str]:
    """Name configurations by their class and the arguments, but the ignored, in which those of that class differ."""
    names = [config.get("label") or _class_names(config) for config in configs]
    arguments = [_plain_arguments(config, ignored) for config in configs]
    labels = []
    for config, name, own in zip(configs, names, arguments, strict=True):
        alike = [other for other, its_name in zip(arguments, names, strict=True) if its_name == name]
        keys = dict.fromkeys(key for other in alike for key in other)
        differing = [key for key in keys if len({as_text(other.get(key)) for other in alike}) > 1]
        words = [f"{key.rpartition('.')[2]}={without_folders(own[key])}" for key in differing if key in own]
        labels.append(name if "label" in config else " ".join([name, *words]))
    return labels


def category_of(data: Config) -> str:
    """Category of a datamodule: the configured one, its default, its argument ``name``, or the name of its class."""
    data = wrapped(data)
    arguments = data.get("init_args", {})
    default = _parameters(anomalib.data, data).get("category")
    fallback = default.default if default else arguments.get("name", class_of(data))
    return str(arguments.get("category", fallback))


def _class_names(config: Config) -> str:
    """Name of the class, followed by the name of a wrapped datamodule's class."""
    inner = config.get("init_args", {}).get("datamodule")
    return " ".join([class_of(config), *([_class_names(inner)] if isinstance(inner, dict) else [])])


def _plain_arguments(config: Config, ignored: Container[str]) -> Config:
    """Nested arguments by dotted name, without the ignored ones."""
    flat = flatten_dict(config.get("init_args", {}))
    return {key: value for key, value in flat.items() if key.rpartition(".")[2] not in ignored}


def _parameters(module: Any, config: Config) -> dict[str, inspect.Parameter]:
    """Parameters of a class that anomalib knows by its short name; empty for any other class."""
    cls = getattr(module, class_of(config), None)
    return dict(inspect.signature(cls).parameters) if cls else {}
