# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Centroids of normal patches, which CFA draws features to, and its loss."""

import torch
from sklearn.cluster import KMeans
from torch import Tensor

from anomalib_plugins.components.checks import check_least
from anomalib_plugins.components.limits import StoredVectors, rows_at_a_time
from anomalib_plugins.errors import UntrainedError

MARGIN = 0.1
WEIGHT = 1000.0


class Hyperspheres(StoredVectors):
    """Centres of CFA's hyperspheres (Lee et al., 2022): the mean patch of every place of the image, or fewer.

    Args:
        gamma_c: Number of places per centroid; above 1 k-means finds the centroids.

    Raises:
        ValueError: If ``gamma_c`` is below 1.
    """

    def __init__(self, gamma_c: int = 1) -> None:
        super().__init__()
        check_least("gamma_c", gamma_c)
        self.gamma_c = gamma_c
        self.count = 0  # images gathered so far
        self._sum: Tensor | None = None  # (M, C)

    def clear(self) -> None:
        """Forget all images."""
        self.count, self._sum = 0, None

    @torch.no_grad()
    def add(self, patches: Tensor) -> None:
        """Add images' patches ``(N, P, C)``."""
        total = patches.float().sum(dim=0)
        self._sum = total if self._sum is None else self._sum + total
        self.count += len(patches)

    @torch.no_grad()
    def finish(self, seed: int = 0) -> None:
        """Make centroids of the gathered patches.

        Args:
            seed: Seed of k-means.
        """
        assert self._sum is not None
        vectors = self._sum / self.count
        if self.gamma_c > 1:
            fewer = KMeans(max(1, len(vectors) // self.gamma_c), n_init=1, random_state=seed).fit(vectors.cpu().numpy())
            vectors = torch.from_numpy(fewer.cluster_centers_).to(vectors)
        self.store(vectors)
        self.clear()

    def forward(self, patches: Tensor, neighbors: int) -> Tensor:
        """Squared distances ``(N, P, K)``, the smallest first, of patches ``(N, P, C)`` to the nearest centroids.

        K is ``neighbors``, or the number of centroids if that is smaller. Without centroids it is a ``RuntimeError``.
        """
        if len(self.vectors) == 0:
            msg = "there are no centroids: train the model first, or load a checkpoint of a finished training"
            raise UntrainedError(msg)
        wanted = min(neighbors, len(self.vectors))
        with torch.autocast(patches.device.type, enabled=False):
            queries = patches.float().flatten(0, 1) - self.centre
            # Exported graphs are not split: runtimes plan them.
            exported = torch.compiler.is_compiling()
            parts = [queries] if exported else queries.split(rows_at_a_time(len(self.vectors)))
            nearest = torch.cat([self.squared(part).topk(wanted, dim=1, largest=False).values for part in parts])
            squared = (nearest + queries.square().sum(dim=1, keepdim=True)).clamp(min=0)
        return squared.unflatten(0, patches.shape[:2])


def weighed_distance(squared: Tensor, far: Tensor) -> Tensor:
    """CFA's score ``(N, P)`` of patches: the smallest distance, reduced if others are about as small.

    Args:
        squared: Squared distances to the nearest centroids, the smallest first ``(N, P, K)``.
        far: Upper limit of distances.
    """
    distances = squared.sqrt().minimum(far)
    return distances.neg().softmax(dim=2)[..., 0] * distances[..., 0]


def hypersphere_loss(squared: Tensor, neighbors: int = 3, hard_negatives: int = 3, radius: float = 1e-5) -> Tensor:
    """CFA's coupled-hypersphere loss (Lee et al., 2022), as anomalib computes it.

    Args:
        squared: Squared distances to the nearest centroids, the smallest first ``(N, P, K)``.
        neighbors: Number of centroids whose spheres a patch is drawn into.
        hard_negatives: Number of nearest centroids it is *not* repelled from, as in the reference code.
        radius: Radius of the spheres.

    Example:
        >>> hypersphere_loss(torch.zeros(1, 1, 6))
        tensor(0.)
    """
    attraction = (squared[..., :neighbors] - radius**2).clamp(min=0).mean()
    others = squared[..., hard_negatives:]
    # Very small images have fewer centroids than neighbours, so that none is left to repel.
    repulsion = (radius**2 - MARGIN - others).clamp(min=0).mean() if others.shape[-1] else attraction.new_zeros(())
    return WEIGHT * (attraction + repulsion)
