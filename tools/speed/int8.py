# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""8-bit OpenVINO models beside float32: what they lose on real images, and how much faster they are."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from anomalib.data import MVTecAD
from torch import Tensor

from anomalib_plugins.metrics.ranking import auroc
from anomalib_plugins.models.quantization import ALLOWED, compiled, quantize, resized, scores_of
from tools.speed.side_by_side import Options, Row, compare

TRAINED = 75.0  # points of float32 below which a model has not learned enough to lose anything


def verdict(before: float, lost: float) -> str:
    """Whether a model may be shipped, of points of image AUROC in float32 and those that are lost."""
    if before < TRAINED:
        return "cannot tell"
    return "yes" if lost < ALLOWED else "no"


def change(before: Tensor, after: Tensor) -> float:
    """Root of the mean squared change of scores ``(N,)``, in standard deviations of what they were."""
    return round(((after - before).square().mean().sqrt() / before.std()).item(), 3)


def rows(options: Options, data: MVTecAD, name: str, checkpoint: Path) -> Iterator[Row]:
    """Rows of one trained model.

    Args:
        options: As of all subjects.
        data: What it was trained on; calibrates and tests.
        name: What anomalib calls it.
        checkpoint: Its file.
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
        # What the exporter does for INT8_PTQ, which would trace the model once more; it keeps 32 bits of the floats.
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
        yield from compare(
            what,
            calls,
            options.rounds,
            file_mb=megabytes,
            image_auroc=rounded,
            points_lost=lost,
            score_change=moved,
            ship=passes,
        )


def measure(options: Options) -> Iterator[Row]:
    """Rows of all checkpoints ``CATEGORY/MODEL.ckpt`` in the folder of trained models."""
    assert options.data is not None
    assert options.trained is not None
    for checkpoint in sorted(options.trained.glob("*/*.ckpt")):
        data = MVTecAD(options.data, checkpoint.parent.name, train_batch_size=1, num_workers=0)
        data.setup()
        yield from rows(options, data, checkpoint.stem, checkpoint)
