# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Variants of POUTA for ``anomalib-plugins cost``, with their published sizes."""

from typing import Any

from torch import Tensor, nn

from anomalib_plugins.components.cost import Variant

from .torch_model import PoutaModel, Segmentation


class Whole(nn.Module):
    """Network with all supervised outputs, as counted in the paper.

    Args:
        network: Arguments of ``PoutaModel``.
    """

    def __init__(self, **network: Any) -> None:
        super().__init__()
        self.model = PoutaModel(**network)

    def forward(self, images: Tensor) -> Segmentation:
        """Compute the reconstruction, the logits and the logits of each level."""
        return self.model.segment_all(images)


def inference() -> PoutaModel:
    """Build the network without the layers that only training uses."""
    model = PoutaModel(use_mss=False)
    model.autoencoder.to_image = nn.Identity()
    return model


VARIANTS = (
    Variant("POUTA", lambda: Whole(use_mss=False), 224, parameters=15.02e6, macs=35.37e9),
    Variant("POUTA, training", Whole, 224),
    Variant("POUTA, inference", inference, 224),
    Variant("base, +MSS", lambda: Whole(use_hsg=False, use_mss=False), 224),
    Variant("Vanilla", lambda: Whole(variant="vanilla"), 224, parameters=28.68e6, macs=39.38e9),
)
