# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import warnings

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from anomalib_plugins.phases.schedule import Phase, PhaseSchedule

from ...training import quiet_trainer


class Plateau(LightningModule):
    """Each phase logs a loss of its own name that stays where it is."""

    def __init__(self, *phases, falls=""):
        super().__init__()
        self.automatic_optimization = False
        self.layer = nn.Linear(1, 1)
        self.schedule = PhaseSchedule(phases, seed=0)
        self.falls = falls
        self.names: list[str] = []
        self.validated_after: list[int] = []

    def configure_callbacks(self):
        return [self.schedule]

    def configure_optimizers(self):
        return torch.optim.SGD(self.layer.parameters(), lr=0.01)

    def training_step(self, batch, batch_idx):
        for step in self.schedule.steps_of(batch[0]):
            self.names.append(step.phase)
            if not self.schedule.phase.full_pass:
                loss = 1 / len(self.names) if step.phase == self.falls else 5.0
                self.log(f"{step.phase}_loss", loss)
                self.log("train_loss", loss)

    def validation_step(self, batch, batch_idx):
        self.validated_after.append(len(self.names))


def fit(model, tmp_path, monitor, **options):
    stopping = EarlyStopping(monitor, **options)
    loader = DataLoader(TensorDataset(torch.zeros(4, 1)), batch_size=2)  # two steps an epoch
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[stopping], num_sanity_val_steps=0)
    trainer.fit(model, loader, loader)
    return trainer, stopping


def test_a_plateau_ends_its_phase_and_not_the_fit(tmp_path):
    model = Plateau(Phase("first", 2, steps=40), Phase("second", 2, steps=6))
    fit(model, tmp_path, "first_loss", patience=2)
    # The first epoch is the best, two more are no better; then one step, and the next phase has its whole length.
    assert model.names == ["first"] * 7 + ["second"] * 6


@pytest.mark.parametrize("mode", ["min", "max"])
def test_every_phase_is_watched_anew(tmp_path, mode):
    model = Plateau(Phase("first", 2, steps=40), Phase("second", 2, steps=40))
    fit(model, tmp_path, "train_loss", patience=2, mode=mode)
    # The second begins in mid-epoch: its first epoch is the best, two more are no better, then one step.
    assert model.names == ["first"] * 7 + ["second"] * 6


def test_what_gets_better_goes_on(tmp_path):
    model = Plateau(Phase("first", 2, steps=12), Phase("second", 2, steps=40), falls="first")
    fit(model, tmp_path, "train_loss", patience=2)
    assert model.names.count("first") == 12
    assert model.names.count("second") < 10


def test_a_memory_is_filled_whatever_was_stopped(tmp_path):
    model = Plateau(Phase("first", 2, steps=40), Phase("memory", 2, epochs=1, full_pass=True))
    fit(model, tmp_path, "first_loss", patience=1)
    assert model.names == ["first"] * 5 + ["memory"] * 2


def test_a_memory_that_begins_in_mid_epoch_is_filled(tmp_path):
    model = Plateau(Phase("first", 2, steps=5), Phase("memory", 1, epochs=1, full_pass=True))
    fit(model, tmp_path, "first_loss", patience=2)
    assert model.names == ["first"] * 5 + ["memory"] * 4


def test_the_final_weights_are_validated(tmp_path):
    model = Plateau(Phase("only", 2, steps=400))
    fit(model, tmp_path, "only_loss", patience=3)
    assert len(model.names) == 9
    assert model.validated_after[-1] == 9


def test_a_metric_that_no_phase_logs_is_said_with_those_there_are(tmp_path):
    model = Plateau(Phase("only", 2, steps=4))
    with pytest.warns(UserWarning, match="watched 'train_los', which no phase logged; there was: .*train_loss"):
        fit(model, tmp_path, "train_los")
    assert len(model.names) == 4


def test_a_metric_that_no_epoch_end_saw_is_not_called_missing(tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "EarlyStopping watched")
        fit(Plateau(Phase("only", 2, steps=1)), tmp_path, "train_loss")


def test_other_models_have_lightnings_own_again(tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "EarlyStopping watched")
        _, stopping = fit(Plateau(Phase("only", 2, steps=4)), tmp_path, "train_loss")
    assert "_run_early_stopping_check" not in vars(stopping)
