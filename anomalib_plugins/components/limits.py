# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Stored vectors to measure distances to, and limits of these distances."""

import torch
from anomalib.models.components import DynamicBufferMixin
from torch import Tensor, nn

CHUNK = 1 << 24  # numbers in memory at a time: 64 MB
FAR = 3.0  # upper limit of distances, relative to the norm of the largest vector
BROKEN = 4.0  # score of broken images, relative to the norm of the largest vector


def rows_at_a_time(columns: int) -> int:
    """Number of rows of ``columns`` numbers that are computed at a time."""
    return max(1, CHUNK // columns)


class Limits:
    """Mixin: limits of distances, relative to the norm ``reach`` of the largest training vector.

    Attributes:
        deviation: Smallest standard deviation by which distances are divided.
    """

    deviation = 1.0
    reach: Tensor

    @property
    def far(self) -> Tensor:
        """Upper limit of distances, a scalar, so that :attr:`broken` is above all of them."""
        return FAR / self.deviation * self.reach

    @property
    def broken(self) -> Tensor:
        """Score of images with NaN or infinity, a scalar: above every other score, but of the same magnitude."""
        return BROKEN / self.deviation * self.reach


class StoredVectors(Limits, DynamicBufferMixin, nn.Module):
    """Vectors of normal patches, stored minus their mean: distances do not change but are more precise in bfloat16.

    Args:
        channels: Length C of a vector, if known.
    """

    vectors: Tensor
    centre: Tensor
    norms: Tensor

    def __init__(self, channels: int = 0) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.empty(0, channels))  # vectors minus their mean (M, C)
        self.register_buffer("centre", torch.zeros(channels))  # mean of the vectors (C,)
        self.register_buffer("norms", torch.empty(0))  # squared norms of the centred vectors (M,)
        self.register_buffer("reach", torch.ones(()))  # largest norm of the vectors before centring

    def store(self, vectors: Tensor) -> None:
        """Store vectors ``(M, C)``, which replace all others."""
        reach = vectors.norm(dim=1).amax()
        self.reach = reach if reach > 0 else torch.ones_like(reach)  # 0 for black images and layers without bias
        self.centre = vectors.mean(dim=0)
        self.vectors = vectors - self.centre
        self.norms = self.vectors.square().sum(dim=1)

    def squared(self, queries: Tensor) -> Tensor:
        """Squared distances ``(Q, M)`` of centred queries ``(Q, C)``, minus the queries' squared norms."""
        return torch.addmm(self.norms, queries, self.vectors.T, alpha=-2)
