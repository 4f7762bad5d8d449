# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from functools import partial

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from anomalib_plugins.phases.schedule import Phase, PhaseSchedule, Step

from ...refusals import refusals
from ...training import quiet_trainer

IMAGES = 10
LEARNS_THEN_LOOKS = (Phase("learn", 3, steps=7), Phase("look", 4, epochs=1, full_pass=True))


class TwoPhases(LightningModule):
    """Learns from random targets with two optimizers, if a phase is not whole; remembers every step it took."""

    def __init__(self, *phases, seed=0):
        super().__init__()
        self.automatic_optimization = False
        torch.manual_seed(0)
        self.layer = nn.Linear(2, 1)
        self.schedule = PhaseSchedule(phases or (Phase("first", 3, epochs=2), Phase("second", 2, steps=7)), seed)
        self.steps: list[Step] = []
        self.validated_in: list[str] = []

    def configure_callbacks(self):
        return [self.schedule]

    def configure_optimizers(self):
        # Two optimizers, as in a GAN: Lightning's global_step then counts both.
        return [torch.optim.SGD(self.layer.parameters(), lr=0.01), torch.optim.Adam(self.layer.parameters(), lr=0.01)]

    def training_step(self, batch, batch_idx):
        for step in self.schedule.steps_of(batch[0]):
            self.steps.append(step)
            if self.schedule.phase.full_pass:
                continue
            target = torch.rand(len(step.images), 1, generator=step.generator)
            for optimizer in self.optimizers():
                optimizer.zero_grad()
                self.manual_backward((self.layer(step.images.flatten(1)) - target).square().mean())
                optimizer.step()

    def validation_step(self, batch, batch_idx):
        self.validated_in.append(self.schedule.phase.name)

    def names(self):
        return [step.phase for step in self.steps]


def loader(batch_size=4, images=IMAGES):
    data = TensorDataset(torch.arange(2.0 * images).view(images, 2, 1, 1) / images)
    return DataLoader(data, batch_size=batch_size, shuffle=True)


def fit(model, tmp_path, batch_size=4, ckpt_path=None, **limits):
    trainer = quiet_trainer(default_root_dir=tmp_path, num_sanity_val_steps=0, **limits)
    trainer.fit(model, loader(batch_size), loader(5), ckpt_path=ckpt_path)
    return trainer


@pytest.fixture
def clock(monkeypatch):
    """Each look at the timer's clock takes ten seconds."""
    clock = iter(range(1_000_000))
    monkeypatch.setattr("lightning.pytorch.callbacks.timer.time.monotonic", lambda: next(clock) * 10.0)
    return clock


def finished(tmp_path, *phases):
    model = TwoPhases(*phases)
    fit(model, tmp_path, callbacks=[ModelCheckpoint(tmp_path, filename="end")], enable_checkpointing=True)
    return str(tmp_path / "end.ckpt"), model


def test_phases_run_in_order_for_their_own_lengths(tmp_path):
    model = TwoPhases()
    fit(model, tmp_path)
    # Two epochs of ten images make steps of 3, 3, 3, 1.
    assert model.names() == ["first"] * 8 + ["second"] * 7
    assert [len(step.images) for step in model.steps] == [3, 3, 3, 1] * 2 + [2] * 7


def test_a_phase_changes_in_mid_batch_without_losing_an_image(tmp_path):
    model = TwoPhases(Phase("first", 1, steps=1), Phase("second", 2, steps=2))
    fit(model, tmp_path, batch_size=5)
    assert [len(step.images) for step in model.steps] == [1, 2, 2]
    seen = torch.cat([step.images for step in model.steps])
    assert len(seen.unique(dim=0)) == 5


@pytest.mark.parametrize("batch_size", [1, 2, 4, 32])
def test_a_step_gathers_its_images_from_batches_of_any_size(tmp_path, batch_size):
    model = TwoPhases(Phase("only", 6, epochs=2))
    fit(model, tmp_path, batch_size)
    assert [len(step.images) for step in model.steps] == [6, 4, 6, 4]
    for first, rest in (model.steps[:2], model.steps[2:]):
        assert len(torch.cat([first.images, rest.images]).unique(dim=0)) == IMAGES


