# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Small network blocks shared by the methods."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int = 3, bias: bool = True) -> nn.Sequential:
    """Convolution, batch normalisation and ReLU that keep height and width.

    Args:
        in_channels: Channels of the input ``(N, C, H, W)``.
        out_channels: Channels of the output.
        kernel_size: Odd side of the kernel, in pixels.
        bias: Whether the convolution has one, which the normalisation takes out again.

    Returns:
        The three layers in a row.

    Raises:
        ValueError: If ``kernel_size`` is even: no symmetric padding would keep the size.
    """
    if kernel_size % 2 == 0:
        msg = f"kernel_size must be odd to keep the image size, got {kernel_size}"
        raise ValueError(msg)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def resize_to(features: Tensor, size: Sequence[int]) -> Tensor:
    """Resize bilinearly with the corner pixels aligned.

    A target size instead of a factor of two lets a U-Net meet its skips at any image size. Aligned corners are exact
    where a stride-2 layer halved an odd size: ``2n + 1`` pixels come from, and go back to, ``n + 1``.

    Args:
        features: ``(N, C, H, W)``.
        size: Wanted height and width, in pixels.

    Returns:
        ``(N, C, *size)``.
    """
    return F.interpolate(features, size=tuple(size), mode="bilinear", align_corners=True)
