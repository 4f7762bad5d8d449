# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import json

import pytest
from torch import nn

from anomalib_plugins.commands import cost
from anomalib_plugins.components.cost import Cost, Variant, measure
from anomalib_plugins.registry import PLUGINS

# The paper does not describe its baseline: an auto-encoder and a U-Net of about its size.
APPROXIMATE = {"Vanilla"}


@pytest.fixture(scope="module")
def rows():
    return list(cost.costs())


def test_convolution_costs_what_the_formula_says():
    # Every output pixel is the product of a 3 x 3 window of 3 channels; the bias adds, it does not multiply.
    variant = Variant("", lambda: nn.Conv2d(3, 8, 3, padding=1), image_size=16)
    assert measure(variant) == Cost(parameters=8 * (3 * 9) + 8, macs=16 * 16 * 8 * 3 * 9)


def test_frozen_parameters_count_and_buffers_do_not():
    variant = Variant("", lambda: nn.BatchNorm2d(3).requires_grad_(requires_grad=False), image_size=4)
    assert measure(variant) == Cost(parameters=6, macs=0)


def test_every_model_is_listed(rows):
    assert {row["model"] for row in rows} == {plugin.name for plugin in PLUGINS if plugin.kind == "model"}


def test_published_numbers_are_met_to_their_last_digit(rows):
    published = [row for row in rows if row["published_parameters"] and row["variant"] not in APPROXIMATE]
    assert published
    for row in published:
        assert f"{row['parameters'] / 1e6:.2f}" == f"{row['published_parameters'] / 1e6:.2f}", row
        assert row["macs"] == pytest.approx(row["published_macs"], rel=0.005), row


def test_approximations_are_near_the_published_numbers(rows):
    for row in (row for row in rows if row["variant"] in APPROXIMATE):
        assert row["parameters"] == pytest.approx(row["published_parameters"], rel=0.06)
        assert row["macs"] == pytest.approx(row["published_macs"], rel=0.06)


def test_table_and_json_hold_the_same_rows(rows, monkeypatch, capsys):
    monkeypatch.setattr(cost, "costs", lambda: rows)
    assert cost.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out) == rows
    assert cost.main([]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert "published" in header
    assert len(lines) == len(rows)
    assert all(f"{row['parameters']:,}" in line for row, line in zip(rows, lines, strict=True))