def test_images_of_different_sizes_share_no_step(tmp_path):
    model = TwoPhases(Phase("only", 3, epochs=1))
    model.training_step = lambda batch, batch_idx: model.steps.extend(model.schedule.steps_of(batch[0]))
    sizes = (2, 2, 3, 3, 3, 3, 2, 2)
    trainer = quiet_trainer(default_root_dir=tmp_path)
    trainer.fit(model, DataLoader([(torch.rand(1, size, size),) for size in sizes], batch_size=2))
    assert [step.images.shape[::3] for step in model.steps][:2] == [(3, 3), (2, 2)]


def test_a_training_set_smaller_than_a_step_trains(tmp_path):
    model = TwoPhases(Phase("only", 64, steps=3))
    fit(model, tmp_path)
    assert [len(step.images) for step in model.steps] == [IMAGES] * 3


def test_others_are_what_is_at_hand_beside_the_images(tmp_path):
    model = TwoPhases(Phase("only", 2, steps=5))
    fit(model, tmp_path, batch_size=5)
    assert [len(step.others) for step in model.steps] == [3, 3, 4, 4, 4]
    for step in model.steps:
        together = torch.cat([step.images, step.others])
        assert len(together.unique(dim=0)) == len(together)


def test_a_run_resumed_in_mid_epoch_has_the_images_that_waited_for_a_step(tmp_path):
    phase = Phase("only", 3, epochs=2)
    saving = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    unbroken = TwoPhases(phase)
    fit(unbroken, tmp_path, callbacks=[saving], enable_checkpointing=True)
    within = [path for path in tmp_path.glob("*.ckpt") if "gathering" in position(path)]
    assert within
    for checkpoint in within:
        resumed = TwoPhases(phase, seed=None)
        fit(resumed, tmp_path, ckpt_path=str(checkpoint))
        for one, other in zip(resumed.steps, unbroken.steps[-len(resumed.steps) :], strict=True):
            assert torch.equal(one.images, other.images)
        assert torch.equal(resumed.layer.weight, unbroken.layer.weight)


def test_progress_rises_from_zero_to_below_one_in_each_phase(tmp_path):
    model = TwoPhases()
    fit(model, tmp_path)
    for name, length in (("first", 8), ("second", 7)):
        progress = [step.progress for step in model.steps if step.phase == name]
        assert progress == pytest.approx([i / length for i in range(length)])


@pytest.mark.parametrize(
    ("limit", "first", "second"),
    [
        ({"max_steps": 8}, 4, 3),  # 8 and 7 of 15, times 8 / 15
        ({"max_epochs": 2}, 4, 4),  # 2 of the schedule's 2 + 7 / 5 epochs
        ({"max_epochs": 2, "max_steps": 4}, 2, 1),
        ({"max_epochs": 50, "max_steps": 500}, 8, 7),
        ({"max_steps": 2}, 1, 1),  # every phase keeps at least one step
    ],
)
def test_a_limit_of_the_trainer_shortens_every_phase_alike(tmp_path, limit, first, second):
    model = TwoPhases()
    fit(model, tmp_path, **limit)
    assert model.names() == ["first"] * first + ["second"] * second


def test_a_shortened_schedule_is_said(tmp_path):
    with pytest.warns(UserWarning, match=r"\(max_steps=8\) cuts first to 4 of 8 steps, second to 3 of 7 steps\."):
        fit(TwoPhases(), tmp_path, max_steps=8)


def test_a_limit_below_a_step_for_each_phase_leaves_each_its_step_and_says_so(tmp_path):
    model = TwoPhases()
    with pytest.warns(UserWarning, match="max_steps=1.* each phase takes at least one step"):
        fit(model, tmp_path, max_steps=1)
    assert model.names() == ["first", "second"]


@pytest.mark.parametrize("limit", ["max_epochs", "max_steps", "limit_train_batches"])
def test_a_limit_of_nothing_trains_nothing_and_says_so(tmp_path, limit):
    model = TwoPhases(*LEARNS_THEN_LOOKS)
    with pytest.warns(UserWarning, match="leave TwoPhases no batch: nothing was trained"):
        trainer = fit(model, tmp_path, **{limit: 0})
    assert model.names() == []
    assert getattr(trainer, limit) == 0


