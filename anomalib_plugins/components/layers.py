# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Network blocks shared by several methods."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.errors import UserError


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int = 3, bias: bool = True) -> nn.Sequential:
    """Create a block of convolution, batch normalisation and ReLU that keeps height and width.

    Args:
        in_channels: Channels of the input ``(N, C, H, W)``.
        out_channels: Channels of the output.
        kernel_size: Odd side of the kernel, in pixels.
        bias: Whether the convolution has a bias. Batch normalisation cancels it.

    Returns:
        The three layers in sequence.

    Raises:
        ValueError: If ``kernel_size`` is even, so that no symmetric padding keeps the size.
    """
    if kernel_size % 2 == 0:
        msg = f"kernel_size must be odd to keep the image size, got {kernel_size}"
        raise UserError(msg)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def resize_to(features: Tensor, size: Sequence[int]) -> Tensor:
    """Resize bilinearly with aligned corners.

    With a target size instead of a factor of two, a U-Net matches its skip connections at any image size. Aligned
    corners invert a stride-2 layer on odd sizes exactly, from ``n + 1`` back to ``2n + 1`` pixels.

    Args:
        features: Feature maps ``(N, C, H, W)``.
        size: Target height and width, in pixels.

    Returns:
        Resized feature maps ``(N, C, *size)``.
    """
    return F.interpolate(features, size=tuple(size), mode="bilinear", align_corners=True)
