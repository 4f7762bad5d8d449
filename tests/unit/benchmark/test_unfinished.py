# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""A job that is killed goes on from its own checkpoint."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from anomalib_plugins.benchmark import command, results
from anomalib_plugins.benchmark.recorder import Progress


def arguments(root: Path, output: Path) -> list[str]:
    (options := root.parent / "options.yaml").write_text(
        "Slsg: {encoder: test_resnet, width: 0.1, pretrain_epochs: 2, pretrain_batch_size: 2, steps: 4, batch_size: 2, "
        "seed: 0}"
    )
    return [
        *("--root", str(root), "--models", "Slsg", "--model-args", str(options), "--image-size", "32"),
        *("--accelerator", "cpu", "--batch-size", "2", "--checkpoint-every", "1e-5", "--output", str(output)),
    ]


def die_in(step: int, argv: list[str]) -> None:
    """Run the command in this process, which dies in the given training step as by ``kill -9``."""
    count, ended = Progress.on_train_batch_end, []

    def fatal(*args: Any) -> None:
        ended.append(step)
        if len(ended) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        count(*args)

    Progress.on_train_batch_end = fatal
    command.main(argv)


def result(row: results.Row) -> dict[str, str]:
    return {name: row[name] for name in (*results.METRICS, "steps", "job")}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, which spares the seconds of importing anomalib")
def test_a_job_killed_twice_leaves_the_row_of_an_unbroken_run(root: Path, tmp_path: Path) -> None:
    broken, whole = tmp_path / "broken.csv", tmp_path / "whole.csv"
    # Four steps of either phase: killed in the fourth step, and again in the third after that.
    for step, taken in ((4, 3), (3, 5)):
        process = multiprocessing.get_context("fork").Process(target=die_in, args=(step, arguments(root, broken)))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        (checkpoint,) = tmp_path.glob("broken_unfinished/*/*.ckpt")
        assert torch.load(checkpoint, weights_only=True)["callbacks"]["Progress"]["count"] == taken
    command.main(arguments(root, broken))
    assert not list(tmp_path.glob("broken_unfinished/*"))
    command.main(arguments(root, whole))
    ((first,), (second,)) = results.read(broken), results.read(whole)
    assert result(first) == result(second)
    assert first["steps"] == "8"
    assert float(first["train_seconds"]) > 0
