# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import csv
import os
import signal
import sys
from pathlib import Path

import pytest
import yaml
from anomalib.pipelines.benchmark.generator import BenchmarkJobGenerator
from anomalib.pipelines.components.runners import SerialRunner

from anomalib_plugins import SbmPfamPatchcore
from anomalib_plugins.__main__ import main
from anomalib_plugins.benchmark import predictions, results

from .conftest import forked

pytestmark = pytest.mark.usefixtures("few_calls")

CONFIG = Path(__file__).parents[3] / "configs" / "benchmark" / "smoke.yaml"
ARGUMENTS = ("benchmark", "--config", "smoke.yaml", "--seeds", "0", "--max-steps", "1", "--output", "smoke.csv")
MODELS = ["SbmPfamPadim", "SbmPfamPatchcore", "SbmPfamCfa"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the benchmarks run, with the configuration for fewer and smaller photos; they are drawn once."""
    folder = tmp_path_factory.mktemp("smoke")
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["benchmark"]["data"]["init_args"] |= {"image_size": 64, "num_train": 4, "num_test_good": 2}
    config["benchmark"]["model"]["init_args"] |= {"jigsaw_epochs": 1, "jigsaw_batch_size": 2}
    (folder / "smoke.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="forks a process")
def test_a_kill_loses_the_running_job_alone(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def die_in_the_second_job():
        SbmPfamPatchcore.training_step = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # nothing is tidied up
        main(ARGUMENTS)

    assert forked(die_in_the_second_job) == -signal.SIGKILL
    before = Path("smoke.csv").read_text(encoding="utf-8")
    assert len(results.read(Path("smoke.csv"))) == 1

    assert main(ARGUMENTS) == 0
    assert Path("smoke.csv").read_text(encoding="utf-8").startswith(before)
    rows = results.read(Path("smoke.csv"))
    assert [row["model"] for row in rows] == MODELS
    assert all(len(predictions.load(predictions.path_of(Path("smoke.csv"), row)).scores) == 12 for row in rows)


def test_anomalib_runs_it_too(folder, monkeypatch):
    monkeypatch.chdir(folder)
    section = yaml.safe_load(Path("smoke.yaml").read_text(encoding="utf-8"))["benchmark"]
    section["model"]["class_path"]["grid"] = MODELS[:2]
    section["seed"] = 0
    SerialRunner(BenchmarkJobGenerator("cpu")).run(section)
    (path,) = Path("runs/benchmark").glob("*/results.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["model.class_path"] for row in rows] == MODELS[:2]
    assert all(0 <= float(row["image_AUROC"]) <= 1 for row in rows)
