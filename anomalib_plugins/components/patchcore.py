# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""PatchCore on any feature maps: its network, and the phase that fills the memory bank."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from anomalib.data import InferenceBatch
from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.components.checks import check_choice, check_least, check_share
from anomalib_plugins.components.inference import mark_non_finite
from anomalib_plugins.components.memory_bank import MemoryBank, Search
from anomalib_plugins.components.tiling import cut, merge
from anomalib_plugins.errors import UserError

if TYPE_CHECKING:
    from anomalib.data.utils.tiler import Tiler

Matching = Literal["joint", "layerwise"]


class PatchBanks(nn.Module):
    """Memory banks of PatchCore (Roth et al., 2022) for the feature maps of any network.

    Args:
        channels: Number of channels of each feature map.
        num_neighbors: Number of neighbours that weight the image score in joint matching, see :class:`MemoryBank`.
        search: Search for nearest vectors, see :class:`MemoryBank`.
        matching: ``"joint"`` resizes all maps to the first, joins their channels and searches one memory bank, as
            published. ``"layerwise"`` searches a bank per map, at the map's own resolution. The anomaly map is then the
            geometric mean of the distances, and its largest value is the image score.

    Raises:
        ValueError: If ``num_neighbors`` is below 1, or ``search`` or ``matching`` is unknown.
        ModuleNotFoundError: If ``search`` is ``"faiss"`` and faiss is not installed.
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_neighbors: int = 9,
        search: Search = "exact",
        matching: Matching = "joint",
    ) -> None:
        super().__init__()
        check_choice("matching", matching, Matching)
        self.pool = nn.AvgPool2d(3, stride=1, padding=1)
        self.joint, self.num_neighbors = matching == "joint", num_neighbors
        # No bank of a layer scores images.
        banks = [(sum(channels), num_neighbors)] if self.joint else [(width, 1) for width in channels]
        self.banks = nn.ModuleList(MemoryBank(*each, search) for each in banks)
        self.anomaly_map = AnomalyMapGenerator()

    def pooled(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Embed every patch of feature maps ``(N, C, h, w)`` for each memory bank: ``(N, C, h, w)``."""
        maps = [self.pool(each) for each in features]
        return [torch.cat([resized(each, maps[0]) for each in maps], dim=1)] if self.joint else maps

    def measure(self, maps: Sequence[Tensor], size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Measure the distances of embedded patches to the nearest normal ones.

        Args:
            maps: Patches for each memory bank ``(N, C, h, w)``, float32.
            size: Height and width of the images, in pixels.

        Returns:
            Scores ``(N,)`` and distances ``(N, 1, *size)``, at least 0, and a score that no image reaches, a scalar.
        """
        found = [bank(each.flatten(2).transpose(1, 2)) for bank, each in zip(self.banks, maps, strict=True)]
        with torch.autocast(maps[0].device.type, enabled=False):
            distances = [each.unflatten(1, of.shape[-2:])[:, None] for (each, _), of in zip(found, maps, strict=True)]
            joined = geometric_mean([resized(each, distances[0]) for each in distances])
            anomaly_map = self.anomaly_map(joined, size)
            score = found[0][1] if self.joint else anomaly_map.amax(dim=(1, 2, 3))
        return score, anomaly_map, torch.stack([bank.broken for bank in self.banks]).amax(dim=0)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take as many banks as the state has; older checkpoints have one, named ``bank``."""
        for name in [name for name in state if name.startswith(f"{prefix}bank.")]:
            state[f"{prefix}banks.0.{name.removeprefix(f'{prefix}bank.')}"] = state.pop(name)
        count = sum(name.startswith(f"{prefix}banks.") and name.endswith(".vectors") for name in state)
        if count == 1 < len(self.banks):
            self.joint, like = True, self.banks[0]
            width = state[f"{prefix}banks.0.centre"].shape[0]
            self.banks = nn.ModuleList([MemoryBank(width, self.num_neighbors, like.search).to(like.vectors.device)])
        super()._load_from_state_dict(state, prefix, *args)


class PatchcoreModel(PatchBanks, ABC):
    """Network of PatchCore; subclasses provide feature maps by :meth:`features`."""

    tiler: "Tiler | None" = None  # set by anomalib's TilerConfigurationCallback

    @abstractmethod
    def features(self, images: Tensor) -> Sequence[Tensor]:
        """Compute feature maps ``(N, C, h, w)`` of RGB images in ``[0, 1]``; the first sets the resolution."""

    def embed(self, images: Tensor) -> list[Tensor]:
        """Embed every patch by its pooled features, for each memory bank: ``(N, C, h, w)``, float32."""
        maps = self.pooled(self.features(cut(images, self.tiler)))
        return [merge(each.float(), self.tiler, images.shape[-2:]) for each in maps]

    def forward(self, images: Tensor) -> list[Tensor] | InferenceBatch:
        """Score images, or embed patches for the memory banks in training mode.

        Args:
            images: RGB images in ``[0, 1]`` ``(N, 3, H, W)``.

        Returns:
            Embeddings, see :meth:`embed`, in training mode, else distances ``(N, 1, H, W)`` and scores ``(N,)``, at
            least 0. Images with a NaN or an infinity get a score and a map which no other image reaches.
        """
        maps = self.embed(images)
        if self.training:
            return maps
        score, anomaly_map, broken = self.measure(maps, images.shape[-2:])
        score, anomaly_map = mark_non_finite(images, score, anomaly_map, broken)
        return InferenceBatch(pred_score=score, anomaly_map=anomaly_map)


def resized(maps: Tensor, like: Tensor) -> Tensor:
    """Resize maps ``(N, C, h, w)`` bilinearly to the size of others."""
    return maps if maps.shape[-2:] == like.shape[-2:] else F.interpolate(maps, like.shape[-2:], mode="bilinear")


def geometric_mean(values: Sequence[Tensor]) -> Tensor:
    """Geometric mean of tensors of the same shape with values of at least 0."""
    return values[0] if len(values) == 1 else math.prod(values[1:], start=values[0]).pow(1 / len(values))


class Remembering(Protocol):
    """A network with memory banks for the patches that it embeds."""

    training: bool

    @property
    def banks(self) -> nn.ModuleList:
        """Memory banks, each a :class:`MemoryBank`."""

    def train(self, mode: bool = True) -> Any:
        """Set the training mode, as any module does."""

    def embed(self, images: Tensor) -> list[Tensor]:
        """Embed every patch of images ``(N, 3, H, W)`` for each bank: ``(N, C, h, w)``, float32."""


class PatchMemory:
    """Collects the patches of all training images and fills the model's banks with coresets of them.

    Args:
        model: Network that embeds the patches and whose banks are filled.
        ratio: Share of the patches to keep, above 0 and at most 1. At least a bank's ``num_neighbors`` are kept, which
            the weights of image scores need.
        max_size: Largest number of patches to keep.
        option: Name of the option for ``ratio``, for messages.

    Raises:
        ValueError: If ``ratio`` or ``max_size`` is outside its range.
    """

    def __init__(
        self,
        model: Remembering,
        ratio: float = 0.1,
        max_size: int = 100_000,
        option: str = "coreset_sampling_ratio",
    ) -> None:
        check_share(option, ratio, above_zero=True)
        check_least("max_bank_size", max_size)
        self.model, self.ratio, self.max_size, self.option = model, ratio, max_size, option
        self._patches: dict[str, tuple[Tensor, ...]] = {}  # of each bank (P, C)

    def count(self, patches: int) -> int:
        """Number of patches to keep, given the number of all patches."""
        return min(patches, max(self.model.banks[0].num_neighbors, int(patches * self.ratio)))

    @torch.no_grad()
    def check(self, images: int, example: Tensor) -> None:
        """Check that the bank of a training set fits into memory, and log its size.

        Args:
            images: Number of training images.
            example: One of the images ``(3, H, W)``.

        Raises:
            ValueError: If more than ``max_size`` patches would be kept, or the patches need more memory than is free.
        """
        learns = self.model.training
        shapes = [each.shape[1:] for each in self.model.train(mode=False).embed(example[None])]
        self.model.train(learns)
        counts = [(images * height * width, channels * 4 / 2**20) for channels, height, width in shapes]  # float32
        patches, kept = (sum(counted for counted, _ in counts), sum(self.count(counted) for counted, _ in counts))
        size = sum(self.count(counted) * megabytes for counted, megabytes in counts)
        choosing = 2 * sum(counted * megabytes for counted, megabytes in counts)
        estimate = f"{kept} of {patches} patches ({size:.0f} MB; choosing them takes {choosing:.0f} MB)"
        if kept > self.max_size:
            msg = (
                f"the memory bank would keep {estimate}, more than max_bank_size={self.max_size}: lower "
                f"{self.option}={self.ratio} or image_size, or raise max_bank_size"
            )
            raise UserError(msg)
        free = free_megabytes(example.device)
        if choosing + size > free:
            msg = (
                f"the memory bank would keep {estimate}, but only {free:.0f} MB of memory are free on "
                f"{example.device}: lower image_size, or train on fewer images"
            )
            raise UserError(msg)
        rank_zero_info(f"The memory bank will keep {estimate}.")

    @torch.no_grad()
    def gather(self, paths: Sequence[str], images: Tensor) -> None:
        """Collect the patches of images ``(N, 3, H, W)`` with their files; an image that occurs again counts once."""
        maps = [each.flatten(2).transpose(1, 2) for each in self.model.train(mode=False).embed(images)]  # (N, P, C)
        self._patches.update(zip(paths, zip(*maps, strict=True), strict=True))

    def fill(self, seed: int) -> None:
        """Fill each bank with a coreset of the collected patches, and discard these."""
        # Sorted by file, so that the coreset does not depend on the order of loading.
        parts = list(zip(*(self._patches[path] for path in sorted(self._patches)), strict=True))
        self.clear()
        for bank in self.model.banks:
            patches = torch.cat(parts.pop(0))
            bank.fill(patches, self.count(len(patches)), seed)

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
