# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""A memory of normal patches: how far is a patch from the nearest it has seen?"""

from typing import Any, Literal, get_args

import torch
from anomalib.models.components import DynamicBufferMixin
from torch import Tensor, nn

from anomalib_plugins.components.coreset import greedy_coreset
from anomalib_plugins.components.faiss_search import FaissSearch, check_faiss

Search = Literal["exact", "faiss"]

CHUNK = 1 << 24  # distances held at a time, 64 MB
AGAIN = 16  # of so many patches one is searched exactly after a search that may miss
FAR = 3.0  # times the largest vector: no patch counts as farther
BROKEN = 4.0  # times the largest vector: what a broken image scores


class MemoryBank(DynamicBufferMixin, nn.Module):
    """Vectors of normal patches, and PatchCore's exact distances and image scores (Roth et al., 2022).

    It is empty until :meth:`fill` or until it is loaded. The vectors are kept less their mean: distances stay the same,
    but lose less where they are computed in bfloat16.

    Args:
        channels: Length of a vector C.
        num_neighbors: How many neighbours of a patch's nearest vector weigh its score; 1 weighs nothing.
        search: ``"faiss"`` does not look at all vectors, which is faster in banks of ten thousands and misses some
            nearest ones, but not of the patches that look farthest; exported graphs are always ``"exact"``.

    Raises:
        ValueError: If ``num_neighbors`` is below 1, or the search is unknown.
        ModuleNotFoundError: If faiss is wanted and not installed.
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
            raise ValueError(msg)
        if search == "faiss":
            check_faiss()
        if num_neighbors < 1:
            msg = f"num_neighbors must be at least 1, got {num_neighbors}"
            raise ValueError(msg)
        self.num_neighbors, self.search = num_neighbors, search
        self._index: FaissSearch | None = None  # made when it is first needed
        self.register_buffer("vectors", torch.empty(0, channels))  # (M, C), less their mean
        self.register_buffer("centre", torch.zeros(channels))  # that mean
        self.register_buffer("norms", torch.empty(0))  # squared, of the vectors (M,)
        self.register_buffer("neighbors", torch.empty(0, 0, dtype=torch.long))  # of each vector, itself first (M, K)
        self.register_buffer("reach", torch.ones(()))  # norm of the largest vector before the mean went off

    @torch.no_grad()
    def fill(self, patches: Tensor, count: int, seed: int = 0, progress: bool = True) -> None:
        """Keep the patches that stand best for all.

        Args:
            patches: ``(P, C)``; not changed.
            count: How many to keep.
            seed: Draws the first of them.
            progress: Show a progress bar.
        """
        self.keep(patches[greedy_coreset(patches, count, seed, progress=progress)])

    @torch.no_grad()
    def keep(self, patches: Tensor) -> None:
        """Keep all patches ``(M, C)``."""
        chosen, count = patches.float(), len(patches)
        self._index = None
        reach = chosen.norm(dim=1).amax()
        self.reach = reach if reach > 0 else torch.ones_like(reach)  # black images through bare convolutions
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
        """All but the index, which follows from the vectors."""
        return {**self.__dict__, "_index": None}

    def _squared(self, queries: Tensor) -> Tensor:
        """Squared distances of centred queries ``(Q, C)``, less the queries' own squared norms ``(Q, M)``."""
        return torch.addmm(self.norms, queries, self.vectors.T, alpha=-2)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Find the nearest vector of each patch.

        Args:
            patches: ``(N, P, C)``.

        Returns:
            Distances of the patches to their nearest vectors ``(N, P)``, and scores of the images ``(N,)``: the largest
            distance, less where the nearest vector is no typical one. Neither exceeds :attr:`far`.

        Raises:
            RuntimeError: If the bank is empty.
        """
        if len(self.vectors) == 0:
            msg = "the memory bank is empty: train the model first, or load a checkpoint of a finished training"
            raise RuntimeError(msg)
        with torch.autocast(patches.device.type, enabled=False):
            queries = patches.float() - self.centre
            index = self._nearest(queries.flatten(0, 1)).unflatten(0, patches.shape[:2])
            if self.search == "faiss" and not torch.compiler.is_compiling():
                index = self._searched_again(queries, index)
            # Not from the product, which is a difference of large numbers: in bfloat16, the default of OpenVINO on some
            # processors, it still finds the nearest vector but not how near that is.
            distances = (queries - self.vectors[index]).square().sum(dim=2).sqrt().minimum(self.far)
            return distances, self._image_scores(queries, distances, index)

    def _nearest(self, queries: Tensor) -> Tensor:
        """Numbers of the nearest vectors ``(Q,)``; in parts, but for an exported graph, which runtimes schedule."""
        if torch.compiler.is_compiling():
            return self._squared(queries).argmin(dim=1)
        if self.search == "faiss":
            self._index = self._index or FaissSearch(self.vectors)
            return self._index.nearest(queries)
        rows = max(1, CHUNK // len(self.vectors))
        return torch.cat([self._squared(part).argmin(dim=1) for part in queries.split(rows)])

    def _searched_again(self, queries: Tensor, index: Tensor) -> Tensor:
        """Replace the vectors that were found for an image's farthest patches by the nearest of all.

        What a search misses looks farther than it is, and the farthest patch scores the image.
        """
        found = (queries - self.vectors[index]).square().sum(dim=2)
        worst = found.topk(-(-found.shape[1] // AGAIN), dim=1).indices  # (N, k)
        rows = queries.gather(1, worst[:, :, None].expand(-1, -1, queries.shape[2]))
        return index.scatter(1, worst, self._squared(rows.flatten(0, 1)).argmin(dim=1).unflatten(0, worst.shape))

    def _image_scores(self, queries: Tensor, distances: Tensor, index: Tensor) -> Tensor:
        """Largest distance of each image, times one less the softmax of the distances to the vector's neighbours."""
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
        """Largest distance that is told from larger ones, so that :attr:`broken` lies above all; a scalar."""
        return FAR * self.reach

    @property
    def broken(self) -> Tensor:
        """Score for images with NaN or infinity; a scalar, above every other score and of their order."""
        return BROKEN * self.reach
