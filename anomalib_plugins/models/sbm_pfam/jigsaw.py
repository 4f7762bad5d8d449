# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The jigsaw's task: in which of some known orders are an image's tiles?"""

import math
from functools import cache
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.errors import UserError
from anomalib_plugins.synthesis.draws import chance, integers

Selection = Literal["hamming", "random"]

EXHAUSTIVE = math.factorial(9)  # of 3 x 3 tiles all orders are compared
SAMPLED = 50_000  # of more tiles so many random ones
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Jigsaw(nn.Module):
    """Cuts images into tiles and puts them together in one of some known orders.

    The orders differ in as many places as possible, so that no two can be told apart by a few tiles only. They are a
    buffer, and so part of checkpoints.

    Args:
        tiles: Tiles a side, n. Images are resized to the next smaller multiple, 224 to 222 pixels with 3.
        orders: How many orders there are to tell apart, P, at most ``(n * n)! - 1``.
        selection: ``"hamming"`` takes orders that are far from each other, ``"random"`` any.
        include_identity: The order of the image as it is comes first, one more class.
        grey_probability: Share of the tiles that lose their colour, in ``[0, 1]``.
        seed: Draws the orders.

    Raises:
        ValueError: If an option is outside its range.

    Example:
        >>> shuffled, classes = Jigsaw()(torch.rand(4, 3, 224, 224))
        >>> shuffled.shape
        torch.Size([4, 3, 222, 222])
    """

    orders: Tensor

    def __init__(
        self,
        tiles: int = 3,
        orders: int = 30,
        selection: Selection = "hamming",
        include_identity: bool = False,
        grey_probability: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 2 <= tiles <= 8:
            msg = f"tiles must be from 2 to 8 a side, got {tiles}"
            raise UserError(msg)
        most = math.factorial(tiles * tiles) - 1
        if not 2 <= orders <= min(most, 1000):
            msg = f"orders must be from 2 to {min(most, 1000)} with {tiles} x {tiles} tiles, got {orders}"
            raise UserError(msg)
        if selection not in get_args(Selection):
            msg = f"selection must be one of {get_args(Selection)}, got {selection!r}"
            raise UserError(msg)
        if not 0 <= grey_probability <= 1:
            msg = f"grey_probability must be in [0, 1], got {grey_probability}"
            raise UserError(msg)
        self.tiles, self.grey_probability = tiles, grey_probability
        chosen = torch.from_numpy(select_orders(tiles * tiles, orders, selection, seed))
        if include_identity:
            chosen = torch.cat([torch.arange(tiles * tiles)[None], chosen])
        self.register_buffer("orders", chosen)  # (P, n * n)

    @property
    def classes(self) -> int:
        """How many orders there are to tell apart."""
        return len(self.orders)

    @torch.no_grad()
    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Shuffle every image's tiles in a random one of the orders.

        Args:
            images: RGB in ``[0, 1]`` ``(N, 3, H, W)``.
            generator: Source of all randomness.

        Returns:
            Shuffled images ``(N, 3, H', W')`` with sides that are multiples of ``tiles``, and their classes ``(N,)``.
        """
        classes = integers((len(images),), 0, self.classes, generator).to(images.device)
        sides = [side // self.tiles * self.tiles for side in images.shape[2:]]
        if sides != list(images.shape[2:]):
            images = F.interpolate(images, size=sides, mode="bilinear", antialias=True)
        cut = rearrange(cut_tiles(images, self.tiles), self.orders[classes])
        grey = chance(cut.shape[0] * cut.shape[1], self.grey_probability, generator)
        grey = grey.view(*cut.shape[:2], 1, 1, 1).to(images.device)
        light = (cut * torch.tensor(GREY, device=images.device).view(3, 1, 1)).sum(dim=2, keepdim=True)
        return join_tiles(torch.where(grey, light, cut), self.tiles), classes


def cut_tiles(images: Tensor, tiles: int) -> Tensor:
    """Cut images ``(N, C, H, W)`` into ``tiles`` a side, row by row ``(N, n * n, C, h, w)``; sides are multiples."""
    rows = images.unflatten(3, (tiles, -1)).unflatten(2, (tiles, -1))  # (N, C, n, h, n, w)
    return rows.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def join_tiles(cut: Tensor, tiles: int) -> Tensor:
    """The reverse of ``cut_tiles``."""
    return cut.unflatten(1, (tiles, tiles)).permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def rearrange(cut: Tensor, orders: Tensor) -> Tensor:
    """Put tile ``orders[n, t]`` of each image's tiles ``(N, T, C, h, w)`` into place t, with orders ``(N, T)``."""
    return cut[torch.arange(len(cut), device=cut.device)[:, None], orders]


def select_orders(tiles: int, count: int, selection: Selection = "hamming", seed: int = 0) -> np.ndarray:
    """Orders of tiles, the order as it is not among them.

    ``"hamming"`` begins with a random one and always adds the one with the largest mean Hamming distance to those
    it has (Noroozi and Favaro, 2016).

    Args:
        tiles: How many tiles are in order, T.
        count: How many orders, P.
        selection: ``"hamming"`` or ``"random"``.
        seed: Draws them.

    Returns:
        Different permutations of ``0 ... T - 1`` ``(P, T)``, int64.
    """
    rng = np.random.default_rng(seed % 2**64)
    candidates = _candidates(tiles)
    candidates = candidates[:, rng.permutation(candidates.shape[1])]  # of equally far ones the first is taken
    if selection == "random":
        return candidates[:, :count].T.astype(np.int64)
    picks, total = [0], np.zeros(candidates.shape[1], dtype=np.int32)
    while len(picks) < count:
        for places, number in zip(candidates, candidates[:, picks[-1]], strict=True):
            total += places != number
        total[picks[-1]] = np.iinfo(np.int32).min // 2  # never again
        picks.append(int(total.argmax()))
    return candidates[:, picks].T.astype(np.int64)


@cache
def _candidates(tiles: int) -> np.ndarray:
    """All permutations but the identity, or many different random ones where there are too many ``(T, N)``, int8."""
    if math.factorial(tiles) <= EXHAUSTIVE:
        orders = np.zeros((1, 1), dtype=np.int8)
        for number in range(1, tiles):  # the next number goes into every place
            orders = np.concatenate([np.insert(orders, place, number, axis=1) for place in range(number + 1)])
    else:
        drawn = np.tile(np.arange(tiles, dtype=np.int8), (SAMPLED, 1))
        orders = np.unique(np.random.default_rng(0).permuted(drawn, axis=1), axis=0)
    return np.ascontiguousarray(orders[(orders != np.arange(tiles)).any(axis=1)].T)
