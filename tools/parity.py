# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Compare predictions of a trained model and its exported files on real images.

``python -m tools.parity --model Pouta --checkpoint model.ckpt --images FOLDER``
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from tools.timing import report

if TYPE_CHECKING:
    from anomalib.models import AnomalibModule

FIELDS = ("pred_score", "anomaly_map", "pred_label")

Predict = Callable[[Tensor], dict[str, Tensor]]


def load_images(folder: Path, size: tuple[int, int], count: int) -> Tensor:
    """Load evenly chosen images from a folder and its subfolders.

    Args:
        folder: Folder of images.
        size: Height and width to resize to, so that exported files do not resize.
        count: Largest number of images.

    Returns:
        RGB images in ``[0, 1]`` ``(N, 3, H, W)``.

    Raises:
        ValueError: If there are no images.
    """
    from anomalib.data.utils import get_image_filenames, read_image

    files = sorted(get_image_filenames(folder))
    chosen = files[:: max(1, len(files) // count)][:count]
    return torch.stack([resize(read_image(file, as_tensor=True), list(size), antialias=True) for file in chosen])


def runtimes(model: "AnomalibModule", folder: Path, size: tuple[int, int]) -> Iterator[tuple[str, Predict]]:
    """Yield functions that predict in torch with bfloat16 and in every exported format, with their names.

    Args:
        model: Model to export.
        folder: Folder for the exported files.
        size: Height and width of the images.
    """
    import onnxruntime
    import openvino

    def in_bf16(images: Tensor) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return in_torch(model)(images)

    yield "torch bfloat16", in_bf16
    session = onnxruntime.InferenceSession(model.to_onnx(folder, input_size=size))
    names = [output.name for output in session.get_outputs()]
    yield "ONNX", lambda images: _tensors(names, session.run(names, {session.get_inputs()[0].name: images.numpy()}))
    network = openvino.Core().read_model(model.to_openvino(folder, input_size=size))
    for name, hint in (("OpenVINO float32", {"INFERENCE_PRECISION_HINT": "f32"}), ("OpenVINO default", {})):
        compiled = openvino.Core().compile_model(network, "CPU", hint)
        chosen = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        yield name if hint else f"{name} ({chosen})", _compiled(compiled)


def _compiled(network: Any) -> Predict:
    """Create a function that predicts with an OpenVINO network."""
    names = [output.get_any_name() for output in network.outputs]
    return lambda images: _tensors(names, network(images.numpy()).values())


def in_torch(model: "AnomalibModule") -> Predict:
    """Create a function that predicts with the model in torch."""

    @torch.inference_mode()
    def predict(images: Tensor) -> dict[str, Tensor]:
        batch = model(images)
        return {name: getattr(batch, name).float() for name in FIELDS if getattr(batch, name) is not None}

    return predict


def _tensors(names: list[str], values: Any) -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(value.copy()).float()
        for name, value in zip(names, values, strict=True)
        if name in FIELDS
    }


def differences(expected: dict[str, Tensor], got: dict[str, Tensor]) -> dict[str, Any]:
    """Compare predictions with those of torch in float32.

    Args:
        expected: Predictions of torch for N images, by field.
        got: Predictions of a runtime, by field.

    Returns:
        Largest differences of scores and of pixels, relative to the largest magnitude of the expected scores and maps;
        number of labels that differ; and number of scores and pixels that are not finite.
    """
    row: dict[str, Any] = {}
    for name, column in (("pred_score", "score_difference"), ("anomaly_map", "map_difference")):
        difference = (got[name].reshape(expected[name].shape) - expected[name]).abs().max() / expected[name].abs().max()
        row[column] = float(f"{difference:.1e}")
    if "pred_label" in expected and "pred_label" in got:
        row["labels_that_differ"] = int((got["pred_label"].flatten() != expected["pred_label"].flatten()).sum())
    row["not_finite"] = sum(int((~value.isfinite()).sum()) for value in got.values())
    return row


def main(arguments: list[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: Command-line arguments. ``None`` uses ``sys.argv``.

    Returns:
        0, or 1 if scores of a float32 runtime differ by more than ``--tolerance`` or any prediction is not finite.
    """
    cli = argparse.ArgumentParser(prog="python -m tools.parity", description=__doc__)
    cli.add_argument("--model", required=True, help="name of the model in anomalib")
    cli.add_argument("--checkpoint", type=Path, required=True)
    cli.add_argument("--images", type=Path, required=True, metavar="FOLDER")
    cli.add_argument("--count", type=int, default=16, metavar="N", help="images to compare")
    cli.add_argument("--tolerance", type=float, default=1e-3, metavar="SHARE")
    cli.add_argument("--output", type=Path, metavar="JSON")
    args = cli.parse_args(arguments)
    import anomalib.models

    model = getattr(anomalib.models, args.model).load_from_checkpoint(args.checkpoint, map_location="cpu").eval()
    size = tuple(model.input_size)
    images = load_images(args.images, size, args.count)
    expected = in_torch(model)(images)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, predict in runtimes(model, Path(folder), size):
            rows.append({"runtime": name, **differences(expected, predict(images))})
    report(rows, args.output, model=args.model, images=len(images), size=size)
    exact = [row for row in rows if row["runtime"] in {"ONNX", "OpenVINO float32"}]
    bad = any(row["score_difference"] > args.tolerance for row in exact) or any(row["not_finite"] for row in rows)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