def test_max_time_gives_every_phase_its_share_of_the_clock(tmp_path, clock):
    model = TwoPhases(Phase("first", 2, steps=3000), Phase("second", 2, steps=1000))
    fit(model, tmp_path, max_time={"hours": 1})
    first, second = model.names().count("first"), model.names().count("second")
    assert model.names() == ["first"] * first + ["second"] * second
    assert 2 < first / second < 4  # 3 : 1, give or take the steps that the clock ticks through
    assert first + second < 400  # an hour of 10 s a look at the clock
    progress = [step.progress for step in model.steps if step.phase == "second"]
    assert progress == sorted(progress)
    assert progress[-1] > 0.9


def test_a_last_phase_that_never_ran_is_said(tmp_path, monkeypatch):
    model = TwoPhases()
    monkeypatch.setattr(model, "on_train_batch_end", lambda *_: setattr(model.trainer, "should_stop", True))
    with pytest.warns(UserWarning, match="'second' was never trained"):
        fit(model, tmp_path)


def test_validation_waits_for_the_last_phase_and_sees_the_final_weights(tmp_path):
    model = TwoPhases(Phase("first", 2, epochs=2), Phase("second", 2, steps=7))
    trainer = fit(model, tmp_path, check_val_every_n_epoch=100)
    assert model.validated_in == ["second", "second"]  # two batches, once, at the end
    assert trainer.limit_val_batches == pytest.approx(1.0)


def test_validation_follows_the_users_setting_in_the_last_phase(tmp_path):
    model = TwoPhases(Phase("first", 2, epochs=1), Phase("second", 2, epochs=3))
    fit(model, tmp_path, batch_size=10, check_val_every_n_epoch=2)
    assert model.validated_in == ["second"] * 2 * 2  # two batches, after the second of four epochs and at the end


def test_epochs_of_a_few_steps_are_not_validated_each(tmp_path):
    model = TwoPhases(Phase("first", 2, epochs=1), Phase("second", 2, epochs=25))
    trainer = fit(model, tmp_path)
    # 5 steps an epoch: after epochs 10 and 20 of 26, and at the end.
    assert model.validated_in == ["second"] * 2 * 3
    assert trainer.check_val_every_n_epoch == 1


def test_epochs_of_enough_steps_are_validated_each(tmp_path, monkeypatch):
    monkeypatch.setattr("anomalib_plugins.phases.trainer_settings.SHORT_EPOCH", 5)
    model = TwoPhases(Phase("first", 2, epochs=1), Phase("second", 2, epochs=3))
    fit(model, tmp_path, batch_size=10)
    assert model.validated_in == ["second"] * 2 * 3


def test_every_step_draws_from_another_stream(tmp_path):
    model = TwoPhases()
    fit(model, tmp_path)
    draws = torch.cat([torch.rand(4, generator=step.generator) for step in model.steps])
    assert len(draws.unique()) == len(draws)


@pytest.mark.parametrize("whole", [False, True])
def test_a_run_that_is_over_goes_through_another_fit_untouched_and_says_so(tmp_path, whole):
    phases = LEARNS_THEN_LOOKS if whole else ()
    checkpoint, over = finished(tmp_path, *phases)
    again = TwoPhases(*phases)
    nn.init.zeros_(again.layer.weight)
    with pytest.warns(UserWarning, match=f"has all of its {7 if whole else 15} steps behind it: nothing is trained"):
        fit(again, tmp_path, ckpt_path=checkpoint)
    assert again.names() == []
    assert torch.equal(again.layer.weight, over.layer.weight)


def test_a_finished_run_goes_on_in_its_last_phase_when_that_is_longer(tmp_path):
    longer = TwoPhases(Phase("first", 3, epochs=2), Phase("second", 2, steps=20))
    fit(longer, tmp_path, ckpt_path=finished(tmp_path)[0])
    assert longer.names() == ["second"] * 13
    assert longer.steps[0].progress == pytest.approx(7 / 20)


def test_a_second_fit_trains_again(tmp_path):
    model = TwoPhases()
    trainer = fit(model, tmp_path)
    trainer.fit(model, loader(), loader(5))
    assert model.names() == (["first"] * 8 + ["second"] * 7) * 2


def test_the_trainer_keeps_its_limits_for_the_next_model(tmp_path):
    trainer = fit(TwoPhases(), tmp_path, max_steps=8, check_val_every_n_epoch=7)
    assert (trainer.max_steps, trainer.check_val_every_n_epoch) == (8, 7)
    another = TwoPhases()
    trainer.fit(another, loader(), loader(5))
    assert another.names() == ["first"] * 4 + ["second"] * 3


