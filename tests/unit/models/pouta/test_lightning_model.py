# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What Pouta trains and on what; which options are refused. The rest is in ``tests/contract``."""

import pytest
import torch
from torch.optim import Adam
from torch.testing import assert_close

from anomalib_plugins.models import Pouta
from anomalib_plugins.models.pouta import lightning_model
from anomalib_plugins.models.pouta.lightning_model import decay
from anomalib_plugins.phases.schedule import Step

from ....refusals import refusals
from ....training import fit, good_images

SIZE = (32, 32)
SHORT = {"image_size": SIZE, "epochs": 1, "batch_size": 2, "seed": 0}


def record(model, monkeypatch):
    """Let training take no steps, and list those it would take."""
    steps = []
    monkeypatch.setattr(model, "_step", steps.append)
    return steps


def step_of(count, seed=0):
    images = torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(seed)
    return Step("training", images, [], torch.zeros(count), images, torch.arange(count), 0.0, generator)


def test_it_trains_on_simulated_anomalies_and_is_to_reconstruct_the_images_without(monkeypatch):
    model, seen = Pouta(**SHORT, anomaly_probability=1.0), []
    forward, loss = model.model.forward, model.loss.forward
    monkeypatch.setattr(model.model, "forward", lambda images: seen.append(images) or forward(images))
    monkeypatch.setattr(model.loss, "forward", lambda *args: seen.extend(args[1:]) or loss(*args))
    data = good_images(2)
    fit(model, data)
    mixed, target, mask = seen[:3]  # then come the training photos, which give the threshold
    assert_close(target, next(iter(data)).image, rtol=0, atol=0)
    assert_close(mask.bool(), (mixed != target).any(dim=1, keepdim=True))
    assert mask.flatten(1).any(dim=1).all()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_thresholds_without_validation_are_those_of_the_last_fit_in_its_precision(precision):
    model, data = Pouta(**SHORT), good_images(2)
    fit(model, data, precision=precision)
    first = model.post_processor.image_threshold.clone()
    fit(model, data, precision=precision)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        highest = model.eval().model(next(iter(data)).image).pred_score.max().detach()
    assert float(model.post_processor.image_threshold) == pytest.approx(float(highest), rel=1e-5)
    assert not torch.equal(model.post_processor.image_threshold, first)


def test_half_of_the_images_stay_normal():
    model = Pouta(**SHORT)
    made = model.simulate(step_of(64))
    anomalous = made.mask.flatten(1).any(dim=1)
    assert anomalous.float().mean().item() == pytest.approx(0.5, abs=0.15)
    assert_close(made.kind.bool(), anomalous)
    images = step_of(64).images
    assert_close(made.image[~anomalous], images[~anomalous], rtol=0, atol=0)
    assert (made.image[anomalous] != images[anomalous]).flatten(1).any(dim=1).all()


def test_a_step_without_any_anomaly_leaves_the_images_as_they_are():
    model = Pouta(**SHORT, anomaly_probability=1e-9)
    made = model.simulate(step_of(3))
    assert_close(made.image, step_of(3).images, rtol=0, atol=0)
    assert not made.mask.any()


def test_anomalies_may_copy_from_the_other_images_at_hand(monkeypatch):
    model, seen = Pouta(**SHORT, anomaly_probability=1.0), []
    simulate = model.simulator.simulate
    monkeypatch.setattr(model.simulator, "simulate", lambda i, pool, g: seen.append(len(pool)) or simulate(i, pool, g))
    model.simulate(step_of(2)._replace(at_hand=torch.rand(7, 3, *SIZE)))
    assert seen == [7]


def test_learning_rate_falls_to_a_fifth_at_four_fifths_and_at_nine_tenths(monkeypatch):
    model = Pouta(**{**SHORT, "epochs": 60})
    steps = record(model, monkeypatch)
    fit(model, good_images(1))
    assert len(steps) == 60
    rates = [model.learning_rate * decay(steps[epoch].progress) for epoch in (0, 47, 48, 53, 54, 59)]
    assert rates == pytest.approx([2e-4, 2e-4, 4e-5, 4e-5, 8e-6, 8e-6])


def test_optimizer_follows_the_fall_of_the_learning_rate(monkeypatch):
    progress = []
    monkeypatch.setattr(lightning_model, "decay", lambda done: progress.append(done) or 0.5)
    model = fit(Pouta(**SHORT, learning_rate=1e-3))
    assert progress == [0, 0.5]
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(5e-4)


def test_optimizer_is_that_of_the_paper():
    model = Pouta(image_size=SIZE)
    optimizer = model.configure_optimizers()
    assert isinstance(optimizer, Adam)
    assert optimizer.defaults["lr"] == pytest.approx(2e-4)
    assert optimizer.defaults["betas"] == (0.9, 0.999)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.model.parameters()))


def test_schedule_is_that_of_the_paper():
    (phase,) = Pouta().schedule.phases
    assert (phase.epochs, phase.batch_size) == (600, 8)


@pytest.mark.parametrize(("least", "steps"), [(1, [2] * 3), (3, [2] * 3), (4, [2] * 6), (9, [2] * 9)])
def test_few_images_are_repeated_until_an_epoch_has_enough_steps(monkeypatch, least, steps):
    model = Pouta(**SHORT, min_steps_per_epoch=least)
    taken = record(model, monkeypatch)
    fit(model, good_images(6, batch_size=6))
    assert [len(step.images) for step in taken] == steps
    assert [step.progress for step in taken] == pytest.approx([i / len(steps) for i in range(len(steps))])
    assert len({step.generator.initial_seed() for step in taken}) == len(steps), "each repeat has anomalies of its own"


@pytest.mark.parametrize("variant", ["pouta", "vanilla"])
def test_training_moves_every_parameter(variant):
    model = Pouta(**SHORT, variant=variant)
    before = {name: each.clone() for name, each in model.model.named_parameters()}
    fit(model)
    assert [name for name, each in model.model.named_parameters() if torch.equal(each, before[name])] == []


def test_a_model_that_was_used_before_can_be_trained():
    model = Pouta(**SHORT).eval()
    model(torch.rand(1, 3, *SIZE))
    fit(model)
    assert model.schedule.finished


test_option_out_of_range_or_unknown_is_refused_at_construction = refusals(
    Pouta,
    ({"image_size": (224,)}, "image_size must be"),
    ({"image_size": (16, 64)}, "each at least 32 px"),
    ({"variant": "u-net"}, "variant must be one of"),
    ({"texture_root": "no/such/folder"}, FileNotFoundError, "no/such/folder does not exist"),
    ({"foreground": "somewhere"}, "foreground"),
    ({"anomaly_probability": 0}, "anomaly_probability must be above 0 and at most 1, got 0"),
    ({"anomaly_probability": 1.1}, "anomaly_probability must be above 0 and at most 1, got 1.1"),
    ({"epochs": 0}, "'training' needs epochs or steps"),
    ({"min_steps_per_epoch": 0}, "min_steps_per_epoch must be at least 1, got 0"),
    ({"batch_size": 0}, "'training': batch_size must be at least 1"),
    ({"learning_rate": 0}, "learning_rate must be above 0, got 0"),
    ({"network": {"use_hsg": False}}, TypeError, "no option 'use_hsg' here"),
    ({"network": {"score_windows": 21}}, TypeError, "did you mean 'score_window'"),
    ({"simulation": {"foreground": "none"}}, TypeError, "no option 'foreground' here"),
    ({"simulation": {"source": "air"}}, "source must be"),
    ({"loss": {"gama": 2.0}}, TypeError, "did you mean 'gamma'"),
)
