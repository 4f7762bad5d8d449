# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What the three models train, and which options are refused. The rest is in ``tests/contract``."""

import inspect
import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from anomalib_plugins.callbacks.checkpoint_files import CheckpointError
from anomalib_plugins.models.sbm_pfam import SbmPfamCfa, SbmPfamPadim, SbmPfamPatchcore

from .... import training
from ....refusals import refusals

SIZE = (32, 32)
SHORT = {
    "image_size": SIZE,
    "backbone": "resnet18",
    "pre_trained": False,
    "jigsaw": {"orders": 3},
    "jigsaw_epochs": 1,
    "jigsaw_batch_size": 2,
    "jigsaw_learning_rate": 1e-3,
    "jigsaw_warmup": 0.0,
    "seed": 0,
}
MODELS = {
    SbmPfamPadim: {"n_features": 5},
    SbmPfamPatchcore: {"coreset_sampling_ratio": 0.5},
    SbmPfamCfa: {"epochs": 1, "batch_size": 2},
}
every_model = pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)


def build(cls, **options):
    return cls(**{**SHORT, **MODELS[cls], **options})


def fit(model, **options):
    """Train; returns the names of the tensors that changed."""
    before = training.state(model.model.extractor)
    training.fit(model, **options)
    return training.moved(before, model.model.extractor)


def parts(changed):
    return {name.partition(".")[0] for name in changed}


@every_model
@pytest.mark.parametrize("shape_bias", [False, True])
def test_the_jigsaw_changes_the_backbone_only_with_shape_bias(cls, shape_bias):
    model = build(cls, shape_bias=shape_bias, pfam_training="jigsaw", backbone_bn="train")
    changed = fit(model)
    assert parts(changed) == ({"backbone", "refine"} if shape_bias else {"refine"})
    assert [phase.name for phase in model.schedule.phases][:2] == ["jigsaw", "memory"]


def test_statistics_of_the_backbone_stay_unless_wanted():
    assert not any("running" in name for name in fit(build(SbmPfamPadim)))


@every_model
def test_random_attention_that_nothing_trains_stays_as_it_was(cls):
    model = build(cls, shape_bias=False, pfam_training="none", network={"init": "random"})
    assert len(model.extractor.refine) > 0
    assert fit(model) == set()
    assert model.schedule.phases[0].name == "memory"
    assert model.preview_anomalies(torch.rand(1, 3, *SIZE)) is None


@torch.no_grad()
def test_attention_that_nothing_trains_is_no_attention():
    scores = []
    for options in ({"pfam": False}, {"pfam_training": "none"}):
        model = build(SbmPfamPadim, shape_bias=False, **options)
        with torch.enable_grad():
            fit(model)
        scores.append(model.model.eval()(torch.rand(3, 3, *SIZE, generator=torch.Generator().manual_seed(1))))
    assert_close(scores[0].anomaly_map, scores[1].anomaly_map, rtol=0, atol=1e-4)
    assert_close(scores[0].pred_score, scores[1].pred_score, rtol=0, atol=1e-4)


@every_model
def test_the_classifier_can_end_at_a_stage_and_learn_faster(cls):
    model = build(cls, head_layer="layer3", pfam=False)
    assert model.head.in_features == 256
    assert [group["lr_scale"] for group in model.configure_optimizers()[0].param_groups] == [1, pytest.approx(10)]
    changed = fit(model)
    assert any("layer3" in name for name in changed)
    assert not any("layer4" in name for name in changed)


@pytest.mark.parametrize(
    ("options", "reason"),
    [({}, "joined the branches of its attention"), ({"backbone": "tf_efficientnet_lite0"}, "normalised images with")],
    ids=["attention", "normalisation"],
)
def test_a_checkpoint_of_version_1_that_would_be_misread_is_refused(options, reason):
    model, checkpoint = build(SbmPfamPatchcore, **options), {}
    model.on_save_checkpoint(checkpoint)
    model.on_load_checkpoint(checkpoint)
    with pytest.raises(CheckpointError, match=f"version 0.1, which {reason}.*: train the model again"):
        model.on_load_checkpoint({**checkpoint, "anomalib_plugins": {"version": "0.1.0"}})


def test_the_backbone_waits_for_the_classifier():
    learns, model = [], build(SbmPfamPatchcore, jigsaw_warmup=0.5)
    descend = model.manual_backward
    model.manual_backward = lambda loss: (
        descend(loss),
        learns.append(model.extractor.backbone.network.conv1.weight.grad is not None),
    )
    fit(model)
    assert learns == [False, True]


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_tuned_weights_are_interpolated_with_the_start_once(share):
    tuned, mixed = (
        build(SbmPfamPatchcore, weight_interpolation=1.0),
        build(SbmPfamPatchcore, weight_interpolation=share),
    )
    start = mixed.extractor.backbone.network.conv1.weight.detach().clone()
    for model in (tuned, mixed):
        fit(model)
    expected = start + share * (tuned.extractor.backbone.network.conv1.weight - start)
    assert_close(mixed.extractor.backbone.network.conv1.weight, expected)
    mixed.tuning.finish(mixed.extractor.backbone)
    assert_close(mixed.extractor.backbone.network.conv1.weight, expected)


def test_the_log_says_how_far_features_drift(monkeypatch):
    model, logged = build(SbmPfamPatchcore, jigsaw_learning_rate=0.5, jigsaw_steps=11, jigsaw_epochs=None), {}
    monkeypatch.setattr(model, "log", lambda name, value, **_: logged.setdefault(name, []).append(float(value)))
    fit(model)
    first, last = logged["cosine_to_start/layer2"]
    assert last < first <= 1.001
    assert len(logged["jigsaw_accuracy"]) == 11


