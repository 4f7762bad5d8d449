# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from scipy.fft import dct
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from anomalib_plugins.models.sbm_pfam.attention import (
    FREQUENCIES,
    FrequencyAttention,
    Mfcsam,
    PositionAttention,
    dct_matrix,
    pooling_matrix,
)


def features(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("size", [7, 14, 28, 56])
def test_the_basis_is_scipys_and_orthonormal(size):
    basis, identity = dct_matrix(size), torch.eye(size, dtype=torch.float64)
    assert_close(basis, torch.from_numpy(dct(identity.numpy(), norm="ortho", axis=0)), rtol=0, atol=1e-12)
    assert_close(basis @ basis.T, identity, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("length", "size"), [(56, 56), (64, 56), (12, 7), (5, 14), (1, 7)])
def test_pooling_is_torchs_adaptive_one(length, size):
    signal = features(1, 1, length)
    assert_close(signal @ pooling_matrix(length, size).T, F.adaptive_avg_pool1d(signal, size))


@pytest.mark.parametrize("shape", [(14, 14), (20, 9)])
def test_frequency_attention_is_the_slow_loop_of_its_equations(shape):
    module = FrequencyAttention(16, 14)
    x = features(2, 16, *shape)
    pooled, basis = F.adaptive_avg_pool2d(x, 14), dct_matrix(14).float()
    for n in range(2):
        spectrum = torch.zeros(16)
        for c in range(16):
            u, v = (2 * frequency for frequency in FREQUENCIES[c])
            for h in range(14):
                for w in range(14):
                    spectrum[c] += pooled[n, c, h, w] * basis[u, h] * basis[v, w]
        weights = torch.sigmoid(module.gate[2].weight @ (module.gate[0].weight @ spectrum).clamp(min=0))
        assert ((weights > 0) & (weights < 1)).all()
        assert_close(module(x)[n], x[n] * weights[:, None, None], rtol=1e-4, atol=1e-5)


def test_position_attention_begins_as_the_identity_and_can_leave_it():
    module, x = PositionAttention(8), features(2, 8, 5, 6)
    out = module(x)
    assert torch.equal(out, x)
    out.square().sum().backward()
    assert module.scale.grad != 0


def test_position_attention_is_the_slow_loop_of_its_equations():
    module, x = PositionAttention(4).double(), features(1, 4, 3, 4, dtype=torch.float64)
    module.scale.data.fill_(0.7)
    query, key, value = (layer(x)[0].flatten(1).T for layer in (module.query, module.key, module.value))
    expected = torch.empty(12, 4, dtype=torch.float64)
    for j in range(12):
        similar = torch.stack([torch.exp(query[j] @ key[i]) for i in range(12)])
        expected[j] = sum(similar[i] / similar.sum() * value[i] for i in range(12))
    expected = 0.7 * F.leaky_relu(expected, 0.01).T.reshape(1, 4, 3, 4) + x
    assert_close(module(x), expected)


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation gave."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: PLW3201  (torch calls it)
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple) else (result,):
            if isinstance(each, torch.Tensor):
                self.numel = max(self.numel, each.numel())
        return result


def test_the_similarity_of_all_positions_is_never_held():
    module, x = PositionAttention(4), features(1, 4, 64, 64).requires_grad_()
    with Largest() as mode:
        module(x).sum().backward()
    assert mode.numel <= 4 * 64 * 64 < (64 * 64) ** 2


def test_mfcsam_joins_four_scales_of_a_quarter_of_the_channels():
    module, x = Mfcsam(64, 14), features(1, 64, 9, 6)
    for branch in module.branches:
        branch[2].scale.data.fill_(0.5)
    parts = []
    for kernel, groups, (convolution, frequency, position) in zip(
        (3, 5, 7, 9), (1, 4, 8, 16), module.branches, strict=True
    ):
        mapped = F.conv2d(x, convolution.weight, padding=kernel // 2, groups=groups)
        assert convolution.weight.shape == (16, 64 // groups, kernel, kernel)
        parts.append(position(frequency(mapped)))
    assert_close(module(x), torch.stack(parts, dim=2).flatten(1, 2))  # the branches' channels in turn
    assert module(x).shape == x.shape


@pytest.mark.parametrize("channels", [16, 24, 40, 112, 256])
def test_it_can_start_as_the_identity_of_all_channels_and_leave_it(channels):
    module, x = Mfcsam(channels, 14, identity=True), features(2, channels, 9, 6)
    out = module(x)
    assert torch.equal(out, x)
    out.square().sum().backward()
    assert all(branch[0].weight.grad.count_nonzero() > 0 for branch in module.branches)
    assert all(branch[2].scale.grad != 0 for branch in module.branches)
    assert any(branch[1].gate[2].weight.grad.count_nonzero() > 0 for branch in module.branches)


def test_tensors_of_another_order_of_branches_are_refused():
    state = Mfcsam(8, 7).state_dict()
    del state["interleaved"]  # version 0.1 had no such buffer
    with pytest.raises(RuntimeError, match="interleaved"):
        Mfcsam(8, 7).load_state_dict(state)


def test_groups_that_do_not_divide_the_channels_become_fewer():
    assert [branch[0].groups for branch in Mfcsam(24, 28).branches] == [1, 2, 2, 2]


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="channels must be a multiple of 4, got 6"):
        Mfcsam(6, 14)
    with pytest.raises(ValueError, match="size must be a multiple of 7, got 16"):
        Mfcsam(8, 16)
