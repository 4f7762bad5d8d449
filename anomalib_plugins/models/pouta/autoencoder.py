# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Reconstructive network of POUTA, whose feature maps the discriminative network uses again."""

from collections.abc import Sequence
from itertools import pairwise, starmap
from typing import NamedTuple

from torch import Tensor, nn

from anomalib_plugins.components.segmentation import conv_bn_relu

CHANNELS = (64, 128, 256, 512)


class Pyramids(NamedTuple):
    """Feature maps of encoder and decoder for images ``(N, 3, H, W)``, finest level first.

    Level i of both is ``(N, C_i, H / 2^i, W / 2^i)`` with C = 64, 128, 256 and 512 and sides rounded up.

    Attributes:
        encoded: Maps F_E1 to F_E4, which represent the image.
        decoded: Maps F_D1 to F_D4, which represent the image without its anomalies.
    """

    encoded: list[Tensor]
    decoded: list[Tensor]


class AutoEncoder(nn.Module):
    """Encoder, mapping layer and decoder without skip connections.

    Sides that are not a multiple of 16 are rounded up when halved and cropped when doubled.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.encoder = nn.ModuleList(
            nn.Sequential(conv_bn_relu(before, after, bias=False), conv_bn_relu(after, after, bias=False))
            for before, after in pairwise((3, *CHANNELS))
        )
        deepest = CHANNELS[-1]
        self.mapping = conv_bn_relu(deepest, deepest, kernel_size=1, bias=False)
        self.decoder = nn.ModuleList(starmap(UpBlock, pairwise((deepest, *CHANNELS[::-1]))))
        self.to_image = nn.Conv2d(CHANNELS[0], 3, 1)

    def forward(self, images: Tensor) -> Pyramids:
        """Encode and decode images ``(N, 3, H, W)``, up to the last layer, which :meth:`reconstruct` applies."""
        first, *deeper = self.encoder
        encoded = [first(images)]
        for block in deeper:
            encoded.append(block(self.pool(encoded[-1])))
        x = self.mapping(self.pool(encoded[-1]))
        decoded: list[Tensor] = []
        for block, peer in zip(self.decoder, reversed(encoded), strict=True):
            x = block(x, peer.shape[-2:])
            decoded.append(x)
        return Pyramids(encoded, decoded[::-1])

    def reconstruct(self, decoded: Sequence[Tensor]) -> Tensor:
        """Reconstruct images I_r ``(N, 3, H, W)``, without activation, from the feature maps of the decoder."""
        return self.to_image(decoded[0])


class UpBlock(nn.Module):
    """Block that doubles height and width.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = nn.Sequential(
            nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )
        self.refine = conv_bn_relu(out_channels, out_channels, bias=False)

    def forward(self, features: Tensor, size: Sequence[int]) -> Tensor:
        """Double height and width of features ``(N, C, h, w)`` and crop to ``size``, twice as large or one less."""
        return self.refine(self.up(features)[..., : size[0], : size[1]])
