# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import logging
import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from anomalib.engine import Engine
from PIL import Image

from anomalib_plugins import CutSwapPatchcore
from anomalib_plugins.commands import quickstart, quickstart_run
from anomalib_plugins.commands.contact_sheet import Verdict
from anomalib_plugins.commands.thresholds import Thresholds
from anomalib_plugins.data import DemoParts

TINY = quickstart.Recipe(
    1, {"augmentation": "none", "backbone": "resnet10t", "pre_trained": False, "image_size": [64, 64]}
)


def photos(folder, count, seed=0, defect=False):
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        image = random.normal(128, 4, (64, 64, 3)).clip(0, 255).astype(np.uint8)
        if defect:
            image[20:44, 20:44] = 255
        Image.fromarray(image).save(folder / f"{number:02}.png")


@pytest.fixture(autouse=True)
def _no_stale_handlers(monkeypatch):
    """Handlers of logging may hold the captured output of an earlier test."""
    monkeypatch.setattr(logging, "raiseExceptions", False)


@pytest.fixture
def start(tmp_path, capfd, monkeypatch):
    """Run the command with a tiny network; returns exit code and what it prints."""

    def run(*arguments):
        code = quickstart.main([*map(str, arguments), "--output", str(tmp_path / "out")])
        printed, errors = capfd.readouterr()
        assert not errors
        return code, printed

    monkeypatch.setitem(quickstart.RECIPES, "CutSwapPatchcore", TINY)
    # The exporter takes longer than all the rest; one test is enough for it.
    monkeypatch.setattr(Engine, "export", lambda engine, *_, **__: engine.trainer.checkpoint_callback.best_model_path)
    return run


def numbers(pattern, printed):
    return [float(each) for each in re.search(pattern, printed).groups()]


@pytest.mark.slow
def test_demo_parts_are_told_apart(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(
        quickstart_run, "DemoParts", partial(DemoParts, num_train=40, num_test_good=10, num_per_defect=1)
    )
    assert quickstart.main(["--output", str(tmp_path)]) == 0
    printed = capfd.readouterr().out
    rejected, good, found, bad = numbers(r"(\d+) of (\d+) good parts rejected, (\d+) of (\d+) defects found", printed)
    assert (good, bad) == (10, 10)
    assert rejected <= 1
    assert found >= 9
    image_auroc, pixel_auroc = numbers(r"image AUROC ([\d.]+), pixel AUROC ([\d.]+)", printed)
    assert image_auroc >= 0.98
    assert pixel_auroc >= 0.97
    assert "anomalib-plugins quickstart FOLDER" in printed
    noise = [line for line in printed.splitlines() if re.search(r"INFO|WARN|torch\.onnx|GPU available|it/s", line)]
    assert noise == []
    assert "torch.onnx" in (tmp_path / "quickstart.log").read_text(encoding="utf-8")
    assert len(list(tmp_path.rglob("model.xml"))) == 1


def test_a_folder_of_good_and_bad_photos_without_masks_is_enough(tmp_path, start, monkeypatch):
    monkeypatch.setattr(quickstart_run, "MOST", 10)
    photos(tmp_path / "part" / "good", 20)
    photos(tmp_path / "part" / "scratch", 3, seed=1, defect=True)
    photos(tmp_path / "part" / "dent", 3, seed=2, defect=True)
    code, printed = start(tmp_path / "part")
    assert code == 0
    assert "Train CutSwapPatchcore on 10 good photos" in printed
    assert re.search(r"dent +3 +3\n", printed)
    assert re.search(r"scratch +3 +3\n", printed)
    assert "of 4 good parts rejected, 6 of 6 defects found" in printed
    assert "image AUROC 1.000" in printed
    assert "missed" not in printed
    (sheet,), (config,), (checkpoint,) = (
        tmp_path.rglob(name) for name in ("contact_sheet.png", "model.yaml", "*.ckpt")
    )
    assert Image.open(sheet).size[1] > 2 * 168
    assert f"predict -c {config} --ckpt_path" in printed
    assert CutSwapPatchcore.from_config(config).hparams["augmentation"] == "none"
    normal = Thresholds(checkpoint).normal
    assert normal.threshold == pytest.approx(normal.scores.mean() + 3 * normal.scores.std(ddof=1), rel=1e-5)
    model = CutSwapPatchcore.load_from_checkpoint(checkpoint)
    assert float(model.post_processor.image_threshold) == pytest.approx(normal.threshold, rel=1e-6)


def test_good_photos_alone_are_tested_on_simulated_defects(tmp_path, start):
    photos(tmp_path / "part", 20)
    code, printed = start(tmp_path / "part")
    assert code == 0
    assert "simulated" in printed
    assert "pixel AUROC" in printed
    rows = pd.read_csv(next(tmp_path.rglob("test_scores.csv")))
    good = rows[rows.kind == "good"]
    assert len(good) == len(set(good.image_path)) > 0
    assert f"of {len(good)} good parts rejected" in printed
    assert f"{len(good)} to test with" in printed


def test_an_export_that_fails_loses_nothing_else(tmp_path, start, monkeypatch):
    def fail(*_, **__):
        msg = "no such operator"
        raise RuntimeError(msg)

    monkeypatch.setattr(Engine, "export", fail)
    photos(tmp_path / "part", 40)
    code, printed = start(tmp_path / "part")
    assert code == 2
    assert "could not be exported to OpenVINO: no such operator" in printed
    assert "good parts rejected" in printed
    assert len(list((tmp_path / "out").rglob("contact_sheet.png"))) == 1


def test_a_folder_with_an_umlaut_is_refused_and_a_link_to_it_is_taken(tmp_path, start):
    photos(tmp_path / "Größe" / "good", 20)
    code, printed = start(tmp_path / "Größe")
    assert code == 2
    assert "train on a link: ln -s" in printed
    (tmp_path / "link").symlink_to("Größe")
    assert start(tmp_path / "link")[0] == 0


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        ({"train/a": 20, "test/ng": 3}, "part/train/good has 0 photos of good parts"),
        ({"": 3}, "has 3 photos of good parts: at least 20 are needed"),
        ({"": 20, "bad": 3}, "part 20 photos\n.*part/bad 3 photos\n.*Move the photos of good parts"),
        ({"a": 20, "b": 3}, "part/a 20 photos\n.*part/b 3 photos\n.*Move the photos of good parts"),
        ({"good": 20, "bad": 3, "masks": 2}, "1 defect has no mask.*bad/02.png"),
        ({"a/train/good": 1, "b/train/good": 1}, "holds 2 parts: name the folder of one"),
    ],
)
def test_photos_that_do_not_fit_end_in_one_line(tmp_path, start, folders, said):
    for name, count in folders.items():
        photos(tmp_path / "part" / name, count, defect=name == "masks")
    code, printed = start(tmp_path / "part")
    assert code == 2
    assert re.search(f"error: .*{said}", printed, re.DOTALL)


