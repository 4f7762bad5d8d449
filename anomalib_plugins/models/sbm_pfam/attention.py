# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Attention over kernel sizes, frequencies and positions of a feature map."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.errors import UserError

BASE = 7  # frequencies refer to maps of 7 x 7
# The 16 frequencies that FcaNet (Qin et al., 2021) found best, down and across.
FREQUENCIES = (
    *((0, 0), (0, 1), (6, 0), (0, 5), (0, 2), (1, 0), (1, 2), (4, 0)),
    *((5, 0), (1, 6), (3, 0), (0, 4), (0, 6), (0, 3), (3, 5), (2, 2)),
)
KERNELS = (3, 5, 7, 9)
GROUPS = (1, 4, 8, 16)


def dct_matrix(size: int) -> Tensor:
    """Orthonormal basis ``(n, n)`` of the discrete cosine transform (DCT-II) in float64; row u has frequency u.

    Example:
        >>> dct_matrix(2)
        tensor([[ 0.7071,  0.7071],
                [ 0.7071, -0.7071]], dtype=torch.float64)
    """
    number = torch.arange(size, dtype=torch.float64)
    waves = math.sqrt(2 / size) * torch.cos(math.pi / size * number[:, None] * (number + 0.5))
    waves[0] /= math.sqrt(2)
    return waves


def pooling_matrix(length: int, size: int, device: torch.device | None = None) -> Tensor:
    """Adaptive average pooling from ``length`` to ``size`` samples as a matrix, which exports for any pair of sizes."""
    position = torch.arange(length, device=device)
    number = torch.arange(size, device=device)[:, None]
    start, stop = number * length // size, ((number + 1) * length + size - 1) // size
    return ((position >= start) & (position < stop)).float() / (stop - start)


class FrequencyAttention(nn.Module):
    """Weights every channel by its component of one frequency (FcaNet, Qin et al., 2021).

    Args:
        channels: Number of channels C.
        size: Side n of the map whose frequencies are used, a multiple of 7; other maps are pooled to it.
        reduction: Ratio of C to the width of the bottleneck, which is at least 4.
        identity: Whether to start with weights of exactly 1, in ``(0, 2)`` instead of ``(0, 1)``.

    Raises:
        ValueError: If ``size`` is no multiple of 7.
    """

    down: Tensor
    across: Tensor

    def __init__(self, channels: int, size: int, reduction: int = 16, identity: bool = False) -> None:
        super().__init__()
        if size < BASE or size % BASE:
            msg = f"size must be a multiple of {BASE}, got {size}"
            raise UserError(msg)
        waves, step = dct_matrix(size).float(), size // BASE
        pairs = [FREQUENCIES[len(FREQUENCIES) * channel // channels] for channel in range(channels)]
        self.register_buffer("down", waves[[u * step for u, _ in pairs]], persistent=False)  # (C, n)
        self.register_buffer("across", waves[[v * step for _, v in pairs]], persistent=False)
        self.size = size
        hidden = max(channels // reduction, 4)
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )
        self.gain = 2 if identity else 1
        if identity:
            nn.init.zeros_(self.gate[2].weight)

    def spectrum(self, features: Tensor) -> Tensor:
        """Component ``(N, C)`` of each channel's frequency in features ``(N, C, H, W)``, in float32."""
        with torch.autocast(features.device.type, enabled=False):
            # Pooling and cosine transform are both linear along each axis: one vector each.
            down = self.down @ pooling_matrix(features.shape[2], self.size, features.device)  # (C, H)
            across = self.across @ pooling_matrix(features.shape[3], self.size, features.device)  # (C, W)
            return (features.float() * (down[:, :, None] * across[:, None, :])).sum(dim=(2, 3))

    def forward(self, features: Tensor) -> Tensor:
        """Weight features ``(N, C, H, W)``."""
        return features * (self.gain * self.gate(self.spectrum(features)))[:, :, None, None]


class PositionAttention(nn.Module):
    """Adds the values of similar positions to every position (the form of DANet, Fu et al., 2019).

    It starts as the identity, with a scale of 0. The similarities of all pairs of the ``L = H * W`` positions are not
    in memory at once, except in exported graphs: ``4 * L**2`` bytes per image, for one module at a time. At ``layer1``
    of a ResNet these are 64 MB at 256 x 256 px and 1 GB at 512 x 512 px.

    Args:
        channels: Number of channels C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.key = nn.Conv2d(channels, channels, 1)
        self.query = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Attend over the positions of features ``(N, C, H, W)``."""
        # Contiguous: ten times as fast on a CPU.
        query, key, value = (
            layer(features).flatten(2).transpose(1, 2)[:, None].contiguous()  # (N, 1, L, C)
            for layer in (self.query, self.key, self.value)
        )
        # Without the usual 1 / sqrt(C), as in DANet.
        found = F.scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0].transpose(1, 2)
        return self.scale * F.leaky_relu(found.unflatten(2, features.shape[2:])) + features


class Mfcsam(nn.Module):
    """Multi-scale, frequency-channel and spatial attention, MFCSAM (Yuan et al.); keeps the shape.

    Four branches with kernels of 3, 5, 7 and 9 pixels compute a quarter of the channels each, followed by
    :class:`FrequencyAttention` and :class:`PositionAttention`. The quarters are interleaved: channel ``4 * j + i`` is
    the j-th of branch i, so that the convolutions together can copy every channel to its own place.

    Args:
        channels: Number of channels C, a multiple of 4.
        size: Side of the map whose frequencies are used, see :class:`FrequencyAttention`.
        identity: Whether to start as the identity instead of at random.

    Raises:
        ValueError: If ``channels`` is no multiple of 4, or ``size`` none of 7.
    """

    def __init__(self, channels: int, size: int, identity: bool = False) -> None:
        super().__init__()
        if channels % len(KERNELS):
            msg = f"channels must be a multiple of {len(KERNELS)}, got {channels}"
            raise UserError(msg)
        quarter = channels // len(KERNELS)
        self.branches = nn.ModuleList(
            nn.Sequential(
                # Fewer groups where they do not divide the channels, as in MobileNets.
                nn.Conv2d(channels, quarter, kernel, padding=kernel // 2, groups=math.gcd(groups, quarter), bias=False),
                FrequencyAttention(quarter, size, identity=identity),
                PositionAttention(quarter),
            )
            for kernel, groups in zip(KERNELS, GROUPS, strict=True)
        )
        # Checkpoints of version 0.1, whose branches followed one another, lack it: they are refused, not misread.
        self.register_buffer("interleaved", torch.tensor(1))
        if identity:
            for number, branch in enumerate(self.branches):
                copy_channels(branch[0], number)

    def forward(self, features: Tensor) -> Tensor:
        """Apply the branches to features ``(N, C, H, W)``; the shape does not change."""
        return torch.stack([branch(features) for branch in self.branches], dim=2).flatten(1, 2)


@torch.no_grad()
def copy_channels(convolution: nn.Conv2d, branch: int) -> None:
    """Make a convolution of :class:`Mfcsam` copy channel ``4 * j + branch``, which is in its group, to output j."""
    weight, middle = convolution.weight.zero_(), convolution.kernel_size[0] // 2
    outputs = torch.arange(len(weight))
    weight[outputs, (len(KERNELS) * outputs + branch) % weight.shape[1], middle, middle] = 1
