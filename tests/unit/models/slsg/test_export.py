# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
import torch

from anomalib_plugins.models.slsg.torch_model import SlsgModel

onnxruntime = pytest.importorskip("onnxruntime")
openvino = pytest.importorskip("openvino")

SIDE = 64


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = SlsgModel()
    with torch.no_grad():
        model.decoder.predict[-1].weight.mul_(20)
        for _ in range(4):
            model(torch.rand(2, 3, SIDE, SIDE))
    return model.eval()


@pytest.fixture(scope="module")
def onnx_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    torch.onnx.export(
        model,
        (torch.zeros(2, 3, SIDE, SIDE),),
        path,
        input_names=["input"],
        output_names=["pred_score", "anomaly_map"],
        dynamic_shapes=({0: torch.export.Dim("batch_size")},),
        dynamo=True,
        verbose=False,
    )
    return path


@pytest.fixture(scope="module")
def runtimes(onnx_file):
    """Functions from images to score and map, by name."""
    session = onnxruntime.InferenceSession(onnx_file)

    network = openvino.Core().compile_model(onnx_file, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    return {
        "onnxruntime": lambda images: session.run(None, {"input": images}),
        "bf16": lambda images: list(network(images).values()),
    }


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize(("runtime", "tolerance"), [("onnxruntime", 1e-4), ("bf16", 1e-2)])
def test_one_exported_file_scores_any_batch_as_torch_does(model, runtimes, runtime, tolerance, batch):
    images = torch.rand(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        expected = model(images)
    score, anomaly_map = runtimes[runtime](images.numpy())
    assert anomaly_map.shape == (batch, 1, SIDE, SIDE)
    np.testing.assert_allclose(score, expected.pred_score, atol=tolerance)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("runtime", ["onnxruntime", "bf16"])
def test_no_runtime_swallows_a_broken_pixel(runtimes, runtime, broken):
    images = torch.rand(2, 3, SIDE, SIDE)
    images[1, 0, 9, 9] = broken
    score, anomaly_map = runtimes[runtime](images.numpy())
    assert score[0] <= 1 < score[1]
    assert anomaly_map[0].max() <= 1 < anomaly_map[1].min()
