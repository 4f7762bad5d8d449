# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The ResNet-18 that SLSG's two networks share."""

from typing import Literal, NamedTuple, get_args

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18

Stem = Literal["reference", "standard"]


class Features(NamedTuple):
    """What :class:`SlsgEncoder` sees in images ``(N, 3, H, W)``; sizes are rounded up.

    Attributes:
        s0: Normalised stem, for the last skip only ``(N, 64, H/2, W/2)``.
        f1: First stage ``(N, 64, H/2, W/2)``.
        f2: Second stage ``(N, 128, H/4, W/4)``.
        f3: Third stage ``(N, 256, H/8, W/8)``.
        f4: Bottleneck, X in the paper ``(N, 512, H/16, W/16)``.
    """

    s0: Tensor
    f1: Tensor
    f2: Tensor
    f3: Tensor
    f4: Tensor


class SlsgEncoder(nn.Module):
    """ResNet-18 without max-pooling and classifier: stride 16 instead of 32.

    Parameters are named as in torchvision and timm, so their ``resnet18`` weights load, but for ``fc``.

    Args:
        stem: What the first stage reads. ``"reference"``: the raw output of the first convolution, as in the authors'
            release. ``"standard"``: its batch-normalised, rectified version, as in every ResNet.

    Raises:
        ValueError: If ``stem`` is unknown.
    """

    def __init__(self, stem: Stem = "reference") -> None:
        super().__init__()
        if stem not in get_args(Stem):
            msg = f"stem must be one of {get_args(Stem)}, got {stem!r}"
            raise ValueError(msg)
        self.stem = stem
        resnet = resnet18(weights=None)
        self.conv1 = resnet.conv1
        self.bn1 = resnet.bn1
        self.layer1 = resnet.layer1
        self.layer2 = resnet.layer2
        self.layer3 = resnet.layer3
        self.layer4 = resnet.layer4

    def forward(self, images: Tensor) -> Features:
        """Extract features.

        Args:
            images: ``(N, 3, H, W)``, normalised with ImageNet's mean and standard deviation.

        Returns:
            Features of all stages.
        """
        raw = self.conv1(images)
        s0 = F.relu(self.bn1(raw))
        f1 = self.layer1(raw if self.stem == "reference" else s0)
        f2 = self.layer2(f1)
        f3 = self.layer3(f2)
        f4 = self.layer4(f3)
        return Features(s0, f1, f2, f3, f4)
