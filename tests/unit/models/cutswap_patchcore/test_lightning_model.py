# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What each phase of CutSwapPatchcore does, and which options are refused. The rest is in ``tests/contract``."""

import math
from collections import defaultdict
from functools import partial

import numpy as np
import pytest
import timm
import torch
from anomalib.data import Folder
from anomalib.models import Patchcore
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from torch.testing import assert_close

from anomalib_plugins.components import backbone as backbone_module
from anomalib_plugins.models import CutSwapPatchcore
from anomalib_plugins.models.cutswap_patchcore import pretext as pretext_module
from anomalib_plugins.models.cutswap_patchcore.saliency import LayerCam

from ....refusals import refusals
from ....training import good_images, moved, quiet_trainer, state

SIDE = 64
IMAGES = 6
LAYERS = ["layer1", "layer2"]  # for the saliency
SHORT = {
    "image_size": (SIDE, SIDE),
    "pre_trained": False,
    "saliency": "backbone",
    "saliency_layers": LAYERS,
    "steps": 2,
    "batch_size": 4,
    "learning_rate": 0.03,  # from random weights
    "freeze_steps": 0,
    "coreset_sampling_ratio": 0.1,
    "seed": 0,
}


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Six photos of stripes with a bright spot."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    (root / "good").mkdir()
    for number in range(IMAGES):
        y, x = np.mgrid[:SIDE, :SIDE]
        spot = 120 * ((x - rng.integers(20, 44)) ** 2 + (y - rng.integers(20, 44)) ** 2 < 100)
        grey = 60 + 40 * np.sin(x / 3) + spot + rng.integers(-10, 10, (SIDE, SIDE))
        Image.fromarray(np.uint8(np.clip(grey, 0, 255))).convert("RGB").save(root / f"good/{number}.png")
    return root


@pytest.fixture
def data(photos):
    modes = {"test_split_mode": "none", "val_split_mode": "none"}
    data = Folder("stripes", root=photos, normal_dir="good", train_batch_size=4, num_workers=0, **modes)
    data.setup()
    return data


def fit(model, data, ckpt_path=None, **options):
    trainer = quiet_trainer(**{"limit_val_batches": 0, **model.trainer_arguments, **options})
    trainer.fit(model, data.train_dataloader(), ckpt_path=ckpt_path)
    return model.eval()


def originals(data):
    """The training images in order of their paths ``(N, 3, H, W)``."""
    items = sorted(data.train_data, key=lambda item: item.image_path)
    return torch.stack([item.image for item in items])


# The memory


def test_without_a_pretext_it_is_anomalibs_patchcore(data):
    """With all patches kept, as the coresets differ."""
    ours = fit(CutSwapPatchcore(**SHORT | {"augmentation": "none", "coreset_sampling_ratio": 1.0}), data)
    torch.manual_seed(0)
    theirs = Patchcore("resnet18", pre_trained=False, coreset_sampling_ratio=1.0)
    network = ours.model.backbone.network.state_dict()
    theirs.model.feature_extractor.feature_extractor.load_state_dict(network, strict=False)
    images = ours.model.backbone.normalize(originals(data))
    with torch.no_grad():
        theirs.model.train()(images)
        theirs.model.subsample_embedding(1.0)
        new = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
        expected = theirs.model.eval()(ours.model.backbone.normalize(new))
        got = ours.model(new)
    assert len(ours.model.banks[0].vectors) == len(theirs.model.memory_bank)
    assert_close(got.pred_score, expected.pred_score, rtol=0, atol=1e-4)
    assert_close(got.anomaly_map, expected.anomaly_map, rtol=0, atol=1e-4)


@torch.no_grad()
def test_every_vector_is_a_patch_of_an_untouched_image_through_the_tuned_backbone(data):
    model = CutSwapPatchcore(**SHORT | {"saliency_layers": None})
    before = state(model.model.backbone.network.layer1)
    with torch.enable_grad():
        fit(model, data)
    assert moved(before, model.model.backbone.network.layer1)
    patches = model.model.embed(originals(data))[0].flatten(2).transpose(1, 2).flatten(0, 1)
    vectors = model.model.banks[0].vectors + model.model.banks[0].centre
    assert len(vectors) == int(0.1 * len(patches))
    assert torch.cdist(vectors, patches, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1).max() < 1e-4


# The pretext


def examples(model, data, monkeypatch):
    seen = []
    classify = model._classify
    monkeypatch.setattr(model, "_classify", lambda *step: seen.append(step) or classify(*step))
    fit(model, data)
    return seen


