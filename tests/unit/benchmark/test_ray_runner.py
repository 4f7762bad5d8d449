# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import os
import signal
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from anomalib_plugins.benchmark import predictions, results
from anomalib_plugins.benchmark.jobs import Job
from anomalib_plugins.benchmark.runner import run
from anomalib_plugins.benchmark.setup import Setup

ray = pytest.importorskip("ray")

from anomalib_plugins.benchmark.ray_runner import in_parallel  # noqa: E402  # needs ray

MEASURED = {"train_seconds", "train_cpu_seconds", "latency_ms", "images_per_second", "peak_memory_mb"}


@dataclass(frozen=True)
class Mortal(Job):
    """A job whose process is killed the first time it runs, or that fails."""

    kill_once: Path | None = None
    fail: bool = False

    def run(self):
        if self.fail:
            msg = "on purpose"
            raise ValueError(msg)
        if self.kill_once and not self.kill_once.exists():
            self.kill_once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run()


def job(root, seed, **options):
    """Padim with random weights on the photos of the fixture."""
    model = {"class_path": "Padim", "init_args": {"backbone": "resnet18", "pre_trained": False, "n_features": 5}}
    data = {"class_path": "MVTecAD", "init_args": {"root": str(root), "category": "bolt", "num_workers": 0}}
    return Mortal("Padim", "data", "bolt", seed, model, data, Setup("cpu", image_size=32, threads=1), **options)


@pytest.fixture
def cluster():
    """Two workers that know this file."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_the_table_is_that_of_one_process_though_a_worker_is_killed_and_a_job_fails(root):
    serial, spread = root.parent / "serial.csv", root.parent / "ray.csv"
    assert run([job(root, seed) for seed in (0, 1, 2)], serial) == []
    killed = root.parent / "killed"
    jobs = [job(root, 0, kill_once=killed), job(root, 1), job(root, 2), job(root, 3, fail=True)]
    assert run(jobs, spread, in_parallel) == ["Padim data bolt, seed 3"]
    assert killed.exists()
    assert "ValueError: on purpose" in spread.with_suffix(".log").read_text()
    rows = [[{k: v for k, v in row.items() if k not in MEASURED} for row in results.read(p)] for p in (serial, spread)]
    assert rows[0] == rows[1]
    assert len({row["image_auroc"] + row["pixel_ap"] for row in rows[0]}) > 1  # seeds differ
    paths = [predictions.path_of(path, results.read(path)[0]) for path in (serial, spread)]
    assert (predictions.load(paths[0]).maps == predictions.load(paths[1]).maps).all()
    with pytest.raises(ValueError, match=r"needs \{'CPU': 64, 'GPU': 0.0\}, which no machine of the cluster has"):
        run(jobs, root.parent / "large.csv", partial(in_parallel, cpus=64))
