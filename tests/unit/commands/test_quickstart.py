# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The quickstart, for real: on the demo parts, and with a tiny network on folders of photos."""

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from anomalib_plugins import CutSwapPatchcore
from anomalib_plugins.commands import quickstart

TINY = {"augmentation": "none", "backbone": "resnet10t", "pre_trained": False, "image_size": [64, 64]}


def photos(folder, count, seed, defect=False):
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        image = random.normal(128, 4, (64, 64, 3)).clip(0, 255).astype(np.uint8)
        if defect:
            image[20:44, 20:44] = 255
        Image.fromarray(image).save(folder / f"{number:02}.png")


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(quickstart.RECIPES, "CutSwapPatchcore", quickstart.Recipe(TINY, minutes=3))


@pytest.fixture(autouse=True)
def _no_stale_handlers(monkeypatch):
    """Handlers of logging may hold the captured output of an earlier test."""
    monkeypatch.setattr(logging, "raiseExceptions", False)


def numbers(pattern, printed):
    return [float(each) for each in re.search(pattern, printed).groups()]


@pytest.mark.slow
def test_demo_parts_are_told_apart_in_minutes(tmp_path, capfd):
    assert quickstart.main(["--output", str(tmp_path)]) == 0
    printed = capfd.readouterr().out
    rejected, good, found, bad = numbers(r"(\d+) of (\d+) good parts rejected, (\d+) of (\d+) defects found", printed)
    assert (good, bad) == (20, 50)
    assert rejected <= 1
    assert found >= 45
    image_auroc, pixel_auroc = numbers(r"image AUROC ([\d.]+), pixel AUROC ([\d.]+)", printed)
    assert image_auroc >= 0.98
    assert pixel_auroc >= 0.97
    assert "anomalib-plugins quickstart FOLDER" in printed


@pytest.mark.usefixtures("tiny")
def test_a_folder_of_good_and_bad_photos_without_masks_is_enough(tmp_path, capfd):
    photos(tmp_path / "part" / "good", 20, seed=0)
    photos(tmp_path / "part" / "bad", 4, seed=1, defect=True)
    assert quickstart.main([str(tmp_path / "part"), "--output", str(tmp_path / "out")]) == 0
    printed, errors = capfd.readouterr()
    assert "of 4 good parts rejected, 4 of 4 defects found" in printed
    assert "image AUROC 1.000" in printed
    assert "about 3 minutes on two cores" in printed
    assert not errors
    noise = [line for line in printed.splitlines() if re.search(r"INFO|WARN|torch\.onnx|GPU available|it/s", line)]
    assert noise == []
    (sheet,) = tmp_path.rglob("contact_sheet.png")
    assert Image.open(sheet).size[1] > 2 * 168
    assert len(list(tmp_path.rglob("model.xml"))) == 1
    (config,) = tmp_path.rglob("model.yaml")
    assert f"anomalib predict -c {config} --ckpt_path" in printed
    assert "defects were missed" not in printed
    assert CutSwapPatchcore.from_config(config).hparams["augmentation"] == "none"
    assert "torch.onnx" in (tmp_path / "out" / "quickstart.log").read_text(encoding="utf-8")


@pytest.mark.usefixtures("tiny")
def test_good_photos_alone_are_tested_on_simulated_defects(tmp_path, capfd):
    photos(tmp_path / "part", 20, seed=0)
    assert quickstart.main([str(tmp_path / "part"), "--output", str(tmp_path / "out")]) == 0
    printed = capfd.readouterr().out
    assert "simulated" in printed
    assert "pixel AUROC" in printed
    rows = pd.read_csv(next(tmp_path.rglob("test_scores.csv")))
    good = rows[rows.kind == "good"]
    assert len(good) == len(set(good.image_path)) > 0
    assert f"of {len(good)} good parts rejected" in printed
    assert f"{len(good)} to test with" in printed