def test_the_trainer_keeps_its_limits_when_training_fails(tmp_path, monkeypatch):
    model = TwoPhases()
    monkeypatch.setattr(model, "training_step", lambda *_: 1 / 0)
    trainer = quiet_trainer(default_root_dir=tmp_path, max_steps=8)
    with pytest.raises(ZeroDivisionError):
        trainer.fit(model, loader(), loader(5))
    assert trainer.max_steps == 8


@pytest.mark.parametrize(
    ("phases", "names"), [((), ["first", "second"]), (LEARNS_THEN_LOOKS, ["learn", "look"])], ids=["steps", "whole"]
)
def test_a_fast_development_run_takes_one_step_or_batch_of_each_phase(tmp_path, phases, names):
    model = TwoPhases(*phases)
    fit(model, tmp_path, fast_dev_run=True)
    assert model.names() == names


test_an_impossible_phase_is_refused = refusals(
    partial(Phase, "x", batch_size=1),
    ({}, "'x' needs epochs or steps, at least 1: got epochs=None, steps=None"),
    ({"epochs": 1, "steps": 2}, "epochs=1, steps=2"),
    ({"steps": 0}, "steps=0"),
    ({"steps": 1, "batch_size": 0}, "batch_size must be at least 1, got 0"),
    ({"steps": 1, "examples": 0}, "examples must be at least 1, got 0"),
    ({"steps": 3, "full_pass": True}, "'x' looks at every image: give its length in epochs"),
)


@pytest.mark.parametrize("names", ["", "xx"])
def test_a_schedule_needs_phases_of_different_names(names):
    with pytest.raises(ValueError, match="different names"):
        PhaseSchedule([Phase(name, 1, steps=1) for name in names])


def test_a_phase_of_several_examples_an_image_has_as_many_more_steps(tmp_path):
    model = TwoPhases(Phase("only", 2, epochs=2, examples=3))
    fit(model, tmp_path)
    assert [len(step.images) for step in model.steps] == [2] * 15 * 2
    pairs = {
        (*step.images[number].flatten().tolist(), int(step.versions[number]))
        for step in model.steps[:15]
        for number in (0, 1)
    }
    assert len(pairs) == 3 * IMAGES


def test_min_steps_per_epoch_repeats_the_images_until_there_are_as_many(tmp_path):
    model = TwoPhases(Phase("only", 8, epochs=1, min_steps_per_epoch=5))
    fit(model, tmp_path)
    assert [len(step.images) for step in model.steps] == [8] * 5


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_no_step_sees_an_image_twice_that_is_repeated(tmp_path, batch_size):
    model = TwoPhases(Phase("only", 8, epochs=2, min_steps_per_epoch=5))
    fit(model, tmp_path, batch_size)
    assert [len(step.images.unique(dim=0)) for step in model.steps] == [8] * 10


# Whole phases


def seen(model):
    """What the images of the whole phase are, in no order."""
    return torch.cat([step.images for step in model.steps if step.phase == "look"]).flatten(1).sort(dim=0).values


def every_image():
    return torch.cat([batch[0] for batch in loader()]).flatten(1).sort(dim=0).values


def test_a_whole_phase_waits_for_an_epoch_and_sees_every_image_once(tmp_path):
    model = TwoPhases(*LEARNS_THEN_LOOKS)  # 5 steps an epoch: the first phase ends within the second epoch
    fit(model, tmp_path)
    assert model.names() == ["learn"] * 7 + ["look"] * 3
    assert torch.equal(seen(model), every_image())


@pytest.mark.parametrize(
    ("limit", "learn"), [({"max_steps": 2}, 2), ({"max_epochs": 1}, 4), ({"max_steps": 2, "max_epochs": 1}, 2)]
)
def test_a_whole_phase_comes_on_top_of_what_a_limit_allows(tmp_path, limit, learn):
    model = TwoPhases(*LEARNS_THEN_LOOKS)
    trainer = fit(model, tmp_path, **limit)
    assert model.names().count("learn") == learn
    assert torch.equal(seen(model), every_image())
    assert trainer.current_epoch == 2


@pytest.mark.parametrize("limit", [{"limit_train_batches": 1}, {"overfit_batches": 1}])
def test_a_whole_phase_that_a_limit_hides_images_from_is_said(tmp_path, limit):
    model = TwoPhases(*LEARNS_THEN_LOOKS)
    with pytest.warns(UserWarning, match="leave phase 'look' 1 of 3 batches"):
        fit(model, tmp_path, **limit)
    assert len(seen(model)) == 4


