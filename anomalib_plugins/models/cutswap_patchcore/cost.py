# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CutSwapPatchcore's network with memories of the sizes the paper's coresets give; it publishes no cost."""

from functools import partial

import torch

from anomalib_plugins.components.cost import Variant

from .torch_model import CutSwapPatchcoreModel


def with_bank(count: int, backbone: str = "resnet18") -> CutSwapPatchcoreModel:
    """The network with ``count`` random patches in its memory."""
    model = CutSwapPatchcoreModel(backbone)
    model.banks[0].fill(torch.rand(count, model.backbone.channels), count, progress=False)
    return model


# 209 training images, as MVTec AD has in the mean, of 28 x 28 patches; 0.1 % and 1 % of them.
VARIANTS = (
    Variant("ResNet-18, 0.1 %", partial(with_bank, 164), 224),
    Variant("ResNet-18, 1 %", partial(with_bank, 1639), 224),
)
