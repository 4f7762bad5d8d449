# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Processes that are killed, stopped or lose a part of themselves in the middle of training."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback
from torch.testing import assert_close

from anomalib_plugins import Slsg
from anomalib_plugins.callbacks.data_check import DataCheck
from anomalib_plugins.callbacks.safe_checkpoints import SafeCheckpoints

from .conftest import datamodule, engine, small

# Three batches an epoch: two epochs of the pretext, two of segmentation.
BATCH = {"pretext": 4, "segmentation": 10}


class Send(Callback):
    """Sends this process a signal in the middle of a batch."""

    def __init__(self, number, batch, then=0):
        self.number, self.batch, self.then = number, batch, then

    def on_train_batch_start(self, trainer, *_):
        if trainer.fit_loop.total_batch_idx == self.batch:
            os.kill(os.getpid(), self.number)
            time.sleep(self.then)


class SendAll(Send):
    """Sends its process group a signal, and gives the others time to die."""

    def on_train_batch_start(self, trainer, *_):
        if trainer.fit_loop.total_batch_idx == self.batch:
            # By another process: torch takes a SIGTERM of the parent for the end of the work.
            kill = f"kill -{int(self.number)} -{os.getpgrp()}"
            subprocess.run(["sh", "-c", kill], start_new_session=True, check=True)
            time.sleep(1)


class KillLoader(Callback):
    """Kills a process that loads images."""

    def on_train_batch_start(self, trainer, *_):
        for worker in multiprocessing.active_children():
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)


def train(part, folder, *callbacks, ckpt_path=None, saves=False, num_workers=0):
    """Train Slsg; returns its state."""
    model, data = small(Slsg), datamodule(part, num_workers=num_workers)
    engine(folder, *callbacks, saves=saves).fit(model, datamodule=data, ckpt_path=ckpt_path)
    return dict(model.state_dict())


@pytest.fixture(scope="module")
def unbroken(original, tmp_path_factory):
    """The state after a training that nothing happened to."""
    return train(original, tmp_path_factory.mktemp("unbroken"))


@pytest.mark.parametrize("phase", BATCH)
def test_killed_in_any_phase_resumes_to_the_same_result(original, tmp_path, fork, unbroken, phase):
    """Also where processes load the images."""
    child = fork(lambda: train(original, tmp_path, Send(signal.SIGKILL, BATCH[phase]), saves=True, num_workers=1))
    assert child.wait() == -signal.SIGKILL
    resumed = train(original, tmp_path / "resumed", ckpt_path=tmp_path / "weights/model.ckpt", num_workers=1)
    assert_close(resumed, unbroken, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("number", "code", "batch"), [(signal.SIGTERM, 143, BATCH["segmentation"]), (signal.SIGINT, 130, BATCH["pretext"])]
)
def test_stopped_training_saves_says_so_in_its_exit_code_and_resumes_to_the_same_result(
    original, tmp_path, fork, unbroken, number, code, batch
):
    child = fork(lambda: train(original, tmp_path, Send(number, batch), saves=True))
    assert child.wait() == code
    checkpoint = tmp_path / "weights/interrupted.ckpt"
    assert f"What was trained is in {checkpoint}: --ckpt_path continues from it" in child.said
    loops = torch.load(checkpoint, weights_only=True)["loops"]["fit_loop"]
    assert loops["epoch_loop.batch_progress"]["total"]["completed"] == batch + 1  # in the middle of an epoch
    resumed = train(original, tmp_path / "resumed", ckpt_path=checkpoint)
    assert_close(resumed, unbroken, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_the_processes_that_load_images_too_saves_and_is_no_error(original, tmp_path, fork, number, code):
    """As systemd and `timeout` send it. In the second epoch loader processes have inherited our own handler."""

    def run():
        os.setpgid(0, 0)
        train(original, tmp_path, SendAll(number, batch=7), saves=True, num_workers=2)

    child = fork(run)
    assert child.wait() == code
    assert (tmp_path / "weights/interrupted.ckpt").exists()
    assert child.said.count("training ends with this batch") == 1
    assert "Traceback" not in child.said
    assert "DataLoader worker" not in child.said


def test_a_batch_that_does_not_end_is_left_after_the_grace(original, tmp_path, fork):
    running = engine(tmp_path, SafeCheckpoints(grace=0.5), Send(signal.SIGTERM, batch=1, then=60))
    child = fork(lambda: running.fit(small(Slsg, pretrain="none"), datamodule=datamodule(original)))
    assert child.wait(40) == 143
    assert not (tmp_path / "weights/interrupted.ckpt").exists()


def test_a_killed_loader_process_is_named(original, tmp_path, fork):
    data = datamodule(original, num_workers=1, train_batch_size=1)  # of which some are still to be loaded
    running = engine(tmp_path, KillLoader(), saves=False)
    child = fork(lambda: running.fit(small(Slsg, pretrain="none"), datamodule=data))
    assert child.wait() == 1
    assert "A process that loads images has been killed" in child.said
    assert "num_workers" in child.said


@pytest.mark.parametrize("kind", [ConnectionResetError, EOFError])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_process_that_dies_while_it_hands_over_is_named_and_nothing_else(kind, workers):
    error, trainer = kind("cut off"), SimpleNamespace(datamodule=SimpleNamespace(num_workers=workers))
    DataCheck().on_exception(trainer, None, error)
    said = " ".join([*map(str, error.args), *getattr(error, "__notes__", [])])  # Python 3.10 has no notes
    assert ("A process that loads images has been killed" in said) == (workers > 0)


def test_the_command_line_ends_with_143(original, tmp_path):
    options = {"image_size": "[64,64]", "steps": 10_000, "seed": 0, "pretrain": "none"}
    options |= {"encoder": "test_resnet", "width": 0.1}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "anomalib_plugins", "train", "--model", "Slsg"),
                *(f"--model.{name}={value}" for name, value in options.items()),
                *("--data", "MVTecAD", "--data.root", str(original.parent), "--data.category", original.name),
                *("--data.num_workers=0", "--trainer.enable_progress_bar=false", "--default_root_dir", str(tmp_path)),
            ],
            stdout=log,
            stderr=log,
            cwd=tmp_path,
        )
        for _ in range(1200):
            if "Phases: " in (tmp_path / "log").read_text() or process.poll() is not None:
                break
            time.sleep(0.1)
        time.sleep(1)
        process.terminate()
        assert process.wait(60) == 143, (tmp_path / "log").read_text()
    assert list(tmp_path.rglob("interrupted.ckpt"))
