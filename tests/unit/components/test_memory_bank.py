# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import copy
import io

import pytest
import torch
from torch.testing import assert_close

from anomalib_plugins.components import limits, memory_bank
from anomalib_plugins.components.memory_bank import MemoryBank

CHANNELS = 12


@pytest.fixture
def patches():
    return torch.rand(300, CHANNELS, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def queries():
    return 1.5 * torch.rand(2, 50, CHANNELS, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def bank(patches):
    bank = MemoryBank(CHANNELS)
    bank.fill(patches, 40)
    return bank


def kept(bank):
    return bank.vectors + bank.centre


def test_keeps_patches_as_they_are(bank, patches):
    assert len(bank.vectors) == 40
    assert torch.cdist(kept(bank).double(), patches.double()).amin(dim=1).max() < 1e-6
    assert_close(bank.vectors.mean(dim=0), torch.zeros(CHANNELS), rtol=0, atol=1e-6)


def slow_score(bank, image):
    """PatchCore's formula (7), one patch at a time."""
    vectors = kept(bank).double()
    distances = torch.cdist(image.double(), vectors)
    nearest = distances.amin(dim=1)
    worst = int(nearest.argmax())
    star = int(distances[worst].argmin())
    support = torch.cdist(vectors[star][None], vectors)[0].topk(bank.num_neighbors, largest=False).indices
    weight = 1 - distances[worst][star].exp() / distances[worst][support].exp().sum()
    return (weight * nearest[worst]).float()


@pytest.mark.parametrize("neighbors", [2, 9, 40])
def test_score_is_patchcores(patches, queries, neighbors):
    bank = MemoryBank(CHANNELS, neighbors)
    bank.fill(patches, 40)
    assert_close(bank(queries)[1], torch.stack([slow_score(bank, each) for each in queries]), rtol=0, atol=1e-5)


def test_with_one_neighbour_the_score_is_the_largest_distance(patches, queries):
    bank = MemoryBank(CHANNELS, num_neighbors=1)
    bank.fill(patches, 40)
    distances, scores = bank(queries)
    assert torch.equal(scores, distances.amax(dim=1))


def test_parts_change_nothing(bank, patches, queries, monkeypatch):
    expected = bank(queries)
    monkeypatch.setattr(limits, "CHUNK", 300)
    assert_close(bank(queries), expected, rtol=0, atol=1e-6)
    neighbors = bank.neighbors
    bank.fill(patches, 40)
    assert torch.equal(bank.neighbors, neighbors)


def test_autocast_changes_nothing(patches):
    """Among so many vectors bfloat16 would often take the second nearest."""
    bank, other = MemoryBank(CHANNELS), MemoryBank(CHANNELS)
    bank.fill(patches, 300)
    queries = torch.rand(1, 2000, CHANNELS, generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        other.fill(patches, 300)
        got = other(queries)
    assert torch.equal(other.neighbors, bank.neighbors)
    assert_close(got, bank(queries), rtol=0, atol=0)


def test_without_its_mean_little_is_lost_in_bfloat16(patches):
    far = patches + 30  # what all patches share says nothing about any of them
    bank = MemoryBank(CHANNELS)
    bank.fill(far, 40)
    queries = far[:50] - bank.centre
    exact = torch.cdist(far[:50].double(), kept(bank).double()).amin(dim=1)
    low = bank.norms + queries.square().sum(1, keepdim=True) - 2 * (queries.bfloat16() @ bank.vectors.bfloat16().T)
    assert_close(low.amin(dim=1).clamp(min=0).sqrt().double(), exact, rtol=0, atol=0.1)


def test_no_score_reaches_that_of_broken_images(bank, queries):
    distances, scores = bank(1e6 * queries)
    assert_close(distances, bank.far.expand_as(distances))
    assert scores.max() <= bank.far < bank.broken


def test_a_bank_of_nothing_but_zeros_tells_what_is_not_zero(queries):
    bank = MemoryBank(CHANNELS)
    bank.fill(torch.zeros(20, CHANNELS), 10)
    distances, scores = bank(queries)
    assert distances.min() > 0
    assert scores.isfinite().all()
    assert bank.broken > bank.far > 0


def test_an_empty_bank_is_said(queries):
    with pytest.raises(RuntimeError, match="the memory bank is empty: train the model first, or load a checkpoint"):
        MemoryBank(CHANNELS)(queries)


@pytest.fixture
def exact_and_fast():
    """Banks of the same patches, searched exactly and by faiss."""
    patches = torch.rand(3000, CHANNELS, generator=torch.Generator().manual_seed(0))
    banks = MemoryBank(CHANNELS), MemoryBank(CHANNELS, search="faiss")
    for bank in banks:
        bank.keep(patches)
    return banks


def test_faiss_finds_nearly_always_the_nearest(exact_and_fast, monkeypatch):
    exact, fast = exact_and_fast
    queries = torch.rand(1, 400, CHANNELS, generator=torch.Generator().manual_seed(1))
    looked = []
    squared = fast.squared
    monkeypatch.setattr(fast, "squared", lambda rows: looked.append(len(rows)) or squared(rows))
    found, nearest = fast(queries)[0], exact(queries)[0]
    assert (found >= nearest - 1e-5).all()
    assert (found <= nearest + 1e-5).float().mean() > 0.8
    assert looked == [400 // 16]  # all others not by looking at all


def test_what_faiss_misses_does_not_score_an_image(exact_and_fast, monkeypatch):
    """Of two images one patch each is given a vector that is far away."""
    exact, fast = exact_and_fast
    queries = torch.rand(2, 100, CHANNELS, generator=torch.Generator().manual_seed(1))

    def missing(rows):
        index = exact._nearest(rows)
        index[[3, 150]] = torch.cdist(rows[[3, 150]], exact.vectors).argmax(dim=1)
        return index

    monkeypatch.setattr(fast, "_nearest", missing)
    assert_close(fast(queries), exact(queries), rtol=0, atol=1e-6)


def test_faiss_finds_what_was_loaded_or_kept_last(patches, queries):
    banks = [MemoryBank(CHANNELS, search="faiss") for _ in range(2)]
    banks[0].keep(patches[:20])
    banks[1].keep(patches[20:40])
    expected = banks[1](queries)
    banks[0](queries)
    banks[0].load_state_dict(banks[1].state_dict())
    assert_close(banks[0](queries), expected, rtol=0, atol=0)
    banks[1].keep(patches[:20])
    assert not torch.equal(banks[1](queries)[0], expected[0])


def test_a_bank_that_was_searched_is_copied_and_pickled_without_its_index(patches, queries):
    bank = MemoryBank(CHANNELS, search="faiss")
    bank.keep(patches)
    expected = bank(queries)
    file = io.BytesIO()
    torch.save(bank, file)
    file.seek(0)
    for again in (copy.deepcopy(bank), torch.load(file, weights_only=False)):
        assert again._index is None
        assert_close(again(queries), expected, rtol=0, atol=0)


def test_an_exported_graph_is_exact_whatever_the_search(patches, queries):
    exact, fast = MemoryBank(CHANNELS), MemoryBank(CHANNELS, search="faiss")
    for bank in (exact, fast):
        bank.keep(patches)
    assert_close(torch.export.export(fast, (queries,)).module()(queries), exact(queries), rtol=0, atol=1e-6)


def test_unknown_searches_and_missing_faiss_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="num_neighbors must be at least 1, got 0"):
        MemoryBank(CHANNELS, num_neighbors=0)
    with pytest.raises(ValueError, match="search must be one of exact, faiss, got 'fast'"):
        MemoryBank(CHANNELS, search="fast")
    monkeypatch.setattr(memory_bank, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"needs faiss: pip install 'anomalib_plugins\[faiss\]'"):
        MemoryBank(CHANNELS, search="faiss")
