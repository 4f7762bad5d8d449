# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""A job that is killed goes on from its own checkpoint."""

import subprocess
import sys
from pathlib import Path

from anomalib_plugins.benchmark import command, results

# Runs the command in children that die in the given training step, as by ``kill -9``, and prints how each ended and how
# many steps its checkpoint holds. Four steps of either phase: killed in the fourth, and again in the third after that.
DRIVER = """
import os, signal, sys
from pathlib import Path
import torch
from anomalib_plugins.benchmark import command, jobs
from anomalib_plugins.benchmark.recorder import Progress

def die_in(step, ended=[], count=Progress.on_train_batch_end):
    def fatal(*args):
        ended.append(args)
        if len(ended) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        count(*args)
    Progress.on_train_batch_end = fatal
    command.main(sys.argv[1:])

for step in (4, 3):
    child = os.fork()
    if not child:
        die_in(step)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    (file,) = Path().glob("broken_unfinished/*/*.ckpt")
    print(code, torch.load(file, weights_only=True)["callbacks"]["Progress"]["count"], flush=True)
"""
OPTIONS = """
Slsg: {encoder: test_resnet, width: 0.1, pretrain_epochs: 2, pretrain_batch_size: 2, steps: 4, batch_size: 2, seed: 0}
"""


def arguments(root: Path, output: Path) -> list[str]:
    (options := root.parent / "options.yaml").write_text(OPTIONS)
    return [
        *("--root", str(root), "--models", "Slsg", "--model-args", str(options), "--image-size", "32"),
        *("--accelerator", "cpu", "--batch-size", "2", "--checkpoint-every", "1e-5", "--output", str(output)),
    ]


def result(row: results.Row) -> dict[str, str]:
    return {name: row[name] for name in (*results.METRICS, "steps", "job")}


def test_a_job_killed_twice_leaves_the_row_of_an_unbroken_run(root: Path, tmp_path: Path) -> None:
    broken, whole = tmp_path / "broken.csv", tmp_path / "whole.csv"
    driver = [sys.executable, "-c", DRIVER, *arguments(root, broken)]
    died = subprocess.run(driver, cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True)
    assert died.stdout == "-9 3\n-9 5\n"
    command.main(arguments(root, broken))
    assert not list(tmp_path.glob("broken_unfinished/*"))
    command.main(arguments(root, whole))
    ((first,), (second,)) = results.read(broken), results.read(whole)
    assert result(first) == result(second)
    assert first["steps"] == "8"
    assert float(first["train_seconds"]) > 0
