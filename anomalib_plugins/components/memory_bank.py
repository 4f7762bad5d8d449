# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Memory bank of normal patches, and distances to the nearest of them."""

from typing import Any, Literal, get_args

import torch
from anomalib.models.components import DynamicBufferMixin
from torch import Tensor, nn

from anomalib_plugins.components.coreset import greedy_coreset
from anomalib_plugins.components.faiss_search import FaissSearch, check_faiss
from anomalib_plugins.errors import UntrainedError, UserError

Search = Literal["exact", "faiss"]

CHUNK = 1 << 24  # distances in memory at a time: 64 MB
AGAIN = 16  # one in AGAIN patches is searched again exactly after an approximate search
FAR = 3.0  # upper limit of distances, relative to the norm of the largest vector
BROKEN = 4.0  # score of broken images, relative to the norm of the largest vector


class MemoryBank(DynamicBufferMixin, nn.Module):
    """Vectors of normal patches, and PatchCore's exact distances and image scores (Roth et al., 2022).

    The bank is empty until :meth:`fill` is called or a state is loaded. Vectors are stored minus their mean, which
    leaves distances unchanged but more precise in bfloat16.

    Args:
        channels: Length C of a vector.
        num_neighbors: Number of neighbours of the nearest vector that weight the image score; 1 disables the weight.
        search: Search for nearest vectors, ``"exact"`` or ``"faiss"``. The latter is faster in banks of tens of
            thousands of vectors but misses some nearest ones, though not for the patches that seem farthest. Exported
            graphs always use ``"exact"``.

    Raises:
        ValueError: If ``num_neighbors`` is below 1 or ``search`` is unknown.
        ModuleNotFoundError: If ``search`` is ``"faiss"`` and faiss is not installed.
    """

    vectors: Tensor
    centre: Tensor
    norms: Tensor
    neighbors: Tensor
    reach: Tensor

    def __init__(self, channels: int, num_neighbors: int = 9, search: Search = "exact") -> None:
        super().__init__()
        if search not in get_args(Search):
            msg = f"search must be one of {get_args(Search)}, got {search!r}"
            raise UserError(msg)
        if search == "faiss":
            check_faiss()
        if num_neighbors < 1:
            msg = f"num_neighbors must be at least 1, got {num_neighbors}"
            raise UserError(msg)
        self.num_neighbors, self.search = num_neighbors, search
        self._index: FaissSearch | None = None  # created when first needed
        self.register_buffer("vectors", torch.empty(0, channels))  # vectors minus their mean (M, C)
        self.register_buffer("centre", torch.zeros(channels))  # mean of the vectors (C,)
        self.register_buffer("norms", torch.empty(0))  # squared norms of the vectors (M,)
        self.register_buffer("neighbors", torch.empty(0, 0, dtype=torch.long))  # of each vector, itself first (M, K)
        self.register_buffer("reach", torch.ones(()))  # largest norm of the vectors before centring

    @torch.no_grad()
    def fill(self, patches: Tensor, count: int, seed: int = 0, progress: bool = True) -> None:
        """Fill the bank with a coreset of patches.

        Args:
            patches: Patches ``(P, C)``; not modified.
            count: Number of patches to keep.
            seed: Seed of the first pick.
            progress: Whether to show a progress bar.
        """
        self.keep(patches[greedy_coreset(patches, count, seed, progress=progress)])

    @torch.no_grad()
    def keep(self, patches: Tensor) -> None:
        """Fill the bank with all patches ``(M, C)``."""
        chosen, count = patches.float(), len(patches)
        self._index = None
        reach = chosen.norm(dim=1).amax()
        self.reach = reach if reach > 0 else torch.ones_like(reach)  # 0 for black images and layers without bias
        self.centre = chosen.mean(dim=0)
        self.vectors = chosen - self.centre
        self.norms = self.vectors.square().sum(dim=1)
        wanted, rows = min(self.num_neighbors, count), max(1, CHUNK // count)
        with torch.autocast(patches.device.type, enabled=False):
            parts = [self._squared(part).topk(wanted, largest=False).indices for part in self.vectors.split(rows)]
        self.neighbors = torch.cat(parts)

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._index = None

    def __getstate__(self) -> dict[str, Any]:
        """State without the faiss index, which can be rebuilt from the vectors."""
        return {**self.__dict__, "_index": None}

    def _squared(self, queries: Tensor) -> Tensor:
        """Squared distances ``(Q, M)`` of centred queries ``(Q, C)``, minus the queries' squared norms."""
        return torch.addmm(self.norms, queries, self.vectors.T, alpha=-2)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Find the nearest vector of each patch.

        Args:
            patches: Patches of each image ``(N, P, C)``.

        Returns:
            Distances of the patches to their nearest vectors ``(N, P)``, and image scores ``(N,)``: the largest
            distance, reduced by the weight of the nearest vector's neighbours. Neither exceeds :attr:`far`.

        Raises:
            RuntimeError: If the bank is empty.
        """
        if len(self.vectors) == 0:
            msg = "the memory bank is empty: train the model first, or load a checkpoint of a finished training"
            raise UntrainedError(msg)
        with torch.autocast(patches.device.type, enabled=False):
            queries = patches.float() - self.centre
            index = self._nearest(queries.flatten(0, 1)).unflatten(0, patches.shape[:2])
            if self.search == "faiss" and not torch.compiler.is_compiling():
                index = self._searched_again(queries, index)
            # The product in _squared is a difference of large numbers. In bfloat16, OpenVINO's default on some
            # processors, it is precise enough to find the nearest vector but not to give its distance.
            distances = (queries - self.vectors[index]).square().sum(dim=2).sqrt().minimum(self.far)
            return distances, self._image_scores(queries, distances, index)

    def _nearest(self, queries: Tensor) -> Tensor:
        """Indices of the nearest vectors ``(Q,)``, found in chunks except in exported graphs."""
        if torch.compiler.is_compiling():
            return self._squared(queries).argmin(dim=1)
        if self.search == "faiss":
            self._index = self._index or FaissSearch(self.vectors)
            return self._index.nearest(queries)
        rows = max(1, CHUNK // len(self.vectors))
        return torch.cat([self._squared(part).argmin(dim=1) for part in queries.split(rows)])

    def _searched_again(self, queries: Tensor, index: Tensor) -> Tensor:
        """Search again exactly for the farthest patches of each image.

        Patches whose nearest vector was missed seem farther than they are, and the farthest decides the image score.
        """
        found = (queries - self.vectors[index]).square().sum(dim=2)
        worst = found.topk(-(-found.shape[1] // AGAIN), dim=1).indices  # (N, k)
        rows = queries.gather(1, worst[:, :, None].expand(-1, -1, queries.shape[2]))
        return index.scatter(1, worst, self._squared(rows.flatten(0, 1)).argmin(dim=1).unflatten(0, worst.shape))

    def _image_scores(self, queries: Tensor, distances: Tensor, index: Tensor) -> Tensor:
        """Compute image scores: the largest distance, times 1 minus its softmax among those to the neighbours."""
        score, worst = distances.max(dim=1)  # (N,)
        if self.num_neighbors == 1:
            return score
        query = queries.gather(1, worst[:, None, None].expand(-1, 1, queries.shape[2]))  # (N, 1, C)
        nearest = index.gather(1, worst[:, None])[:, 0]  # (N,)
        support = self.vectors[self.neighbors[nearest]]  # (N, K, C)
        weights = (query - support).square().sum(dim=2).sqrt().softmax(dim=1)
        return (1 - weights[:, 0]) * score

    @property
    def far(self) -> Tensor:
        """Upper limit of distances, a scalar, so that :attr:`broken` is above all of them."""
        return FAR * self.reach

    @property
    def broken(self) -> Tensor:
        """Score of images with NaN or infinity, a scalar: above every other score, but of the same magnitude."""
        return BROKEN * self.reach
