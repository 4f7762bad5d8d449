# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Networks with and without attention; the detectors' own costs depend on their memories."""

from functools import partial

from anomalib_plugins.components.cost import Variant
from anomalib_plugins.models.sbm_pfam.pfam import PfamExtractor

VARIANTS = (
    Variant("ResNet-18", partial(PfamExtractor, "resnet18", pfam=False), 224),
    Variant("ResNet-18 + PFAM", partial(PfamExtractor, "resnet18"), 224),
)
