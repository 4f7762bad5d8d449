# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What each phase of Slsg trains and on what; which options are refused. The rest is in ``tests/contract``."""

import math

import pytest
import torch
from anomalib.data import ImageBatch, ImageItem
from anomalib.data.utils.tiler import Tiler
from anomalib.models import get_model
from onnxruntime import InferenceSession
from PIL import Image
from torch.optim import SGD, Adam, AdamW
from torch.testing import assert_close
from torch.utils.data import DataLoader
from torchvision.models import resnet18

from anomalib_plugins.callbacks.checkpoint_files import CheckpointError
from anomalib_plugins.components.segmentation import anomaly_probability
from anomalib_plugins.components.tiling import cut
from anomalib_plugins.models import Slsg
from anomalib_plugins.models.slsg import lightning_model

from ....refusals import refusals
from ....training import fit, good_images, moved, quiet_trainer, state

SIZE = (32, 32)
SHORT = {"image_size": SIZE, "pretrain_epochs": 1, "pretrain_batch_size": 2, "steps": 2, "batch_size": 2, "seed": 0}
REMEMBERING = {**SHORT, "encoder": "test_resnet", "width": 0.125, "encoder_bn": "eval"}


def statistics(names):
    return {name for name in names if "running" in name or "num_batches" in name}


@pytest.mark.parametrize(("freeze", "batch_norm"), [(True, "train"), (True, "eval"), (False, "eval")])
def test_segmentation_moves_of_the_encoder_what_its_options_say(freeze, batch_norm):
    model = Slsg(**SHORT, pretrain="none", freeze_encoder=freeze, encoder_bn=batch_norm)
    before, encoder = state(model.model), state(model.model.encoder)
    fit(model)
    changed = moved(encoder, model.model.encoder)
    assert bool(changed - statistics(changed)) == (not freeze)
    assert bool(statistics(changed)) == (batch_norm == "train")
    assert {name for name in moved(before, model.model) if name.startswith("decoder.")}


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


def test_pretext_moves_the_encoder_and_nothing_else_of_the_network(monkeypatch):
    model = Slsg(**SHORT)
    before, discriminator = state(model.model), state(model.discriminator)
    monkeypatch.setattr(model, "_segment", lambda step: None)
    fit(model)
    changed = moved(before, model.model)
    assert changed
    assert all(name.startswith("encoder.") for name in changed)
    assert moved(discriminator, model.discriminator) == set(discriminator)


def test_generator_step_leaves_no_gradient_on_the_discriminator(monkeypatch):
    model = Slsg(**SHORT)
    gradients = []

    def take_optimizer_step(optimizer, loss, *_, **__):
        optimizer.zero_grad()
        model.manual_backward(loss)
        gradients.append([parameter.grad for parameter in model.discriminator.parameters()])
        gradients[-1] = [each.clone() for each in gradients[-1]]

    monkeypatch.setattr(model, "take_optimizer_step", take_optimizer_step)
    monkeypatch.setattr(model, "_segment", lambda step: None)
    fit(model)
    own, after_generator = gradients[:2]
    assert_close(after_generator, own, rtol=0, atol=0)


def test_segmentation_sees_every_image_untouched_and_with_an_anomaly(monkeypatch):
    model = Slsg(**SHORT, pretrain="none")
    seen = []
    forward, loss = model.model.forward, model.loss.forward
    monkeypatch.setattr(model.model, "forward", lambda images: seen.append(images) or forward(images))
    monkeypatch.setattr(model.loss, "forward", lambda *args: seen.append(args[-1]) or loss(*args))
    fit(model)
    inputs, target = seen[:2]
    normal, anomalous = inputs.chunk(2)
    assert len(normal) == len(anomalous) == 2
    assert_close(target[2:].bool(), (normal != anomalous).any(dim=1, keepdim=True))
    assert target[2:].flatten(1).any(dim=1).all()
    assert not target[:2].any()


def test_learning_rate_falls_along_a_half_cosine(monkeypatch):
    model = Slsg(**{**SHORT, "steps": 8}, pretrain="none", learning_rate=0.02)
    rates = []
    monkeypatch.setattr(model, "manual_backward", lambda _: rates.append(model.optimizers().param_groups[0]["lr"]))
    fit(model)
    assert rates == pytest.approx([0.01 * (1 + math.cos(math.pi * step / 8)) for step in range(8)])


def test_optimizers_are_those_of_the_paper():
    discriminator, generator, segmentation = Slsg().configure_optimizers()
    assert isinstance(discriminator, Adam)
    assert isinstance(generator, Adam)
    assert isinstance(segmentation, SGD)
    assert [each.defaults["lr"] for each in (discriminator, generator, segmentation)] == [6e-4, 1e-3, 0.04]
    assert segmentation.defaults["momentum"] == pytest.approx(0.9)


