# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import cv2
import numpy as np
import pytest
from anomalib.data import MVTecAD, get_datamodule

from anomalib_plugins.data import DemoParts
from anomalib_plugins.data.demo_parts.datamodule import RECIPE, draw_part
from anomalib_plugins.data.demo_parts.defects import LOGICAL, STRUCTURAL

from ...refusals import refusals

SMALL = {"num_train": 3, "num_test_good": 2, "num_per_defect": 1, "image_size": 64}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    datamodule = DemoParts(root=tmp_path_factory.mktemp("demo"), **SMALL)
    datamodule.prepare_data()
    datamodule.setup()
    return datamodule


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("defect", [*STRUCTURAL, *LOGICAL])
def test_a_defect_changes_the_photo_only_inside_its_mask(defect):
    good, nothing = draw_part(3, 128)
    bad, mask = draw_part(3, 128, defect)
    assert not nothing.any()
    assert set(np.unique(mask)) == {0, 255}
    assert (good[mask == 0] == bad[mask == 0]).all()
    changed = (good != bad).any(axis=-1)
    assert changed[mask > 0].mean() > 0.75  # the rest are pin holes that were closed


@pytest.mark.parametrize("defect", [*STRUCTURAL, *LOGICAL])
def test_every_defect_can_be_seen_and_is_small(defect):
    for seed in range(2):
        _, mask = draw_part([9, seed], 256, defect)
        assert 0.001 < (mask > 0).mean() < 0.08


def test_good_parts_vary_in_pose_and_light_but_stay_the_same_part():
    parts = [draw_part(seed, 64)[0].astype(float) for seed in range(4)]
    distances = [np.abs(a - b).mean() for i, a in enumerate(parts) for b in parts[:i]]
    assert min(distances) > 2
    assert max(distances) < 40


def test_unknown_defects_are_refused():
    with pytest.raises(ValueError, match=r"defect must be one of .*'melted'"):
        draw_part(0, 64, "melted")


def test_folders_are_those_of_mvtec_ad(demo):
    theirs = MVTecAD(root=demo.root, category="flange")
    theirs.setup()
    assert theirs.train_data.samples.equals(demo.train_data.samples)
    assert theirs.test_data.samples.equals(demo.test_data.samples)


def test_counts_labels_and_masks_are_as_asked(demo):
    test = demo.test_data.samples
    assert len(demo.train_data) == 3
    assert demo.train_data.samples.label_index.eq(0).all()
    assert test.label.value_counts().to_dict() == {"good": 2, **dict.fromkeys((*STRUCTURAL, *LOGICAL), 1)}
    for row in test[test.label_index == 1].itertuples():
        assert cv2.imread(row.mask_path, cv2.IMREAD_GRAYSCALE).any()
    item = next(iter(demo.test_dataloader()))
    assert item.image.shape[1:] == (3, 64, 64)
    assert item.gt_mask.shape[1:] == (64, 64)


def test_equal_seeds_write_equal_files(demo, tmp_path):
    again = DemoParts(root=tmp_path, **SMALL)
    again.prepare_data()
    assert contents(again.folder) == contents(demo.folder)
    assert [path.name for path in tmp_path.iterdir()] == ["flange"]


def test_photos_are_drawn_once_and_anew_only_for_another_recipe(tmp_path):
    first = DemoParts(root=tmp_path, **SMALL)
    first.prepare_data()
    photo = first.folder / "train" / "good" / "000.png"
    before, written = photo.read_bytes(), photo.stat().st_mtime_ns
    first.prepare_data()
    assert photo.stat().st_mtime_ns == written
    DemoParts(root=tmp_path, **SMALL, seed=1).setup()  # without a trainer, which would call prepare_data
    assert photo.read_bytes() != before


def test_drawing_that_was_interrupted_leaves_the_old_photos(tmp_path, monkeypatch):
    first = DemoParts(root=tmp_path, **SMALL)
    first.prepare_data()
    before = contents(first.folder)
    monkeypatch.setattr(cv2, "imwrite", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        DemoParts(root=tmp_path, **SMALL, seed=1).prepare_data()
    assert contents(first.folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["flange"]


def test_photos_another_process_finished_meanwhile_are_left_alone(tmp_path, monkeypatch):
    slow, fast = DemoParts(root=tmp_path, **SMALL), DemoParts(root=tmp_path, **SMALL)
    draw = slow._draw_all
    written = []

    def draw_while_the_other_finishes(folder):
        draw(folder)
        fast.prepare_data()
        written.append((fast.folder / RECIPE).stat().st_ino)

    monkeypatch.setattr(slow, "_draw_all", draw_while_the_other_finishes)
    slow.prepare_data()
    assert written == [(slow.folder / RECIPE).stat().st_ino]


def test_files_of_others_are_never_overwritten(tmp_path):
    (tmp_path / "flange").mkdir()
    (tmp_path / "flange" / "mine.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match="did not write; choose another root"):
        DemoParts(root=tmp_path, **SMALL).prepare_data()
    assert (tmp_path / "flange" / "mine.png").read_bytes() == b"mine"


test_wrong_options_are_refused = refusals(
    DemoParts,
    *(({name: 0}, f"{name} must be at least 1, got 0") for name in ("num_train", "num_test_good", "num_per_defect")),
    *(({"image_size": size}, "must be one side of at least 64 pixels") for size in (32, (64, 80), (32, 32), ())),
)


def test_the_pair_that_anomalibs_benchmark_makes_of_a_size_is_taken(tmp_path):
    configuration = {"class_path": "DemoParts", "init_args": {"root": str(tmp_path), "image_size": 64}}
    assert get_datamodule(configuration).recipe["image_size"] == 64
    assert DemoParts(image_size=(80, 80)).recipe["image_size"] == 80
