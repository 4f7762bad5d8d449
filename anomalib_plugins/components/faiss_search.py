# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Approximate nearest-neighbour search with faiss."""

from importlib.util import find_spec

import torch
from torch import Tensor

PROBES = 8  # cells searched per query
POINTS = 39  # vectors per cell that faiss asks for


def check_faiss() -> None:
    """Check that faiss is installed.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    if find_spec("faiss") is None:
        msg = "search='faiss' needs faiss: pip install 'anomalib_plugins[faiss]', or use search='exact'"
        raise ModuleNotFoundError(msg)


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
