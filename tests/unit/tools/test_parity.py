# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""How differences between torch and exported files are counted. The runtimes themselves run in ``tests/contract``."""

import anomalib.models
import pytest
import torch
from PIL import Image
from torch import nn

from tools import parity


@pytest.fixture
def expected():
    scores, maps = torch.tensor([0.25, 0.5]), torch.zeros(2, 1, 4, 4)
    maps[1, 0, 2, 3] = 0.8
    return {"pred_score": scores, "anomaly_map": maps, "pred_label": torch.tensor([0.0, 1.0])}


def test_equal_predictions_differ_by_nothing(expected):
    same = {name: value.clone() for name, value in expected.items()}
    wanted = {"score_difference": 0.0, "map_difference": 0.0, "labels_that_differ": 0, "not_finite": 0}
    assert parity.compare(expected, same) == wanted


def test_differences_are_shares_of_the_largest_magnitude(expected):
    got = {name: value.clone() for name, value in expected.items()}
    got["pred_score"] = got["pred_score"][:, None] - torch.tensor([[0.1], [0.0]])  # runtimes may keep a dimension
    got["anomaly_map"][0, 0, 0, 0] = 0.4
    got["pred_label"][1] = 0.0
    wanted = {"score_difference": 0.2, "map_difference": 0.5, "labels_that_differ": 1, "not_finite": 0}
    assert parity.compare(expected, got) == wanted


def test_what_is_no_number_is_counted(expected):
    got = {name: value.clone() for name, value in expected.items()}
    got["anomaly_map"][0, 0, :2] = torch.nan
    assert parity.compare(expected, got)["not_finite"] == 8


def test_images_are_chosen_evenly_and_resized(tmp_path):
    for number in range(10):
        Image.new("RGB", (20, 10), (number, 0, 0)).save(tmp_path / f"{number}.png")
    images = parity.load_images(tmp_path, (8, 16), 5)
    assert images.shape == (5, 3, 8, 16)
    assert (255 * images[:, 0, 0, 0]).round().tolist() == [0, 2, 4, 6, 8]


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Found 0 images in"):
        parity.load_images(tmp_path, (8, 8), 5)


class Model(nn.Module):
    """Predicts zeros but for a score of 1."""

    input_size = (32, 32)

    @classmethod
    def load_from_checkpoint(cls, path, map_location):
        del path, map_location
        return cls()

    def forward(self, images):
        count = len(images)
        fields = {"pred_score": torch.ones(count), "anomaly_map": torch.ones(count, 1, 32, 32), "pred_label": None}
        return type("Batch", (), fields)


@pytest.mark.parametrize(
    ("runtime", "off", "code"),
    [("ONNX", 0.0, 0), ("ONNX", 0.01, 1), ("OpenVINO default", 0.01, 0), ("OpenVINO default", float("nan"), 1)],
)
def test_exit_code_tells_whether_exact_runtimes_agree(tmp_path, monkeypatch, capsys, runtime, off, code):
    Image.new("RGB", (32, 32)).save(tmp_path / "1.png")
    monkeypatch.setattr(anomalib.models, "Model", Model, raising=False)

    def predict(images):
        return {"pred_score": torch.ones(len(images)) + off, "anomaly_map": torch.ones(len(images), 1, 32, 32)}

    monkeypatch.setattr(parity, "runtimes", lambda *_: [(runtime, predict)])
    options = ["--model", "Model", "--checkpoint", "x.ckpt", "--images", str(tmp_path)]
    assert parity.main([*options, "--output", str(tmp_path / "parity.json")]) == code
    assert runtime in capsys.readouterr().out
    assert (tmp_path / "parity.json").is_file()
