# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from anomalib.engine import engine
from anomalib.utils import path
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, Timer
from torch.utils.data import DataLoader

from anomalib_plugins import compat

from ..training import fit


class Looking(LightningModule):
    """Trains nothing, and uses Lightning's private parts in the middle of its first epoch."""

    automatic_optimization = False
    again: torch.Tensor
    steps: tuple[int, int]

    def training_step(self, batch, batch_idx):
        if batch_idx == 0:
            before = self.trainer.global_step
            compat.count_optimizer_step(self.trainer)
            self.steps = before, self.trainer.global_step

    def on_train_epoch_start(self):
        self.again = next(compat.fetch_anew(self.trainer))[0]

    def configure_optimizers(self):
        return None


def test_the_loader_can_be_asked_again_and_a_step_be_counted():
    model = fit(Looking(), DataLoader(torch.arange(4.0), batch_size=2), max_epochs=1)
    assert model.again.tolist() == [0.0, 1.0]
    assert model.steps == (0, 1)


@pytest.mark.parametrize("hook", [EarlyStopping.on_train_epoch_end, EarlyStopping.on_validation_end])
def test_early_stopping_checks_in_one_method(hook):
    assert compat.EARLY_STOPPING_CHECK in inspect.getsource(hook)
    assert callable(getattr(EarlyStopping, compat.EARLY_STOPPING_CHECK))


def test_a_timer_can_be_silenced(caplog):
    caplog.set_level("INFO")
    for silent in (False, True):
        caplog.clear()
        timer = Timer({"seconds": 0})
        if silent:
            compat.silence(timer)
        timer._check_time_remaining(Trainer(logger=False, accelerator="cpu"))
        assert ("Time limit reached" in caplog.text) != silent


def test_the_engine_makes_the_folder_of_a_run_by_the_function_that_is_replaced():
    assert engine.create_versioned_dir is path.create_versioned_dir
    assert path.create_versioned_dir.__module__ == "anomalib_plugins.compat"
    assert path._highest_version_dir(Path("no folder")) is None


def test_the_spec_of_a_module_tells_that_its_import_runs(tmp_path):
    helper = "import sys\nfrom anomalib_plugins.compat import import_runs\n"
    (tmp_path / "probe.py").write_text(f"{helper}assert import_runs(sys.modules['probe'].__spec__)")
    program = f"import probe\n{helper}assert not import_runs(probe.__spec__)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
