# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Decoder of segmentation and inpainting, and the layers that join an encoder to it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.components.checks import check_positive
from anomalib_plugins.components.segmentation import conv_bn_relu

WIDTHS = (64, 128, 256, 512)


def scaled_widths(width: float) -> tuple[int, ...]:
    """Channels of the decoder's levels, finest first: those of the paper times ``width``, in multiples of eight."""
    check_positive("width", width)
    return tuple(max(8, 8 * round(channels * width / 8)) for channels in WIDTHS)


class Laterals(nn.ModuleList):
    """Brings features of an encoder to the decoder's widths, each by a 1x1 convolution and batch normalisation.

    Features that have their width already pass unchanged.

    Args:
        channels: Channels of s0, f1, f2, f3 and f4.
        widths: Channels of the decoder's levels, finest first.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int] = WIDTHS) -> None:
        super().__init__(
            nn.Identity() if given == wanted else nn.Sequential(nn.Conv2d(given, wanted, 1), nn.BatchNorm2d(wanted))
            for given, wanted in zip(channels, (widths[0], *widths), strict=True)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Change the channels of each ``(N, C, H, W)``."""
        return [lateral(each) for lateral, each in zip(self, features, strict=True)]


def resize_to(features: Tensor, size: Sequence[int]) -> Tensor:
    """Resize feature maps ``(N, C, H, W)`` to ``size`` (height, width) bilinearly with aligned corners.

    With a target size instead of a factor of two, a U-Net matches its skip connections at any image size. Aligned
    corners invert a stride-2 layer on odd sizes exactly, from ``n + 1`` back to ``2n + 1`` pixels.
    """
    return F.interpolate(features, size=tuple(size), mode="bilinear", align_corners=True)


class BottleneckHead(nn.Module):
    """Predicts directly from the bottleneck, so that the bottleneck alone has to know the answer.

    Args:
        out_channels: Channels of the prediction.
        in_channels: Channels of the bottleneck.
        context_channels: Channels of the reduced bottleneck, a in the paper's figure.
    """

    def __init__(self, out_channels: int, in_channels: int = 512, context_channels: int = 32) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            conv_bn_relu(in_channels, in_channels // 2),
            conv_bn_relu(in_channels // 2, context_channels),
        )
        self.predict = nn.Sequential(
            conv_bn_relu(context_channels, context_channels),
            nn.Conv2d(context_channels, out_channels, 3, padding=1),
        )

    def forward(self, bottleneck: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Predict ``(N, out_channels, *size)`` from the bottleneck ``(N, C, h, w)``, and return its reduction, too."""
        context = self.reduce(bottleneck)
        return resize_to(self.predict(context), size), context


class Decoder(nn.Module):
    """U-Net decoder from the bottleneck to the image's size.

    The last skip has the size of the one before it, because the encoder has no max-pooling: up-sampling takes place
    three times on the way and once in front of the output layers.

    Args:
        out_channels: Channels of the prediction.
        context_channels: Channels of the reduced bottleneck that enters the second and third block; 0 for none.
        widths: Channels of the levels, finest first.
    """

    def __init__(self, out_channels: int, context_channels: int = 0, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        w1, w2, w3, w4 = widths
        self.up1 = conv_bn_relu(w4, w3)
        self.merge1 = nn.Sequential(conv_bn_relu(w3 + w3, w3), conv_bn_relu(w3, w3))
        self.up2 = conv_bn_relu(w3, w2)
        self.merge2 = nn.Sequential(conv_bn_relu(w2 + w2 + context_channels, w2), conv_bn_relu(w2, w2))
        self.up3 = conv_bn_relu(w2, w1)
        self.merge3 = nn.Sequential(conv_bn_relu(w1 + w1 + context_channels, w1), conv_bn_relu(w1, w1))
        self.up4 = conv_bn_relu(w1, w1 // 2)
        self.merge4 = conv_bn_relu(w1 // 2 + w1, w1)
        self.predict = nn.Sequential(
            conv_bn_relu(w1, w1 // 2),
            conv_bn_relu(w1 // 2, w1 // 4),
            nn.Conv2d(w1 // 4, out_channels, 3, padding=1),
        )

    def forward(
        self,
        bottleneck: Tensor,
        skips: Sequence[Tensor],
        size: Sequence[int],
        context: Tensor | None = None,
    ) -> Tensor:
        """Decode.

        Args:
            bottleneck: ``(N, C, H/16, W/16)``.
            skips: s0, f1, f2 and f3 of the encoder.
            size: Height and width of the prediction, in pixels.
            context: Reduced bottleneck ``(N, context_channels, H/16, W/16)``, if the decoder was built for one.

        Returns:
            ``(N, out_channels, *size)``, linear.
        """
        s0, f1, f2, f3 = skips
        size3, size2, size1 = f3.shape[-2:], f2.shape[-2:], f1.shape[-2:]
        x = self.merge1(torch.cat((self.up1(resize_to(bottleneck, size3)), f3), dim=1))
        merged2, merged3 = [self.up2(resize_to(x, size2)), f2], [f1]
        if context is not None:
            # Steps of two, as in the authors' release: with aligned corners one large step is not the same.
            context2 = resize_to(resize_to(context, size3), size2)
            merged2.append(context2)
            merged3.append(resize_to(context2, size1))
        x = self.merge2(torch.cat(merged2, dim=1))
        x = self.merge3(torch.cat((self.up3(resize_to(x, size1)), *merged3), dim=1))
        x = self.merge4(torch.cat((self.up4(x), s0), dim=1))
        return self.predict(resize_to(x, size))
