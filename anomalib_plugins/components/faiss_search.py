# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Nearest neighbours among many vectors without looking at all of them, by faiss."""

from importlib.util import find_spec

import torch
from torch import Tensor

PROBES = 8  # cells that are looked at
POINTS = 39  # vectors a cell needs, by faiss's own account


def check_faiss() -> None:
    """Make sure that faiss is there.

    Raises:
        ModuleNotFoundError: If it is not.
    """
    if find_spec("faiss") is None:
        msg = "search='faiss' needs faiss: pip install 'anomalib_plugins[faiss]', or take search='exact'"
        raise ModuleNotFoundError(msg)


class FaissSearch:
    """Vectors in cells, of which a search looks at the eight nearest (IVF, Sivic and Zisserman, 2003).

    On the CPU. It nearly always finds the nearest vector, else one about as near.

    Args:
        vectors: ``(M, C)``.
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
        """Number of the vector near each query ``(Q,)``, on the queries' device, for ``(Q, C)``."""
        _, numbers = self.index.search(queries.float().cpu().contiguous().numpy(), 1)
        # Cells may be empty: where nothing is found any vector has to do, and the score is too large rather than small.
        return torch.from_numpy(numbers[:, 0]).clamp(min=0).to(queries.device)