def test_a_whole_phase_alone_needs_no_optimizer_step(tmp_path):
    model = TwoPhases(LEARNS_THEN_LOOKS[1])
    fit(model, tmp_path, max_epochs=1)
    assert model.names() == ["look"] * 3
    assert model.schedule.total_steps == 0


def test_max_time_charges_no_phase_for_what_came_before_the_first_step(tmp_path, monkeypatch, clock):
    model = TwoPhases(Phase("first", 2, steps=1000), Phase("second", 2, steps=1000))
    monkeypatch.setattr(model, "on_train_start", lambda: [next(clock) for _ in range(180)])  # half an hour
    fit(model, tmp_path, max_time={"hours": 1})
    first, second = model.names().count("first"), model.names().count("second")
    assert 0.6 < first / second < 1.7


def test_max_time_passes_no_phase_over_and_says_what_it_cut(tmp_path, caplog, clock):
    caplog.set_level("INFO")
    model = TwoPhases(Phase("learn", 3, steps=1000), LEARNS_THEN_LOOKS[1])
    with pytest.warns(UserWarning, match="max_time ends phase 'learn' after 1 of its 1000 steps"):
        fit(model, tmp_path, max_time={"seconds": 1})
    assert "Time limit reached" not in caplog.text
    assert model.names().count("learn") == 1
    assert torch.equal(seen(model), every_image())


def test_max_time_waits_for_the_images_of_a_phases_first_step(tmp_path, clock):
    model = TwoPhases(Phase("first", 8, steps=10), Phase("second", 8, steps=10))
    fit(model, tmp_path, batch_size=2, max_time={"seconds": 1})
    assert model.names() == ["first", "second"]


def test_a_finished_run_learns_on_before_its_memory_when_that_phase_is_longer(tmp_path):
    longer = TwoPhases(Phase("learn", 3, steps=11), LEARNS_THEN_LOOKS[1])
    fit(longer, tmp_path, ckpt_path=finished(tmp_path, *LEARNS_THEN_LOOKS)[0])
    assert longer.names().count("learn") == 4
    assert torch.equal(seen(longer), every_image())


def test_validation_waits_for_the_end_of_a_whole_phase(tmp_path):
    model = TwoPhases(*LEARNS_THEN_LOOKS)
    fit(model, tmp_path, val_check_interval=1)
    assert model.validated_in
    assert model.steps[-1].phase == "look"
    assert len(model.validated_in) == 2  # two batches, after the last step


def test_the_checkpoint_after_a_whole_phase_is_not_that_before_it(tmp_path):
    keep_all = ModelCheckpoint(tmp_path, save_top_k=-1, save_on_train_epoch_end=True)
    model = TwoPhases(*LEARNS_THEN_LOOKS)
    fit(model, tmp_path, callbacks=[keep_all], enable_checkpointing=True)
    assert len(list(tmp_path.glob("*.ckpt"))) == 3


def test_a_whole_phase_that_was_interrupted_starts_again(tmp_path):
    interrupted = TwoPhases(*LEARNS_THEN_LOOKS)
    saving = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    fit(interrupted, tmp_path, callbacks=[saving], enable_checkpointing=True)
    within = [path for path in tmp_path.glob("*.ckpt") if position(path)["taken"] == [7, 1]]
    resumed = TwoPhases(*LEARNS_THEN_LOOKS)
    fit(resumed, tmp_path, ckpt_path=str(within[0]))
    assert resumed.names() == ["look"] * 3
    assert torch.equal(seen(resumed), every_image())


def position(checkpoint):
    (state,) = (
        state for key, state in torch.load(checkpoint, weights_only=True)["callbacks"].items() if "Phase" in key
    )
    return state


def test_a_finished_whole_phase_starts_again_when_there_are_more_images(tmp_path):
    checkpoint, _ = finished(tmp_path, *LEARNS_THEN_LOOKS)
    more = TwoPhases(*LEARNS_THEN_LOOKS)
    trainer = quiet_trainer(default_root_dir=tmp_path)
    trainer.fit(more, loader(images=15), loader(5), ckpt_path=checkpoint)
    assert more.names() == ["look"] * 4
    assert len(seen(more)) == 15
