# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import csv
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import anomalib.models
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from anomalib_plugins.data import DemoParts
from tools import full_schedule, latency, long_run, parity, step_time, timing
from tools.speed import __main__ as speed
from tools.speed import plot, saliency


def test_works_take_turns_after_a_warm_up_and_short_ones_are_repeated():
    calls: list[str] = []
    assert timing.times([lambda: calls.append("a"), lambda: calls.append("b")], 2, shortest=0.0).shape == (2, 2, 2)
    assert calls == ["a", "b"] * 3
    timing.times([lambda: calls.append("c")], rounds=1)
    assert calls.count("c") > 100


def test_ratios_are_of_the_same_round():
    """The second way takes half as long as the first, whatever the load of a round."""
    load = torch.tensor([1.0, 50.0, 2.0], dtype=torch.float64)
    first, second = timing.summarise("w", ["a", "b"], torch.stack([2 * load, load]).expand(2, -1, -1))
    assert (first["times_faster"], second["times_faster"], second["times_faster_wall"]) == (1.0, 2.0, 2.0)
    assert second["cpu_ms"] == 2000  # median load is 2


def test_latency(tmp_path):
    arguments = ["--models", "Padim", "--image-size", "64", "--batches", "2", "--rounds", "1", "--engines", "torch"]
    assert latency.main([*arguments, "--output", str(tmp_path / "latency.json")]) == 0
    rows = json.loads((tmp_path / "latency.json").read_text())["rows"]
    assert {row["precision"] for row in rows} >= {"fp32", "fp32 channels_last"}
    assert all(row["batch"] == 2 and row["ms_per_image"] > 0 and row["ratio_to_Padim"] == 1 for row in rows)


def test_step_time(monkeypatch, capsys):
    few = partial(DemoParts, num_train=4, num_test_good=1, num_per_defect=1, image_size=64)
    monkeypatch.setattr(step_time, "DemoParts", few)
    sizes = ["--image-size", "32", "--batch-size", "2", "--steps", "1", "--threads", "1"]
    assert step_time.main(["--models", "Pouta", "--precisions", "32-true", "--layouts", "contiguous", *sizes]) == 0
    cells = capsys.readouterr().out.splitlines()[-1].strip("| ").split(" | ")
    assert cells[:3] + cells[-1:] == ["Pouta", "32-true", "contiguous", "1.00"]


