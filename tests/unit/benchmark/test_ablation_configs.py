# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from anomalib.models import get_model
from anomalib.pipelines.components.utils import get_iterator_from_grid_dict
from anomalib.utils.config import flatten_dict

from anomalib_plugins.benchmark.config import jobs_of
from anomalib_plugins.benchmark.jobs import as_text
from anomalib_plugins.benchmark.setup import Setup
from anomalib_plugins.registry import PLUGINS
from anomalib_plugins.report.published import flat, published

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "configs" / "ablation").glob("*.yaml"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)

NOT_PRINTED = {"cut_swap_mode", "cut_swap_backbones", "sbm_pfam_modules", "sbm_pfam_jigsaw", "sbm_pfam_coreset"}


def section(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))["benchmark"]


def rows(path):
    return list({job.label: job for job in jobs_of(section(path), Setup())}.values())


@cache
def all_jobs():
    return [job for path in sorted((ROOT / "configs").glob("[ab]*/*.yaml")) for job in jobs_of(section(path), Setup())]


def is_about(printed, job):
    row = {"model": job.label, "class": job.model_name, "options": as_text(job.model.get("init_args", {}))}
    return printed.is_about(row, (job.dataset, job.category))


@each_file
def test_every_row_can_be_built_and_differs_from_the_others(path):
    given = []
    for job in rows(path):
        with torch.device("meta"):  # neither memory nor initial weights
            model = get_model(dict(job.model), evaluator=False, visualizer=False)
        given.append((job.model_name, flat(job.model["init_args"])))
        assert given[-1][1].items() <= flat(dict(model.hparams)).items()
        assert given[-1][1]["seed"] == 0
    assert len(set(map(str, given))) == len(given) > 1
    assert len(jobs_of(section(path), Setup())) % len(given) == 0


@each_file
def test_anomalib_can_collect_the_results(path):
    """It makes one table of all jobs, which needs the same arguments in all."""
    assert len({frozenset(flatten_dict(run)) for run in get_iterator_from_grid_dict(section(path))}) == 1


@each_file
def test_every_row_of_a_printed_table_is_compared(path):
    if path.stem not in NOT_PRINTED:
        assert [job.label for job in rows(path) if not any(is_about(each, job) for each in published())] == []


@pytest.mark.parametrize(
    "printed",
    [each for each in published() if each.method in {plugin.name for plugin in PLUGINS} and each.dataset != "MTL"],
    ids=lambda each: f"{each.method}-{each.dataset}-{each.setting}",
)
def test_every_printed_number_is_reached_by_a_configuration(printed):
    jobs = [job for job in all_jobs() if job.model_name == printed.method]
    assert {job.category for job in jobs if is_about(printed, job)} == set(printed.values or printed.categories)


@each_file
def test_the_command_is_at_the_head_and_in_the_documentation(path):
    file = f"configs/ablation/{path.name}"
    assert f"anomalib-plugins benchmark --config {file} --output {path.stem}.csv" in path.read_text(encoding="utf-8")
    assert f"`{path.name}`" in (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
