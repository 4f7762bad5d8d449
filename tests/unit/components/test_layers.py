# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from torch.testing import assert_close

from anomalib_plugins.components.layers import conv_bn_relu, resize_to


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_block_keeps_height_and_width_and_is_never_negative(kernel_size):
    out = conv_bn_relu(3, 5, kernel_size)(torch.randn(2, 3, 9, 6))
    assert out.shape == (2, 5, 9, 6)
    assert out.min() == 0


@pytest.mark.parametrize("bias", [True, False])
def test_block_has_a_bias_unless_told_otherwise(bias):
    assert (conv_bn_relu(3, 5, bias=bias)[0].bias is not None) == bias


def test_even_kernel_is_refused():
    with pytest.raises(ValueError, match=r"kernel_size must be odd .* got 4"):
        conv_bn_relu(3, 5, 4)


def test_resizing_is_exact_for_planes_and_keeps_the_corners():
    row, column = torch.meshgrid(torch.linspace(0, 1, 4), torch.linspace(0, 1, 5), indexing="ij")
    plane = (2 * row + 3 * column + 1)[None, None]
    row, column = torch.meshgrid(torch.linspace(0, 1, 11), torch.linspace(0, 1, 7), indexing="ij")
    assert_close(resize_to(plane, (11, 7)), (2 * row + 3 * column + 1)[None, None])


def test_resizing_undoes_stride_two_of_an_odd_length_on_the_pixels_that_were_kept():
    features = torch.randn(1, 1, 9, 9)
    assert_close(resize_to(features[..., ::2, ::2], (9, 9))[..., ::2, ::2], features[..., ::2, ::2])
