# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import inspect
from pathlib import Path

import anomalib.models
import pytest
import yaml
from anomalib.pipelines import Benchmark
from anomalib.pipelines.benchmark import generator
from anomalib.pipelines.benchmark.generator import BenchmarkJobGenerator
from anomalib.pipelines.benchmark.job import BenchmarkJob

from anomalib_plugins.benchmark.config import jobs_of
from anomalib_plugins.benchmark.setup import Setup

FILES = sorted((Path(__file__).parents[3] / "configs" / "benchmark").glob("*.yaml"))

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def section(path):
    config = Benchmark()._get_args(type("Arguments", (), {"config": path}))
    assert config.keys() == {"accelerator", "benchmark"}
    assert config["accelerator"] in {"cpu", "cuda"}
    return config["benchmark"]


def jobs(path):
    return jobs_of(section(path), Setup())


@each_file
def test_models_know_their_arguments_and_have_the_papers_schedule(path):
    for job in jobs(path):
        arguments = job.model.get("init_args", {})
        signature = inspect.signature(getattr(anomalib.models, job.model_name))
        signature.bind(**arguments)
        if path.stem != "smoke":
            assert arguments.keys() <= {"seed", "coreset_sampling_ratio", "shape_bias", "pfam_training"}
    if path.stem.startswith("sbm_pfam"):
        assert {job.model["init_args"]["shape_bias"] for job in jobs(path)} == {path.stem.endswith("objects")}


@each_file
def test_anomalib_makes_the_same_jobs_and_can_collect_their_results(path, monkeypatch):
    monkeypatch.setattr(generator, "get_model", lambda config: config)
    theirs = list(BenchmarkJobGenerator("cpu").generate_jobs(section(path), None))
    ours = jobs(path)
    assert len(theirs) == len(ours)
    assert all(any(job.model == each.model for each in theirs) for job in ours)
    assert {type(job.datamodule).__name__ for job in theirs} == {job.dataset.partition(" ")[0] for job in ours}
    # anomalib makes a table of all results at its end, which needs the same columns in all.
    assert len(BenchmarkJob.collect([job.flat_cfg for job in theirs])) == len(theirs)
    modules = {getattr(anomalib.models, job.model_name).__module__.partition(".")[0] for job in ours}
    assert len(modules) == 1  # models of ours log metrics that those of anomalib do not


def test_anomalib_cannot_collect_results_with_other_columns():
    with pytest.raises(KeyError):
        BenchmarkJob.collect([{"a": 1}, {"a": 1, "b": 2}])


@each_file
def test_nothing_but_a_choice_is_called_a_grid(path):
    def names(config):
        if not isinstance(config, dict):
            return [name for each in config for name in names(each)] if isinstance(config, list) else []
        return [*config, *(name for each in config.values() for name in names(each))]

    assert {name for name in names(yaml.safe_load(path.read_text(encoding="utf-8"))) if "grid" in name} <= {"grid"}
