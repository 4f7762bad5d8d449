# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from itertools import product

import pytest
import torch
from anomalib.data import InferenceBatch
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics.functional import auroc

from anomalib_plugins.components.inference import top_k_score
from anomalib_plugins.models.slsg.decoder import resize_to
from anomalib_plugins.models.slsg.loss import SegmentationLoss
from anomalib_plugins.models.slsg.torch_model import SkipRefinement, SlsgModel

from ....refusals import refusals


def _count(module):
    return sum(p.numel() for p in module.parameters())


def _on_meta(**options):
    with torch.device("meta"):
        return SlsgModel(**options)


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model(images):
    """A network in eval mode whose outputs span the range of probabilities."""
    torch.manual_seed(0)
    model = SlsgModel(top_k=50)
    with torch.no_grad():
        model.decoder.predict[-1].weight.mul_(20)
        for _ in range(8):
            model(images)
    return model.eval()


def test_parameters_of_every_part_are_those_of_the_authors_release():
    model = _on_meta()
    assert _count(model.encoder) == 11_176_512
    assert _count(model.sg_block) == 3_809_024
    assert [_count(r) for r in model.refine] == [9_600, 35_584, 136_704]
    assert [_count(model.aux_head.reduce), _count(model.aux_head.predict)] == [1_254_240, 9_890]
    assert {name: _count(part) for name, part in model.decoder.named_children()} == {
        "up1": 1_180_416,
        "merge1": 1_771_008,
        "up2": 295_296,
        "merge2": 480_000,
        "up3": 73_920,
        "merge3": 129_408,
        "up4": 18_528,
        "merge4": 55_488,
        "predict": 23_474,
    }
    assert _count(model) == 20_459_092


def test_a_1x1_value_layer_has_fewer_parameters_and_the_stem_changes_none():
    assert _count(_on_meta(value_conv="1x1")) == 18_361_940
    assert _count(_on_meta(stem="standard")) == 20_459_092


def test_an_image_of_256_px_costs_23_billion_operations(model):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 256, 256))
    assert 23.0e9 <= counter.get_total_flops() / 2 <= 23.1e9


def test_evaluation_returns_the_softmax_and_the_mean_of_its_largest_pixels(model, images):
    with torch.no_grad():
        out = model(images)
        logits, _ = model.segment(images)
    assert isinstance(out, InferenceBatch)
    assert_close(out.anomaly_map, logits.softmax(dim=1)[:, 1:])
    assert out.anomaly_map.min() >= 0
    assert out.anomaly_map.max() <= 1
    assert torch.equal(out.pred_score, top_k_score(out.anomaly_map, k=50))


def _up(x, times=1):
    for _ in range(times):
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    return x


def test_wiring_is_that_of_the_layer_table(model, images):
    d = model.decoder
    with torch.no_grad():
        s0, f1, f2, f3, f4 = model.encoder(model.normalize(images))
        x = model.sg_block(f4)
        a = model.aux_head.reduce(x)
        aux_logits = F.interpolate(model.aux_head.predict(a), scale_factor=16, mode="bilinear", align_corners=True)
        b1 = d.merge1(torch.cat((d.up1(_up(x)), model.refine[2](f3)), dim=1))
        b2 = d.merge2(torch.cat((d.up2(_up(b1)), model.refine[1](f2), _up(a, 2)), dim=1))
        b3 = d.merge3(torch.cat((d.up3(_up(b2)), model.refine[0](f1), _up(a, 3)), dim=1))
        b4 = d.merge4(torch.cat((d.up4(b3), s0), dim=1))
        expected = d.predict(_up(b4)) + aux_logits
        assert_close(model.segment(images), (expected, aux_logits))


def test_skip_refinement_is_its_formula():
    refine = SkipRefinement(4)
    x = torch.randn(1, 4, 9, 9)
    near, far, mix = refine.attention
    attention = F.conv2d(x, near.weight, near.bias, padding=1, groups=4)
    attention = mix(F.conv2d(attention, far.weight, far.bias, padding=3, dilation=3, groups=4))
    assert_close(refine(x), x + refine.project[1]((x * attention).relu()))


def test_another_encoder_is_normalised_as_its_weights_expect(images):
    model = SlsgModel("tf_efficientnet_lite0", width=0.125)
    assert_close(model.normalize(images), 2 * images - 1)


@pytest.mark.parametrize("encoder", ["resnet18", "tf_efficientnet_lite0"])
def test_another_encoder_and_width_train_every_parameter_but_the_encoders(images, encoder):
    model = SlsgModel(encoder, width=0.125)
    model.encoder.requires_grad_(requires_grad=False)
    logits, aux_logits = model(images)
    assert logits.shape == aux_logits.shape == (2, 2, 64, 64)
    (logits.square().mean() + aux_logits.square().mean()).backward()
    assert {name for name, p in model.named_parameters() if p.grad is None} == {
        f"encoder.{name}" for name, _ in model.encoder.named_parameters()
    }


