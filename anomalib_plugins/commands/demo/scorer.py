# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Functions that score photos, of checkpoints with torch and of exported files with OpenVINO."""

import inspect
import io
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from anomalib_plugins.callbacks.checkpoint_files import STAMP, SafeCheckpointIO
from anomalib_plugins.components.names import did_you_mean
from anomalib_plugins.errors import UserError
from anomalib_plugins.inspection.image_files import DEEP_MODES

EXPORTED = (".xml", ".onnx")
# OpenVINO computes in bfloat16 where the processor can, and then scores differ from those of the checkpoint.
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


class Answer(NamedTuple):
    """Result for a photo.

    Attributes:
        score: Score in ``[0, 1]``; above 0.5 is a defect by the threshold that was calibrated in training.
        anomaly_map: Scores of pixels ``(H, W)`` at the model's resolution, if there are any.
    """

    score: float
    anomaly_map: NDArray[np.float32] | None


Scorer = Callable[[NDArray[np.float32]], Answer]


def load(path: Path, model: str | None = None) -> Scorer:
    """Create a function that scores RGB photos ``(H, W, 3)`` in ``[0, 1]``.

    Args:
        path: Checkpoint (``.ckpt``), or file exported to OpenVINO (``.xml``) or ONNX (``.onnx``).
        model: Class of a checkpoint's model; by default the one that the checkpoint names.

    Raises:
        UserError: If the file is of another kind, the model of a checkpoint is unknown, or OpenVINO is not installed.
        CheckpointError: If a checkpoint is damaged, would run code, or is of another model.
    """
    if path.suffix in EXPORTED:
        return _exported(path)
    if path.suffix == ".ckpt":
        return _checkpoint(path, model)
    msg = f"{path.name} is no checkpoint (.ckpt) and no exported model ({', '.join(EXPORTED)})"
    raise UserError(msg)


def read_photo(data: bytes) -> NDArray[np.float32]:
    """Decode an image file as anomalib does, to RGB ``(H, W, 3)`` in ``[0, 1]``.

    Args:
        data: Content of the file.

    Raises:
        UserError: If it is no image, damaged, too large, or has more than 8 bits, which anomalib reads as plain white.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            deep = image.mode.startswith(DEEP_MODES)
            rgb = None if deep else np.asarray(image.convert("RGB"), np.float32) / np.float32(255)
    except UnidentifiedImageError as error:
        msg = "this file is not an image, or of a kind that cannot be read"
        raise UserError(msg) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, zlib.error, ...
        msg = f"this image cannot be read: {error}"
        raise UserError(msg) from error
    if rgb is None:
        msg = "this image has more than 8 bits per channel, which anomalib reads as plain white: convert it to 8 bits"
        raise UserError(msg)
    return rgb


def _exported(path: Path) -> Scorer:
    try:
        import openvino
    except ImportError as error:
        msg = "exported models need OpenVINO: pip install 'anomalib_plugins[demo]'"
        raise UserError(msg) from error
    # anomalib's inferencer writes a cache into the current folder.
    try:
        model = openvino.Core().compile_model(path, "CPU", EXACT)
    except RuntimeError as error:
        msg = f"OpenVINO cannot read {path.name}: {str(error).strip().splitlines()[-1]}"
        raise UserError(msg) from error
    has_map = any("anomaly_map" in output.names for output in model.outputs)

    def score(photo: NDArray[np.float32]) -> Answer:
        outputs = model(photo.transpose(2, 0, 1)[None])
        return _answer(outputs["pred_score"], outputs["anomaly_map"] if has_map else None)

    return score


def _checkpoint(path: Path, name: str | None) -> Scorer:
    name = name or SafeCheckpointIO().load_checkpoint(path, "cpu").get(STAMP, {}).get("model")
    if name is None:
        msg = f"{path.name} does not name its model: add --model, e.g. --model Padim"
        raise UserError(msg)
    models: dict[str, Any] = {
        each: cls for each, cls in vars(import_module("anomalib.models")).items() if inspect.isclass(cls)
    }
    if name not in models:
        msg = f"there is no model {name!r}{did_you_mean(name, models)}"
        raise UserError(msg)
    model = models[name].load_from_checkpoint(path, map_location="cpu").eval()

    @torch.inference_mode()
    def score(photo: NDArray[np.float32]) -> Answer:
        prediction = model(torch.from_numpy(photo).permute(2, 0, 1)[None])
        return _answer(prediction.pred_score, prediction.anomaly_map)

    return score


def _answer(score: Any, anomaly_map: Any) -> Answer:
    pixels = None if anomaly_map is None else np.squeeze(np.asarray(anomaly_map, np.float32))
    return Answer(float(np.asarray(score).item()), pixels)
