# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
import torch
from anomalib.data import Folder
from PIL import Image

from anomalib_plugins.data import SyntheticAnomaly
from anomalib_plugins.synthesis import CutPaste, CutSwap

from .conftest import distinct, seeded


def test_a_patch_without_jitter_is_a_rectangle_of_the_image_moved_elsewhere():
    images = distinct(20, 64, 80)
    for before, after, mask in zip(images, *CutPaste(patch_jitter=0.0)(images, seeded())[:2], strict=True):
        rows, columns = mask[0].nonzero().T
        top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
        copied = after[0, top:bottom, left:right]
        down, across = (before[0] == copied[0, 0]).nonzero()[0]
        assert torch.equal(copied, before[0, down : down + bottom - top, across : across + right - left])
        assert mask.sum() == copied.numel()
        assert 0.015 < mask.mean() < 0.16


def test_scars_stay_in_one_piece_at_the_border_too():
    for mask in CutPaste("scar")(distinct(400, 64, 64), seeded()).mask:
        rows, columns = mask[0].nonzero().T
        assert max(rows.max() - rows.min(), columns.max() - columns.min()) < 30 / 4 + 2


@pytest.mark.parametrize("mode", ["patch", "scar"])
def test_patches_reach_every_row_and_column(mode):
    hit = CutPaste(mode)(distinct(400, 64, 48), seeded()).mask.amax(dim=(0, 1))
    assert hit.any(dim=0).all()
    assert hit.any(dim=1).all()


@pytest.mark.parametrize("maker", [CutSwap, CutPaste])
@pytest.mark.parametrize("mode", ["patch", "scar"])
def test_the_datamodule_takes_it_by_its_class_path(maker, mode, tmp_path):
    (tmp_path / "good").mkdir()
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "good" / f"{number}.png")
    folder = Folder(name="mine", root=tmp_path, normal_dir="good", num_workers=0)
    generator = {"class_path": f"anomalib_plugins.synthesis.{maker.__name__}", "init_args": {"mode": mode}}
    datamodule = SyntheticAnomaly(folder, generator=generator, seed=1)
    datamodule.setup()
    items = [datamodule.val_data[number] for number in range(len(datamodule.val_data))]
    assert {bool(item.gt_mask.any()) == bool(item.gt_label) for item in items} == {True}
    assert {int(item.gt_label) for item in items} == {0, 1}
