# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What each phase of Slsg trains and on what; which options are refused. The rest is in ``tests/contract``."""

import math

import pytest
import torch
from anomalib.data import ImageBatch, ImageItem
from anomalib.data.utils.tiler import Tiler
from anomalib.models import get_model
from lightning.pytorch import Trainer
from PIL import Image
from torch.optim import SGD, Adam, AdamW
from torch.testing import assert_close
from torch.utils.data import DataLoader
from torchvision.models import resnet18

from anomalib_plugins.components.tiling import cut
from anomalib_plugins.models import Slsg
from anomalib_plugins.models.slsg import lightning_model

SIZE = (32, 32)
SHORT = {"image_size": SIZE, "pretrain_epochs": 1, "pretrain_batch_size": 2, "steps": 2, "batch_size": 2, "seed": 0}


@pytest.fixture
def loader():
    """Four images in one batch."""
    images = torch.rand(4, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    items = [ImageItem(image=image, gt_label=torch.tensor(0)) for image in images]
    return DataLoader(items, batch_size=4, collate_fn=ImageBatch.collate)


def fit(model, loader, **trainer):
    """Train with the model's own callbacks, writing nothing."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **trainer)
    trainer.fit(model, loader)
    return model


def state(module):
    return {name: each.clone() for name, each in module.state_dict().items()}


def moved(before, module):
    """Names of the tensors that are no longer what they were."""
    return {name for name, each in module.state_dict().items() if not torch.equal(each, before[name])}


def statistics(names):
    return {name for name in names if "running" in name or "num_batches" in name}


@pytest.mark.parametrize(("freeze", "batch_norm"), [(True, "train"), (True, "eval"), (False, "eval")])
def test_segmentation_moves_of_the_encoder_what_its_options_say(loader, freeze, batch_norm):
    model = Slsg(**SHORT, pretrain="none", freeze_encoder=freeze, encoder_bn=batch_norm)
    before, encoder = state(model.model), state(model.model.encoder)
    fit(model, loader)
    changed = moved(encoder, model.model.encoder)
    assert bool(changed - statistics(changed)) == (not freeze)
    assert bool(statistics(changed)) == (batch_norm == "train")
    assert {name for name in moved(before, model.model) if name.startswith("decoder.")}


def test_tiles_are_learned_from_not_whole_images(loader, monkeypatch):
    model, seen = Slsg(**{**SHORT, "image_size": (64, 64)}, pretrain="none"), []
    model.model.tiler = Tiler(32, 32)
    segment = model.model.segment
    monkeypatch.setattr(model.model, "segment", lambda images: seen.append(images) or segment(images))
    fit(model, loader)
    assert {images.shape[-2:] for images in seen} == {(32, 32)}


def test_a_tile_of_each_image_is_one_of_its_own():
    model = Slsg(**SHORT, pretrain="none")
    images = torch.rand(5, 3, 64, 64)
    assert model.tile_of_each(images) is images
    model.model.tiler = Tiler(32, 16)
    for image, tile in zip(images, model.tile_of_each(images), strict=True):
        assert any(torch.equal(tile, each) for each in cut(image[None], model.model.tiler))


def test_each_image_of_a_step_has_its_tile_elsewhere(monkeypatch):
    """Its images come from several of the loader's batches."""
    model, seen = Slsg(**{**SHORT, "image_size": (64, 64), "batch_size": 4, "steps": 1}, pretrain="none"), []
    model.model.tiler = Tiler(32, 16)
    monkeypatch.setattr(model, "_segment", lambda step: seen.append(step.images))
    image = torch.rand(3, 64, 64)
    items = [ImageItem(image=image, gt_label=torch.tensor(0)) for _ in range(4)]
    fit(model, DataLoader(items, batch_size=1, collate_fn=ImageBatch.collate))
    assert len(seen[0].unique(dim=0)) > 1


def test_pretext_moves_the_encoder_and_nothing_else_of_the_network(loader, monkeypatch):
    model = Slsg(**SHORT)
    before, discriminator = state(model.model), state(model.discriminator)
    monkeypatch.setattr(model, "_segment", lambda step: None)
    fit(model, loader)
    changed = moved(before, model.model)
    assert changed
    assert all(name.startswith("encoder.") for name in changed)
    assert moved(discriminator, model.discriminator) == set(discriminator)


def test_generator_step_leaves_no_gradient_on_the_discriminator(loader, monkeypatch):
    model = Slsg(**SHORT)
    gradients = []

    def take_optimizer_step(optimizer, loss, *_, **__):
        optimizer.zero_grad()
        model.manual_backward(loss)
        gradients.append([parameter.grad for parameter in model.discriminator.parameters()])
        gradients[-1] = [each.clone() for each in gradients[-1]]

    monkeypatch.setattr(model, "take_optimizer_step", take_optimizer_step)
    monkeypatch.setattr(model, "_segment", lambda step: None)
    fit(model, loader)
    own, after_generator = gradients[:2]
    assert_close(after_generator, own, rtol=0, atol=0)


def test_segmentation_sees_every_image_untouched_and_with_an_anomaly(loader, monkeypatch):
    model = Slsg(**SHORT, pretrain="none")
    seen = []
    forward, loss = model.model.forward, model.loss.forward
    monkeypatch.setattr(model.model, "forward", lambda images: seen.append(images) or forward(images))
    monkeypatch.setattr(model.loss, "forward", lambda *args: seen.append(args[-1]) or loss(*args))
    fit(model, loader)
    inputs, target = seen[:2]
    normal, anomalous = inputs.chunk(2)
    assert len(normal) == len(anomalous) == 2
    assert_close(target[2:].bool(), (normal != anomalous).any(dim=1, keepdim=True))
    assert target[2:].flatten(1).any(dim=1).all()
    assert not target[:2].any()


def test_learning_rate_falls_along_a_half_cosine(loader, monkeypatch):
    model = Slsg(**{**SHORT, "steps": 8}, pretrain="none", learning_rate=0.02)
    rates = []
    monkeypatch.setattr(model, "manual_backward", lambda _: rates.append(model.optimizers().param_groups[0]["lr"]))
    fit(model, loader)
    assert rates == pytest.approx([0.01 * (1 + math.cos(math.pi * step / 8)) for step in range(8)])


def test_optimizers_are_those_of_the_paper():
    discriminator, generator, segmentation = Slsg().configure_optimizers()
    assert isinstance(discriminator, Adam)
    assert isinstance(generator, Adam)
    assert isinstance(segmentation, SGD)
    assert [each.defaults["lr"] for each in (discriminator, generator, segmentation)] == [6e-4, 1e-3, 0.04]
    assert segmentation.defaults["momentum"] == pytest.approx(0.9)


def test_the_segmentation_network_can_have_adamw_with_a_rate_of_its_own(loader):
    model = fit(Slsg(**SHORT, pretrain="none", optimizer="adamw"), loader)
    (segmentation,) = model.configure_optimizers()
    assert isinstance(segmentation, AdamW)
    assert segmentation.defaults["lr"] == pytest.approx(0.001)
    assert Slsg(optimizer="adamw", learning_rate=0.01).learning_rate == pytest.approx(0.01)


@pytest.mark.parametrize("pretrain", ["none", "imagenet"])
def test_without_inpainting_there_is_neither_decoder_nor_discriminator(pretrain, tmp_path):
    weights = tmp_path / "resnet18.pth"
    torch.save(resnet18().state_dict(), weights)
    model = Slsg(pretrain=pretrain, weights=None if pretrain == "none" else weights)
    assert not hasattr(model, "decoder")
    assert not hasattr(model, "discriminator")
    assert len(model.configure_optimizers()) == 1
    assert [phase.name for phase in model.schedule.phases] == [lightning_model.SEGMENTATION]


@pytest.mark.parametrize(
    ("options", "stem"),
    [
        ({}, "reference"),
        ({"pretrain": "none"}, "reference"),
        ({"weights": "resnet18.pth"}, "reference"),
        ({"pretrain": "imagenet", "weights": "resnet18.pth"}, "standard"),
        ({"pretrain": "none", "weights": "resnet18.pth"}, "standard"),
        ({"pretrain": "imagenet", "weights": "resnet18.pth", "network": {"stem": "reference"}}, "reference"),
    ],
    ids=str,
)
def test_stem_follows_the_weights(options, stem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(resnet18().state_dict(), "resnet18.pth")
    assert Slsg(**options).model.encoder.stem == stem


def test_checkpoint_knows_its_stem(loader, tmp_path):
    torch.save(resnet18().state_dict(), tmp_path / "resnet18.pth")
    model = fit(Slsg(**SHORT, pretrain="imagenet", weights=tmp_path / "resnet18.pth"), loader)
    model.trainer.save_checkpoint(tmp_path / "slsg.ckpt")
    loaded = Slsg.load_from_checkpoint(tmp_path / "slsg.ckpt").eval()
    images = torch.rand(2, 3, *SIZE)
    assert torch.equal(loaded.model(images).anomaly_map, model.eval().model(images).anomaly_map)


def test_weights_of_another_stem_are_refused(loader, tmp_path):
    torch.save(resnet18().state_dict(), tmp_path / "resnet18.pth")
    options = {"pretrain": "imagenet", "weights": tmp_path / "resnet18.pth"}
    model = fit(Slsg(**SHORT, **options), loader)
    model.trainer.save_checkpoint(tmp_path / "slsg.ckpt")
    with pytest.raises(ValueError, match=r"slsg.ckpt was trained with the stem 'standard', this model has 'reference'"):
        Slsg(**SHORT, pretrain=str(tmp_path / "slsg.ckpt"))
    assert Slsg(**SHORT, pretrain=str(tmp_path / "slsg.ckpt"), network={"stem": "standard"})
    old = torch.load(tmp_path / "slsg.ckpt", weights_only=True)
    old["hyper_parameters"]["network"] = None  # as of version 0.1
    with pytest.raises(ValueError, match=r"the checkpoint was trained with the stem 'reference', this model has 'stan"):
        Slsg(**SHORT, **options).on_load_checkpoint(old)


def test_another_encoder_trains_and_its_checkpoint_loads(loader, tmp_path):
    model = fit(Slsg(**SHORT, encoder="tf_efficientnet_lite0", width=0.125), loader)
    model.trainer.save_checkpoint(tmp_path / "slsg.ckpt")
    loaded = Slsg.load_from_checkpoint(tmp_path / "slsg.ckpt")
    assert_close(loaded.model.state_dict(), model.model.state_dict(), rtol=0, atol=0)
    reused = Slsg(encoder="tf_efficientnet_lite0", width=0.25, pretrain=str(tmp_path / "slsg.ckpt"))
    ours, theirs = (dict(each.model.encoder.named_parameters()) for each in (reused, model))
    assert_close(ours, theirs, rtol=0, atol=0)


def test_encoder_starts_from_a_checkpoint_of_slsg(tmp_path):
    first = Slsg(seed=1)
    torch.save({"state_dict": first.state_dict()}, tmp_path / "slsg.ckpt")
    second = Slsg(pretrain=str(tmp_path / "slsg.ckpt"), seed=2)
    assert_close(second.model.encoder.state_dict(), first.model.encoder.state_dict(), rtol=0, atol=0)


def test_checkpoint_loads_where_the_weights_and_textures_it_began_with_are_not(loader, tmp_path):
    weights, textures = tmp_path / "resnet18.pth", tmp_path / "textures"
    torch.save(resnet18().state_dict(), weights)
    textures.mkdir()
    Image.new("RGB", (64, 64)).save(textures / "texture.png")
    model = Slsg(**SHORT, pretrain="imagenet", weights=weights, texture_root=textures)
    fit(model, loader)
    model.trainer.save_checkpoint(tmp_path / "slsg.ckpt")
    weights.unlink()
    (textures / "texture.png").unlink()
    loaded = Slsg.load_from_checkpoint(tmp_path / "slsg.ckpt")
    assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0, equal_nan=True)


def test_options_of_a_benchmark_configuration_become_plain_data(tmp_path):
    """OmegaConf's lists could not be read back from a checkpoint with ``weights_only=True``."""
    options = {
        "image_size": [32, 32],
        "simulation": {"structural_delta": [0.1, 0.5]},
        "masking": {"large_size": [8, 9]},
    }
    model = get_model({"class_path": "Slsg", "init_args": options})
    torch.save(dict(model.hparams), tmp_path / "hparams")
    read = torch.load(tmp_path / "hparams", weights_only=True)
    assert read["simulation"] == options["simulation"]


def test_loss_that_is_not_finite_stops_the_run(loader):
    model = Slsg(**SHORT, pretrain="none")
    torch.nn.init.constant_(model.model.encoder.conv1.weight, torch.inf)
    with pytest.raises(FloatingPointError, match="train_loss became nan in phase 'segmentation' after 0 steps"):
        fit(model, loader)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image_size": (256,)}, ValueError, "image_size must be"),
        ({"image_size": (16, 64)}, ValueError, "each at least 32 px"),
        ({"pretrain": "imgnet"}, FileNotFoundError, '"gpt", "imagenet", "none" or a file .* \'imgnet\''),
        ({"weights": "no/such.pth", "pretrain": "imagenet"}, FileNotFoundError, "no/such.pth does not exist"),
        ({"encoder_bn": "frozen"}, ValueError, "encoder_bn must be"),
        ({"texture_root": "no/such/folder"}, FileNotFoundError, "no/such/folder does not exist"),
        ({"foreground": "somewhere"}, ValueError, "foreground"),
        ({"pretrain_epochs": 0}, ValueError, "'pretext' needs epochs or steps"),
        ({"pretrain_batch_size": 0}, ValueError, "'pretext': batch_size must be at least 1"),
        ({"steps": 0}, ValueError, "'segmentation' needs epochs or steps"),
        ({"batch_size": 0}, ValueError, "'segmentation': batch_size must be at least 1"),
        ({"learning_rate": -0.1}, ValueError, "learning_rate must be"),
        ({"optimizer": "adam"}, ValueError, "optimizer must be one of sgd, adamw, got 'adam'"),
        ({"network": {"use_gnc": False}}, TypeError, "no option 'use_gnc' here; did you mean 'use_gcn'"),
        ({"simulation": {"foreground": "none"}}, TypeError, "no option 'foreground' here"),
        ({"network": {"stem": "other"}}, ValueError, "stem must be one of"),
        ({"network": {"k": 0}}, ValueError, "k must be at least 1"),
        ({"masking": {"mask_ratio": 1.5}}, ValueError, r"mask_ratio must be in \[0, 1\]"),
        ({"masking": {"ratio": 0.5}}, TypeError, "ratio"),
        ({"simulation": {"logical_probability": 1.5}}, ValueError, r"logical_probability must be in \[0, 1\]"),
        ({"simulation": {"logical": 0.5}}, TypeError, "logical"),
        ({"loss": {"use_focal": False, "use_l1": False, "use_aux": False}}, ValueError, "no term is left"),
        ({"loss": {"gama": 2.0}}, TypeError, "gama"),
    ],
    ids=str,
)
def test_option_out_of_range_or_unknown_is_refused_at_construction(options, error, message):
    with pytest.raises(error, match=message):
        Slsg(**options)


@pytest.mark.parametrize(
    ("content", "message"), [(b"text", "is damaged or no weights file"), (None, "does not fit SlsgEncoder, a resnet18")]
)
def test_wrong_weights_file_is_refused(tmp_path, content, message):
    path = tmp_path / "weights.pth"
    if content is None:
        torch.save(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1)).state_dict(), path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        Slsg(pretrain="imagenet", weights=path)
