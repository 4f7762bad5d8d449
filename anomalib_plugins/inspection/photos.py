# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Files behind a dataset, with split, label and mask."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Photo(NamedTuple):
    """Photo of a dataset.

    Attributes:
        path: File.
        split: ``train``, ``val``, ``test`` or ``predict``.
        label: 0 for a good part, 1 for a defect, ``None`` if unknown.
        mask: File that marks the defect; empty if there is none.
    """

    path: str
    split: str
    label: int | None = None
    mask: str = ""


def photos_of(datasets: Iterable[tuple[str, Any]]) -> list[Photo]:
    """List the photos of datasets, in their order; other datasets have none.

    Args:
        datasets: Split and dataset; with anomalib's ``samples`` table or a list ``image_filenames``.
    """
    return [photo for split, data in datasets for photo in _photos(split, data)]


def _photos(split: str, data: Any) -> list[Photo]:
    samples: Any = getattr(data, "samples", None)
    columns = getattr(samples, "columns", ())
    if "image_path" not in columns:
        return [Photo(str(path), split) for path in getattr(data, "image_filenames", ())]
    # Labels and masks of a dataset that makes anomalies are not those of the photos.
    known = [name for name in ("label_index", "mask_path") if name in columns and not makes_anomalies(data)]
    rows = samples[["image_path", *known]].to_dict("records")
    return [
        Photo(str(row["image_path"]), split, _label(row.get("label_index")), _path(row.get("mask_path")))
        for row in rows
    ]


def _label(value: Any) -> int | None:
    return None if value is None else int(value)


def _path(value: Any) -> str:
    return str(value) if isinstance(value, str | Path) else ""


def makes_anomalies(data: Any) -> bool:
    """Tell whether the dataset puts anomalies into normal photos while it reads them."""
    return hasattr(data, "anomaly_ratio")


def leave_out(data: Any, bad: Mapping[str, str]) -> int:
    """Remove photos that are bad, or whose mask is, from a dataset.

    Args:
        data: Dataset; it is changed.
        bad: Bad files by path.

    Returns:
        Number of photos removed.
    """
    photos = _photos("", data)
    keep = [row for row, photo in enumerate(photos) if photo.path not in bad and photo.mask not in bad]
    if len(keep) == len(photos):
        return 0
    if hasattr(data, "subsample"):
        data.subsample(keep, inplace=True)
    else:
        data.image_filenames = [data.image_filenames[row] for row in keep]
    return len(photos) - len(keep)


def where(data: Any) -> str:
    """Name the folder and endings that a dataset looked for, as far as known."""
    root, normal = getattr(data, "root_category", None) or getattr(data, "root", None), getattr(data, "normal_dir", "")
    folder = Path(root or ".") / str(normal or "train/good")
    endings = getattr(data, "extensions", None) or getattr(sys.modules[type(data).__module__], "IMG_EXTENSIONS", ())
    return f"in {folder}" + (f" (endings looked for: {', '.join(endings)})" if endings else "")
