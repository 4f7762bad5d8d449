# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Base class for PatchCore's network on any feature maps."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from anomalib.data import InferenceBatch
from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.components.inference import never_normal
from anomalib_plugins.components.memory_bank import MemoryBank, Search
from anomalib_plugins.components.tiling import cut, merge

if TYPE_CHECKING:
    from anomalib.data.utils.tiler import Tiler


class PatchcoreModel(ABC, nn.Module):
    """Network of PatchCore (Roth et al., 2022); subclasses provide feature maps by :meth:`features`.

    Args:
        channels: Total number of channels of all feature maps.
        num_neighbors: Number of neighbours that weight the image score, see :class:`MemoryBank`.
        search: Search for nearest vectors, see :class:`MemoryBank`.

    Raises:
        ValueError: If ``num_neighbors`` is below 1 or ``search`` is unknown.
        ModuleNotFoundError: If ``search`` is ``"faiss"`` and faiss is not installed.
    """

    def __init__(self, channels: int, num_neighbors: int = 9, search: Search = "exact") -> None:
        super().__init__()
        self.tiler: Tiler | None = None  # set by anomalib's TilerConfigurationCallback
        self.pool = nn.AvgPool2d(3, stride=1, padding=1)
        self.bank = MemoryBank(channels, num_neighbors, search)
        self.anomaly_map = AnomalyMapGenerator()

    @abstractmethod
    def features(self, images: Tensor) -> Sequence[Tensor]:
        """Compute feature maps ``(N, C, h, w)`` of RGB images in ``[0, 1]``; the first sets the resolution."""

    def embed(self, images: Tensor) -> Tensor:
        """Embed every patch by its pooled features from all feature maps.

        Args:
            images: RGB images in ``[0, 1]`` ``(N, 3, H, W)``.

        Returns:
            Embeddings ``(N, C, h, w)``, float32.
        """
        first, *rest = (self.pool(each) for each in self.features(cut(images, self.tiler)))
        scaled = [F.interpolate(each, size=first.shape[-2:], mode="bilinear") for each in rest]
        embedding = torch.cat([first, *scaled], dim=1).float()
        return merge(embedding, self.tiler, images.shape[-2:])

    def forward(self, images: Tensor) -> Tensor | InferenceBatch:
        """Score images, or embed patches for the memory bank in training mode.

        Args:
            images: RGB images in ``[0, 1]`` ``(N, 3, H, W)``.

        Returns:
            Embeddings ``(N, C, h, w)`` in training mode, else distances ``(N, 1, H, W)`` and scores ``(N,)``, at least
            0. Images with a NaN or an infinity get ``bank.broken`` everywhere, which no other image reaches.
        """
        embedding = self.embed(images)
        if self.training:
            return embedding
        distances, score = self.bank(embedding.flatten(2).transpose(1, 2))
        with torch.autocast(images.device.type, enabled=False):
            anomaly_map = self.anomaly_map(distances.unflatten(1, embedding.shape[-2:])[:, None], images.shape[-2:])
        score, anomaly_map = never_normal(images, score, anomaly_map, self.bank.broken)
        return InferenceBatch(pred_score=score, anomaly_map=anomaly_map)
