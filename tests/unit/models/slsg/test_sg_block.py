# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from itertools import product

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from anomalib_plugins.models.slsg.sg_block import (
    SelfAttentiveGraphBlock,
    dilated_neighbors,
    max_relative,
    position_similarity,
)

from ....refusals import refusals


def _block(**options):
    """A block whose batch normalisations do something, in eval mode and double precision."""
    torch.manual_seed(0)
    block = SelfAttentiveGraphBlock(channels=16, **options)
    for module in block.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return block.double().eval()


@pytest.fixture
def features():
    return torch.randn(2, 16, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def similarity():
    return torch.rand(2, 30, 30, generator=torch.Generator().manual_seed(2))


def _code(row, column, channels):
    frequencies = [10000 ** (-k / (channels // 4)) for k in range(channels // 4)]
    half = [torch.tensor([p * w for w in frequencies], dtype=torch.float64) for p in (column, row)]
    return torch.cat([part for angle in half for part in (angle.sin(), angle.cos())])


def test_position_similarity_is_the_cosine_of_sine_cosine_codes():
    actual = position_similarity(4, 3, channels=32)
    codes = [_code(row, column, 32) for row in range(4) for column in range(3)]
    for i, j in product(range(12), repeat=2):
        assert actual[i, j].item() == pytest.approx(F.cosine_similarity(codes[i], codes[j], dim=0).item(), abs=1e-6)


def test_position_similarity_is_symmetric_one_on_the_diagonal_and_at_least_064_on_16x16():
    actual = position_similarity(16, 16)
    assert torch.equal(actual, actual.T)
    assert (actual.diagonal() == 1).all()
    assert actual.max() == 1
    assert 0.64 < actual.min() < 0.642


def test_neighbors_are_every_third_of_a_sort(similarity):
    expected = [
        [sorted(range(30), key=row.__getitem__, reverse=True)[:27:3] for row in image] for image in similarity.tolist()
    ]
    assert dilated_neighbors(similarity, k=9, dilation=3).tolist() == expected


def test_without_dilation_neighbors_are_the_most_similar(similarity):
    assert torch.equal(dilated_neighbors(similarity, k=7, dilation=1), similarity.topk(7).indices)


def test_an_image_with_few_patches_has_fewer_neighbors():
    similarity = torch.tensor([[[1.0, 0.2, 0.5, 0.7]] * 4])
    assert dilated_neighbors(similarity, k=9, dilation=3).tolist() == [[[0, 1]] * 4]  # ranks 0 and 3


def test_max_relative_is_a_triple_loop_over_patches_neighbors_and_channels(similarity):
    nodes = torch.randn(2, 5, 30)
    neighbors = dilated_neighbors(similarity, k=9, dilation=3)
    actual = max_relative(nodes, neighbors)
    for n, c, i in product(range(2), range(5), range(30)):
        assert actual[n, c, i] == max(nodes[n, c, j] - nodes[n, c, i] for j in neighbors[n, i])


def test_max_relative_gradient_is_right(similarity):
    neighbors = dilated_neighbors(similarity[:, :8, :8], k=2, dilation=2)
    nodes = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: max_relative(x, neighbors), nodes)


@pytest.mark.parametrize(("attn_scale", "divisor"), [("none", 1), ("sqrt", 8**0.5)])
def test_attention_is_a_softmax_over_keys_and_rows_sum_to_one(attn_scale, divisor):
    f = torch.randn(2, 8, 6)
    actual = _block(attn_scale=attn_scale).attention(f)
    assert_close(actual.sum(dim=-1), torch.ones(2, 6))
    for n, i in product(range(2), range(6)):
        logits = torch.stack([f[n, :, i] @ f[n, :, j] for j in range(6)]) / divisor
        assert_close(actual[n, i], logits.exp() / logits.exp().sum())


@pytest.mark.parametrize(("remove_pos_sim", "diagonal"), [(True, 0.0), (False, 1.0)])
def test_similarity_of_a_patch_to_itself(remove_pos_sim, diagonal):
    actual = _block(remove_pos_sim=remove_pos_sim).semantic_similarity(torch.randn(2, 8, 42), 6, 7)
    assert_close(actual.diagonal(dim1=1, dim2=2), torch.full((2, 42), diagonal))


def test_patches_that_look_the_same_are_neighbors_of_those_farthest_away():
    same = torch.randn(1, 8, 1).expand(1, 8, 42)
    positions = position_similarity(6, 7, channels=16)
    assert_close(_block().semantic_similarity(same, 6, 7)[0], 1 - positions)
    near = positions.gather(1, _block(k=4, knn_dilation=1).neighbors(same, 6, 7)[0])
    assert_close(near, positions.sort(dim=1).values[:, :4])


def test_patches_that_look_the_same_all_tie_if_position_counts():
    same = torch.randn(1, 8, 1).expand(1, 8, 42)
    assert_close(_block(remove_pos_sim=False).semantic_similarity(same, 6, 7), torch.ones(1, 42, 42))


def test_no_gradient_is_recorded_for_the_choice_of_neighbors(monkeypatch):
    block, ranked = _block(), []
    similarity = block.semantic_similarity
    monkeypatch.setattr(block, "semantic_similarity", lambda *args: ranked.append(similarity(*args)) or ranked[0])
    block.neighbors(torch.randn(1, 8, 42, requires_grad=True), 6, 7)
    assert not ranked[0].requires_grad


def test_reference_value_layer_reaches_a_patchs_predecessor_and_successor_in_raster_order(features):
    block = _block()
    nodes = features.flatten(2)
    expected = F.conv1d(nodes, block.value.weight[..., 1], block.value.bias, padding=1)
    assert_close(block.value(nodes.unsqueeze(-1)).squeeze(-1), expected)


def _batch_norm(layer, values):
    scale = layer.weight / (layer.running_var + layer.eps).sqrt()
    return (values - layer.running_mean[:, None]) * scale[:, None] + layer.bias[:, None]


def _dense(layer, values):
    """1x1 convolution of ``(C, P)``, group by group."""
    weights = layer.weight[..., 0, 0].chunk(layer.groups)
    return torch.cat([w @ v for w, v in zip(weights, values.chunk(layer.groups), strict=True)]) + layer.bias[:, None]


@pytest.mark.parametrize("value_conv", ["reference", "1x1"])
def test_block_is_its_formulas_image_by_image(features, value_conv):
    block = _block(value_conv=value_conv, k=3, knn_dilation=2)
    for image, actual in zip(features, block(features), strict=True):
        x = _batch_norm(block.entry[1], _dense(block.entry[0], image.flatten(1)))
        f = _batch_norm(block.project[1], _dense(block.project[0], x))
        value = block.value(x[None, :, :, None])[0, :, :, 0]
        z = x + _dense(block.attended, value @ (f.T @ f).softmax(dim=1).T)
        unit = f / f.norm(dim=0)
        ranks = (unit.T @ unit - position_similarity(6, 7, channels=16)).argsort(dim=1, descending=True)[:, :6:2]
        m = torch.stack([(x[:, ranks[i]] - x[:, i : i + 1]).max(dim=1).values for i in range(42)], dim=1)
        u = torch.stack([row for pair in zip(z, m, strict=True) for row in pair])  # z_0, m_0, z_1, m_1, ...
        grouped, norm1, _, dense, norm2 = block.update
        out = _batch_norm(norm2, _dense(dense, F.gelu(_batch_norm(norm1, _dense(grouped, u)))))
        assert_close(actual, (out + image.flatten(1)).view(16, 6, 7), rtol=1e-5, atol=1e-5)


def test_without_attention_and_graph_the_block_is_the_identity_without_parameters(features):
    block = _block(use_attention=False, use_gcn=False)
    assert block(features) is features
    assert not list(block.parameters())


def test_without_attention_no_attention_layer_is_built_and_patches_meet_only_their_neighbors(features):
    block = _block(use_attention=False, k=1, knn_dilation=1, remove_pos_sim=False)
    assert not hasattr(block, "value")
    # The nearest of all patches is the patch itself: m = 0, and nothing travels.
    changed = features.clone()
    changed[..., 0, 0] += 1
    assert_close(block(changed)[..., 1:, :], block(features)[..., 1:, :])


def test_without_graph_update_takes_attention_alone(features):
    block = _block(use_gcn=False)
    assert block.update[0].in_channels == 16
    assert block(features).shape == features.shape


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (6, 7)])
def test_any_number_of_patches_works(size):
    assert _block()(torch.randn(1, 16, *size, dtype=torch.float64)).isfinite().all()


test_an_unknown_option_is_refused = refusals(
    SelfAttentiveGraphBlock,
    ({"k": 0}, "k must be at least 1, got 0"),
    ({"knn_dilation": 0}, "knn_dilation must be at least 1, got 0"),
    ({"attn_scale": "root"}, "attn_scale must be one of none, sqrt, got 'root'"),
    ({"value_conv": "3x3"}, "value_conv must be one of reference, 1x1, got '3x3'"),
)