def test_the_segmentation_network_can_have_adamw_with_a_rate_of_its_own():
    model = fit(Slsg(**SHORT, pretrain="none", optimizer="adamw"))
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


def test_weights_of_another_stem_are_refused(tmp_path):
    torch.save(resnet18().state_dict(), tmp_path / "resnet18.pth")
    options = {"pretrain": "imagenet", "weights": tmp_path / "resnet18.pth"}
    model = fit(Slsg(**SHORT, **options))
    model.trainer.save_checkpoint(tmp_path / "slsg.ckpt")
    with pytest.raises(ValueError, match=r"slsg.ckpt was trained with the stem 'standard', this model has 'reference'"):
        Slsg(**SHORT, pretrain=str(tmp_path / "slsg.ckpt"))
    assert Slsg(**SHORT, pretrain=str(tmp_path / "slsg.ckpt"), network={"stem": "standard"})
    old = torch.load(tmp_path / "slsg.ckpt", weights_only=True)
    old["hyper_parameters"]["network"] = None  # as of version 0.1
    with pytest.raises(ValueError, match=r"the checkpoint was trained with the stem 'reference', this model has 'stan"):
        Slsg(**SHORT, **options).on_load_checkpoint(old)


def test_another_encoder_trains_and_its_checkpoint_loads(tmp_path):
    model = fit(Slsg(**SHORT, encoder="tf_efficientnet_lite0", width=0.125))
    model.trainer.save_checkpoint(tmp_path / "slsg.ckpt")
    loaded = Slsg.load_from_checkpoint(tmp_path / "slsg.ckpt")
    assert_close(loaded.model.state_dict(), model.model.state_dict(), rtol=0, atol=0)
    reused = Slsg(encoder="tf_efficientnet_lite0", width=0.25, pretrain=str(tmp_path / "slsg.ckpt"))
    ours, theirs = (dict(each.model.encoder.named_parameters()) for each in (reused, model))
    assert_close(ours, theirs, rtol=0, atol=0)


def test_checkpoint_loads_where_the_weights_and_textures_it_began_with_are_not(tmp_path):
    weights, textures = tmp_path / "resnet18.pth", tmp_path / "textures"
    torch.save(resnet18().state_dict(), weights)
    textures.mkdir()
    Image.new("RGB", (64, 64)).save(textures / "texture.png")
    model = Slsg(**SHORT, pretrain="imagenet", weights=weights, texture_root=textures)
    fit(model)
    model.trainer.save_checkpoint(tmp_path / "slsg.ckpt")
    weights.unlink()
    (textures / "texture.png").unlink()
    loaded = Slsg.load_from_checkpoint(tmp_path / "slsg.ckpt")
    assert loaded.model.encoder.stem == "standard"
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


