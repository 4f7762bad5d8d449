# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Every subject of the speed command measures the same work done in several ways."""

import functools
import sys

import pytest
import torch
from torch.testing import assert_close

from tools.speed import cfa, coreset, growth, inference, padim, plot, saliency, search, synthesis
from tools.speed.__main__ import SUBJECTS
from tools.speed.side_by_side import Options

QUICK = Options(quick=True, rounds=1)


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    """A small network instead of VGG-16, and no repeated calls."""

    def small(**_):
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3), torch.nn.MaxPool2d(2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
        )
        return saliency.LayerCam(network, ["0", "1"])

    monkeypatch.setattr(saliency, "vgg16_saliency", small)
    monkeypatch.setattr(sys.modules["tools.speed.side_by_side"], "SHORTEST", 0.0)


@functools.cache
def measured(subject):
    return list(subject.measure(QUICK))


@pytest.mark.parametrize("subject", [cfa, coreset, padim, saliency, search, synthesis])
def test_each_way_is_compared_with_the_first_of_its_work(subject):
    rows = measured(subject)
    first = {}
    for row in rows:
        base = first.setdefault(row["work"], row)
        assert row["cpu_ms"] > 0
        assert row["times_faster"] == pytest.approx(base["cpu_ms"] / row["cpu_ms"], rel=0.02)
    assert len(rows) > len(first)


def test_ways_give_the_same_where_they_should():
    rows = [row for subject in (cfa, padim) for row in measured(subject)]
    errors = {row["way"]: row["largest_error"] for row in rows if "largest_error" in row}
    assert errors["Hyperspheres"] < 1e-3
    assert errors["PatchGaussians"] < 1e-3 < errors["PatchGaussians, bfloat16"] < 1e-1
    found = {row["way"]: row["found"] for row in measured(search) if "found" in row}
    assert found["MemoryBank"] == 1
    inertia = [row["largest_inertia_ratio"] for row in measured(saliency) if "largest_inertia_ratio" in row]
    assert max(inertia) <= 1.0001


def test_picks_that_are_not_made_are_extrapolated(monkeypatch):
    monkeypatch.setattr(coreset, "MAKE_ALL", 300)
    monkeypatch.setattr(coreset, "TIMED", 5)
    theirs, ours = coreset.compare(400, 40)
    assert theirs["way"].endswith("(5 picks made)")
    points = coreset.smooth_patches(400)
    assert ours["fill_distance"] == round(coreset.fill_distance(points, coreset.ours(points, 5)[0]), 4)


def test_eight_bits_turn_each_number_by_less_than_half_a_step():
    vectors = torch.randn(20, 7, generator=torch.Generator().manual_seed(0))
    step = vectors.abs().amax(dim=1, keepdim=True) / 127
    assert ((search.eight_bits(vectors) - vectors).abs() <= step / 2 + 1e-6).all()
    assert_close(search.eight_bits(vectors).div(step), search.eight_bits(vectors).div(step).round(), rtol=0, atol=1e-4)


def test_the_floor_is_of_operations(monkeypatch):
    """A made up model of 2 GMACs that takes a second, on a machine that makes 4 in it, takes twice the floor."""

    def variants(name, size):
        ways = [inference.Variant(name, engine, precision, lambda _: None) for engine, precision in WAYS]
        return ways, 2.0

    monkeypatch.setattr(inference, "variants", variants)
    monkeypatch.setattr(inference, "heads", lambda *_: ())
    monkeypatch.setattr(inference, "convolution_rates", lambda _: {"f32": 4.0, "bf16": 8.0})
    seconds = torch.ones(2, len(inference.MODELS), 1, dtype=torch.float64)
    monkeypatch.setattr(inference, "times", lambda *_: seconds)
    rows = [row for row in inference.measure(QUICK) if row["way"] == "Slsg"]
    assert [row.get("times_floor") for row in rows] == [None, 2.0, 4.0]


WAYS = (("torch", "fp32"), ("openvino", "fp32"), ("openvino", "default (bf16)"))


def test_what_grows_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "MODELS", {})
    few = [*growth.images(QUICK), *growth.patches(QUICK)]
    assert {row["by"] for row in few} == {"images", "patches"}
    rows = [
        {"by": by, "value": 2**power, "way": way, "cpu_ms": power + 1.0}
        for by in plot.LABELS
        for power in (0, 1)
        for way in ("ours", "theirs")
    ]
    plot.draw(rows, tmp_path / "speed.svg")
    plot.draw(rows, tmp_path / "again.svg")
    text = (tmp_path / "speed.svg").read_text()
    assert text.count("<svg") == 1
    assert text == (tmp_path / "again.svg").read_text()


def test_all_subjects_are_modules():
    assert set(SUBJECTS) >= {"cfa", "coreset", "growth", "inference", "int8", "padim", "saliency", "search"}
