# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest
import torch

from anomalib_plugins.commands.contact_sheet import Verdict, chosen, contact_sheet


def verdict(kind="good", score=0.2, mask=None, heat=0.0):
    return Verdict(
        kind, kind != "good", score, torch.full((3, 8, 8), 0.5), mask, torch.full((8, 8), heat), Path("0.png")
    )


def test_a_few_good_ones_and_one_of_each_kind_are_chosen():
    every = [verdict(kind) for kind in ("good", "crack", "dent", "hole", "scratch") for _ in range(9)]
    assert [each.kind for each in chosen(every, good=2, most=6)] == ["good"] * 2 + ["crack", "dent", "hole", "scratch"]
    assert {each.kind for each in chosen(every, good=2, most=3)} == {"good", "crack", "dent", "hole", "scratch"}


def test_of_one_kind_more_are_chosen():
    every = [verdict(kind) for kind in ("good", "bad") for _ in range(30)]
    assert [each.kind for each in chosen(every)] == ["good"] * 5 + ["bad"] * 10


def test_wrong_verdicts_are_chosen_first():
    every = [verdict("good", score) for score in (0.1, 0.2, 0.6)] + [verdict("bad", score) for score in (0.9, 0.4)]
    assert [each.score for each in chosen(every, good=2)] == [0.6, 0.1, 0.4, 0.9]


def test_the_column_of_masks_is_there_if_anybody_marked_a_defect():
    without = contact_sheet([verdict(), verdict("bad", 0.9)], columns=1)
    with_masks = contact_sheet([verdict(), verdict("bad", 0.9, torch.ones(8, 8))], columns=1)
    assert with_masks.width > without.width
    assert with_masks.height == without.height


@pytest.mark.parametrize(("heat", "is_grey"), [(0.5, True), (0.9, False)])
def test_nothing_is_hot_below_the_threshold(heat, is_grey):
    sheet = contact_sheet([verdict(heat=heat)], columns=1)
    red, green, blue = sheet.getpixel((sheet.width - 100, sheet.height - 60))
    assert (red == green == blue) == is_grey
