# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics.functional import auroc

from anomalib_plugins.models.pouta.loss import PoutaLoss, segmentation_loss
from anomalib_plugins.models.pouta.torch_model import PoutaModel, Segmentation, window_score

from ....refusals import refusals


def count(module):
    return sum(p.numel() for p in module.parameters())


def on_meta(**options):
    with torch.device("meta"):
        return PoutaModel(**options)


def gigamacs(call):
    with FlopCounterMode(display=False) as counter:
        call(torch.empty(1, 3, 224, 224, device="meta"))
    return counter.get_total_flops() / 2e9


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model():
    """A network in eval mode with statistics of some batches; tests leave it as it is."""
    torch.manual_seed(0)
    model = PoutaModel()
    with torch.no_grad():
        for _ in range(8):
            model(torch.rand(2, 3, 64, 64))
    return model.eval()


# Size


def test_parameters_of_every_part_are_those_recovered_from_the_published_cost():
    model = on_meta()
    encoder, decoder = model.autoencoder.encoder, model.autoencoder.decoder
    assert [count(part) for part in (encoder, model.autoencoder.mapping, decoder, model.autoencoder.to_image)] == [
        4_687_296,
        263_168,
        7_044_864,
        195,
    ]
    assert count(model.autoencoder) == 11_995_523
    assert [count(contrast) for contrast in model.discriminator.contrasts] == [16_384, 65_536, 262_144, 1_048_576]
    assert [count(gate) for gate in model.discriminator.gates] == [77_888, 311_424, 1_245_440]
    assert [count(model.discriminator.predict), count(model.discriminator.heads)] == [1_922, 1_928]


@pytest.mark.parametrize(
    ("options", "parameters", "gmacs"),
    [
        ({"use_mss": False}, 15_024_837, 35.361),
        ({}, 15_026_765, 35.373),
        ({"use_hsg": False, "use_mss": False}, 13_390_085, 24.26),
        ({"variant": "vanilla"}, 11_995_523 + 15_965_282, 37.39),
    ],
    ids=str,
)
def test_parameters_and_operations_are_those_recovered_from_the_published_cost(options, parameters, gmacs):
    model = on_meta(**options)
    assert count(model) == parameters
    assert gigamacs(model.segment_all) == pytest.approx(gmacs, abs=0.01)


def test_auto_encoder_costs_what_was_recovered():
    model = on_meta().autoencoder
    assert gigamacs(lambda images: model.reconstruct(model(images).decoded)) == pytest.approx(20.957, abs=0.001)