@pytest.mark.parametrize(("augmentation", "mode", "classes"), [("cutswap", "3way", 3), ("cutpaste", "binary", 2)])
def test_an_epoch_has_each_image_once_a_layer_and_class(data, monkeypatch, augmentation, mode, classes):
    options = {"augmentation": augmentation, "mode": mode, "steps": None, "epochs": 1}
    seen = examples(CutSwapPatchcore(**SHORT | options), data, monkeypatch)
    labels = torch.cat([labels for _, labels, _ in seen])
    assert labels.bincount().tolist() == [IMAGES * len(LAYERS)] * classes
    assert [len(labels) for _, labels, _ in seen] == [4 * classes] * 3  # loader batches of 4 and 2 images


def test_loss_is_the_cross_entropy_of_the_classes(data, monkeypatch):
    model = CutSwapPatchcore(**SHORT)
    logits, logged = [], defaultdict(list)
    model.head.register_forward_hook(lambda _module, _inputs, output: logits.append(output.detach()))
    monkeypatch.setattr(model, "log", lambda name, value, **_: logged[name].append(value))
    seen = examples(model, data, monkeypatch)
    values = zip(logits, seen, logged["pretext_loss"], logged["pretext_accuracy"], strict=True)
    for output, (_, classes, _), loss, accuracy in values:
        expected = -output.softmax(dim=1)[torch.arange(len(classes)), classes].log().mean()
        assert_close(loss, expected)
        assert_close(accuracy, (output.argmax(dim=1) == classes).float().mean())


def test_learning_rate_falls_along_a_half_cosine(data, monkeypatch):
    model = CutSwapPatchcore(**SHORT | {"steps": 4, "learning_rate": 0.02})
    rates = []
    monkeypatch.setattr(model, "manual_backward", lambda _: rates.append(model.optimizers().param_groups[0]["lr"]))
    fit(model, data)
    assert rates == pytest.approx([0.01 * (1 + math.cos(math.pi * step / 4)) for step in range(4)])


@pytest.mark.parametrize(
    ("options", "limit", "frozen"),
    [
        ({}, {}, 2),
        ({}, {"max_steps": 2}, 1),
        ({"steps": None, "epochs": 1, "batch_size": 3, "freeze_steps": 20}, {}, 2),
    ],
    ids=["as given", "shortened", "at most half"],
)
def test_the_backbone_learns_after_its_frozen_steps(data, options, limit, frozen):
    model = CutSwapPatchcore(**SHORT | {"steps": 4, "freeze_steps": 2} | options)
    learns = []
    backward = model.manual_backward

    def manual_backward(loss):
        backward(loss)
        learns.append(model.model.backbone.network.conv1.weight.grad is not None)
        assert model.head[0].weight.grad is not None

    model.manual_backward = manual_backward
    fit(model, data, **limit)
    assert learns == [False] * frozen + [True] * frozen


@pytest.mark.parametrize(("options", "moves"), [({"backbone_bn": "train"}, True), ({}, False)])
def test_batch_statistics_move_only_if_wanted(data, options, moves):
    model = CutSwapPatchcore(**SHORT, **options)
    before = state(model.model.backbone)
    fit(model, data)
    changed = moved(before, model.model.backbone)
    assert any("running" in name for name in changed) == moves
    assert any("weight" in name for name in changed)


def test_the_head_can_end_at_a_stage_and_learn_faster(data):
    model = CutSwapPatchcore(**SHORT, head_layer="layer3", head_learning_rate=0.3)
    assert model.head[0].in_features == 256
    assert [group["lr_scale"] for group in model.configure_optimizers().param_groups] == [1, pytest.approx(10)]
    before = state(model.model.backbone.network)
    fit(model, data)
    changed = {name.partition(".")[0] for name in moved(before, model.model.backbone.network)}
    assert "layer3" in changed
    assert "layer4" not in changed


def test_patches_lie_where_the_image_was_salient(data, monkeypatch):
    """Saliency is the lower right corner: nothing else of any image may change but by its colours."""
    monkeypatch.setattr(pretext_module, "LayerCam", Corner)
    seen = examples(CutSwapPatchcore(**SHORT | {"swap": {"overlap": "allow"}}), data, monkeypatch)
    for images, *_ in seen:
        positive, swapped, _ = images.chunk(3)
        changed = (positive != swapped).any(dim=1)
        assert changed.any()
        assert not changed[:, :19].any()  # a patch of 15 % is at most 45 pixels high or wide
        assert not changed[:, :, :19].any()


class Corner:
    """A LayerCam that finds the lower right corner salient."""

    target = "class"

    def __init__(self, network, layers, target, margin, *_):
        self.count = len(layers)

    def to(self, device):
        return self

    def __call__(self, images):
        maps = torch.zeros(len(images), self.count, *images.shape[-2:])
        maps[:, :, -30:, -30:] = 1
        return maps


