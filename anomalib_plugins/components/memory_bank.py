# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Memory bank of normal patches, and distances to the nearest of them."""

from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor

from anomalib_plugins.components.checks import check_choice, check_least
from anomalib_plugins.components.coreset import greedy_coreset
from anomalib_plugins.components.limits import StoredVectors, rows_at_a_time
from anomalib_plugins.errors import UntrainedError

Search = Literal["exact", "faiss"]

AGAIN = 16  # one in AGAIN patches is searched again exactly after an approximate search
PROBES = 8  # cells that faiss searches per query
POINTS = 39  # vectors per cell that faiss asks for


class MemoryBank(StoredVectors):
    """Vectors of normal patches, and PatchCore's exact distances and image scores (Roth et al., 2022).

    The bank is empty until :meth:`fill` is called or a state is loaded.

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

    neighbors: Tensor

    def __init__(self, channels: int, num_neighbors: int = 9, search: Search = "exact") -> None:
        super().__init__(channels)
        check_choice("search", search, Search)
        if search == "faiss" and find_spec("faiss") is None:
            msg = "search='faiss' needs faiss: pip install 'anomalib_plugins[faiss]', or use search='exact'"
            raise ModuleNotFoundError(msg)
        check_least("num_neighbors", num_neighbors)
        self.num_neighbors, self.search = num_neighbors, search
        self._index: FaissSearch | None = None  # created when first needed
        self.register_buffer("neighbors", torch.empty(0, 0, dtype=torch.long))  # of each vector, itself first (M, K)

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
        self._index = None
        self.store(patches.float())
        if self.num_neighbors == 1:
            self.neighbors = torch.arange(len(patches), device=patches.device)[:, None]
            return
        wanted = min(self.num_neighbors, len(patches))
        with torch.autocast(patches.device.type, enabled=False):
            parts = self.vectors.split(rows_at_a_time(len(patches)))
            self.neighbors = torch.cat([self.squared(part).topk(wanted, largest=False).indices for part in parts])

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._index = None

    def __getstate__(self) -> dict[str, Any]:
        """State without the faiss index, which can be rebuilt from the vectors."""
        return {**self.__dict__, "_index": None}

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
            # The product in squared is a difference of large numbers. In bfloat16, OpenVINO's default on some
            # processors, it is precise enough to find the nearest vector but not to give its distance.
            distances = (queries - self.vectors[index]).square().sum(dim=2).sqrt().minimum(self.far)
            return distances, self._image_scores(queries, distances, index)

    def _nearest(self, queries: Tensor) -> Tensor:
        """Indices of the nearest vectors ``(Q,)``, found in chunks except in exported graphs."""
        if torch.compiler.is_compiling():
            return self.squared(queries).argmin(dim=1)
        if self.search == "faiss":
            self._index = self._index or FaissSearch(self.vectors)
            return self._index.nearest(queries)
        parts = queries.split(rows_at_a_time(len(self.vectors)))
        return torch.cat([self.squared(part).argmin(dim=1) for part in parts])

    def _searched_again(self, queries: Tensor, index: Tensor) -> Tensor:
        """Search again exactly for the farthest patches of each image.

        Patches whose nearest vector was missed seem farther than they are, and the farthest decides the image score.
        """
        found = (queries - self.vectors[index]).square().sum(dim=2)
        worst = found.topk(-(-found.shape[1] // AGAIN), dim=1).indices  # (N, k)
        rows = queries.gather(1, worst[:, :, None].expand(-1, -1, queries.shape[2]))
        return index.scatter(1, worst, self.squared(rows.flatten(0, 1)).argmin(dim=1).unflatten(0, worst.shape))

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


class FaissSearch:
    """Inverted-file index that searches only the eight nearest cells (IVF; Sivic and Zisserman, 2003).

    It runs on the CPU and nearly always finds the nearest vector, otherwise one about as near.

    Args:
        vectors: Vectors to search ``(M, C)``.
    """

    def __init__(self, vectors: Tensor) -> None:
        import faiss

        count, channels = vectors.shape
        cells = max(1, min(count // POINTS, int(4 * count**0.5)))
        self.index = faiss.IndexIVFFlat(faiss.IndexFlatL2(channels), channels, cells)
        self.index.nprobe = PROBES
        numbers = vectors.float().cpu().contiguous().numpy()
        self.index.train(numbers)
        self.index.add(numbers)

    def nearest(self, queries: Tensor) -> Tensor:
        """Find a near vector for each query ``(Q, C)`` and return their indices ``(Q,)`` on the queries' device."""
        _, numbers = self.index.search(queries.float().cpu().contiguous().numpy(), 1)
        # Cells may be empty. If nothing is found, vector 0 stands in: the score is then too high, never too low.
        return torch.from_numpy(numbers[:, 0]).clamp(min=0).to(queries.device)
