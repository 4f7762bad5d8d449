# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The network that detects: features of patches and their distance to a memory of normal ones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from anomalib.data import InferenceBatch
from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.components.backbone import Backbone
from anomalib_plugins.components.inference import never_normal
from anomalib_plugins.components.memory_bank import MemoryBank

if TYPE_CHECKING:
    from anomalib.data.utils.tiler import Tiler


class CutSwapPatchcoreModel(nn.Module):
    """PatchCore (Roth et al., 2022) on a backbone that can be trained.

    Args:
        backbone: What timm calls the network.
        layers: Stages whose features are joined; the first sets the resolution.
        num_neighbors: Neighbours that weigh the image's score, see :class:`MemoryBank`.

    Raises:
        ValueError: If an argument does not fit the network.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        layers: Sequence[str] = ("layer2", "layer3"),
        num_neighbors: int = 9,
    ) -> None:
        super().__init__()
        self.tiler: Tiler | None = None  # set by anomalib's TilerConfigurationCallback
        self.backbone = Backbone(backbone, layers)
        self.pool = nn.AvgPool2d(3, stride=1, padding=1)
        self.bank = MemoryBank(self.backbone.channels, num_neighbors)
        self.anomaly_map = AnomalyMapGenerator()

    def embed(self, images: Tensor) -> Tensor:
        """Describe every patch by its pooled features of all layers.

        Args:
            images: RGB in ``[0, 1]`` ``(N, 3, H, W)``.

        Returns:
            ``(N, C, h, w)``, float32.
        """
        tiles = self.tiler.tile(images) if self.tiler else images
        first, *rest = (self.pool(each) for each in self.backbone.features(tiles))
        scaled = [F.interpolate(each, size=first.shape[-2:], mode="bilinear") for each in rest]
        embedding = torch.cat([first, *scaled], dim=1).float()
        return self.tiler.untile(embedding) if self.tiler else embedding

    def forward(self, images: Tensor) -> Tensor | InferenceBatch:
        """Score, or describe patches for the memory if training.

        Args:
            images: RGB in ``[0, 1]`` ``(N, 3, H, W)``.

        Returns:
            In training, embeddings ``(N, C, h, w)``. Else distances ``(N, 1, H, W)``, at least 0, and scores ``(N,)``;
            images that hold a NaN or an infinity get ``bank.broken`` everywhere, which no other image reaches.
        """
        embedding = self.embed(images)
        if self.training:
            return embedding
        distances, score = self.bank(embedding.flatten(2).transpose(1, 2))
        with torch.autocast(images.device.type, enabled=False):
            anomaly_map = self.anomaly_map(distances.unflatten(1, embedding.shape[-2:])[:, None], images.shape[-2:])
        score, anomaly_map = never_normal(images, score, anomaly_map, self.bank.broken)
        return InferenceBatch(pred_score=score, anomaly_map=anomaly_map)