def test_memory_is_filled_in_front_of_the_segmentation_and_weighs_distances_by_probabilities(tmp_path):
    model = fit(Slsg(**REMEMBERING, memory=0.5, pretrain="none"))
    network, images = model.model.eval(), next(iter(good_images())).image.roll(5, dims=-1)
    assert [len(bank.vectors) for bank in network.banks] == [4 * 16 // 2, 4 * 4 // 2]
    counts = {name: int(each) for name, each in network.decoder.state_dict().items() if "num_batches" in name}
    assert set(counts.values()) == {SHORT["steps"]}  # the decoder learned with statistics of its own
    _, distances, _ = network.memory.measure(network.embed(images), SIZE)
    probability = anomaly_probability(network.segment(images)[0])
    found = network(images)
    assert_close(found.anomaly_map, distances * probability.clamp(min=0.001) ** 0.05)
    assert_close(found.pred_score, found.anomaly_map.flatten(1).topk(100).values.mean(dim=1))
    assert network(torch.full((1, 3, *SIZE), torch.nan)).pred_score > found.pred_score.max()

    model.trainer.save_checkpoint(tmp_path / "slsg.ckpt")
    loaded = Slsg.load_from_checkpoint(tmp_path / "slsg.ckpt").eval()
    assert_close(loaded.model(images).anomaly_map, found.anomaly_map, rtol=0, atol=0)
    loaded.post_processor.enable_normalization = False
    session = InferenceSession(loaded.to_onnx(tmp_path, input_size=SIZE))
    names = [each.name for each in session.get_outputs()]
    exported = dict(zip(names, session.run(None, {"input": images.numpy()}), strict=True))
    assert_close(torch.tensor(exported["anomaly_map"]), found.anomaly_map)


def test_memory_leaves_the_pretext_as_it_is():
    plain, remembering = (Slsg(**REMEMBERING, memory=memory) for memory in (0.0, 0.5))
    fit(plain)
    fit(remembering)
    assert_close(remembering.model.encoder.state_dict(), plain.model.encoder.state_dict(), rtol=0, atol=0)


def test_memory_stays_when_a_run_goes_on_with_other_batches(tmp_path, recwarn):
    model = fit(Slsg(**REMEMBERING, memory=0.5, pretrain="none"), good_images(6, batch_size=2))
    model.trainer.save_checkpoint(tmp_path / "slsg.ckpt")
    longer = Slsg(**{**REMEMBERING, "steps": 4}, memory=0.5, pretrain="none")
    quiet_trainer().fit(longer, good_images(6, batch_size=6), ckpt_path=tmp_path / "slsg.ckpt", weights_only=True)
    assert longer.schedule.taken[-1] == 4
    assert [len(bank.vectors) for bank in longer.model.banks] == [48, 12]
    assert not [each for each in recwarn if "never trained" in str(each.message)]


def test_memory_needs_names_of_images_and_a_checkpoint_with_one(tmp_path):
    data = good_images()
    for item in data.dataset:
        item.image_path = None
    with pytest.raises(ValueError, match="the items of the dataset need image_path"):
        fit(Slsg(**REMEMBERING, memory=0.5, pretrain="none"), data)
    fit(Slsg(**REMEMBERING, pretrain="none"), good_images()).trainer.save_checkpoint(tmp_path / "slsg.ckpt")
    with pytest.raises(CheckpointError, match=r"trained without a memory, and memory is 0\.5 here"):
        quiet_trainer().fit(
            Slsg(**REMEMBERING, memory=0.5, pretrain="none"),
            good_images(),
            ckpt_path=tmp_path / "slsg.ckpt",
            weights_only=True,
        )


def test_memory_takes_a_tile_of_each_image_where_images_are_cut():
    model = Slsg(**{**REMEMBERING, "image_size": (64, 64)}, memory=1.0, pretrain="none", max_bank_size=80)
    model.model.tiler = Tiler(tile_size=32, stride=32)
    fit(model, good_images(size=(64, 64)))
    assert [len(bank.vectors) for bank in model.model.banks] == [4 * 16, 4 * 4]
    assert model.model.eval()(torch.rand(1, 3, 64, 64)).anomaly_map.shape == (1, 1, 64, 64)


test_option_out_of_range_or_unknown_is_refused_at_construction = refusals(
    Slsg,
    ({"image_size": (256,)}, "image_size must be"),
    ({"image_size": (16, 64)}, "each at least 32 px"),
    ({"pretrain": "imgnet"}, FileNotFoundError, '"gpt", "imagenet", "none" or a file .* \'imgnet\''),
    ({"weights": "no/such.pth", "pretrain": "imagenet"}, FileNotFoundError, "no/such.pth does not exist"),
    ({"encoder_bn": "frozen"}, "encoder_bn must be"),
    ({"memory": 1.5}, r"memory must be in \[0, 1\]"),
    ({"memory": 0.1}, "memory=0.1 keeps features of the encoder: set freeze_encoder=True and encoder_bn='eval'"),
    ({"memory": 0.1, "encoder_bn": "eval", "freeze_encoder": False}, "set freeze_encoder=True"),
    ({"network": {"memory": True}}, TypeError, "no option 'memory' here"),
    ({"texture_root": "no/such/folder"}, FileNotFoundError, "no/such/folder does not exist"),
    ({"foreground": "somewhere"}, "foreground"),
    ({"pretrain_epochs": 0}, "'pretext' needs epochs or steps"),
    ({"pretrain_batch_size": 0}, "'pretext': batch_size must be at least 1"),
    ({"steps": 0}, "'segmentation' needs epochs or steps"),
    ({"batch_size": 0}, "'segmentation': batch_size must be at least 1"),
    ({"learning_rate": -0.1}, "learning_rate must be"),
    ({"optimizer": "adam"}, "optimizer must be one of sgd, adamw, got 'adam'"),
    ({"network": {"use_gnc": False}}, TypeError, "no option 'use_gnc' here; did you mean 'use_gcn'"),
    ({"simulation": {"foreground": "none"}}, TypeError, "no option 'foreground' here"),
    ({"network": {"stem": "other"}}, "stem must be one of"),
    ({"network": {"k": 0}}, "k must be at least 1"),
    ({"masking": {"mask_ratio": 1.5}}, r"mask_ratio must be in \[0, 1\]"),
    ({"masking": {"ratio": 0.5}}, TypeError, "ratio"),
    ({"simulation": {"logical_probability": 1.5}}, r"logical_probability must be in \[0, 1\]"),
    ({"simulation": {"logical": 0.5}}, TypeError, "logical"),
    ({"loss": {"use_focal": False, "use_l1": False, "use_aux": False}}, "no term is left"),
    ({"loss": {"gama": 2.0}}, TypeError, "gama"),
)
