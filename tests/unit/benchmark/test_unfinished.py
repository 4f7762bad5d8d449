# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""A job that is killed goes on from its own checkpoint."""

import signal
import subprocess
import sys
from pathlib import Path

import torch

from anomalib_plugins.benchmark import command, results

# Dies in the n-th training step, as by ``kill -9``.
DRIVER = """
import os, signal, sys
from anomalib_plugins.benchmark import command
from anomalib_plugins.models import Pouta

def step(model, batch, left=[int(sys.argv[1])], learn=Pouta._step):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    learn(model, batch)

Pouta._step = step
command.main(sys.argv[2:])
"""


def arguments(root: Path, output: Path) -> list[str]:
    (options := root.parent / "options.yaml").write_text("Pouta: {epochs: 4, batch_size: 2, seed: 0}")
    return [
        *("--root", str(root), "--models", "Pouta", "--model-args", str(options), "--image-size", "32"),
        *("--accelerator", "cpu", "--batch-size", "2", "--checkpoint-every", "1e-5", "--output", str(output)),
    ]


def result(row: results.Row) -> dict[str, str]:
    return {name: row[name] for name in (*results.METRICS, "steps", "job")}


def test_a_job_killed_twice_leaves_the_row_of_an_unbroken_run(root: Path, tmp_path: Path) -> None:
    broken, whole = tmp_path / "broken.csv", tmp_path / "whole.csv"
    (driver := tmp_path / "driver.py").write_text(DRIVER)
    # Four epochs of two steps: killed in the fourth step, and again in the third after that.
    for step, taken in (("4", 3), ("3", 5)):
        died = subprocess.run([sys.executable, driver, step, *arguments(root, broken)], check=False)
        assert died.returncode == -signal.SIGKILL
        (checkpoint,) = tmp_path.glob("broken_unfinished/*/*.ckpt")
        assert torch.load(checkpoint, weights_only=True)["callbacks"]["Progress"]["count"] == taken
    command.main(arguments(root, broken))
    assert not list(tmp_path.glob("broken_unfinished/*"))
    command.main(arguments(root, whole))
    ((first,), (second,)) = results.read(broken), results.read(whole)
    assert result(first) == result(second)
    assert first["steps"] == "8"
    assert float(first["train_seconds"]) > 0
