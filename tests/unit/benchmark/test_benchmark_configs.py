# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The configurations in ``configs/benchmark``: what they run, with our command and with ``anomalib benchmark``."""

import inspect
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import anomalib.models
import pytest
import yaml
from anomalib.data.datasets.image.btech import CATEGORIES as BTECH
from anomalib.data.datasets.image.mvtec_loco import CATEGORIES as LOCO
from anomalib.data.datasets.image.mvtecad import CATEGORIES as MVTEC_AD
from anomalib.data.datasets.image.visa import CATEGORIES as VISA
from anomalib.pipelines import Benchmark
from anomalib.pipelines.benchmark import generator
from anomalib.pipelines.benchmark.generator import BenchmarkJobGenerator
from anomalib.pipelines.benchmark.job import BenchmarkJob

from anomalib_plugins.benchmark.config import jobs_of
from anomalib_plugins.benchmark.jobs import Job
from anomalib_plugins.benchmark.setup import Setup
from anomalib_plugins.data.dagm import CATEGORIES as DAGM

FILES = sorted((Path(__file__).parents[3] / "configs" / "benchmark").glob("*.yaml"))
TEXTURES = ("carpet", "grid", "leather", "tile", "wood")
SBM_PFAM = ("SbmPfamPadim", "SbmPfamPatchcore", "SbmPfamCfa")

# What each file is to run: (model, data set, category), each once.
CONTENT: dict[str, set[tuple[str, str, str]]] = {
    "slsg_mvtec_ad": set(product(["Slsg"], ["MVTecAD"], MVTEC_AD)),
    "slsg_btech": set(product(["Slsg"], ["BTech"], BTECH)),
    "slsg_mvtec_loco": set(product(["Slsg"], ["MVTecLOCO"], LOCO)),
    "cut_swap_patchcore_mvtec_ad": set(
        product([f"CutSwapPatchcore coreset_sampling_ratio={r}" for r in (0.001, 0.01)], ["MVTecAD"], MVTEC_AD)
    ),
    "cut_swap_patchcore_visa": set(
        product([f"CutSwapPatchcore coreset_sampling_ratio={r}" for r in (0.001, 0.01)], ["Visa"], VISA)
    ),
    "sbm_pfam_mvtec_ad_objects": set(product(SBM_PFAM, ["MVTecAD"], set(MVTEC_AD).difference(TEXTURES))),
    "sbm_pfam_mvtec_ad_textures": set(product(SBM_PFAM, ["MVTecAD"], TEXTURES)),
    "pouta_mvtec_ad": set(product(["Pouta"], ["MVTecAD"], MVTEC_AD)),
    "pouta_visa": set(product(["Pouta"], ["Visa"], VISA)),
    "pouta_dagm": set(product(["Pouta"], ["Dagm"], DAGM)),
    "pouta_few_shot": set(product(["Pouta"], [f"FewShot MVTecAD k={k}" for k in (2, 4, 8)], MVTEC_AD)),
    "comparison_ours": set(product(["Slsg", "CutSwapPatchcore", "Pouta", *SBM_PFAM], ["MVTecAD"], MVTEC_AD)),
    "comparison_anomalib": set(product(["Padim", "Patchcore", "Cfa", "Draem"], ["MVTecAD"], MVTEC_AD)),
    "comparison_efficient_ad": set(product(["EfficientAd"], ["MVTecAD"], MVTEC_AD)),
    "smoke": set(product(SBM_PFAM, ["DemoParts"], ["DemoParts"])),
}
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def section(path: Path) -> dict[str, Any]:
    """What anomalib's command reads of a file."""
    config = Benchmark()._get_args(type("Arguments", (), {"config": path}))
    assert config.keys() == {"accelerator", "benchmark"}
    assert config["accelerator"] in {"cpu", "cuda"}
    return config["benchmark"]


def jobs(path: Path) -> list[Job]:
    """What our command makes of it."""
    return jobs_of(section(path), Setup())


@each_file
def test_each_file_runs_what_its_name_says(path: Path) -> None:
    made = Counter((job.label, job.dataset, job.category) for job in jobs(path))
    assert made.keys() == CONTENT[path.stem]
    assert set(made.values()) == {2 if path.stem == "smoke" else 1}  # two seeds


@each_file
def test_models_know_their_arguments_and_have_the_papers_schedule(path: Path) -> None:
    for job in jobs(path):
        arguments = job.model.get("init_args", {})
        signature = inspect.signature(getattr(anomalib.models, job.model_name))
        signature.bind(**arguments)
        if path.stem != "smoke":
            assert arguments.keys() <= {"seed", "coreset_sampling_ratio", "shape_bias", "pfam_training"}
    if path.stem.startswith("sbm_pfam"):
        assert {job.model["init_args"]["shape_bias"] for job in jobs(path)} == {path.stem.endswith("objects")}


@each_file
def test_anomalib_makes_the_same_jobs_and_can_collect_their_results(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_anomalib_cannot_collect_results_with_other_columns() -> None:
    with pytest.raises(KeyError):
        BenchmarkJob.collect([{"a": 1}, {"a": 1, "b": 2}])


@each_file
def test_nothing_but_a_choice_is_called_a_grid(path: Path) -> None:
    def names(config: Any) -> list[str]:
        if not isinstance(config, dict):
            return [name for each in config for name in names(each)] if isinstance(config, list) else []
        return [*config, *(name for each in config.values() for name in names(each))]

    assert {name for name in names(yaml.safe_load(path.read_text(encoding="utf-8"))) if "grid" in name} <= {"grid"}
