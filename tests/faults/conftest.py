# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
from anomalib.callbacks import ModelCheckpoint
from anomalib.data import MVTecAD
from anomalib.engine import Engine
from PIL import Image

from anomalib_plugins import Pouta, Slsg

from ..photos import draw

SIZE = (64, 64)
# Models that are trained here: one phase and two, of a second each.
SMALL = {
    Pouta: {"epochs": 3, "batch_size": 2},
    Slsg: {
        "encoder": "test_resnet",
        "width": 0.1,
        "pretrain_epochs": 2,
        "pretrain_batch_size": 2,
        "steps": 6,
        "batch_size": 2,
    },
}


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """MVTec AD's layout: 6 good photos to train on, 3 good ones and 3 of each of two defects with masks to test on."""
    root, rng = tmp_path_factory.mktemp("original") / "part", np.random.default_rng(0)
    for i in range(6):
        draw(root / f"train/good/{i:03}.png", rng)
    for i in range(3):
        draw(root / f"test/good/{i:03}.png", rng)
        for kind in ("hole", "notch"):
            mask = draw(root / f"test/{kind}/{i:03}.png", rng, defect=True)
            path = root / f"ground_truth/{kind}/{i:03}_mask.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.uint8(mask) * 255).save(path)
    return root


@pytest.fixture
def part(original, tmp_path):
    """A copy of the photos, to be spoilt."""
    return shutil.copytree(original, tmp_path / "part")


@contextmanager
def mounted(folder, *options):
    """A folder with something mounted on it; the test is skipped, with what mount said, where that is not allowed."""
    folder.mkdir()
    done = subprocess.run(["mount", *options, folder], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(reason=f"this test needs the right to mount: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def datamodule(part, **arguments):
    """A datamodule of the photos."""
    return MVTecAD(
        **{
            "root": part.parent,
            "category": part.name,
            "train_batch_size": 2,
            "eval_batch_size": 3,
            "num_workers": 0,
            "seed": 0,
            **arguments,
        },
    )


def small(model=Pouta, **arguments):
    """A model that trains in a second."""
    return model(**{"image_size": SIZE, "seed": 0, **SMALL[model], **arguments})


def engine(folder, *callbacks, saves=True, **arguments):
    """An engine that saves at the end of each epoch, or never: a checkpoint takes longer than an epoch."""
    saving = ModelCheckpoint(
        dirpath=folder / "weights", filename="model", save_on_train_epoch_end=True, save_top_k=int(saves)
    )
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return Engine(
        default_root_dir=folder,
        callbacks=[saving, *callbacks],
        accelerator="cpu",
        **{**quiet, **arguments},
    )


class Child:
    """A real process, forked: it knows all that was imported here and costs a second less than none."""

    def __init__(self, pid, log):
        self.pid, self.log = pid, log

    def wait(self, seconds=60):
        """Exit code as a shell has it; kills it if it takes too long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                print(self.said)  # which pytest shows if the test fails
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        pytest.fail(f"the process did not end in {seconds} seconds:\n{self.said}")

    @property
    def said(self):
        """What it has printed."""
        return self.log.read_text()


@pytest.fixture
def fork(tmp_path):
    """Runs a function in a process of its own."""

    def start(function):
        log = tmp_path / f"log{time.monotonic_ns()}"
        pid = os.fork()
        if pid:
            return Child(pid, log)
        code = 1
        try:
            stream = log.open("w", buffering=1)
            for number in (1, 2):
                os.dup2(stream.fileno(), number)
            sys.stdout = sys.stderr = stream
            warnings.showwarning = lambda message, *_, **__: print(message, file=stream)  # pytest records them
            function()
            code = 0
        except SystemExit as error:
            code = error.code or 0
        except BaseException:  # noqa: BLE001  # what a fresh interpreter would print
            traceback.print_exc(file=stream)
        finally:
            stream.flush()
            os._exit(code)

    return start
