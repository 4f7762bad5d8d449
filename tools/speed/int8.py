# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""OpenVINO models in 8 bits beside float32: loss of accuracy on real images, and latency."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from anomalib.data import MVTecAD
from torch import Tensor

from anomalib_plugins.metrics.ranking import auroc
from anomalib_plugins.models.quantization import ALLOWED, compiled, quantize, resized, scores_of
from tools.speed import Options
from tools.timing import Measurement, side_by_side

TRAINED = 75.0  # image AUROC of float32, in points, below which a model has learned too little to judge a loss


def verdict(before: float, lost: float) -> str:
    """Judge whether a model may be shipped, given its image AUROC in float32 and its loss, both in points."""
    if before < TRAINED:
        return "cannot tell"
    return "yes" if lost < ALLOWED else "no"


def change(before: Tensor, after: Tensor) -> float:
    """Root mean squared change of scores ``(N,)``, relative to their standard deviation before."""
    return round(((after - before).square().mean().sqrt() / before.std()).item(), 3)


def rows(options: Options, data: MVTecAD, name: str, checkpoint: Path) -> Iterator[Measurement]:
    """Yield rows of one trained model.

    Args:
        options: Options of the measurement.
        data: Data that the model was trained on, used to calibrate and to test.
        name: Name of the model in anomalib.
        checkpoint: Checkpoint of the model.
    """
    import anomalib.models
    import openvino

    model = getattr(anomalib.models, name).load_from_checkpoint(checkpoint, map_location="cpu").eval()
    model.post_processor = None  # raw scores
    size = model.input_size
    items = data.test_dataloader().dataset
    images = [resized(item.image, size) for item in items]
    labels = torch.tensor([int(item.gt_label) for item in items])
    with tempfile.TemporaryDirectory() as folder:
        plain, small = model.to_openvino(folder, input_size=size), Path(folder) / "int8.xml"
        # Same as the exporter's INT8_PTQ, without tracing the model again. Remaining floats keep 32 bits.
        openvino.save_model(quantize(openvino.Core().read_model(plain), data, size), small)
        ways = {
            "OpenVINO float32": compiled(plain, "f32"),
            "OpenVINO bfloat16": compiled(plain, "bf16"),
            "OpenVINO INT8": compiled(small, "f32"),
        }
        megabytes = {
            way: round(file.with_suffix(".bin").stat().st_size / 1e6, 1)
            for way, file in zip(ways, (plain, plain, small), strict=True)
        }
        scores = {way: scores_of(network, images) for way, network in ways.items()}
        aurocs = {way: 100 * auroc(each, labels).item() for way, each in scores.items()}
        lost = {way: round(aurocs["OpenVINO float32"] - value, 2) for way, value in aurocs.items()}
        calls = {way: partial(network, images[0].numpy()) for way, network in ways.items()}
        what = f"{name}, {data.category}, {size[0]} px"
        rounded = {way: round(value, 2) for way, value in aurocs.items()}
        moved = {way: change(scores["OpenVINO float32"], each) for way, each in scores.items()}
        passes = {way: verdict(aurocs["OpenVINO float32"], value) for way, value in lost.items()}
        yield from side_by_side(
            what,
            calls,
            options.rounds,
            file_mb=megabytes,
            image_auroc=rounded,
            points_lost=lost,
            score_change=moved,
            ship=passes,
        )


def measure(options: Options) -> Iterator[Measurement]:
    """Yield rows of all checkpoints ``CATEGORY/MODEL.ckpt`` in the folder of trained models."""
    assert options.data is not None
    assert options.trained is not None
    for checkpoint in sorted(options.trained.glob("*/*.ckpt")):
        data = MVTecAD(options.data, checkpoint.parent.name, train_batch_size=1, num_workers=0)
        data.setup()
        yield from rows(options, data, checkpoint.stem, checkpoint)
