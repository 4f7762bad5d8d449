# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The jigsaw's task: in which of some known orders are an image's tiles?"""

import math
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.components.checks import check_choice, check_share
from anomalib_plugins.errors import UserError
from anomalib_plugins.synthesis.base import chance, integers
from anomalib_plugins.synthesis.colour import LUMA
from anomalib_plugins.synthesis.geometry import cut_tiles, join_tiles, rearrange

Selection = Literal["hamming", "random"]

EXHAUSTIVE = math.factorial(9)  # of 3 x 3 tiles all orders are compared
SAMPLED = 50_000  # of more tiles so many random ones


class Jigsaw(nn.Module):
    """Cuts images into tiles and joins them in one of several known orders.

    The orders differ in as many places as possible, so that a few tiles do not suffice to tell two apart. They are a
    buffer, and thus part of checkpoints.

    Args:
        tiles: Number of tiles per side, n. Images are resized to the next smaller multiple, 224 to 222 pixels with 3.
        orders: Number of orders to tell apart, P, at most ``(n * n)! - 1``.
        selection: ``"hamming"`` takes orders that are far from each other, ``"random"`` any.
        include_identity: Whether the original order is one more class, the first.
        grey_probability: Share of the tiles that lose their colour, in ``[0, 1]``.
        seed: Seed of the orders.

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
        check_choice("selection", selection, Selection)
        check_share("grey_probability", grey_probability)
        self.tiles, self.grey_probability = tiles, grey_probability
        chosen = torch.from_numpy(select_orders(tiles * tiles, orders, selection, seed))
        if include_identity:
            chosen = torch.cat([torch.arange(tiles * tiles)[None], chosen])
        self.register_buffer("orders", chosen)  # (P, n * n)

    @property
    def classes(self) -> int:
        """Number of orders to tell apart."""
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
        cut = rearrange(cut_tiles(images, self.tiles, self.tiles), self.orders[classes])
        grey = chance(cut.shape[0] * cut.shape[1], self.grey_probability, generator)
        grey = grey.view(*cut.shape[:2], 1, 1, 1).to(images.device)
        light = (cut * torch.tensor(LUMA, device=images.device).view(3, 1, 1)).sum(dim=2, keepdim=True)
        return join_tiles(torch.where(grey, light, cut), self.tiles, self.tiles), classes


def select_orders(tiles: int, count: int, selection: Selection = "hamming", seed: int = 0) -> np.ndarray:
    """Select ``count`` orders of tiles, all different and none the original one: int64 ``(P, T)``.

    ``"hamming"`` begins with a random one and always adds the one with the largest mean Hamming distance to those
    selected so far (Noroozi and Favaro, 2016).
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
