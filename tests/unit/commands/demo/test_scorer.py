# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anomalib_plugins import Pouta
from anomalib_plugins.callbacks.checkpoint_files import stamp_checkpoint
from anomalib_plugins.commands.demo import command
from anomalib_plugins.commands.demo.scorer import load, read_photo

from .conftest import photo


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A model that was never trained, and its checkpoint."""
    model = Pouta(image_size=(32, 32), seed=0).eval()
    content = {
        "state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "pytorch-lightning_version": "2.6"
    }  # fmt: skip
    stamp_checkpoint(content, model)
    path = tmp_path_factory.mktemp("model") / "model.ckpt"
    torch.save(content, path)
    yield model, path
    path.unlink()


@pytest.fixture
def onnx_file(tmp_path):
    """An exported model that takes the mean of red for the score and red for the map."""
    import onnx
    from onnx import TensorProto, helper

    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, "h", "w"])
    outputs = [
        helper.make_tensor_value_info("pred_score", TensorProto.FLOAT, None),
        helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, None),
    ]
    nodes = [
        helper.make_node("Gather", ["input", "first"], ["anomaly_map"], axis=1),
        helper.make_node("ReduceMean", ["anomaly_map", "axes"], ["pred_score"], keepdims=0),
    ]
    constants = [
        helper.make_tensor("first", TensorProto.INT64, [1], [0]),
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
    ]
    graph = helper.make_graph(nodes, "red", [image], outputs, constants)
    path = tmp_path / "red.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_a_checkpoint_answers_as_its_model(checkpoint):
    model, path = checkpoint
    pixels = np.random.default_rng(0).random((48, 40, 3), dtype=np.float32)
    answer = load(path)(pixels)
    with torch.no_grad():
        expected = model(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    assert answer.score == expected.pred_score.item()
    assert (answer.anomaly_map == expected.anomaly_map.squeeze().numpy()).all()


def test_an_exported_file_answers(onnx_file, monkeypatch, tmp_path):
    pytest.importorskip("openvino")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    answer = load(onnx_file)(read_photo(photo(0.5)))
    assert not list(Path().iterdir())  # which may be read-only
    assert answer.score == pytest.approx(0.5)
    assert answer.anomaly_map.shape == (40, 60)
    assert answer.anomaly_map.mean(axis=0).tolist() == [1] * 30 + [0] * 30


def test_photos_are_read_as_anomalib_reads_them(tmp_path):
    from anomalib.data.utils import read_image

    for number, mode in enumerate(("RGB", "RGBA", "L", "P", "CMYK")):
        image = Image.open(io.BytesIO(photo(0.3))).convert(mode)
        path = tmp_path / f"{number}.{'jpg' if mode == 'CMYK' else 'png'}"
        image.save(path)
        np.testing.assert_allclose(read_photo(path.read_bytes()), read_image(path), atol=1e-6)


def test_refuses_what_it_cannot_load(tmp_path, checkpoint):
    (tmp_path / "model.pt").touch()
    with pytest.raises(ValueError, match="no checkpoint"):
        load(tmp_path / "model.pt")
    nobodys = tmp_path / "model.ckpt"
    torch.save({"state_dict": {}}, nobodys)
    with pytest.raises(ValueError, match="does not name its model"):
        load(nobodys)
    with pytest.raises(ValueError, match="did you mean 'Pouta'"):
        load(checkpoint[1], "Puota")


def test_the_command_says_why_it_does_not_start(capsys, onnx_file):
    pytest.importorskip("openvino")
    assert command.main([str(onnx_file), "--port", "99999"]) == 1
    assert "port must be 0-65535" in capsys.readouterr().err
    onnx_file.write_text("hello")
    assert command.main([str(onnx_file)]) == 1
    assert "error: OpenVINO cannot read red.onnx" in capsys.readouterr().err


def test_the_command_serves_until_it_is_interrupted(onnx_file, monkeypatch, capsys):
    pytest.importorskip("openvino")

    def interrupt(server):
        assert server.name == "red.onnx"
        raise KeyboardInterrupt

    monkeypatch.setattr("anomalib_plugins.commands.demo.server.DemoServer.serve_forever", interrupt)
    assert command.main([str(onnx_file), "--port", "0", "--no-browser"]) == 0
    assert "The demo of red.onnx is at http://127.0.0.1:" in capsys.readouterr().out