def test_cutpaste_and_one_cluster_need_no_saliency(data, monkeypatch):
    monkeypatch.setattr(pretext_module, "vgg16_saliency", lambda *_, **__: pytest.fail("saliency was computed"))
    for options in ({"augmentation": "cutpaste"}, {"k": 1}):
        fit(CutSwapPatchcore(**SHORT | {"saliency": "vgg16", "saliency_layers": [4], **options}), data)


@pytest.mark.parametrize(
    ("spoil", "target"),
    [
        (lambda state: None, "class"),
        (lambda state: state.pop("fc.bias"), "feature-energy"),
        (lambda state: state["fc.bias"].zero_(), "feature-energy"),
        (lambda state: state.pop("layer4.0.conv1.weight"), "feature-energy"),
    ],
    ids=["with a classifier", "without", "never trained", "without what lies before it"],
)
def test_saliency_of_the_backbone_follows_the_class_its_weights_know(spoil, target, tmp_path):
    network = timm.create_model("resnet10t", num_classes=7)
    state = network.state_dict()
    spoil(state)
    torch.save(state, tmp_path / "weights.pth")
    model = CutSwapPatchcore(
        **SHORT | {"backbone": "resnet10t", "head_layer": "layer3", "weights": tmp_path / "weights.pth"}
    )
    model.setup("fit")
    cam, images = model.pretext._cam, torch.rand(2, 3, 64, 64)
    assert cam.target == target
    if target == "class":
        expected = LayerCam(network, LAYERS, "class", margin=32)
        assert_close(cam(images), expected(images))


@pytest.mark.parametrize(
    ("options", "margin"),
    [({}, 32), ({"saliency_margin": 5}, 5), ({"saliency": "vgg16", "saliency_layers": [4]}, 0)],
)
def test_saliency_sees_the_margin_asked_for_or_the_one_of_its_network(options, margin):
    assert CutSwapPatchcore(**SHORT | options).pretext.margin == margin


def test_vgg16_gets_the_margin(data, monkeypatch):
    def stop(*_, margin, **__):
        raise InterruptedError(margin)

    monkeypatch.setattr(pretext_module, "vgg16_saliency", stop)
    with pytest.raises(InterruptedError, match="7"):
        fit(CutSwapPatchcore(**SHORT | {"saliency": "vgg16", "saliency_layers": [4], "saliency_margin": 7}), data)


# The preview


def test_preview_shows_swaps_and_the_maps_that_placed_them(data):
    model = CutSwapPatchcore(**SHORT)
    model.setup("fit")
    images = originals(data)
    made, maps = model.preview_anomalies(images), model.preview_saliency(images)
    assert made.image.shape == images.shape
    assert made.mask.flatten(1).any(dim=1).all()
    assert maps.shape == (IMAGES, 1, SIDE, SIDE)
    assert_close(maps[1, 0], model.pretext._cam(images)[1, 1])  # the second layer's


def test_preview_without_saliency_or_pretext(data):
    images = originals(data)
    model = CutSwapPatchcore(**SHORT | {"augmentation": "cutpaste"})
    assert model.preview_anomalies(images).mask.flatten(1).any(dim=1).all()
    assert model.preview_saliency(images) is None
    model = CutSwapPatchcore(**SHORT | {"augmentation": "none"})
    assert model.preview_anomalies(images) is None
    assert model.preview_saliency(images) is None


# Weights and checkpoints


def test_weights_are_loaded_once(monkeypatch):
    loads = []
    monkeypatch.setattr(backbone_module, "load_backbone", lambda *_, **__: loads.append(1) or [])
    monkeypatch.setattr(backbone_module, "read_tensors", lambda *_: {})
    model = CutSwapPatchcore(**SHORT | {"pre_trained": True})
    model.setup("fit")
    model.setup("fit")
    assert loads == [1]


def test_checkpoint_names_no_files(data, tmp_path):
    source = CutSwapPatchcore(**SHORT)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "weights.ckpt")
    files = {"weights": str(tmp_path / "weights.ckpt"), "saliency_weights": str(tmp_path / "weights.ckpt")}
    options = {"saliency": "vgg16", "saliency_layers": None, "k": 1, **files}  # which swaps anywhere
    saving = ModelCheckpoint(tmp_path, filename="end")
    fit(CutSwapPatchcore(**SHORT | options), data, callbacks=[saving], enable_checkpointing=True)
    (tmp_path / "weights.ckpt").unlink()
    given = torch.load(tmp_path / "end.ckpt", weights_only=True)["hyper_parameters"]
    assert (given["pre_trained"], given["weights"], given["saliency_weights"]) == (False, None, None)
    assert len(CutSwapPatchcore.load_from_checkpoint(tmp_path / "end.ckpt").model.banks[0].vectors) == 38


