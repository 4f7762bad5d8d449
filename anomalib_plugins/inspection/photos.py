# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The files behind a dataset: which photos, of what kind, with which masks."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Photo(NamedTuple):
    """One photo of a dataset.

    Attributes:
        path: Its file.
        split: ``train``, ``val``, ``test`` or ``predict``.
        label: 0 for a good part, 1 for a defect, ``None`` if nobody knows.
        mask: File that marks the defect; empty if there is none.
    """

    path: str
    split: str
    label: int | None = None
    mask: str = ""


def photos_of(datasets: Iterable[tuple[str, Any]]) -> list[Photo]:
    """Photos of datasets, in their order; those that are no image datasets have none.

    Args:
        datasets: Split and dataset; with anomalib's ``samples`` table or a list ``image_filenames``.
    """
    return [photo for split, data in datasets for photo in _photos(split, data)]


def _photos(split: str, data: Any) -> list[Photo]:
    samples: Any = getattr(data, "samples", None)
    columns = getattr(samples, "columns", ())
    if "image_path" not in columns:
        return [Photo(str(path), split) for path in getattr(data, "image_filenames", ())]
    unknown = [None] * len(samples)
    paths = [str(path) for path in samples["image_path"]]
    labels = [int(label) for label in samples["label_index"]] if "label_index" in columns else unknown
    masks = [_mask(value) for value in samples["mask_path"]] if "mask_path" in columns else unknown
    if makes_anomalies(data):
        labels, masks = unknown, unknown  # of what it makes, not of the photos it reads
    return [Photo(p, split, n, m or "") for p, n, m in zip(paths, labels, masks, strict=True)]


def _mask(value: Any) -> str:
    return str(value) if isinstance(value, str | Path) and str(value) else ""


def makes_anomalies(data: Any) -> bool:
    """Whether the dataset puts anomalies into normal photos while it reads them."""
    return hasattr(data, "anomaly_ratio")


def leave_out(data: Any, bad: Mapping[str, str]) -> int:
    """Remove photos that are bad, or whose mask is, from a dataset.

    Args:
        data: The dataset; it is changed.
        bad: Paths of bad files.

    Returns:
        How many were removed.
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
    """Which folder a dataset looked in for which files, as far as it says."""
    root, normal = getattr(data, "root_category", None) or getattr(data, "root", None), getattr(data, "normal_dir", "")
    folder = Path(root or ".") / str(normal or "train/good")
    endings = getattr(data, "extensions", None) or getattr(sys.modules[type(data).__module__], "IMG_EXTENSIONS", ())
    return f"in {folder}" + (f" (endings looked for: {', '.join(endings)})" if endings else "")