def test_a_jigsaw_through_stages_that_the_weights_lack_is_refused(tmp_path):
    network = build(SbmPfamPatchcore).extractor.backbone.network.state_dict()
    torch.save({name: each for name, each in network.items() if "layer4.1" not in name}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"lack layer4\.1\.conv1.*Set head_layer: layer3, or name a complete file"):
        fit(build(SbmPfamPatchcore, weights=tmp_path / "weights.pt"))
    assert fit(build(SbmPfamPatchcore, weights=tmp_path / "weights.pt", head_layer="layer3"))
    assert fit(build(SbmPfamPatchcore, weights=tmp_path / "weights.pt", shape_bias=False)) == set()


@every_model
def test_without_both_it_is_the_plain_detector(cls):
    model = build(cls, shape_bias=False, pfam=False)
    assert fit(model) == set()
    assert len(model.extractor.refine) == 0
    assert not model.has_jigsaw


def test_cfas_own_loss_trains_the_attention():
    model = build(SbmPfamCfa, shape_bias=False, pfam_training="detector")
    assert parts(fit(model)) == {"refine"}
    assert [phase.name for phase in model.schedule.phases] == ["memory", "adaptation"]


def test_cfas_centroids_stay_while_it_adapts(monkeypatch):
    model, seen = build(SbmPfamCfa, shape_bias=False, epochs=2), []
    complete = model.complete_memory
    monkeypatch.setattr(
        model, "complete_memory", lambda: (complete(), seen.append(model.model.spheres.vectors.clone()))
    )
    fit(model)
    assert len(seen) == 1
    assert torch.equal(seen[0], model.model.spheres.vectors)
    assert len(seen[0]) == 64


def test_half_of_the_jigsaws_images_have_a_defect(monkeypatch):
    model, seen = build(SbmPfamPatchcore), []
    solve = model.jigsaw.forward
    monkeypatch.setattr(
        model.jigsaw, "forward", lambda images, draw: seen.append(images.clone()) or solve(images, draw)
    )
    fit(model)
    images = next(iter(training.good_images())).image
    for number, both in enumerate(seen):
        normal, defective = both.chunk(2)
        assert torch.equal(normal, images[2 * number : 2 * number + 2])
        assert ((normal != defective).flatten(1).any(dim=1)).all()


def test_attention_works_in_bfloat16():
    model = build(SbmPfamPadim)
    fit(model, precision="bf16-mixed")
    assert all(each.isfinite().all() for each in model.model.state_dict().values())
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        assert model.model.eval()(torch.rand(2, 3, *SIZE)).pred_score.isfinite().all()


def test_a_memory_that_is_too_large_is_refused_before_training():
    with pytest.raises(ValueError, match=r"memory bank would keep 32 of 64 patches .* more than max_bank_size=10"):
        fit(build(SbmPfamPatchcore, max_bank_size=10))


@every_model
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pfam_training": "joint"}, ValueError, "pfam_training must be one of .*jigsaw, none, got 'joint'"),
        (
            {"jigsaw_learning_rate": 0},
            ValueError,
            "learning rates of .* must be above 0, got 0 and 0.01",
        ),
        ({"weight_interpolation": 0}, ValueError, "weight_interpolation must be above 0 and at most 1, got 0"),
        ({"jigsaw_warmup": 1}, ValueError, r"warmup must be in \[0, 1\), a share of the pretext's steps, got 1"),
        ({"center_crop": [33, 32]}, ValueError, r"center_crop \(33, 32\) must fit into image_size \(32, 32\)"),
        ({"backbone_bn": "off"}, ValueError, "backbone_bn must be one of .* got 'off'"),
        ({"jigsaw_steps": 3}, ValueError, "phase 'jigsaw' needs epochs or steps"),
        ({"jigsaw": {"seed": 1}}, TypeError, "Jigsaw has no option 'seed' here"),
        ({"network": {"inits": "random"}}, TypeError, "PfamExtractor has no option 'inits' here; did you mean 'init'"),
        ({"simulation": {"foreground": "auto"}}, TypeError, "SimulatedAnomaly has no option 'foreground' here"),
        ({"texture_root": "nowhere"}, FileNotFoundError, "nowhere"),
        ({"weights": "nowhere.pt"}, FileNotFoundError, "weights file nowhere.pt does not exist"),
    ],
)
def test_impossible_options_are_refused(cls, options, error, message):
    with pytest.raises(error, match=message):
        build(cls, **options)


test_impossible_options_of_cfa_are_refused = refusals(
    partial(build, SbmPfamCfa),
    ({"radius": -1.0}, "radius must be at least 0"),
    ({"radius": math.nan}, "radius must be at least 0"),
    ({"learning_rate": 0.0}, "learning_rate must be above 0"),
    ({"num_hard_negative_features": -1}, "num_hard_negative_features must be at least 0"),
)


def test_a_subclass_shows_all_its_arguments():
    class Own(SbmPfamPadim):
        def __init__(self, extra=1, **kwargs):
            super().__init__(**kwargs)

    assert {"image_size", "n_features", "stride", "extra"} <= inspect.signature(Own).parameters.keys()


def test_loggers_write_the_options_of_checkpoints():
    model = SbmPfamPadim(**SHORT, **MODELS[SbmPfamPadim])
    assert dict(model.hparams_initial) == dict(model.hparams)
