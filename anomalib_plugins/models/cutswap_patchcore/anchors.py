# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Pixels where CutSwap may anchor its patches, from saliency maps, in a form that is small enough to keep."""

import zlib
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor
from tqdm import tqdm

from anomalib_plugins.components.checks import check_choice
from anomalib_plugins.errors import UserError
from anomalib_plugins.synthesis.base import uniform

Cluster = Literal["max", "min", "random"]
AnchorStrategy = Literal["kmeans", "topk"]

MAX_CLUSTERS = 64
BINS = 1024  # of a map's histogram: its clusters have at most 0.1 % more inertia than the best ones of the map


def clusters(maps: Tensor, k: int = 4) -> Tensor:
    """Cluster the intensities of each map by k-means, regardless of their position.

    Args:
        maps: Saliency ``(N, L, H, W)``, finite.
        k: Number of clusters.

    Returns:
        Rank of each pixel's cluster, from 0 for the least salient to ``k - 1``, uint8 ``(N, L, H, W)``. If a map has
        fewer than ``k`` different values, the lowest clusters are empty.
    """
    rows = maps.flatten(0, 1).flatten(1).cpu().double().numpy()
    return torch.from_numpy(np.stack([_ranks(row, k) for row in rows])).to(maps.device).view(maps.shape)


def _ranks(values: np.ndarray, k: int) -> np.ndarray:
    """Ranks of the clusters of numbers ``(P,)``, found on their histogram."""
    counts, edges = np.histogram(values, BINS)
    counts, sums = (each[counts > 0] for each in (counts, np.histogram(values, edges, weights=values)[0]))
    found = min(k, len(counts))
    means = KMeans(found, n_init=10, tol=0, random_state=0).fit((sums / counts)[:, None], sample_weight=counts)
    centres = np.sort(means.cluster_centers_[:, 0])
    return np.uint8(k - found + np.searchsorted((centres[1:] + centres[:-1]) / 2, values, side="right"))


def salient(ranks: Tensor, cluster: Cluster = "max", generator: torch.Generator | None = None) -> Tensor:
    """Pixels of one cluster of each map.

    Args:
        ranks: Result of ``clusters`` ``(N, L, H, W)``.
        cluster: The most salient cluster, the least salient or a random one.
        generator: Source of the random choice.

    Returns:
        Boolean ``(N, L, H, W)``, at least one pixel of each map.
    """
    if cluster == "max":
        rank = ranks.amax(dim=(2, 3), keepdim=True)
    elif cluster == "min":
        rank = ranks.amin(dim=(2, 3), keepdim=True)
    else:
        present = every_cluster(ranks, int(ranks.max()) + 1).flatten(3).any(dim=3)  # (N, L, k)
        rank = random_one(present, generator)[:, :, None, None]
    return ranks == rank


def every_cluster(ranks: Tensor, k: int) -> Tensor:
    """Pixels of all clusters: ``(N, L, K, H, W)``, boolean, of ranks ``(N, L, H, W)`` from 0 to ``K - 1``."""
    return ranks[:, :, None] == torch.arange(k, device=ranks.device)[:, None, None]


