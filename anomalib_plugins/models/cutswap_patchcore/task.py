# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CutSwap's task: is an image whole, were two of its patches swapped, or two of its scars?"""

import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from tqdm import tqdm

from anomalib_plugins.errors import UserError
from anomalib_plugins.models.cutswap_patchcore.anchors import (
    Which,
    clusters,
    every_cluster,
    pack,
    random_one,
    salient,
    topk,
    unpack,
)
from anomalib_plugins.models.cutswap_patchcore.kmeans import MAX_CLUSTERS
from anomalib_plugins.synthesis import NORMAL, AnomalyGenerator, CutPaste, CutSwap, SyntheticBatch, colour_jitter

Augmentation = Literal["cutswap", "cutpaste", "none"]
Mode = Literal["3way", "binary"]
AnchorStrategy = Literal["kmeans", "topk"]


class CutSwapTask:
    """Makes labelled images of normal ones: as they are (0), with swapped patches (1), with swapped scars (2).

    Each image's colours are changed a little first; its three versions share that change.

    Args:
        augmentation: ``"cutswap"`` swaps two patches, ``"cutpaste"`` copies one over another.
        mode: ``"binary"`` leaves the scars out.
        options: More arguments of :class:`CutSwap` or :class:`CutPaste`.

    Raises:
        ValueError: If ``augmentation`` or ``mode`` is unknown.
    """

    def __init__(
        self,
        augmentation: Literal["cutswap", "cutpaste"] = "cutswap",
        mode: Mode = "3way",
        options: dict[str, Any] | None = None,
    ) -> None:
        makers = {"cutswap": CutSwap, "cutpaste": CutPaste}
        if augmentation not in makers:
            msg = f"augmentation must be one of {tuple(makers)}, got {augmentation!r}"
            raise UserError(msg)
        if mode not in get_args(Mode):
            msg = f"mode must be one of {get_args(Mode)}, got {mode!r}"
            raise UserError(msg)
        kinds = ("patch", "scar") if mode == "3way" else ("patch",)
        self.makers: list[AnomalyGenerator] = [makers[augmentation](kind, **(options or {})) for kind in kinds]

    @property
    def has_anchors(self) -> bool:
        """Whether it matters where patches may be anchored."""
        return isinstance(self.makers[0], CutSwap)

    @property
    def classes(self) -> int:
        """How many kinds of images there are to tell apart."""
        return 1 + len(self.makers)

    def __call__(
        self, images: Tensor, generator: torch.Generator | None = None, candidates: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Make all versions of every image.

        Args:
            images: Normal RGB images ``(N, 3, H, W)`` in ``[0, 1]``.
            generator: Source of all randomness.
            candidates: Where patches may be anchored, boolean ``(N, H, W)``; default anywhere.

        Returns:
            Images ``(K * N, 3, H, W)``, one version after the other, and their classes ``(K * N,)``. What a swap
            leaves as it was, such as a blank image, is of class 0.
        """
        positive = colour_jitter(images, generator, contrast=0.1, hue=0.1)
        made = [self.make(which, positive, generator, candidates) for which in self.makers]
        classes = [torch.where(each.kind == NORMAL, 0, number) for number, each in enumerate(made, start=1)]
        return (
            torch.cat([positive, *(each.image for each in made)]),
            torch.cat([torch.zeros_like(classes[0]), *classes]),
        )

    def preview(
        self, images: Tensor, generator: torch.Generator | None = None, candidates: Tensor | None = None
    ) -> SyntheticBatch:
        """Make one anomaly in each image, the kinds in turn, see ``__call__``."""
        made = [self.make(maker, images, generator, candidates) for maker in self.makers]
        rows = [[field[number] for field in made[number % len(made)]] for number in range(len(images))]
        return SyntheticBatch(*map(torch.stack, zip(*rows, strict=True)))

    @staticmethod
    def make(
        maker: AnomalyGenerator, images: Tensor, generator: torch.Generator | None, candidates: Tensor | None
    ) -> SyntheticBatch:
        """Swap by one of :attr:`makers`."""
        if isinstance(maker, CutSwap):
            return maker(images, generator, candidates=candidates)
        return maker(images, generator)


class Anchors:
    """Where patches may be anchored in each training image, from saliency maps of several layers.

    A map and an image take a bit a pixel, and for a random cluster a bit a cluster: 41 kB an image of 256 x 256 with
    five maps, or K times that.

    Args:
        k: Clusters of a map's intensities.
        cluster: Which of them holds the anchors: the most or the least salient, or each time a random one.
        strategy: ``"kmeans"`` for these clusters, ``"topk"`` for the 300 most salient pixels.

    Raises:
        ValueError: If an option is unknown, ``k`` is not from 1 to 64, or clusters are chosen and not looked at.
    """

    def __init__(
        self,
        k: int = 4,
        cluster: Which = "max",
        strategy: AnchorStrategy = "kmeans",
    ) -> None:
        if not isinstance(k, int) or not 1 <= k <= MAX_CLUSTERS:
            msg = f"k must be from 1 to {MAX_CLUSTERS} clusters, got {k}"
            raise UserError(msg)
        for name, value, choices in (("cluster", cluster, Which), ("anchor_strategy", strategy, AnchorStrategy)):
            if value not in get_args(choices):
                msg = f"{name} must be one of {get_args(choices)}, got {value!r}"
                raise UserError(msg)
        if strategy == "topk" and (k, cluster) != (4, "max"):
            msg = f'anchor_strategy="topk" knows no clusters: leave k={k} and cluster={cluster!r} out, or the strategy'
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
        """Look at every training image once; a progress bar says how far that is.

        Args:
            paths: The images' files; the order does not matter.
            load: Gives the image ``(3, H, W)`` of a file as the network sees it, all of one size.
            saliency: Gives maps ``(N, L, H, W)`` in ``[0, 1]`` of RGB images ``(N, 3, H, W)``.
            batch_size: Images the saliency network takes at a time.
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
        """A number that differs where anchors do; ``None`` where there are none."""
        if not self._packed:
            return None
        return zlib.crc32(b"".join(self._packed[path].numpy().tobytes() for path in sorted(self._packed)))

    def clear(self) -> None:
        """Forget them all."""
        self._packed.clear()

    def __call__(self, paths: Sequence[str], layers: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """Anchors of images, each by its own map.

        Args:
            paths: Their files ``(N,)``.
            layers: Which of the L maps to take for each ``(N,)``.
            generator: Source of random clusters.

        Returns:
            Boolean ``(N, H, W)``, on the CPU.

        Raises:
            KeyError: If an image was not there when saliency was computed.
        """
        packed = torch.stack([self._packed[path][layer] for path, layer in zip(paths, layers, strict=True)])
        if self.cluster == "random":  # (N, K, B)
            packed = packed[torch.arange(len(packed)), random_one(packed.any(dim=2), generator)]
        return unpack(packed, self._size)
