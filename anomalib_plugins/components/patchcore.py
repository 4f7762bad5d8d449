# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""PatchCore on any feature maps: its network, and the phase that fills the memory bank."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from anomalib.data import InferenceBatch
from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.components.checks import check_least, check_share
from anomalib_plugins.components.inference import mark_non_finite
from anomalib_plugins.components.memory_bank import MemoryBank, Search
from anomalib_plugins.components.tiling import cut, merge
from anomalib_plugins.errors import UserError

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
        """Embed every patch by its pooled features from all feature maps: ``(N, C, h, w)``, float32."""
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
        score, anomaly_map = mark_non_finite(images, score, anomaly_map, self.bank.broken)
        return InferenceBatch(pred_score=score, anomaly_map=anomaly_map)


class PatchMemory:
    """Collects the patches of all training images and fills the model's bank with a coreset of them.

    Args:
        model: Model that embeds the patches and whose bank is filled.
        ratio: Share of the patches to keep, above 0 and at most 1. At least the bank's ``num_neighbors`` are kept,
            which the weights of image scores need.
        max_size: Largest number of patches to keep.

    Raises:
        ValueError: If ``ratio`` or ``max_size`` is outside its range.
    """

    def __init__(self, model: PatchcoreModel, ratio: float = 0.1, max_size: int = 100_000) -> None:
        check_share("coreset_sampling_ratio", ratio, above_zero=True)
        check_least("max_bank_size", max_size)
        self.model, self.ratio, self.max_size = model, ratio, max_size
        self._patches: dict[str, Tensor] = {}

    def count(self, patches: int) -> int:
        """Number of patches to keep, given the number of all patches."""
        return min(patches, max(self.model.bank.num_neighbors, int(patches * self.ratio)))

    @torch.no_grad()
    def check(self, images: int, example: Tensor) -> None:
        """Check that the bank of a training set fits into memory, and log its size.

        Args:
            images: Number of training images.
            example: One of the images ``(3, H, W)``.

        Raises:
            ValueError: If more than ``max_size`` patches would be kept, or the patches need more memory than is free.
        """
        _, channels, *sides = self.model.eval().embed(example[None]).shape
        patches, megabytes = images * math.prod(sides), channels * 4 / 2**20  # float32
        kept = self.count(patches)
        estimate = (
            f"{kept} of {patches} patches ({kept * megabytes:.0f} MB; choosing them takes "
            f"{2 * patches * megabytes:.0f} MB)"
        )
        if kept > self.max_size:
            msg = (
                f"the memory bank would keep {estimate}, more than max_bank_size={self.max_size}: lower "
                f"coreset_sampling_ratio={self.ratio} or image_size, or raise max_bank_size"
            )
            raise UserError(msg)
        free = free_megabytes(example.device)
        if (2 * patches + kept) * megabytes > free:
            msg = (
                f"the memory bank would keep {estimate}, but only {free:.0f} MB of memory are free on "
                f"{example.device}: lower image_size, or train on fewer images"
            )
            raise UserError(msg)
        rank_zero_info(f"The memory bank will keep {estimate}.")

    @torch.no_grad()
    def gather(self, paths: Sequence[str], images: Tensor) -> None:
        """Collect the patches of images ``(N, 3, H, W)`` with their files; an image that occurs again counts once."""
        patches = self.model.eval().embed(images).flatten(2).transpose(1, 2)  # (N, P, C)
        self._patches.update(zip(paths, patches, strict=True))

    def fill(self, seed: int) -> None:
        """Fill the bank with a coreset of the collected patches, and discard these."""
        # Sorted by file, so that the coreset does not depend on the order of loading.
        patches = torch.cat([self._patches[path] for path in sorted(self._patches)])
        self.clear()
        self.model.bank.fill(patches, self.count(len(patches)), seed)

    def clear(self) -> None:
        """Discard the collected patches."""
        self._patches.clear()


def free_megabytes(device: torch.device) -> float:
    """Memory in MB that is free for new tensors on a device; infinity if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2**20
    table = Path("/proc/meminfo")  # Linux
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    return next((int(line.split()[1]) / 2**10 for line in lines if line.startswith("MemAvailable")), math.inf)
