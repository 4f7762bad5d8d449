# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The command that looks at folders; what it finds in them is in tests/faults."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalib_plugins.commands.check import main
from anomalib_plugins.inspection.folders import layout_of, layouts, photos_in
from anomalib_plugins.inspection.parts import of_folder

RNG = np.random.default_rng(0)


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
    return path


def mask(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.eye(48, 64, dtype=np.uint8) * 255).save(path)
    return path


def mvtec(root):
    for number in range(2):
        photo(root / f"train/good/{number}.png")
        photo(root / f"test/good/{number}.png")
        photo(root / f"test/dent/{number}.png")
        mask(root / f"ground_truth/dent/{number}_mask.png")
    return root


def test_parts_side_by_side_are_checked_each(tmp_path):
    mvtec(tmp_path / "bolt")
    mvtec(tmp_path / "nut")
    results = list(of_folder(tmp_path))
    assert [title.split(":")[0] for title, _ in results] == [str(tmp_path / "bolt"), str(tmp_path / "nut")]
    assert all(title.endswith("2 images to train on, 4 to test on (2 defects, 2 masks)") for title, _ in results)
    assert all(found == [] for _, found in results)


def test_folders_are_known_by_their_names(tmp_path):
    photo(tmp_path / "Good/a.jpg")
    photo(tmp_path / "good_test/b.jpg")
    photo(tmp_path / "bad/deep/c.jpg")
    photo(tmp_path / "bad/flat/c.jpg")
    photo(tmp_path / "elsewhere/d.jpg")
    masks = {kind: mask(tmp_path / f"masks/{kind}/c.png") for kind in ("deep", "flat")}
    (layout,) = layouts(tmp_path)
    photos = photos_in(layout)
    assert [(Path(p.path).name, p.split, p.label) for p in photos] == [
        ("a.jpg", "train", 0),
        ("b.jpg", "test", 0),
        ("c.jpg", "test", 1),
        ("c.jpg", "test", 1),
    ]
    assert [p.mask for p in photos[2:]] == [str(masks["deep"]), str(masks["flat"])]


@pytest.mark.parametrize(("good", "bad"), [("gut", "schlecht"), ("Pass", "Fail"), ("io", "nio"), ("ok", "scratch")])
def test_common_names_and_kinds_beside_good_photos_are_known(tmp_path, good, bad):
    photo(tmp_path / good / "a.png")
    photo(tmp_path / bad / "b.png")
    drawn = mask(tmp_path / "masks/b.png")
    (layout,) = layouts(tmp_path)
    assert [(each.label, each.mask) for each in photos_in(layout)] == [(0, ""), (1, str(drawn))]


def test_good_photos_have_common_names_in_train_and_test_too(tmp_path):
    for name in ("train/OK", "test/OK", "test/ng"):
        photo(tmp_path / name / "a.png")
    (layout,) = layouts(tmp_path)
    assert [(each.split, each.label) for each in photos_in(layout)] == [("train", 0), ("test", 0), ("test", 1)]


def test_photos_in_several_folders_of_other_names_are_refused(tmp_path, capsys):
    photo(tmp_path / "day1/a.png")
    photo(tmp_path / "day2/b.png")
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert re.search(r"day1 1 photo\n.*day2 1 photo\n.*Move the photos of good parts", capsys.readouterr().err)


def test_plain_photos_are_all_good(tmp_path):
    photo(tmp_path / "a.png")
    photo(tmp_path / "b.png")
    (layout,) = layouts(tmp_path)
    assert {(photo.split, photo.label) for photo in photos_in(layout)} == {("train", 0)}


def test_datamodules_of_unknown_folders_have_no_layout():
    assert layout_of(object()) is None