def test_coarser_features_give_maps_of_the_images_size_and_cost_less():
    images = torch.rand(2, 3, 65, 96)
    operations = []
    for stride in (2, 4):
        model = SlsgModel("tf_efficientnet_lite0", width=0.5, finest_stride=stride).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            assert model(images).anomaly_map.shape == (2, 1, 65, 96)
        operations.append(counter.get_total_flops())
    assert operations[1] < operations[0]


@pytest.mark.parametrize(("attention", "gcn", "bottleneck_skip"), list(product([True, False], repeat=3)))
def test_every_ablation_runs_and_leaves_no_unused_parameter(images, attention, gcn, bottleneck_skip):
    model = SlsgModel(use_attention=attention, use_gcn=gcn, bottleneck_skip=bottleneck_skip)
    model.encoder.requires_grad_(requires_grad=False)
    logits, aux_logits = model(images[..., :32, :32])
    (logits.square().mean() + aux_logits.square().mean()).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert (_count(model.sg_block) == 0) == (not attention and not gcn)


@pytest.mark.parametrize("options", [{"skip_refine": False}, {"remove_pos_sim": False}, {"k": 3}, {"knn_dilation": 1}])
def test_every_other_option_changes_the_output(model, images, options):
    other = SlsgModel(top_k=50, **options).eval()
    other.load_state_dict(model.state_dict(), strict=options.get("skip_refine", True))
    with torch.no_grad():
        assert not torch.equal(other(images).anomaly_map, model(images).anomaly_map)


def test_half_precision_autocast_predicts_and_trains_in_float32_outside_the_convolutions(model, images):
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        half = model(images)
    with torch.no_grad():
        full = model(images)
    assert half.anomaly_map.dtype == half.pred_score.dtype == torch.float32
    assert_close(half.pred_score, full.pred_score, rtol=0, atol=0.02)
    trained = SlsgModel()
    with torch.autocast("cpu", torch.bfloat16):
        loss = SegmentationLoss()(*trained(images), torch.ones(2, 1, 64, 64))
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in trained.parameters())


test_an_unknown_option_is_refused = refusals(
    SlsgModel,
    ({"finest_stride": 4}, "finest_stride of resnet18 is 2, got 4"),
    ({"width": 0}, "width must be above 0, got 0"),
    ({"top_k": 0}, "top_k must be at least 1, got 0"),
    ({"stem": "pooled"}, "stem must be one of"),
    ({"k": 0}, "k must be at least 1"),
)


def test_eight_images_are_learned_by_heart():
    generator = torch.Generator().manual_seed(0)
    background = F.interpolate(torch.rand(8, 3, 4, 4, generator=generator), scale_factor=8)
    mask = torch.zeros(8, 1, 32, 32)
    for image, (row, column) in zip(mask[:4], torch.randint(0, 20, (4, 2), generator=generator), strict=True):
        image[:, row : row + 8, column : column + 10] = 1
    images = 0.5 * background + mask * 0.4 * torch.rand(8, 3, 32, 32, generator=generator)
    torch.manual_seed(0)
    model, loss = SlsgModel(width=0.25), SegmentationLoss()
    model.encoder.requires_grad_(requires_grad=False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.04, momentum=0.9, weight_decay=3e-5)
    for _ in range(40):
        optimizer.zero_grad()
        loss(*model(images), mask).backward()
        optimizer.step()
    with torch.no_grad():
        learned = model.eval()(images).anomaly_map
    assert auroc(learned.flatten(), mask.flatten().long(), task="binary") > 0.99


@pytest.mark.parametrize("channels", [64, 128])
def test_skip_refinement_has_right_gradients_in_bfloat16(channels):
    # torch 2.15 / oneDNN leaves uninitialised memory in this gradient on CPUs with AMX, a few times in a hundred.
    module = SkipRefinement(channels).to(memory_format=torch.channels_last)
    images = torch.rand(8, channels, 32, 32).contiguous(memory_format=torch.channels_last)
    module(images).square().mean().backward()
    expected = [parameter.grad.clone() for parameter in module.parameters()]
    for _ in range(40):
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            output = module(images)
        output.float().square().mean().backward()
        for parameter, right in zip(module.parameters(), expected, strict=True):
            assert (parameter.grad - right).abs().max() <= 0.05 * right.abs().max()


def test_resizing_is_exact_for_planes_and_keeps_the_corners():
    row, column = torch.meshgrid(torch.linspace(0, 1, 4), torch.linspace(0, 1, 5), indexing="ij")
    plane = (2 * row + 3 * column + 1)[None, None]
    row, column = torch.meshgrid(torch.linspace(0, 1, 11), torch.linspace(0, 1, 7), indexing="ij")
    assert_close(resize_to(plane, (11, 7)), (2 * row + 3 * column + 1)[None, None])


def test_resizing_undoes_stride_two_of_an_odd_length_on_the_pixels_that_were_kept():
    features = torch.randn(1, 1, 9, 9)
    assert_close(resize_to(features[..., ::2, ::2], (9, 9))[..., ::2, ::2], features[..., ::2, ::2])