def test_wrong_arguments_and_a_missing_exporter_are_named_before_anything_else(tmp_path, monkeypatch, capsys):
    photos(tmp_path / "part", 1)
    inside = tmp_path / "part" / "out"
    monkeypatch.setattr(quickstart, "find_spec", lambda _: None)
    for arguments, said in (
        ([tmp_path / "nowhere"], "there is no folder"),
        ([tmp_path / "part", "--output", inside], "--output must be outside"),
        ([tmp_path / "part"], "OpenVINO is not installed: pip install"),
    ):
        with pytest.raises(SystemExit):
            quickstart.main([*map(str, arguments)])
        assert said in capsys.readouterr().err
    assert not inside.exists()


def test_many_wrong_verdicts_are_answered_with_what_to_do():
    photo = torch.zeros(3, 8, 8)
    parts = [
        Verdict("part", is_defect=bad, score=score, photo=photo, mask=None, heatmap=photo[0], path=Path("0.png"))
        for bad, score in ((True, 0.45), (True, 0.9), (True, 0.9), (False, 0.1), (False, 0.35))
    ]
    said = quickstart_run.advice(parts, 2, Path("m.ckpt"))
    rows = [line.split() for line in said.splitlines() if re.match(r" +0\.\d ", line)]
    assert [(row[0], row[1], row[4]) for row in rows] == [
        ("0.1", "1", "3"),
        ("0.2", "1", "3"),
        ("0.3", "1", "3"),
        ("0.4", "0", "3"),
        ("0.5", "0", "2"),
        ("0.6", "0", "2"),
        ("0.7", "0", "2"),
        ("0.8", "0", "2"),
        ("0.9", "0", "0"),
    ]
    assert "0.5 comes from 2 good photos" in said
    assert not quickstart_run.advice(parts[1:], 2, Path("m.ckpt"))
    good = [each._replace(is_defect=False) for each in parts]
    assert "good parts rejected" in quickstart_run.advice(good, 2, Path("m.ckpt"))


def test_slsg_is_that_of_its_configuration_with_fewer_steps():
    file = Path(__file__).parents[3] / "configs/model/slsg/cpu.yaml"
    options = yaml.safe_load(file.read_text(encoding="utf-8"))["model"]["init_args"]
    recipe = dict(quickstart.RECIPES["Slsg"].arguments)
    assert recipe.pop("steps") < options.pop("steps")
    assert {**recipe, "image_size": [256, 256], "seed": 0} == options


def test_commands_are_called_by_their_path_where_no_environment_is_active(monkeypatch, tmp_path):
    (tmp_path / ".venv").mkdir()
    for name in ("python", "anomalib"):
        (tmp_path / ".venv" / name).touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quickstart_run.sys, "executable", str(tmp_path / ".venv" / "python"))
    monkeypatch.setenv("PATH", "")
    assert quickstart_run.script("anomalib") == ".venv/anomalib"
    monkeypatch.setenv("PATH", str(tmp_path / ".venv"))
    assert quickstart_run.script("anomalib") == "anomalib"
