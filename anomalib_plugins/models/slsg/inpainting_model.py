# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""GPT-Net and D-Net, the networks that pre-train the encoder by inpainting."""

from collections.abc import Sequence

from torch import Tensor, nn

from .decoder import WIDTHS, BottleneckHead, Decoder, Laterals
from .encoder import CHANNELS, Features


class InpaintingDecoder(nn.Module):
    """GPT-Net without its encoder: ``decoder(encoder(masked))`` paints masked, normalised images.

    Args:
        channels: Channels of the encoder's features.
        widths: Channels of the decoder's levels, finest first.
    """

    def __init__(self, channels: Sequence[int] = CHANNELS, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.laterals = Laterals(channels, widths)
        self.decoder = Decoder(out_channels=3, widths=widths)
        self.aux_head = BottleneckHead(3, widths[-1], widths[0] // 2)

    def forward(self, features: Features, size: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Reconstruct the image, and reconstruct it from the bottleneck alone; both ``(N, 3, H, W)``, linear.

        The default ``size`` is twice that of the first skip, which is right for even sizes.
        """
        *skips, bottleneck = self.laterals(features)
        size = size or [2 * side for side in features.s0.shape[-2:]]
        return self.decoder(bottleneck, skips, size), self.aux_head(bottleneck, size)[0]


class PatchDiscriminator(nn.Module):
    """D-Net: the 70x70 PatchGAN of pix2pix (Isola et al., 2017), unconditional and for least squares.

    It judges patches of 70 x 70 px, 8 px apart, and needs images of at least 24 px.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 64, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            *self._group(64, 128, stride=2),
            *self._group(128, 256, stride=2),
            *self._group(256, 512, stride=1),
            nn.Conv2d(512, 1, 4, padding=1),
        )

    @staticmethod
    def _group(in_channels: int, out_channels: int, stride: int) -> tuple[nn.Module, ...]:
        return (
            nn.Conv2d(in_channels, out_channels, 4, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.LeakyReLU(0.2, inplace=True),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Judge patches ``(N, 1, H/8 - 2, W/8 - 2)`` of normalised images: near 1 for real, near 0 for painted ones."""
        return self.layers(images)
