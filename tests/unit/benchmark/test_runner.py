# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import shutil
from pathlib import Path

import pytest
from PIL import Image

from anomalib_plugins.benchmark import results
from anomalib_plugins.benchmark.jobs import Job
from anomalib_plugins.benchmark.runner import run
from anomalib_plugins.benchmark.setup import Setup


def grey(root):
    data = {"class_path": "MVTecAD", "init_args": {"root": str(root), "category": "bolt", "num_workers": 0}}
    setup = Setup("cpu", image_size=32, threads=1, max_steps=1)
    return Job("GreyIterative", "data", "bolt", 0, {"class_path": "GreyIterative", "init_args": {}}, data, setup)


def test_a_job_of_two_configurations_runs_once(root, tmp_path):
    jobs = [grey(root) for _ in range(2)]
    assert run(jobs, tmp_path / "results.csv") == []
    assert len(results.read(tmp_path / "results.csv")) == 1


def test_folders_of_one_name_are_not_taken_for_each_other_but_moved_data_are(root, tmp_path):
    other = Path(shutil.copytree(root, tmp_path / "siteB" / "data"))
    output = tmp_path / "results.csv"
    with pytest.raises(ValueError, match="have the same name, so that their results could not be told apart"):
        run([grey(root), grey(other)], output)
    run([grey(root)], output)
    run([grey(other)], output)  # a copy
    Image.new("RGB", (32, 32)).save(min((other / "bolt/test/good").iterdir()))
    with pytest.raises(ValueError, match=r"has results of another folder of that name, with .*good.* --output"):
        run([grey(other)], output)
    next(tmp_path.rglob("*.npz")).write_bytes(b"PK damaged")
    run([grey(other)], output)
    shutil.move(root, tmp_path / "gone")
    run([grey(other)], output)
    assert len(results.read(output)) == 1
