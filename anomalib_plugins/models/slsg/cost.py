# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""SLSG's networks beside their published size."""

from torch import nn

from anomalib_plugins.components.cost import Variant

from .encoder import SlsgEncoder
from .inpainting_model import InpaintingDecoder, PatchDiscriminator
from .torch_model import SlsgModel

VARIANTS = (
    Variant("SegNet", SlsgModel, 256, parameters=20.46e6, macs=23e9),
    Variant("SegNet, 1x1 value", lambda: SlsgModel(value_conv="1x1"), 256),
    Variant("GPT-Net", lambda: nn.Sequential(SlsgEncoder(), InpaintingDecoder()), 256),
    Variant("D-Net", PatchDiscriminator, 256),
)
