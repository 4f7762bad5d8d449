# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from anomalib_plugins.benchmark.predictions import Predictions, choose, load, path_of, save, shrink_maps, shrink_masks
from anomalib_plugins.benchmark.recorder import Recorder

PATHS = np.array(["/a/good/ü.png", "/b.png"])


def predictions(maps=None):
    masks = None if maps is None else maps > np.median(maps)
    return Predictions(np.array([0.1, np.nan], np.float32), np.array([False, True]), PATHS, maps, masks)


@pytest.mark.parametrize("magnitude", [1e-20, 1e-3, 1.0, 7e4, 1e30])
def test_maps_of_any_magnitude_come_back_with_11_bits(magnitude, tmp_path):
    maps = (magnitude * np.random.default_rng(0).uniform(0.01, 1, (2, 8, 9))).astype(np.float32)
    save(tmp_path / "new" / "a.npz", predictions(maps))
    kept = load(tmp_path / "new" / "a.npz")
    np.testing.assert_allclose(kept.maps, maps, rtol=2**-11)
    assert kept.maps.dtype == np.float32
    np.testing.assert_array_equal(kept.masks, maps > np.median(maps))


def test_scores_labels_and_paths_come_back_exactly(tmp_path):
    save(tmp_path / "a.npz", predictions())
    kept = load(tmp_path / "a.npz")
    np.testing.assert_array_equal(kept.scores, predictions().scores)
    assert (kept.labels.tolist(), kept.paths.tolist()) == ([False, True], PATHS.tolist())
    assert kept.maps is kept.masks is None


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_broken_pixels_stay_broken_and_spoil_no_other(broken, tmp_path):
    maps = np.full((2, 2, 2), 1e5, np.float32)
    maps[0, 0, 0] = broken
    save(tmp_path / "a.npz", predictions(maps))
    np.testing.assert_allclose(load(tmp_path / "a.npz").maps, maps, rtol=2**-11)


def test_maps_without_any_value_can_be_kept(tmp_path):
    for value in (np.nan, 0.0):
        save(tmp_path / "a.npz", predictions(np.full((2, 2, 2), value, np.float32)))
        np.testing.assert_array_equal(load(tmp_path / "a.npz").maps, value)


def test_other_archives_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(ValueError, match=r"other.npz is not a file of benchmark predictions: it holds \['weights'\]"):
        load(tmp_path / "other.npz")


def test_sheets_show_images_from_the_whole_test_set():
    assert choose(np.array([False] * 5 + [True] * 9), good=2, defective=3) == [0, 4, 5, 9, 13]
    assert choose(np.array([True, False]), good=3, defective=3) == [1, 0]


def test_large_maps_become_means_and_masks_keep_the_smallest_defect():
    images = torch.arange(600.0 * 300).reshape(1, 600, 300)
    assert shrink_maps(images).shape == shrink_masks(images).shape == (1, 256, 128)
    assert shrink_maps(images).mean().item() == pytest.approx(images.mean().item(), rel=1e-3)
    mask = torch.zeros(1, 512, 512)
    mask[0, 101, 37] = 255
    assert shrink_masks(mask).nonzero().tolist() == [[0, 50, 18]]


def test_small_maps_stay_as_they_are():
    maps = torch.rand(2, 16, 256)
    torch.testing.assert_close(shrink_maps(maps), maps, rtol=0, atol=0)


def test_every_row_has_a_file_of_its_own():
    row = {"model": "P k=1/2", "dataset": "D", "category": "c", "seed": 0, "job": "abc", "schedule": "3 min"}
    rows = [row, *({**row, **change} for change in ({"job": "abd"}, {"schedule": "4 min"}, {"seed": 1}))]
    paths = [path_of(Path("x/results.csv"), each) for each in rows]
    assert len(set(paths)) == 4
    assert {path.parent for path in paths} == {Path("x/results_predictions")}
    assert paths[0].name.startswith("P_k_1_2-D-c-0-")


def batch(size, maps, scores, masks):
    return SimpleNamespace(
        anomaly_map=maps, pred_score=scores, gt_mask=masks, gt_label=torch.ones(size), image_path=["a.png"] * size
    )


def test_batches_are_put_together_and_scores_may_be_those_of_the_maps():
    recorder = Recorder()
    maps = torch.rand(3, 1, 4, 4)
    for part in (maps[:2], maps[2:]):
        recorder.on_test_batch_end(None, None, None, batch(len(part), part, None, part > 0.5))
    kept = recorder.predictions()
    np.testing.assert_array_equal(kept.maps, maps[:, 0])
    np.testing.assert_array_equal(kept.scores, maps.amax(dim=(1, 2, 3)))
    np.testing.assert_array_equal(kept.masks, maps[:, 0] > 0.5)
    assert Path(kept.paths[0]).is_absolute()


def test_models_without_maps_and_data_without_masks_are_recorded():
    recorder = Recorder()
    recorder.on_test_batch_end(None, None, None, batch(2, None, torch.tensor([1.0, 2.0]), None))
    assert recorder.predictions().scores.tolist() == [1, 2]
    assert recorder.predictions().maps is recorder.predictions().masks is None


def test_scores_in_a_column_are_scores():
    recorder = Recorder()
    recorder.on_test_batch_end(None, None, None, batch(2, None, torch.tensor([[1.0], [2.0]]), None))
    assert recorder.predictions().scores.tolist() == [1, 2]
