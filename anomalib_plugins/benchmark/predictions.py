# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Predictions of a job on each test image, saved beside the results, and their contact sheet."""

import base64
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import to_pil_image

from anomalib_plugins.components.files import atomic_write
from anomalib_plugins.errors import UserError

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataset

MAX_SIDE = 256
LARGEST = 2.0**15  # half of float16's range: rounding up stays finite


@dataclass(frozen=True)
class Predictions:
    """Raw predictions of one job on the ``N`` images of a test set, in test order.

    The file is an ``.npz`` with one array per field, readable with ``numpy.load(path, allow_pickle=False)``. Fields
    that are ``None`` are missing. Maps are stored as float16 after division by ``map_scale`` (float32, a power of two),
    a further array of the file, so that scores of any magnitude fit; :func:`load` multiplies them by it. An image takes
    at most 0.2 MB at 256 x 256 pixels.

    Args:
        scores: Raw image scores, before post-processing, float32 ``(N,)``; NaN is the most anomalous.
        labels: True for defective images, bool ``(N,)``.
        paths: Absolute paths of the images on the machine that ran the job, strings ``(N,)``.
        maps: Raw anomaly maps, float32 ``(N, H, W)`` with ``H, W <= 256``, rounded to 11 bits. Larger maps are reduced
            by averaging.
        masks: Defective pixels, bool ``(N, H, W)``. Larger masks are reduced by maximum. ``None`` if the data set has
            no masks.
        images: Images with simulated defects, which are in no file: JPEG files in base64, strings ``(N,)``, at most 256
            pixels wide and high. ``None`` for other data.
    """

    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.bool_]
    paths: npt.NDArray[np.str_]
    maps: npt.NDArray[np.float32] | None = None
    masks: npt.NDArray[np.bool_] | None = None
    images: npt.NDArray[np.str_] | None = None


def file_stem(*parts: Any) -> str:
    """Join parts into a file name without extension, with special characters replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(map(str, parts)))


def path_of(results: Path, row: Mapping[str, Any]) -> Path:
    """Path of the predictions that belong to a row, in the folder ``<results>_predictions`` beside the results file."""
    name = file_stem(*(row[key] for key in ("model", "dataset", "category", "seed")))
    number = hashlib.sha256(f"{row['job']} {row['schedule']}".encode()).hexdigest()[:8]
    return results.with_name(f"{results.stem}_predictions") / f"{name}-{number}.npz"


def shrink_maps(maps: Tensor) -> Tensor:
    """Reduce maps ``(N, H, W)`` to at most 256 pixels per side by averaging."""
    return F.adaptive_avg_pool2d(maps[:, None].float(), _size(maps))[:, 0]


def shrink_masks(masks: Tensor) -> Tensor:
    """Reduce masks ``(N, H, W)`` to bool masks of at most 256 pixels per side by maximum."""
    return F.adaptive_max_pool2d((masks[:, None] != 0).float(), _size(masks))[:, 0] > 0


def _size(images: Tensor) -> tuple[int, int]:
    height, width = images.shape[-2:]
    share = min(1.0, MAX_SIDE / max(height, width))
    return max(1, round(height * share)), max(1, round(width * share))


def save(path: Path, predictions: Predictions) -> None:
    """Write predictions to an ``.npz`` file. A crash leaves the whole file or none."""
    arrays: dict[str, Any] = {name: value for name, value in vars(predictions).items() if value is not None}
    if predictions.maps is not None:
        finite = np.abs(predictions.maps[np.isfinite(predictions.maps)])
        scale = np.float32(2.0 ** np.ceil(np.log2(finite.max() / LARGEST))) if finite.any() else np.float32(1)
        arrays.update(maps=(predictions.maps / scale).astype(np.float16), map_scale=scale)
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)


def load(path: Path) -> Predictions:
    """Read predictions that :func:`save` wrote.

    Raises:
        FileNotFoundError: If the file does not exist.
        UserError: If the file holds something other than predictions.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    if not {"scores", "labels", "paths"} <= arrays.keys():
        msg = f"{path} is not a file of benchmark predictions: it holds {sorted(arrays)}"
        raise UserError(msg)
    if "maps" in arrays:
        arrays["maps"] = arrays["maps"].astype(np.float32) * arrays.pop("map_scale")
    if len({len(each) for each in arrays.values()}) > 1:
        msg = f"{path} is damaged: its arrays are of different lengths; run the job again"
        raise UserError(msg)
    return Predictions(**arrays)


def first_image(path: Path) -> Path:
    """Path of the first image in a file of predictions; an empty path if the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return Path(str(file["paths"][0]))
    except (BadZipFile, IndexError, KeyError, OSError, ValueError):
        return Path()


def encode_images(dataset: "AnomalibDataset") -> npt.NDArray[np.str_]:
    """Encode all images of a dataset as the field ``images`` of `Predictions`."""
    encoded = []
    for index in range(len(dataset)):
        picture, buffer = to_pil_image(dataset[index].image), io.BytesIO()
        picture.thumbnail((MAX_SIDE, MAX_SIDE))
        picture.save(buffer, "JPEG", quality=90)
        encoded.append(base64.b64encode(buffer.getvalue()).decode("ascii"))
    return np.array(encoded)


def choose(labels: npt.NDArray[np.bool_], good: int, defective: int) -> list[int]:
    """Choose at most so many good and defective images, evenly through the test set, and return their indices."""
    chosen: list[int] = []
    for label, count in ((False, good), (True, defective)):
        indices = np.flatnonzero(labels == label)
        places = np.linspace(0, len(indices) - 1, min(count, len(indices))).round().astype(int)
        chosen += indices[places].tolist()
    return chosen


def save_sheet(predictions: Predictions, dataset: "AnomalibDataset", path: Path) -> None:
    """Draw a contact sheet: image, ground truth and heatmap of three good and nine defective parts, on one scale.

    Without maps nothing is drawn. The dataset has the images in the order of the predictions.
    """
    from matplotlib.figure import Figure

    if predictions.maps is None:
        return
    chosen = choose(predictions.labels, good=3, defective=9)
    maps = predictions.maps[chosen]
    finite = maps[np.isfinite(maps)]
    low, high = (finite.min(), finite.max()) if finite.size else (0, 1)
    figure = Figure(figsize=(1.6 * len(chosen), 5.4), layout="constrained")
    for index, axes in zip(chosen, figure.subplots(3, len(chosen), squeeze=False).T, strict=True):
        name = Path(predictions.paths[index]).parent.name
        axes[0].imshow(dataset[index].image.permute(1, 2, 0))
        axes[0].set_title(f"{name}\n{predictions.scores[index]:.3g}", fontsize=8)
        mask = np.zeros(maps.shape[1:]) if predictions.masks is None else predictions.masks[index]
        axes[1].imshow(mask, cmap="gray", vmax=1)
        axes[2].imshow(predictions.maps[index], cmap="inferno", vmin=low, vmax=high)
        for each in axes:
            each.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