def random_one(present: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Index ``(...)`` of a random true value of each row of booleans ``(..., K)``."""
    lots = uniform(present.shape, 0.0, 1.0, generator).to(present.device)
    return torch.where(present, lots, -1.0).argmax(dim=-1)


def topk(maps: Tensor, count: int = 300) -> Tensor:
    """Mark the ``count`` most salient pixels of each map ``(N, L, H, W)``, or all if it has fewer."""
    values = maps.flatten(2)
    best = values.topk(min(count, values.shape[2]), dim=2).indices
    return torch.zeros_like(values, dtype=torch.bool).scatter_(2, best, value=True).view(maps.shape)


def pack(masks: Tensor) -> Tensor:
    """Pack boolean masks ``(..., H, W)`` into one bit per pixel: uint8 ``(..., ceil(H * W / 8))`` on the CPU."""
    return torch.from_numpy(np.packbits(masks.flatten(-2).cpu().numpy(), axis=-1))


def unpack(packed: Tensor, size: Sequence[int]) -> Tensor:
    """Unpack masks ``(..., H, W)`` of ``size`` (height, width) that ``pack`` packed."""
    height, width = size
    bits = np.unpackbits(packed.cpu().numpy(), axis=-1, count=height * width)
    return torch.from_numpy(bits).bool().unflatten(-1, (height, width))


class Anchors:
    """Pixels of each training image where patches may be anchored, from saliency maps of several layers.

    A map takes one bit per pixel, or one per pixel and cluster if clusters are chosen at random: 41 kB for an image of
    256 x 256 with five maps, or K times that.

    Args:
        k: Number of clusters of a map's intensities.
        cluster: Cluster with the anchors: the most salient, the least salient, or a random one each time.
        strategy: ``"kmeans"`` for these clusters, ``"topk"`` for the 300 most salient pixels.

    Raises:
        ValueError: If an option is unknown, ``k`` is not from 1 to 64, or ``"topk"`` has options of clusters.
    """

    def __init__(self, k: int = 4, cluster: Cluster = "max", strategy: AnchorStrategy = "kmeans") -> None:
        if not isinstance(k, int) or not 1 <= k <= MAX_CLUSTERS:
            msg = f"k must be from 1 to {MAX_CLUSTERS} clusters, got {k}"
            raise UserError(msg)
        check_choice("cluster", cluster, Cluster)
        check_choice("anchor_strategy", strategy, AnchorStrategy)
        if strategy == "topk" and (k, cluster) != (4, "max"):
            msg = f'anchor_strategy="topk" has no clusters: leave k={k} and cluster={cluster!r} out, or the strategy'
            raise UserError(msg)
        self.k, self.cluster, self.strategy = k, cluster, strategy
        self._size: Sequence[int] = ()
        self._packed: dict[str, Tensor] = {}

    @property
    def anywhere(self) -> bool:
        """Whether every pixel may be an anchor, whatever the maps are."""
        return self.k == 1

    def of_maps(self, maps: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Anchors in maps ``(N, L, H, W)``: boolean, of the same shape."""
        if self.strategy == "topk":
            return topk(maps)
        return salient(clusters(maps, self.k), self.cluster, generator)

    def gather(
        self,
        paths: Sequence[str],
        load: Callable[[str], Tensor],
        saliency: Callable[[Tensor], Tensor],
        batch_size: int = 8,
    ) -> None:
        """Find and keep the anchors of every training image, with a progress bar.

        Args:
            paths: Files of the images; the order does not matter.
            load: Function that reads the image ``(3, H, W)`` of a file, all of one size.
            saliency: Function that computes maps ``(N, L, H, W)`` in ``[0, 1]`` of RGB images ``(N, 3, H, W)``.
            batch_size: Number of images per call of ``saliency``.
        """
        ordered = sorted(set(paths))
        for start in tqdm(range(0, len(ordered), batch_size), desc="Saliency of the training images"):
            names = ordered[start : start + batch_size]
            maps = saliency(torch.stack([load(name) for name in names]))
            # (N, L, H, W), or (N, L, K, H, W) to choose from
            anchors = self.of_maps(maps) if self.cluster != "random" else every_cluster(clusters(maps, self.k), self.k)
            self._size = anchors.shape[-2:]
            self._packed.update(zip(names, pack(anchors), strict=True))

    @property
    def fingerprint(self) -> int | None:
        """Number that differs if anchors differ; ``None`` if there are none."""
        if not self._packed:
            return None
        return zlib.crc32(b"".join(self._packed[path].numpy().tobytes() for path in sorted(self._packed)))

    def clear(self) -> None:
        """Discard all anchors."""
        self._packed.clear()

    def __call__(self, paths: Sequence[str], layers: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """Get the anchors of images.

        Args:
            paths: Files of the images ``(N,)``.
            layers: Number of the map to use for each image ``(N,)``.
            generator: Source of random clusters.

        Returns:
            Boolean ``(N, H, W)``, on the CPU.

        Raises:
            KeyError: If an image was not gathered.
        """
        packed = torch.stack([self._packed[path][layer] for path, layer in zip(paths, layers, strict=True)])
        if self.cluster == "random":  # (N, K, B)
            packed = packed[torch.arange(len(packed)), random_one((packed > 0).any(dim=2), generator)]
        return unpack(packed, self._size)
