# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from anomalib_plugins.models.phased import PhasedModule
from anomalib_plugins.phases.schedule import Phase, PhaseSchedule

from ...training import quiet_trainer


class Line(PhasedModule, LightningModule):
    """Fits a line, in steps of a given size."""

    pre_processor = post_processor = None

    def __init__(self, phase):
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Linear(3, 1)
        self.schedule = PhaseSchedule([phase], seed=0)
        self.norms: list[float] = []

    def training_step(self, batch, batch_idx):
        for step in self.schedule.steps_of(batch[0]):
            loss = (self.model(step.images.mean(dim=(2, 3))) - 1).square().mean()
            self.take_optimizer_step(self.optimizers(), loss, learning_rate=0.1 * (1 - step.progress))

    def validation_step(self, batch, batch_idx):
        """Nothing."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.model.parameters(), lr=1, momentum=0.9)

    def on_before_optimizer_step(self, optimizer):
        gradients = torch.cat([each.grad.flatten() for each in self.model.parameters()])
        self.norms.append(float(gradients.norm()))
        assert gradients.abs().max() < 100


def fit(model, tmp_path, **options):
    images = torch.rand(16, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    trainer = quiet_trainer(default_root_dir=tmp_path, **options)
    data = TensorDataset(images)
    trainer.fit(model, DataLoader(data, batch_size=3, shuffle=True), DataLoader(data, batch_size=16))
    return trainer


@pytest.mark.parametrize("length", [{"epochs": 3}, {"steps": 6}])
def test_accumulating_equals_larger_steps(tmp_path, length):
    at_once, in_parts = Line(Phase("only", 8, **length)), Line(Phase("only", 2, **length))
    fit(at_once, tmp_path)
    trainer = fit(in_parts, tmp_path, accumulate_grad_batches=4)
    assert len(in_parts.norms) == len(at_once.norms) == 6
    torch.testing.assert_close(in_parts.model.weight, at_once.model.weight)
    assert trainer.accumulate_grad_batches == 4


def test_gradients_that_wait_for_their_step_outlive_a_validation(tmp_path):
    plain, validated = Line(Phase("only", 2, epochs=2)), Line(Phase("only", 2, epochs=2))
    fit(plain, tmp_path, accumulate_grad_batches=4, limit_val_batches=0)
    fit(validated, tmp_path, accumulate_grad_batches=4, val_check_interval=1)
    assert torch.equal(validated.model.weight, plain.model.weight)


def test_the_trainer_keeps_its_settings_when_an_error_comes_before_the_fit_starts(tmp_path, monkeypatch):
    model, settings = Line(Phase("only", 8, epochs=1)), {"max_steps": 7, "max_epochs": 5, "limit_val_batches": 0.5}
    settings |= {"check_val_every_n_epoch": 3, "accumulate_grad_batches": 2, "gradient_clip_val": 0.5}
    monkeypatch.setattr(model, "setup", lambda stage: 1 / 0)
    trainer = Trainer(default_root_dir=tmp_path, accelerator="cpu", logger=False, **settings)
    with pytest.raises(ZeroDivisionError):
        trainer.fit(model, DataLoader(TensorDataset(torch.rand(4, 3, 2, 2))))
    assert {name: getattr(trainer, name) for name in settings} == settings


def test_max_steps_counts_accumulated_ones(tmp_path):
    model = Line(Phase("only", 2, steps=100))
    fit(model, tmp_path, accumulate_grad_batches=4, max_steps=5)
    assert len(model.norms) == 5
    assert model.schedule.total_steps == 20


def test_what_is_left_of_a_phase_is_accumulated_too(tmp_path):
    model = Line(Phase("only", 4, epochs=1))
    fit(model, tmp_path, accumulate_grad_batches=3)
    assert len(model.norms) == 2


def test_clipping_by_norm_clips(tmp_path):
    free, clipped = Line(Phase("only", 8, epochs=2)), Line(Phase("only", 8, epochs=2))
    fit(free, tmp_path)
    trainer = fit(clipped, tmp_path, gradient_clip_val=0.01)
    assert min(free.norms) > 0.01
    assert clipped.norms == pytest.approx([0.01] * 4, rel=1e-3)
    assert trainer.gradient_clip_val == pytest.approx(0.01)


def test_clipping_by_value_clips(tmp_path):
    model = Line(Phase("only", 8, epochs=1))
    fit(model, tmp_path, gradient_clip_val=0.01, gradient_clip_algorithm="value")
    assert model.norms == pytest.approx([0.02] * 2, rel=1e-3)  # of four values


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_a_precision_that_networks_do_not_compute_in_is_refused(tmp_path, precision):
    with pytest.raises(ValueError, match=f"Line computes in precision 32-true, bf16-mixed, 16-mixed, not {precision}"):
        fit(Line(Phase("only", 8, epochs=1)), tmp_path, precision=precision)


def test_precision_16_mixed_becomes_bf16_mixed_on_a_cpu_and_lightning_says_so(tmp_path):
    model = Line(Phase("only", 8, epochs=1))
    with pytest.warns(UserWarning, match="AMP with fp16 is not supported on CPU. Using `precision='bf16-mixed'`"):
        trainer = fit(model, tmp_path, precision="16-mixed")
    assert trainer.precision == "bf16-mixed"
    assert len(model.norms) == 2


def test_two_devices_may_not_fill_a_memory_with_half_of_the_images_each(tmp_path):
    model = Line(Phase("memory", 8, epochs=1, full_pass=True))
    with pytest.raises(Exception, match="Line fills its memory on one device, not 2: set devices=1"):
        fit(model, tmp_path, devices=2, strategy="ddp_fork")
