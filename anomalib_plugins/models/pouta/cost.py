# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""POUTA's networks beside their published size."""

from typing import Any

from torch import Tensor, nn

from anomalib_plugins.components.cost import Variant

from .torch_model import PoutaModel, Segmentation


class Whole(nn.Module):
    """The network with all that is supervised, as the paper counts it.

    Args:
        network: Arguments of ``PoutaModel``.
    """

    def __init__(self, **network: Any) -> None:
        super().__init__()
        self.model = PoutaModel(**network)

    def forward(self, images: Tensor) -> Segmentation:
        """Compute reconstruction, logits and the logits of the levels."""
        return self.model.segment_all(images)


def inference() -> PoutaModel:
    """The network without the layers that only training runs."""
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
