# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""One way to ask any model: a checkpoint through torch, an exported file through OpenVINO."""

import inspect
import io
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError

from anomalib_plugins.callbacks.checkpoint_files import STAMP, SafeCheckpointIO
from anomalib_plugins.components.names import did_you_mean
from anomalib_plugins.errors import MissingFileError, UserError
from anomalib_plugins.inspection.image_files import DEEP_MODES

EXPORTED = (".xml", ".onnx")


class Answer(NamedTuple):
    """What a model says of a photo.

    Attributes:
        score: In ``[0, 1]``; above 0.5 is a defect by the threshold that was calibrated in training.
        anomaly_map: The same for each pixel ``(H, W)``, at the model's resolution; ``None`` if it gives none.
    """

    score: float
    anomaly_map: npt.NDArray[np.float32] | None


Scorer = Callable[[npt.NDArray[np.float32]], Answer]


def load(path: Path, model: str | None = None) -> Scorer:
    """Make a function that scores RGB photos ``(H, W, 3)`` in ``[0, 1]``.

    Args:
        path: A checkpoint (``.ckpt``), or a file exported to OpenVINO (``.xml``) or ONNX (``.onnx``).
        model: Class of a checkpoint's model; ``None`` takes what the checkpoint says, as those of this package do.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is of another kind, or it is not known which model a checkpoint is of.
        CheckpointError: If a checkpoint is damaged, would run code, or is of another model.
        ImportError: If OpenVINO is needed and not installed.
    """
    if not path.is_file():
        msg = f"{path} is a folder: name the file in it" if path.is_dir() else f"there is no file {path}"
        raise MissingFileError(msg)
    if path.suffix in EXPORTED:
        return _exported(path)
    if path.suffix == ".ckpt":
        return _checkpoint(path, model)
    msg = f"{path.name} is no checkpoint (.ckpt) and no exported model ({', '.join(EXPORTED)})"
    raise UserError(msg)


def read_photo(data: bytes) -> npt.NDArray[np.float32]:
    """Decode an image file as anomalib does, to RGB ``(H, W, 3)`` in ``[0, 1]``.

    Args:
        data: Content of the file.

    Raises:
        ValueError: If it is no image, damaged, too large, or has more than 8 bits, which anomalib reads as plain white.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            deep = image.mode.startswith(DEEP_MODES)
            rgb = None if deep else np.asarray(image.convert("RGB"), np.float32) / np.float32(255)
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, zlib.error, ...
        why = "of no kind that is known" if isinstance(error, UnidentifiedImageError) else error  # it names a buffer
        msg = f"this file cannot be read as an image ({why})"
        raise UserError(msg) from error
    if rgb is None:
        msg = "this image has more than 8 bits a pixel, which anomalib reads as plain white: convert it to 8 bits"
        raise UserError(msg)
    return rgb


def _exported(path: Path) -> Scorer:
    try:
        import openvino
    except ImportError as error:
        msg = "exported models need OpenVINO: pip install 'anomalib_plugins[demo]'"
        raise ImportError(msg) from error
    # anomalib's inferencer writes a cache into the current folder.
    try:
        model = openvino.Core().compile_model(path, "CPU")
    except RuntimeError as error:
        msg = f"OpenVINO cannot read {path.name}: {str(error).strip().splitlines()[-1]}"
        raise UserError(msg) from error
    has_map = any("anomaly_map" in output.names for output in model.outputs)

    def score(photo: npt.NDArray[np.float32]) -> Answer:
        outputs = model(photo.transpose(2, 0, 1)[None])
        return _answer(outputs["pred_score"], outputs["anomaly_map"] if has_map else None)

    return score


def _checkpoint(path: Path, name: str | None) -> Scorer:
    name = name or SafeCheckpointIO().load_checkpoint(path, "cpu").get(STAMP, {}).get("model")
    if name is None:
        msg = f"{path.name} does not say which model it is of: add --model, e.g. --model Padim"
        raise UserError(msg)
    model = _class_of(name).load_from_checkpoint(path, map_location="cpu").eval()

    @torch.inference_mode()
    def score(photo: npt.NDArray[np.float32]) -> Answer:
        prediction = model(torch.from_numpy(photo).permute(2, 0, 1)[None])
        return _answer(prediction.pred_score, prediction.anomaly_map)

    return score


def _class_of(name: str) -> Any:
    models = vars(import_module("anomalib.models"))
    known = {each: models[each] for each in models if inspect.isclass(models[each])}
    if name not in known:
        msg = f"there is no model {name!r}{did_you_mean(name, known)}"
        raise UserError(msg)
    return known[name]


def _answer(score: Any, anomaly_map: Any) -> Answer:
    pixels = None if anomaly_map is None else np.squeeze(np.asarray(anomaly_map, np.float32))
    return Answer(float(np.asarray(score).item()), pixels)