def test_inference_runs_neither_the_heads_nor_the_reconstruction():
    model = on_meta()
    unused = 64 * 3 * 224**2 + sum(2 * c * (224 // 2**level) ** 2 for level, c in enumerate((64, 128, 256, 512)))
    saved = gigamacs(model.segment_all) - gigamacs(model.segment)
    assert saved == pytest.approx(unused / 1e9, rel=1e-6)


# What it gives


@pytest.mark.parametrize("size", [(224, 224), (32, 32), (33, 47), (100, 75)])
def test_encoder_and_decoder_have_the_same_shapes_at_any_size(size):
    model, images = on_meta(), torch.empty(2, 3, *size, device="meta")
    encoded, decoded = model.autoencoder(images)
    sides = [tuple(-(-side // 2**level) for side in size) for level in range(4)]
    shapes = [(2, channels, *side) for channels, side in zip((64, 128, 256, 512), sides, strict=True)]
    assert [maps.shape for maps in encoded] == [maps.shape for maps in decoded] == shapes
    assert model.autoencoder.reconstruct(decoded).shape == images.shape


@pytest.mark.parametrize("size", [(64, 64), (33, 47)])
@pytest.mark.parametrize("variant", ["pouta", "vanilla"])
def test_training_gives_reconstruction_and_logits_of_every_size(variant, size):
    images = torch.rand(2, 3, *size)
    predicted = PoutaModel(variant)(images)
    assert isinstance(predicted, Segmentation)
    assert predicted.reconstruction.shape == images.shape
    for logits in (predicted.logits, *predicted.level_logits):
        assert logits.shape == (2, 2, *size)
    assert len(predicted.level_logits) == (4 if variant == "pouta" else 0)


def test_multiples_of_32_are_not_filled_up_for_the_u_net(images):
    model = PoutaModel("vanilla").eval()
    with torch.no_grad():
        predicted = model.segment_all(images)
        assert_close(predicted.logits, model.discriminator(torch.cat((images, predicted.reconstruction), dim=1)))


def test_anomaly_map_is_the_softmax_of_what_training_sees(model, images):
    with torch.no_grad():
        expected = model.segment_all(images).logits.softmax(dim=1)[:, 1:]
        assert_close(model(images).anomaly_map, expected)


def test_switches_leave_their_parts_out():
    assert len(on_meta(use_mss=False).discriminator.heads) == 0
    assert len(on_meta(use_hsg=False).discriminator.gates) == 0


def test_broken_image_is_seen_where_the_network_swallows_it(model, images, monkeypatch):
    monkeypatch.setattr(model, "segment", lambda images: torch.zeros(2, 2, 64, 64))
    images[1, 0, 3, 5] = float("nan")
    assert model(images).pred_score.tolist() == [0.5, 2]


# Learning


def test_segmentation_teaches_encoder_and_decoder(images):
    torch.manual_seed(0)
    model = PoutaModel()
    mask = torch.zeros(2, 1, 64, 64)
    mask[..., 10:30, 20:40] = 1
    segmentation_loss(model(images).logits, mask).backward()
    for part in (model.autoencoder.encoder, model.autoencoder.mapping, model.autoencoder.decoder):
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
    assert model.autoencoder.to_image.weight.grad is None


def test_one_batch_is_learned_by_heart():
    generator = torch.Generator().manual_seed(0)
    normal = F.interpolate(torch.rand(3, 3, 4, 4, generator=generator), size=(32, 32), mode="bilinear")
    mask = torch.zeros(3, 1, 32, 32)
    for number, (top, left) in enumerate(((3, 4), (18, 20))):  # the third stays normal
        mask[number, :, top : top + 9, left : left + 9] = 1
    images = torch.where(mask.bool(), 1 - normal, normal)
    torch.manual_seed(0)
    model, loss = PoutaModel(), PoutaLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(15):
        terms = loss(model(images), normal, mask)
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
        losses.append(terms.total.item())
    assert losses[-1] < 0.5 * losses[0]
    probability = model.segment(images).softmax(dim=1)[:, 1:]
    assert auroc(probability.flatten(), mask.flatten().int(), task="binary") > 0.99


# Options


def test_init_of_draem_has_its_spread():
    torch.manual_seed(0)
    model = PoutaModel(init="draem")
    convolution, normalisation, _ = model.autoencoder.encoder[3][1]
    assert convolution.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert normalisation.weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert normalisation.weight.mean().item() == pytest.approx(1, abs=0.01)
    assert model.autoencoder.decoder[0].up[0].weight.std().item() == pytest.approx(0.02, rel=0.02)


test_option_out_of_range_is_refused = refusals(
    on_meta,
    ({"variant": "plain"}, "variant must be one of pouta, vanilla, got 'plain'"),
    ({"fcm_act": "gelu"}, "fcm_act must be one of"),
    ({"hsg_gate": "tanh"}, "hsg_gate must be one of"),
    ({"init": "he"}, "init must be one of"),
    ({"score_window": 21.0}, "score_window must be an odd number of pixels, got 21.0"),
    ({"score_window": 20}, "score_window must be an odd number of pixels, got 20"),
    ({"score_window": -1}, "score_window must be an odd number of pixels, got -1"),
)


@pytest.fixture
def maps():
    return torch.rand(3, 1, 20, 30, generator=torch.Generator().manual_seed(0))


def test_window_score_is_the_largest_mean_of_a_loop_over_windows_with_zeros_outside(maps):
    expected = []
    for plane in maps[:, 0]:
        padded = torch.zeros(20 + 20, 30 + 20)
        padded[10:30, 10:40] = plane
        expected.append(max(padded[y : y + 21, x : x + 21].mean().item() for y in range(20) for x in range(30)))
    assert_close(window_score(maps), torch.tensor(expected))


def test_window_score_of_ones_is_one_and_of_one_pixel_its_share():
    assert window_score(torch.ones(1, 1, 40, 40)) == 1
    pixel, corner = torch.zeros(2, 1, 1, 40, 40)
    pixel[..., 20, 20] = 1
    corner[..., :11, :11] = 1
    assert_close(window_score(pixel), torch.tensor([1 / 441]))
    assert_close(window_score(corner), torch.tensor([121 / 441]))


def test_window_score_is_summed_in_full_precision(maps):
    half = maps.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(window_score(half), window_score(half.float()))
