# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Discriminative network of POUTA, which contrasts the feature maps of encoder and decoder."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .autoencoder import CHANNELS, Pyramids

FcmAct = Literal["relu", "none"]
HsgGate = Literal["sigmoid", "none"]

ACTIVATIONS = {"relu": partial(nn.ReLU, inplace=True), "none": nn.Identity}
GATES = {"sigmoid": nn.Sigmoid, "none": nn.Identity}


def conv(in_channels: int, out_channels: int, kernel_size: int = 1) -> nn.Conv2d:
    """Create a convolution without bias that keeps height and width."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)


def enlarge(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize bilinearly to height and width ``size``."""
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


class FeatureContrast(nn.Module):
    """Feature contrast module (FCM), which merges the maps of encoder and decoder of one level.

    Args:
        channels: Channels C of both maps and of the result.
        act: Activation after each convolution.
    """

    def __init__(self, channels: int, act: FcmAct = "relu") -> None:
        super().__init__()
        self.encoded = nn.Sequential(conv(channels, channels), ACTIVATIONS[act]())
        self.decoded = nn.Sequential(conv(channels, channels), ACTIVATIONS[act]())
        self.merge = nn.Sequential(conv(2 * channels, channels), ACTIVATIONS[act]())

    def forward(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        """Merge maps F_Ei of the encoder and F_Di of the decoder to F_Ci, all ``(N, C, H, W)``."""
        return self.merge(torch.cat((self.encoded(encoded), self.decoded(decoded)), dim=1))


class HierarchicalGate(nn.Module):
    """Hierarchical semantics guidance (HSG): the next deeper level gates positions and channels of a level.

    Args:
        guide_channels: Channels of the deeper level.
        channels: Channels C of the gated level.
        act: Activation after the convolution that both gates share.
        gate: Activation of the gates.
    """

    def __init__(self, guide_channels: int, channels: int, act: FcmAct = "relu", gate: HsgGate = "sigmoid") -> None:
        super().__init__()
        self.guide = nn.Sequential(conv(guide_channels, channels, 3), ACTIVATIONS[act]())
        self.spatial = nn.Sequential(conv(channels, 1), GATES[gate]())
        self.channel = nn.Sequential(conv(channels, channels), GATES[gate]())

    def forward(self, features: Tensor, guide: Tensor) -> Tensor:
        """Apply the gates: F'_Ci = W_sp F_Ci W_cn (equation 4), guided by F'_C(i+1) of the deeper level."""
        guide = self.guide(enlarge(guide, features.shape[-2:]))
        channels = self.channel(guide.mean(dim=(2, 3), keepdim=True))  # W_cn (N, C, 1, 1)
        return self.spatial(guide) * features * channels


class ContrastNetwork(nn.Module):
    """Discriminative network: FCM on all levels, HSG from the deepest to the finest, one prediction from all levels.

    Args:
        use_hsg: Whether each level is guided by the next deeper one.
        use_mss: Whether each level also makes its own prediction in training (multi-scale supervision, MSS).
        fcm_act: Activation of FCM and HSG.
        hsg_gate: Activation of the gates.
    """

    def __init__(
        self,
        use_hsg: bool = True,
        use_mss: bool = True,
        fcm_act: FcmAct = "relu",
        hsg_gate: HsgGate = "sigmoid",
    ) -> None:
        super().__init__()
        self.contrasts = nn.ModuleList(FeatureContrast(channels, fcm_act) for channels in CHANNELS)
        gates = (HierarchicalGate(deeper, channels, fcm_act, hsg_gate) for channels, deeper in pairwise(CHANNELS))
        self.gates = nn.ModuleList(gates if use_hsg else ())
        self.predict = nn.Conv2d(sum(CHANNELS), 2, 1)
        self.heads = nn.ModuleList((nn.Conv2d(channels, 2, 1) for channels in CHANNELS) if use_mss else ())

    def forward(self, pyramids: Pyramids) -> list[Tensor]:
        """Contrast the feature maps of encoder and decoder: F'_C1, F'_C2, F'_C3 and F_C4."""
        levels = [contrast(*pair) for contrast, *pair in zip(self.contrasts, *pyramids, strict=True)]
        for level in reversed(range(len(self.gates))):
            levels[level] = self.gates[level](levels[level], levels[level + 1])
        return levels

    def segment(self, levels: Sequence[Tensor]) -> Tensor:
        """Predict logits ``(N, 2, H, W)``, float32, from all levels that :meth:`forward` returns."""
        # Equal to a 1x1 convolution of the enlarged and concatenated maps, but convolves them before enlarging.
        weights = self.predict.weight.split(CHANNELS, dim=1)
        finest, *deeper = (F.conv2d(maps, weight).float() for maps, weight in zip(levels, weights, strict=True))
        size = finest.shape[-2:]
        return sum((enlarge(maps, size) for maps in deeper), start=finest) + self.predict.bias[:, None, None]

    def segment_levels(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Predict logits ``(N, 2, H, W)``, float32, from each level alone; none without multi-scale supervision."""
        size = levels[0].shape[-2:]
        return [enlarge(head(maps).float(), size) for head, maps in zip(self.heads, levels, strict=False)]
