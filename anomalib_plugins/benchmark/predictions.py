# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What a job predicted for each test image, in a file beside the results, for curves and pictures."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional as F

from anomalib_plugins.benchmark.setup import file_stem
from anomalib_plugins.components.files import whole_file

MAX_SIDE = 256
LARGEST = 2.0**15  # half of float16's range: rounding up stays finite


@dataclass(frozen=True)
class Predictions:
    """Raw predictions of one job on the ``N`` images of a test set, in the order of the test.

    The file is an ``.npz`` with one array per field, readable with ``numpy.load(path, allow_pickle=False)``; ``maps``
    and ``masks`` are missing where there are none. Maps are stored as float16, divided by a further array ``map_scale``
    (float32, a power of two) so that scores of any size fit: ``maps * map_scale`` is what the model said.
    :func:`load` multiplies. At 256 x 256 pixels an image takes at most 0.2 MB.

    Args:
        scores: Image scores as the model gave them, before post-processing, float32 ``(N,)``; NaN is as
            anomalous as can be.
        labels: Whether an image is defective, bool ``(N,)``.
        paths: Image files, strings ``(N,)``, absolute, as they were where the job ran.
        maps: Raw anomaly maps, float32 ``(N, H, W)`` with ``H, W <= 256``; means of the model's pixels where its maps
            are larger. Rounded to 11 bits.
        masks: Defective pixels, bool ``(N, H, W)``; a pixel counts where any of those it stands for does. ``None``
            where the data set has no masks.
    """

    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.bool_]
    paths: npt.NDArray[np.str_]
    maps: npt.NDArray[np.float32] | None = None
    masks: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Check that all fields are about the same images.

        Raises:
            ValueError: If their lengths or sizes differ.
        """
        shapes = {name: np.shape(value) for name, value in vars(self).items() if value is not None}
        if len({shape[0] for shape in shapes.values()}) > 1:
            msg = f"every field needs one entry per image, got {shapes}"
            raise ValueError(msg)
        if self.maps is not None and self.masks is not None and self.maps.shape != self.masks.shape:
            msg = f"maps and masks need one size, got {shapes}"
            raise ValueError(msg)


def path_of(results: Path, row: Mapping[str, Any]) -> Path:
    """Where the predictions of a row of a results file are: in the folder ``<name of the file>_predictions`` beside it.

    Args:
        results: The results file.
        row: A row of it; rows without ``job`` were written before predictions were kept.
    """
    name = file_stem(*(row[key] for key in ("model", "dataset", "category", "seed")))
    number = hashlib.sha256(f"{row['job']} {row['schedule']}".encode()).hexdigest()[:8]
    return results.with_name(f"{results.stem}_predictions") / f"{name}-{number}.npz"


def shrink_maps(maps: Tensor) -> Tensor:
    """Maps ``(N, H, W)`` of at most 256 pixels a side: each the mean of the pixels it stands for."""
    return F.adaptive_avg_pool2d(maps[:, None].float(), _size(maps))[:, 0]


def shrink_masks(masks: Tensor) -> Tensor:
    """Masks ``(N, H, W)`` of at most 256 pixels a side, bool: true where any of the pixels it stands for is not 0."""
    return F.adaptive_max_pool2d((masks[:, None] != 0).float(), _size(masks))[:, 0] > 0


def _size(images: Tensor) -> tuple[int, int]:
    height, width = images.shape[-2:]
    share = min(1.0, MAX_SIDE / max(height, width))
    return max(1, round(height * share)), max(1, round(width * share))


def save(path: Path, predictions: Predictions) -> None:
    """Write the file in one piece: after a crash there is the whole file or none.

    Args:
        path: ``.npz`` file; its folder is made.
        predictions: What to write.
    """
    arrays: dict[str, Any] = {name: value for name, value in vars(predictions).items() if value is not None}
    if predictions.maps is not None:
        finite = np.abs(predictions.maps[np.isfinite(predictions.maps)])
        scale = np.float32(2.0 ** np.ceil(np.log2(finite.max() / LARGEST))) if finite.any() else np.float32(1)
        arrays.update(maps=(predictions.maps / scale).astype(np.float16), map_scale=scale)
    with whole_file(path) as file:
        np.savez_compressed(file, **arrays)


def load(path: Path) -> Predictions:
    """Read the file that :func:`save` wrote.

    Args:
        path: ``.npz`` file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If something other than predictions is in it.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    if not {"scores", "labels", "paths"} <= arrays.keys():
        msg = f"{path} holds {sorted(arrays)}, which are no predictions of a benchmark"
        raise ValueError(msg)
    if "maps" in arrays:
        arrays["maps"] = arrays["maps"].astype(np.float32) * arrays.pop("map_scale")
    return Predictions(**arrays)
