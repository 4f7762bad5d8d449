# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

from anomalib_plugins.benchmark import results
from anomalib_plugins.benchmark.jobs import Job
from anomalib_plugins.benchmark.runner import run
from anomalib_plugins.benchmark.setup import Setup


def test_a_job_of_two_configurations_runs_once(root: Path, tmp_path: Path) -> None:
    data = {"class_path": "MVTecAD", "init_args": {"root": str(root), "category": "bolt", "num_workers": 0}}
    setup = Setup("cpu", image_size=32, threads=1, max_steps=1)
    model = {"class_path": "GreyIterative", "init_args": {}}
    jobs = [Job("GreyIterative", "data", "bolt", 0, model, data, setup) for _ in range(2)]
    assert run(jobs, tmp_path / "results.csv") == []
    assert len(results.read(tmp_path / "results.csv")) == 1