def test_resuming_with_other_saliency_is_warned_about(data, tmp_path, recwarn):
    options = SHORT | {"backbone": "resnet10t", "steps": 9}  # 3 an epoch
    saving = ModelCheckpoint(tmp_path, save_top_k=-1, save_on_train_epoch_end=True)
    fit(CutSwapPatchcore(**options), data, callbacks=[saving], enable_checkpointing=True)
    (within,) = tmp_path.glob("epoch=0-*.ckpt")
    for k in (4, 3):
        recwarn.clear()
        fit(CutSwapPatchcore(**options | {"k": k}), data, ckpt_path=within)
        assert any("Patches lie elsewhere" in str(each.message) for each in recwarn) == (k != 4)


# Options


def test_center_crop_takes_the_middle():
    transform = CutSwapPatchcore(**SHORT | {"image_size": (64, 80), "center_crop": [32, 48]}).pre_processor.transform
    image = torch.rand(1, 3, 64, 80)
    assert torch.equal(transform(image), image[..., 16:48, 16:64])


def test_images_that_are_not_anomalibs_are_refused():
    with pytest.raises(TypeError, match="reads the training images by file: it needs a dataset of anomalib's"):
        quiet_trainer().fit(CutSwapPatchcore(**SHORT), good_images())


test_wrong_options_are_refused_at_construction = refusals(
    partial(CutSwapPatchcore, **SHORT),
    ({"augmentation": "mixup"}, "augmentation must be one of .* got 'mixup'"),
    ({"mode": "4way"}, "mode must be one of .* got '4way'"),
    ({"saliency": "clip"}, "saliency must be one of .* got 'clip'"),
    ({"saliency_layers": []}, "saliency_layers of backbone must be different ones of .* at least one"),
    ({"saliency_layers": ["layer9"]}, r"saliency_layers of backbone .* got \('layer9',\)"),
    ({"saliency": "vgg16", "saliency_layers": [31]}, r"saliency_layers of vgg16 .* got \(31,\)"),
    ({"saliency_weights": "vgg.pth"}, 'saliency_weights are VGG-16\'s, but saliency is "backbone"'),
    ({"anchor_strategy": "topk", "k": 3}, "has no clusters: leave k=3 and cluster='max' out"),
    ({"anchor_strategy": "topk", "cluster": "min"}, 'anchor_strategy="topk" has no clusters'),
    (
        {"saliency": "vgg16", "saliency_layers": None, "saliency_weights": "nowhere.pth"},
        FileNotFoundError,
        "saliency_weights: there is no file nowhere.pth",
    ),
    ({"weights": "nowhere.pth"}, FileNotFoundError, "weights file nowhere.pth does not exist"),
    ({"k": 0}, "k must be from 1 to 64 clusters, got 0"),
    ({"k": 2.5}, "k must be from 1 to 64 clusters, got 2.5"),
    ({"saliency_layers": ["layer1", "layer1"]}, "must be different ones of"),
    ({"saliency_margin": -1}, "saliency_margin must be at least 0, got -1"),
    ({"steps": 5, "freeze_steps": 5}, "freeze_steps=5 leaves the backbone none of the 5 steps"),
    ({"cluster": "top"}, "cluster must be one of"),
    ({"anchor_strategy": "sort"}, "anchor_strategy must be one of"),
    ({"swap": {"mode": "scar"}}, TypeError, "CutSwap has no option 'mode' here"),
    ({"augmentation": "cutpaste", "swap": {"overlap": "allow"}}, TypeError, "CutPaste has no option 'overlap'"),
    ({"steps": 3, "epochs": 3}, "phase 'pretext' needs epochs or steps"),
    ({"steps": None}, "phase 'pretext' needs epochs or steps"),
    ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ({"learning_rate": 0}, "learning rates of backbone and head must be above 0"),
    ({"freeze_steps": -1}, "freeze_steps must be at least 0"),
    ({"backbone_bn": "off"}, "backbone_bn must be .* got 'off'"),
    ({"head_learning_rate": 0}, "learning rates of backbone and head must be above 0, got 0.03 and 0"),
    ({"head_layer": "layer9"}, "head_layer must be one of act1, .* got 'layer9'"),
    ({"coreset_sampling_ratio": 0}, "coreset_sampling_ratio must be above 0"),
    ({"max_bank_size": 0}, "max_bank_size must be at least 1"),
    ({"num_neighbors": 0}, "num_neighbors must be at least 1"),
    ({"center_crop": [65, 64]}, r"center_crop \(65, 64\) must fit into image_size \(64, 64\)"),
    ({"center_crop": [8, 8]}, "each at least 32 px"),
)
