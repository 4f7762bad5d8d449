# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import os
import signal
import sys

import pytest
import torch

from anomalib_plugins.benchmark import command, results
from anomalib_plugins.benchmark.recorder import Progress

from .conftest import forked

pytestmark = pytest.mark.usefixtures("few_calls")

OPTIONS = """
Slsg: {encoder: test_resnet, width: 0.1, pretrain_epochs: 2, pretrain_batch_size: 2, steps: 4, batch_size: 2, seed: 0}
"""


def arguments(root, output):
    (options := root.parent / "options.yaml").write_text(OPTIONS)
    return [
        *("--root", str(root), "--models", "Slsg", "--model-args", str(options), "--image-size", "32"),
        *("--accelerator", "cpu", "--batch-size", "2", "--checkpoint-every", "1e-5", "--output", str(output)),
    ]


def result(row):
    return {name: row[name] for name in (*results.METRICS, "steps", "job")}


def die_in(step, arguments):
    """Run the command until a training step, which is the end as by ``kill -9``."""
    ended, count = [], Progress.on_train_batch_end

    def fatal(*args):
        ended.append(args)
        if len(ended) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        count(*args)

    Progress.on_train_batch_end = fatal
    command.main(arguments)


@pytest.mark.skipif(sys.platform != "linux", reason="forks processes")
def test_a_job_killed_twice_leaves_the_row_of_an_unbroken_run(root, tmp_path):
    broken, whole = tmp_path / "broken.csv", tmp_path / "whole.csv"
    for step, kept in ((4, 3), (3, 5)):  # of four steps of either phase
        assert forked(lambda step=step: die_in(step, arguments(root, broken))) == -signal.SIGKILL
        (file,) = tmp_path.glob("broken_unfinished/*/*.ckpt")
        assert torch.load(file, weights_only=True)["callbacks"]["Progress"]["count"] == kept
    command.main(arguments(root, broken))
    assert not list(tmp_path.glob("broken_unfinished/*"))
    command.main(arguments(root, whole))
    ((first,), (second,)) = results.read(broken), results.read(whole)
    assert result(first) == result(second)
    assert first["steps"] == "8"
    assert float(first["train_seconds"]) > 0
