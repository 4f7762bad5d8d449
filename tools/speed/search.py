# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Search in the memory bank beside anomalib's, with faiss and in lower precision."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace

import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import Tensor

from anomalib_plugins.components.memory_bank import MemoryBank, Search
from tools.speed import Options
from tools.speed.coreset import smooth_patches
from tools.timing import Measurement, Work, side_by_side

QUERIES = 1024
SIZES = ((6_144, 384), (20_000, 384), (6_144, 1_536))


def made(patches: Tensor, search: Search = "exact") -> MemoryBank:
    """Build a memory bank of all patches ``(M, C)``."""
    bank = MemoryBank(patches.shape[1], num_neighbors=1, search=search)
    bank.keep(patches)
    return bank


def theirs(bank: Tensor, queries: Tensor) -> Tensor:
    """Search the nearest rows of a bank ``(M, C)`` for queries ``(Q, C)`` with anomalib."""
    model = SimpleNamespace(memory_bank=bank, euclidean_dist=PatchcoreModel.euclidean_dist)
    distances, _ = PatchcoreModel.nearest_neighbors(model, queries, n_neighbors=1)
    return distances


def rows(options: Options, count: int, channels: int) -> Iterator[Measurement]:
    """Yield a row for each way to search one bank, with the share of nearest rows found and the error of the score."""
    patches = smooth_patches(count + QUERIES, channels)[torch.randperm(count + QUERIES)]
    vectors, queries = patches[:count].contiguous(), patches[count:].contiguous()
    exact = made(vectors)
    banks = {
        "MemoryBank": exact,
        "MemoryBank, faiss": made(vectors, "faiss"),
        "MemoryBank, vectors of bfloat16": stored(exact, lambda vectors: vectors.bfloat16().float()),
        "MemoryBank, vectors of 8 bits": stored(exact, eight_bits),
    }
    nearest = torch.cdist(queries.double(), vectors.double()).amin(dim=1)
    ways: dict[str, Work] = {"anomalib nearest_neighbors": partial(theirs, vectors, queries)}
    recall, errors = {}, {}
    for name, bank in banks.items():
        ways[name] = partial(bank.forward, queries[None])
        found = bank.forward(queries[None])[0][0].double()
        recall[name] = round((found <= nearest + 1e-2 * nearest.mean()).double().mean().item(), 4)
        errors[name] = float(f"{(found.max() / nearest.max() - 1).abs():.1e}")
    what = f"{QUERIES} patches in {count} x {channels}"
    yield from side_by_side(what, ways, options.rounds, found=recall, score_error=errors)


def stored(bank: MemoryBank, rounded: Callable[[Tensor], Tensor]) -> MemoryBank:
    """Copy a bank with its vectors rounded as in lower precision."""
    small = copy.deepcopy(bank)
    small.vectors = rounded(bank.vectors)
    small.norms = small.vectors.square().sum(dim=1)
    return small


def eight_bits(vectors: Tensor) -> Tensor:
    """Round vectors to 8 bits per number, with one scale per vector."""
    scale = vectors.abs().amax(dim=1, keepdim=True) / 127
    return (vectors / scale).round() * scale


@torch.inference_mode()
def measure(options: Options) -> Iterator[Measurement]:
    """Yield rows of banks of several sizes."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    torch.manual_seed(0)
    for count, channels in ((300, 32),) if options.quick else SIZES:
        yield from rows(options, count, channels)