def test_full_schedule(tmp_path, monkeypatch):
    DemoParts(root=tmp_path, num_train=4, num_test_good=1, num_per_defect=1, image_size=64).prepare_data()
    category, run, resumed = next(tmp_path.glob("**/train")).parent, tmp_path / "run", []
    fit = full_schedule.Engine.fit
    monkeypatch.setattr(
        full_schedule.Engine, "fit", lambda *args, **of: resumed.append(of["ckpt_path"]) or fit(*args, **of)
    )
    arguments = ["--root", str(category.parent), "--category", category.name, "--output", str(run), "--threads", "1"]
    command = ["Pouta", *arguments, "--model-args", "{image_size: [32, 32], network: {score_window: 5}, epochs: 2}"]
    with monkeypatch.context() as broken:
        broken.setattr(full_schedule.Curve, "on_train_batch_end", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            full_schedule.main(command)
    assert full_schedule.main(command) == 0
    assert resumed == [None, run / "interrupted.ckpt"]
    with (run / "curve.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert 0 <= float(row["pixel_AUPRO"]) <= 1


def test_curves_of_phases_with_other_metrics_keep_their_columns(tmp_path):
    for epoch, metric in enumerate(["loss", "auroc"]):
        trainer = SimpleNamespace(current_epoch=epoch, global_step=0, callback_metrics={metric: 0.5})
        full_schedule.Curve(tmp_path / "curve.csv").on_validation_end(trainer, None)
    with (tmp_path / "curve.csv").open() as file:
        assert [(row["loss"], row["auroc"]) for row in csv.DictReader(file)] == [("0.5", ""), ("", "0.5")]


class Ones(nn.Module):
    input_size = (32, 32)

    @classmethod
    def load_from_checkpoint(cls, path, map_location):
        del path, map_location
        return cls()

    def forward(self, images):
        maps = torch.ones(len(images), 1, 32, 32)
        return SimpleNamespace(pred_score=torch.ones(len(images)), anomaly_map=maps, pred_label=None)


@pytest.mark.parametrize(
    ("runtime", "off", "code"),
    [("ONNX", 0.0, 0), ("ONNX", 0.01, 1), ("OpenVINO default", 0.01, 0), ("OpenVINO default", float("nan"), 1)],
)
def test_parity(tmp_path, monkeypatch, runtime, off, code):
    Image.new("RGB", (32, 32)).save(tmp_path / "1.png")
    monkeypatch.setattr(anomalib.models, "Ones", Ones, raising=False)

    def predict(images):
        return {"pred_score": torch.ones(len(images)) + off, "anomaly_map": torch.ones(len(images), 1, 32, 32)}

    monkeypatch.setattr(parity, "runtimes", lambda *_: [(runtime, predict)])
    options = ["--model", "Ones", "--checkpoint", "x.ckpt", "--images", str(tmp_path)]
    assert parity.main([*options, "--output", str(tmp_path / "parity.json")]) == code
    assert json.loads((tmp_path / "parity.json").read_text())["rows"][0]["runtime"] == runtime


def test_growth_is_of_medians_once_it_is_warm():
    flat = [100.0] * 20
    assert long_run.growth([*range(4), *flat[4:]]) == 0
    assert long_run.growth([*flat[:18], 500, 100]) == 0
    assert long_run.growth([100.0 + step for step in range(20)]) == 12


def test_a_prediction_that_changes_is_counted(monkeypatch):
    said = iter([1.0] * 6 + [np.nextafter(np.float32(1), np.float32(9))] + [1.0] * 13)
    predict = SimpleNamespace(
        predict=lambda _: SimpleNamespace(pred_score=np.float32(1), anomaly_map=np.full((4, 4), next(said), np.float32))
    )
    monkeypatch.setattr("anomalib.deploy.OpenVINOInferencer", lambda *_, **__: predict)
    model = SimpleNamespace(to_openvino=lambda folder: folder)
    memory, changed = long_run.predict(model, [Path("a"), Path("b")], Path(), 20)
    assert (changed, len(memory)) == (1, 20)


@pytest.mark.parametrize(("growth", "changed", "code"), [(0, 0, 0), (0, 1, 1), (5, 0, 1)])
def test_long_run(monkeypatch, tmp_path, growth, changed, code):
    memory = [100.0 + growth * step for step in range(20)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(long_run, "train", lambda *_: (None, memory, []))
    monkeypatch.setattr(long_run, "predict", lambda *_: ([100.0] * 20, changed))
    assert long_run.main(["--output", "x.json", "--figure", "x.svg"]) == code
    first, _ = json.loads((tmp_path / "x.json").read_text())["runs"].values()
    assert first["memory_mb"] == memory
    assert (tmp_path / "x.svg").read_text().startswith("<?xml")


def test_speed(tmp_path, monkeypatch, capsys):
    small = nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    monkeypatch.setattr(saliency, "vgg16_saliency", lambda **_: saliency.LayerCam(small, ["0", "1"]))
    monkeypatch.setattr(timing, "SHORTEST", 0.0)
    subjects = ["cfa", "coreset", "padim", "saliency", "search", "synthesis"]
    output, document = tmp_path / "speed.json", tmp_path / "speed.md"
    document.write_text("<!-- compare: start speed_cfa -->\nold\n<!-- compare: end speed_cfa -->\n")
    arguments = ["--quick", "--output", str(output), "--update", str(document)]
    assert speed.main([*arguments, "--only", *subjects, "int8"]) == 0
    assert "int8: left out, it needs --data and --trained" in capsys.readouterr().out
    assert "old" not in document.read_text()
    assert "| Hyperspheres |" in document.read_text()
    results = json.loads(output.read_text())
    assert list(results) == [name for name in speed.SUBJECTS if name in subjects]
    rows = [row for section in results.values() for row in section["rows"]]
    errors = {row["way"]: row["largest_error"] for row in rows if "largest_error" in row}
    assert errors["Hyperspheres"] < 1e-3
    assert errors["PatchGaussians"] < 1e-3
    assert all(row["cpu_ms"] > 0 for row in rows)


def test_plot(tmp_path):
    rows = [{"by": by, "value": value, "way": "ours", "cpu_ms": 1.0} for by in plot.LABELS for value in (1, 2)]
    for name in ("speed.svg", "again.svg"):
        plot.draw(rows, tmp_path / name)
    assert (tmp_path / "speed.svg").read_text() == (tmp_path / "again.svg").read_text()
