# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The network that detects: PatchCore on a backbone that can be trained."""

from collections.abc import Sequence

from torch import Tensor

from anomalib_plugins.components.backbone import Backbone
from anomalib_plugins.components.memory_bank import Search
from anomalib_plugins.components.patchcore import PatchcoreModel


class CutSwapPatchcoreModel(PatchcoreModel):
    """Features of a backbone's stages, and their distance to a memory of normal ones.

    Args:
        backbone: What timm calls the network.
        layers: Stages whose features are joined; the first sets the resolution. ``None`` as in :class:`Backbone`.
        num_neighbors: Neighbours that weigh the image's score, see :class:`MemoryBank`.
        search: How the nearest vector is found, see there.
        head: Stage whose mean features a pretext sees, see :class:`Backbone`.

    Raises:
        ValueError: If an argument does not fit the network.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        layers: Sequence[str] | None = None,
        num_neighbors: int = 9,
        search: Search = "exact",
        head: str | None = None,
    ) -> None:
        network = Backbone(backbone, layers, head=head)
        super().__init__(network.channels, num_neighbors, search)
        self.backbone = network

    def features(self, images: Tensor) -> list[Tensor]:
        """Feature maps of the layers ``(N, C, h, w)`` of RGB images in ``[0, 1]``."""
        return self.backbone.features(images)
