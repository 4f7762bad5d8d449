# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from anomalib_plugins.data import Dagm

TRAIN, TEST = {6: False, 7: True, 8: False, 9: False, 10: True}, {1: True, 2: False, 3: True, 4: True, 5: False}


def draw(folder, images, ending, rng):
    """Grey noise, for each defect a bright blob in it and an ellipse around that as mask, and the table of labels."""
    (folder / "Label").mkdir(parents=True)
    lines = ["1"]
    for number, defective in images.items():
        image, name = rng.integers(90, 130, (48, 48), dtype=np.uint8), f"{number:04d}"
        if defective:
            image[20:26, 20:24] = 250
            mask = cv2.ellipse(np.zeros((48, 48), np.uint8), (22, 23), (8, 5), int(rng.integers(180)), 0, 360, 255, -1)
            cv2.imwrite(str(folder / "Label" / f"{name}_label{ending}"), mask)
        cv2.imwrite(str(folder / f"{name}{ending}"), image)
        lines.append(
            f"{number}\t{int(defective)}\t{name}.PNG\t{int(defective)}\t{f'{name}_label.PNG' if defective else 0}"
        )
    (folder / "Label" / "Labels.txt").write_text("\n".join(lines) + "\n")


def draw_class(folder, ending=".PNG"):
    rng = np.random.default_rng(len(folder.name))
    draw(folder / "Train", TRAIN, ending, rng)
    draw(folder / "Test", TEST, ending, rng)
    return folder


@pytest.fixture
def root(tmp_path):
    draw_class(tmp_path / "Class1")
    draw_class(tmp_path / "Class10")
    return tmp_path


def ready(root, category="Class1", **options):
    module = Dagm(root, category, num_workers=0, **options)
    module.setup()
    return module


def names(data):
    return [Path(path).name for path in data.samples.image_path]


def grey(path):
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)


@pytest.mark.parametrize("category", ["Class1", "Class10"])
def test_it_trains_on_the_training_splits_images_without_defects(root, category):
    module = ready(root, category)
    assert names(module.train_data) == ["0006.PNG", "0008.PNG", "0009.PNG"]
    assert not any(item.gt_label or item.gt_mask.any() for item in module.train_data)
    assert {Path(path).parent for path in module.train_data.samples.image_path} == {root / category / "Train"}


def test_it_tests_on_the_whole_test_split(root):
    module = ready(root)
    assert sorted(names(module.test_data)) == [f"{number:04d}.PNG" for number in TEST]
    labels = {int(Path(item.image_path).stem): bool(item.gt_label) for item in module.test_data}
    assert labels == TEST
    assert names(module.val_data) == names(module.test_data)


def test_masks_are_the_ellipses_and_empty_where_there_is_no_defect(root):
    for item in ready(root).test_data:
        path = Path(item.image_path)
        mask = grey(path.parent / "Label" / f"{path.stem}_label.PNG") if item.gt_label else np.zeros((48, 48))
        assert (item.gt_mask.numpy() == mask / 255).all()


@pytest.mark.parametrize("ending", [".PNG", ".png"])
@pytest.mark.parametrize("around", ["Class3", "Class3/Class3"])
@pytest.mark.parametrize("table", [True, False])
def test_copies_of_the_archives_differ_in_small_ways(tmp_path, ending, around, table):
    folder = draw_class(tmp_path / around, ending)
    if not table:
        for split in ("Train", "Test"):
            (folder / split / "Label" / "Labels.txt").unlink()
    module = ready(tmp_path, "Class3")
    assert len(module.train_data) == 3
    assert module.test_data.samples.label_index.sum() == 3


def test_unknown_categories_are_refused():
    with pytest.raises(ValueError, match=r"category must be one of Class1, .*, Class10, got 'class1'"):
        Dagm(category="class1")


def test_a_missing_folder_is_told_with_what_is_there_and_what_should_be(root):
    with pytest.raises(FileNotFoundError) as error:
        ready(root, "Class7")
    said = str(error.value)
    assert f"{root / 'Class7' / 'Train'} is not there; {root} holds Class1, Class10." in said
    assert "Class1/Train/Label/0576_label.PNG" in said
    assert "https://hci.iwr.uni-heidelberg.de" in said


def test_of_a_missing_root_the_nearest_folder_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path} holds nothing\."):
        ready(tmp_path / "datasets" / "DAGM2007")


def test_the_first_archives_without_a_test_split_are_recognised(tmp_path):
    for name in ("Class2", "Class2_def"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    with pytest.raises(FileNotFoundError, match=r"Class2 and Class2_def are the competition's first archives"):
        ready(tmp_path, "Class2")


def remove_images(train):
    for path in train.glob("*.PNG"):
        path.unlink()


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no images": (remove_images, "no images in .*Train; it holds Label"),
    "no masks": (lambda train: shutil.rmtree(train / "Label"), "no masks of defects in .*Label; it holds nothing"),
    "a mask lost": (
        lambda train: (train / "Label/0007_label.PNG").unlink(),
        "1 file .* is missing .*: Label/0007_label",
    ),
    "an image lost": (lambda train: (train / "0010.PNG").unlink(), "1 file .* missing in .*Train: 0010.PNG. Unpack"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_incomplete_folders_are_refused(root, case):
    damage, message = BROKEN[case]
    damage(root / "Class1" / "Train")
    with pytest.raises(FileNotFoundError, match=message):
        ready(root)
