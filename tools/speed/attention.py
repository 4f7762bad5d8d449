# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Cost of PFAM in front of PaDiM, in time and operations."""

from collections.abc import Iterator
from functools import partial

import torch

from anomalib_plugins.components.cost import count
from anomalib_plugins.models.sbm_pfam.padim import SbmPfamPadimModel
from anomalib_plugins.models.sbm_pfam.pfam import PfamExtractor
from tools.speed import Options
from tools.timing import Measurement, side_by_side

LAYERS = ("layer1", "layer2", "layer3")


def network(pfam: bool, size: int) -> SbmPfamPadimModel:
    """Build and fit a network with random weights."""
    torch.manual_seed(0)
    model = SbmPfamPadimModel(PfamExtractor("resnet18", LAYERS, pfam)).eval()
    model.to(memory_format=torch.channels_last)
    model.gaussians.add(model.embed(torch.rand(4, 3, size, size)))
    model.gaussians.finish()
    return model


@torch.inference_mode()
def measure(options: Options) -> Iterator[Measurement]:
    """Yield rows of PaDiM without and with attention, in float32 and bfloat16."""
    size = 64 if options.quick else 256
    image = torch.rand(1, 3, size, size)
    networks = {
        "without PFAM": network(pfam=False, size=size),
        "PFAM": network(pfam=True, size=size),
    }
    gmacs = {name: round(count(each, image).macs / 1e9, 2) for name, each in networks.items()}
    ways = {name: partial(each.forward, image) for name, each in networks.items()}
    yield from side_by_side(f"PaDiM, ResNet-18, {size} px, torch float32", ways, options.rounds, gmacs=gmacs)
    with torch.autocast("cpu", torch.bfloat16):
        yield from side_by_side(f"PaDiM, ResNet-18, {size} px, torch bfloat16", ways, options.rounds, gmacs=gmacs)
