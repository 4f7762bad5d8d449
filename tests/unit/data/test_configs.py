# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Claims about the configurations in ``configs/data`` and ``configs/benchmark``: anomalib builds what they say."""

from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from anomalib.data import AnomalibDataModule
from anomalib.data.datasets.image.mvtecad import CATEGORIES as MVTEC_AD
from anomalib.models import get_model
from anomalib.pipelines import Benchmark
from anomalib.pipelines.benchmark import generator
from anomalib.pipelines.benchmark.generator import BenchmarkJobGenerator
from jsonargparse import ArgumentParser

from anomalib_plugins.data import Dagm, FewShot
from anomalib_plugins.data.dagm import CATEGORIES as DAGM

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("config", sorted((CONFIGS / "data").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_command_line_builds_each_datamodule(config: Path):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(AnomalibDataModule, "data")
    module = parser.instantiate_classes(parser.parse_args(["--data", str(config)])).data
    class_path = yaml.safe_load(config.read_text(encoding="utf-8"))["class_path"]
    assert type(module).__name__ == class_path.rpartition(".")[2]


def jobs(name: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What anomalib's benchmark makes of a file, but for the models: of those only the configuration."""
    monkeypatch.setattr(generator, "get_model", lambda config: config)
    arguments = Benchmark()._get_args(SimpleNamespace(config=CONFIGS / "benchmark" / f"{name}.yaml"))
    assert arguments["accelerator"] in {"cpu", "cuda"}
    return list(BenchmarkJobGenerator("cpu").generate_jobs(arguments["benchmark"], None))


def test_few_shot_is_every_k_on_every_category_of_mvtec_ad(monkeypatch: pytest.MonkeyPatch):
    made = [job.datamodule for job in jobs("pouta_few_shot", monkeypatch)]
    assert {type(data) for data in made} == {FewShot}
    assert sorted((data.k, data.category) for data in made) == sorted(product((2, 4, 8), MVTEC_AD))
    assert {(data.name, data.train_batch_size) for data in made} == {(f"MVTecAD_k{k}_s0", 8) for k in (2, 4, 8)}


def test_dagm_is_every_class(monkeypatch: pytest.MonkeyPatch):
    made = [job.datamodule for job in jobs("pouta_dagm", monkeypatch)]
    assert [type(data) for data in made] == [Dagm] * 10
    assert tuple(data.category for data in made) == DAGM


@pytest.mark.parametrize("config", sorted((CONFIGS / "benchmark").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_job_has_the_same_model_with_the_papers_schedule(config: Path, monkeypatch: pytest.MonkeyPatch):
    first, *others = [job.model for job in jobs(config.stem, monkeypatch)]
    assert all(model == first for model in others)
    model = get_model(first)
    assert type(model).__name__ == "Pouta"
    assert (model.hparams.epochs, *model.hparams.image_size) == (600, 224, 224)
