# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The decoder that segmentation and inpainting share."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anomalib_plugins.components.layers import conv_bn_relu, resize_to


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
        """Reduce and predict.

        Args:
            bottleneck: ``(N, C, h, w)``.
            size: Height and width of the prediction, in pixels.

        Returns:
            Prediction ``(N, out_channels, *size)`` and reduced bottleneck ``(N, context_channels, h, w)``.
        """
        context = self.reduce(bottleneck)
        return resize_to(self.predict(context), size), context


class Decoder(nn.Module):
    """U-Net decoder from the bottleneck to the image's size.

    The last skip has the size of the one before it, because the encoder has no max-pooling: up-sampling takes place
    three times on the way and once in front of the output layers.

    Args:
        out_channels: Channels of the prediction.
        context_channels: Channels of the reduced bottleneck that enters the second and third block; 0 for none.
    """

    def __init__(self, out_channels: int, context_channels: int = 0) -> None:
        super().__init__()
        self.up1 = conv_bn_relu(512, 256)
        self.merge1 = nn.Sequential(conv_bn_relu(256 + 256, 256), conv_bn_relu(256, 256))
        self.up2 = conv_bn_relu(256, 128)
        self.merge2 = nn.Sequential(conv_bn_relu(128 + 128 + context_channels, 128), conv_bn_relu(128, 128))
        self.up3 = conv_bn_relu(128, 64)
        self.merge3 = nn.Sequential(conv_bn_relu(64 + 64 + context_channels, 64), conv_bn_relu(64, 64))
        self.up4 = conv_bn_relu(64, 32)
        self.merge4 = conv_bn_relu(32 + 64, 64)
        self.predict = nn.Sequential(
            conv_bn_relu(64, 32),
            conv_bn_relu(32, 16),
            nn.Conv2d(16, out_channels, 3, padding=1),
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
            bottleneck: ``(N, 512, H/16, W/16)``.
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
