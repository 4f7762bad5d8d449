# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from torchvision.transforms.v2 import CenterCrop, Compose, Lambda, Normalize, Pad, RandomErasing, Resize

from anomalib_plugins.callbacks.defects import defects, placement

PHOTO = (300, 120)  # width and height
TRANSFORMS = [
    None,
    Resize((60, 60)),
    Resize(60),
    Compose([Resize((96, 96)), CenterCrop((64, 64))]),
    Compose([Pad([10, 0, 20, 30]), Resize((75, 165))]),
    Compose([Resize((60, 60)), Normalize([0.5] * 3, [0.5] * 3)]),
]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_box_of_the_photo_is_found_where_it_was(transform):
    photo = torch.zeros(3, *PHOTO[::-1])
    photo[:, 40:70, 125:165] = 1  # rows, columns
    image = transform(photo) if transform else photo
    (left, top), (right, bottom) = (125, 40), (165, 70)
    place = placement(transform, PHOTO, image.shape[-2:])
    (found,) = defects(image[0] > (image.min() + image.max()) / 2, image[0], place)
    assert found["left"] == pytest.approx(left, abs=5)
    assert found["top"] == pytest.approx(top, abs=3)
    assert found["left"] + found["width"] == pytest.approx(right, abs=5)
    assert found["top"] + found["height"] == pytest.approx(bottom, abs=3)
    assert found["area"] == pytest.approx(40 * 30, rel=0.25)
    assert found["share"] == found["area"] / (300 * 120)
    assert found["score"] == image[0].max()


def test_defects_that_touch_at_a_corner_are_one_and_the_largest_comes_first():
    mask, scores = torch.zeros(8, 8, dtype=torch.bool), torch.zeros(8, 8)
    mask[0, 0] = mask[4, 4] = mask[5, 5] = True
    scores[0, 0], scores[5, 5] = 0.9, 0.7
    rows = defects(mask, scores, placement(Resize((8, 8)), (16, 8), (8, 8)))
    assert [tuple(row.values())[:5] for row in rows] == [(8, 4, 4, 2, 4), (0, 0, 2, 1, 2)]
    assert [row["score"] for row in rows] == pytest.approx([0.7, 0.9])


def test_a_mask_of_nothing_has_no_defects_and_one_of_all_is_the_photo():
    place, scores = placement(Resize((7, 7)), PHOTO, (7, 7)), torch.ones(7, 7)
    assert defects(scores < 0, scores, place) == []
    (row,) = defects(scores > 0, scores, place)
    assert row == {"left": 0, "top": 0, "width": 300, "height": 120, "area": 36000, "share": 1.0, "score": 1.0}


@pytest.mark.parametrize("transform", [Lambda(lambda image: image.mean()), Resize((32, 32)), RandomErasing(p=1)])
def test_a_transform_that_cannot_be_followed_places_nothing(transform):
    assert placement(transform, PHOTO, (60, 60)) is None
