# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What smaller numbers are measured to lose."""

from types import SimpleNamespace

import pytest
import torch
from anomalib.data import InferenceBatch
from torch import nn
from torch.testing import assert_close

from anomalib_plugins.components.backbone import Backbone
from tools.speed import banks
from tools.speed.search import made, stored
from tools.speed.side_by_side import Options


def test_distances_are_to_what_was_stored():
    generator = torch.Generator().manual_seed(0)
    bank, queries = made(torch.rand(30, 6, generator=generator)), torch.rand(1, 9, 6, generator=generator)
    coarse = stored(bank, lambda vectors: vectors.round(decimals=1))
    expected = torch.cdist(queries[0] - bank.centre, bank.vectors.round(decimals=1)).amin(dim=1)
    assert_close(coarse(queries)[0][0], expected, rtol=0, atol=1e-5)
    assert not torch.equal(coarse(queries)[0], bank(queries)[0])


class Scorer(nn.Module):
    """Its part names the order of the images."""

    def __init__(self):
        super().__init__()
        self.order = nn.Identity()

    def forward(self, images):
        score = self.order(images[:, 0, 0, 0])
        return InferenceBatch(pred_score=score, anomaly_map=score[:, None, None, None].expand(-1, 1, 2, 2))


class Swapped(nn.Module):
    """2 and 3 in the other order."""

    def forward(self, scores):
        return torch.where(scores == 2, 3.5, scores)


def test_losses_are_beside_the_first_way():
    images = torch.arange(1.0, 5.0)[:, None, None, None].expand(4, 3, 2, 2)
    labels = torch.tensor([0, 0, 1, 1])
    test = banks.Images(images, labels, labels[:, None, None].expand(4, 2, 2))
    plain, swapped = banks.rows("w", Scorer(), "order", {"a": nn.Identity(), "b": Swapped()}, test)
    assert (plain["image_auroc"], plain["image_points_lost"]) == (100, 0)
    assert (swapped["image_auroc"], swapped["image_points_lost"]) == (75, 25)
    assert (swapped["pixel_auroc"], swapped["pixel_points_lost"]) == (75, 25)


class Data:
    """Good images and, in the test set, one with a bright defect."""

    category = "bolt"

    def __init__(self, *_, **__):
        good = [SimpleNamespace(image=0.1 * torch.rand(3, 32, 32), gt_label=torch.tensor(0), gt_mask=None)] * 3
        mask = torch.zeros(32, 32)
        mask[8:24, 8:24] = 1
        bad = SimpleNamespace(image=mask.expand(3, 32, 32), gt_label=torch.tensor(1), gt_mask=mask)
        self.train_data, self.test_data = good, [*good, bad]

    def setup(self):
        """Nothing to do."""


def test_each_detector_is_kept_in_each_way(tmp_path, monkeypatch):
    monkeypatch.setattr(banks, "MVTecAD", Data)
    monkeypatch.setattr(banks, "SIDE", 64)
    monkeypatch.setattr(Backbone, "load", lambda _: None)
    (tmp_path / "bolt" / "train").mkdir(parents=True)
    rows = list(banks.measure(Options(data=tmp_path)))
    assert [row["way"] for row in rows] == ["float32", "float16", "bfloat16", "8 bits", "float32", "bfloat16"]
    assert [row["work"].partition(",")[0] for row in rows] == ["PatchCore"] * 4 + ["PaDiM"] * 2
    assert all(row["image_auroc"] == pytest.approx(100) for row in rows)
    assert all(row["pixel_auroc"] > 60 for row in rows)
