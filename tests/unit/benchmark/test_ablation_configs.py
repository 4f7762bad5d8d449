# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The configurations in ``configs/ablation``: rows of the papers' tables, and what the papers print for them."""

from collections import defaultdict
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from anomalib.models import get_model
from anomalib.pipelines.components.utils import get_iterator_from_grid_dict
from anomalib.utils.config import flatten_dict

from anomalib_plugins.benchmark.config import jobs_of
from anomalib_plugins.benchmark.jobs import Job, as_text
from anomalib_plugins.benchmark.setup import Setup
from anomalib_plugins.registry import PLUGINS
from anomalib_plugins.report.published import Published, flat, published

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "configs" / "ablation").glob("*.yaml"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)

SMALL = {"coreset_sampling_ratio": 0.001}
FULL: dict[str, Any] = {}
RATIOS = (SMALL, FULL)
PRETEXTS = [{"augmentation": "none"}, {"augmentation": "cutpaste"}, FULL]
MODULES = [{"shape_bias": False, "pfam": False}, {"pfam": False}, {"shape_bias": False}, FULL]
JIGSAW = {"shape_bias": False, "pfam_training": "jigsaw"}

# Tables without printed numbers, or with some rows that have none.
NOT_PRINTED = {"cut_swap_mode", "cut_swap_backbones", "sbm_pfam_modules", "sbm_pfam_jigsaw", "sbm_pfam_coreset"}

# Rows of each table as the papers print them: the arguments that are not the model's defaults.
ROWS: dict[str, list[dict[str, Any]]] = {
    "slsg_table_4": [
        {"masking.mask_ratio": 0.6},
        {"masking.mask_ratio": 0.9},
        {"masking.cell_size": 4},
        {"masking.cell_size": 16},
        {"masking.num_large_masks": [0, 0]},
        {"pretrain": "imagenet"},
        FULL,
    ],
    "slsg_table_5": [
        {"simulation.use_structural": False},
        {"simulation.use_logical": False},
        {"foreground": "none"},
        {"simulation.mask_shape": "rect"},
        FULL,
    ],
    "slsg_table_6": [
        {"network.bottleneck_skip": False, "network.use_attention": False, "network.use_gcn": False},
        {"network.use_attention": False, "network.use_gcn": False},
        {"network.use_gcn": False},
        {"network.use_attention": False},
        {"network.remove_pos_sim": False},
        {"network.k": 7},
        FULL,
        {"network.k": 11},
    ],
    "slsg_table_7": [{"loss.use_l1": False}, {"loss.use_focal": False}, {"loss.use_aux": False}, FULL],
    "cut_swap_tables_1_2": [{**each, **ratio} for each, ratio in product(PRETEXTS, RATIOS)],
    "cut_swap_tables_3_4": [{**each, **ratio} for each, ratio in product(PRETEXTS, RATIOS)],
    "cut_swap_k": [*({"k": k, **SMALL} for k in (1, 2, 3, 5, 6)), SMALL],
    "cut_swap_clusters": [{"cluster": "random", **SMALL}, {"cluster": "min", **SMALL}, SMALL],
    "cut_swap_layers": [
        *({"saliency_layers": each, **SMALL} for each in ([4], [16], [30], [4, 16], [16, 30], [4, 16, 30])),
        SMALL,
    ],
    "cut_swap_anchors": [{**each, **ratio} for each, ratio in product([{"anchor_strategy": "topk"}, FULL], RATIOS)],
    "cut_swap_mode": [{"mode": "binary", **SMALL}, SMALL],
    "cut_swap_backbones": [
        {**backbone, **augmentation, **SMALL}
        for backbone in ({"backbone": "wide_resnet50_2"}, {"backbone": "tf_efficientnet_lite0"}, FULL)
        for augmentation in (PRETEXTS[0], FULL)
    ],
    "sbm_pfam_modules": [*MODULES, *2 * [*MODULES[:2], JIGSAW, FULL]],
    "sbm_pfam_jigsaw": [
        {"jigsaw.tiles": 2, "jigsaw.orders": 23},
        {"jigsaw.orders": 10},
        {"jigsaw.orders": 100},
        {"jigsaw.tiles": 4},
        {"jigsaw.selection": "random"},
        FULL,
    ],
    "sbm_pfam_coreset": [SMALL, {"coreset_sampling_ratio": 0.01}, FULL],
    "pouta_table_5": [
        {"variant": "vanilla"},
        {"use_hsg": False, "use_mss": False},
        {"use_mss": False},
        {"use_hsg": False},
        FULL,
    ],
}


def section(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))["benchmark"]


def rows(path: Path) -> list[Job]:
    """One job of each row."""
    return list({job.label: job for job in jobs_of(section(path), Setup())}.values())


@cache
def all_jobs() -> list[Job]:
    """Jobs of all configurations of benchmarks."""
    return [job for path in sorted((ROOT / "configs").glob("[ab]*/*.yaml")) for job in jobs_of(section(path), Setup())]


def is_about(printed: Published, job: Job) -> bool:
    row = {"model": job.label, "class": job.model_name, "options": as_text(job.model.get("init_args", {}))}
    return printed.is_about(row, (job.dataset, job.category))


@cache
def defaults() -> dict[str, dict[str, Any]]:
    """Arguments that the report knows to be ablated, by model; that they are its defaults is tested there."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for each in published():
        found[each.method] |= flat({**each.ablated, **each.defaults})
    return found


@each_file
def test_rows_are_those_of_the_table_and_can_be_built(path: Path) -> None:
    found = []
    for job in rows(path):
        with torch.device("meta"):  # neither memory nor initial weights
            model = get_model(dict(job.model), evaluator=False, visualizer=False)
        given = flat(job.model["init_args"])
        assert given.items() <= flat(dict(model.hparams)).items()
        assert given.pop("seed") == 0
        found.append({name: value for name, value in given.items() if value != defaults()[job.model_name][name]})
    assert sorted(map(as_text, found)) == sorted(map(as_text, ROWS[path.stem]))
    assert len(jobs_of(section(path), Setup())) % len(found) == 0


@each_file
def test_anomalib_can_collect_the_results(path: Path) -> None:
    """It makes one table of all jobs, which needs the same arguments in all."""
    assert len({frozenset(flatten_dict(run)) for run in get_iterator_from_grid_dict(section(path))}) == 1


@each_file
def test_every_row_of_a_printed_table_is_compared(path: Path) -> None:
    if path.stem not in NOT_PRINTED:
        assert [job.label for job in rows(path) if not any(is_about(each, job) for each in published())] == []


@pytest.mark.parametrize(
    "printed",
    [each for each in published() if each.method in {plugin.name for plugin in PLUGINS} and each.dataset != "MTL"],
    ids=lambda each: f"{each.method}-{each.dataset}-{each.setting}",
)
def test_every_printed_number_is_reached_by_a_configuration(printed: Published) -> None:
    jobs = [job for job in all_jobs() if job.model_name == printed.method]
    assert {job.category for job in jobs if is_about(printed, job)} == set(printed.values or printed.categories)


@each_file
def test_the_command_is_at_the_head_and_in_the_documentation(path: Path) -> None:
    file = f"configs/ablation/{path.name}"
    assert f"anomalib-plugins benchmark --config {file} --output {path.stem}.csv" in path.read_text(encoding="utf-8")
    assert f"`{path.name}`" in (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
