# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The encoder that SLSG's two networks share: a ResNet-18 without max-pooling, or any network of timm."""

from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18

from anomalib_plugins.components.backbone import IMAGENET_MEAN, IMAGENET_STD, Backbone
from anomalib_plugins.components.checks import check_choice
from anomalib_plugins.components.weights import load_backbone

Stem = Literal["reference", "standard"]
CHANNELS = (64, 64, 128, 256, 512)


class Features(NamedTuple):
    """Features of images ``(N, 3, H, W)``; sizes are rounded up.

    Attributes:
        s0: Stem, for the last skip only ``(N, C, H/2, W/2)``.
        f1: First stage ``(N, C, H/2, W/2)``.
        f2: Second stage ``(N, C, H/4, W/4)``.
        f3: Third stage ``(N, C, H/8, W/8)``.
        f4: Bottleneck, X in the paper ``(N, C, H/16, W/16)``.
    """

    s0: Tensor
    f1: Tensor
    f2: Tensor
    f3: Tensor
    f4: Tensor


class SlsgEncoder(nn.Module):
    """ResNet-18 without max-pooling and classifier: stride 16 instead of 32.

    Parameters are named as in torchvision and timm, so that their ``resnet18`` weights load, except ``fc``.

    Args:
        stem: Input of the first stage. ``"reference"``: the raw output of the first convolution, as in the authors'
            release. ``"standard"``: its batch-normalised, rectified version, as in every ResNet.

    Raises:
        ValueError: If ``stem`` is unknown.
    """

    channels = CHANNELS
    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(self, stem: Stem = "reference") -> None:
        super().__init__()
        check_choice("stem", stem, Stem)
        self.stem = stem
        resnet = resnet18(weights=None)
        self.conv1 = resnet.conv1
        self.bn1 = resnet.bn1
        self.layer1 = resnet.layer1
        self.layer2 = resnet.layer2
        self.layer3 = resnet.layer3
        self.layer4 = resnet.layer4

    def load(self, weights: str | Path | None = None) -> None:
        """Load ImageNet weights or a checkpoint of Slsg; ``None`` takes torchvision's, from caches or internet."""
        load_backbone(self, weights=weights, prefix="model.encoder.")

    def forward(self, images: Tensor) -> Features:
        """Extract features of normalised images ``(N, 3, H, W)``."""
        raw = self.conv1(images)
        s0 = F.relu(self.bn1(raw))
        f1 = self.layer1(raw if self.stem == "reference" else s0)
        f2 = self.layer2(f1)
        f3 = self.layer3(f2)
        f4 = self.layer4(f3)
        return Features(s0, f1, f2, f3, f4)


class TimmEncoder(nn.Module):
    """Four stages of a network of timm, each of half the size of the one before; the first one is s0 and f1.

    Args:
        name: Name of the network in timm, e.g. ``tf_efficientnet_lite0``.
        finest_stride: Pixels of the image per step of the first stage's map, e.g. 2 for strides of 2, 4, 8 and 16.

    Raises:
        ValueError: If timm has no such network, or that has no such stages.
    """

    def __init__(self, name: str, finest_stride: int = 2) -> None:
        super().__init__()
        self.backbone = Backbone(name, strides=[finest_stride * factor for factor in (1, 2, 4, 8)])
        self.mean, self.std = (self.backbone.network.pretrained_cfg[name] for name in ("mean", "std"))
        finest, *coarser = self.backbone.out_dims
        self.channels = (finest, finest, *coarser)

    def load(self, weights: str | Path | None = None) -> None:
        """Load weights, as :meth:`SlsgEncoder.load` does."""
        self.backbone.load(weights, prefix="model.encoder.backbone.network.")

    def forward(self, images: Tensor) -> Features:
        """Extract features of normalised images ``(N, 3, H, W)``."""
        finest, *coarser = self.backbone.network.forward_intermediates(
            images, indices=self.backbone.indices, stop_early=True, intermediates_only=True
        )
        return Features(finest, finest, *coarser)