@pytest.mark.usefixtures("tiny")
def test_kinds_of_defects_keep_their_names_and_many_photos_are_not_all_trained_on(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(quickstart, "MOST", 10)
    photos(tmp_path / "part" / "good", 20, seed=0)
    photos(tmp_path / "part" / "scratch", 3, seed=1, defect=True)
    photos(tmp_path / "part" / "dent", 3, seed=2, defect=True)
    assert quickstart.main([str(tmp_path / "part"), "--output", str(tmp_path / "out")]) == 0
    printed = capfd.readouterr().out
    assert "Train CutSwapPatchcore on 10 good photos" in printed
    assert re.search(r"dent +3 +3\n", printed)
    assert re.search(r"scratch +3 +3\n", printed)


@pytest.mark.usefixtures("tiny")
def test_the_threshold_lies_above_all_good_photos_that_were_held_out(tmp_path):
    from anomalib_plugins.commands.threshold import Thresholds

    photos(tmp_path / "part" / "good", 20, seed=0)
    photos(tmp_path / "part" / "bad", 4, seed=1, defect=True)
    assert quickstart.main([str(tmp_path / "part"), "--output", str(tmp_path / "out")]) == 0
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    normal = Thresholds(checkpoint).normal
    assert normal.threshold == pytest.approx(normal.scores.mean() + 3 * normal.scores.std(ddof=1), rel=1e-5)
    model = CutSwapPatchcore.load_from_checkpoint(checkpoint)
    assert float(model.post_processor.image_threshold) == pytest.approx(normal.threshold, rel=1e-6)


@pytest.mark.parametrize(
    ("count", "said"), [(None, "is no folder"), (3, "has 3 photos of good parts: at least 20 are needed")]
)
def test_too_few_photos_end_in_one_line(tmp_path, capfd, count, said):
    if count:
        photos(tmp_path / "part", count, seed=0)
    assert quickstart.main([str(tmp_path / "part"), "--output", str(tmp_path / "out")]) == 2
    printed, errors = capfd.readouterr()
    assert re.search(f"error: .*part {said}", printed)
    assert not errors


def test_a_missing_exporter_is_named_before_the_training(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(quickstart, "find_spec", lambda _: None)
    assert quickstart.main(["--output", str(tmp_path)]) == 2
    assert "error: OpenVINO is not installed: pip install" in capfd.readouterr().out


def test_many_missed_defects_are_answered_with_what_to_do():
    from anomalib_plugins.commands.contact_sheet import Verdict

    class Split:
        samples = pd.DataFrame({"image_path": ["a", "b", "b"], "label_index": 0})

    data = type("Data", (), {"val_data": Split})
    photo = torch.zeros(3, 8, 8)
    bad = [
        Verdict("bad", is_defect=True, score=score, photo=photo, mask=None, heatmap=photo[0], path=Path("0.png"))
        for score in (0.4, 0.9, 0.9)
    ]
    said = quickstart._advice(bad, data, Path("m.ckpt"))
    assert "1 defects were missed. The threshold comes from 2 good photos" in said
    assert not quickstart._advice(bad[1:], data, Path("m.ckpt"))


def test_commands_are_called_by_their_path_where_no_environment_is_active(monkeypatch, tmp_path):
    (tmp_path / ".venv").mkdir()
    for name in ("python", "anomalib"):
        (tmp_path / ".venv" / name).touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quickstart.sys, "executable", str(tmp_path / ".venv" / "python"))
    monkeypatch.setenv("PATH", "")
    assert quickstart._script("anomalib") == ".venv/anomalib"
    monkeypatch.setenv("PATH", str(tmp_path / ".venv"))
    assert quickstart._script("anomalib") == "anomalib"


def test_good_photos_beside_a_folder_of_defects_are_not_mixed_up(tmp_path, capfd):
    photos(tmp_path / "part", 20, seed=0)
    photos(tmp_path / "part" / "bad", 3, seed=1, defect=True)
    assert quickstart.main([str(tmp_path / "part"), "--output", str(tmp_path / "out")]) == 2
    assert "move them into a folder good" in capfd.readouterr().out


def test_a_missing_mask_is_named(tmp_path, capfd):
    photos(tmp_path / "part" / "good", 20, seed=0)
    photos(tmp_path / "part" / "bad", 3, seed=1, defect=True)
    photos(tmp_path / "part" / "masks", 2, seed=1, defect=True)
    assert quickstart.main([str(tmp_path / "part"), "--output", str(tmp_path / "out")]) == 2
    assert "02.png" in capfd.readouterr().out


def test_results_never_lie_among_the_photos(tmp_path, capfd):
    photos(tmp_path / "part", 20, seed=0)
    with pytest.raises(SystemExit):
        quickstart.main([str(tmp_path / "part"), "--output", str(tmp_path / "part" / "out")])
    assert "--output must lie outside" in capfd.readouterr().err
    assert not (tmp_path / "part" / "out").exists()
