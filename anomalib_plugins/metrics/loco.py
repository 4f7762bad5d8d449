# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Anomaly kinds and ground truth of MVTec LOCO AD, read from its folders, and metrics for each kind."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from anomalib.metrics import AnomalibMetric
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from anomalib_plugins.errors import MissingFileError, UserError

from .ranking import _AUROC

AnomalyKind = Literal["structural", "logical"]


class Region(NamedTuple):
    """One ground truth channel of an image: its pixels ``(H, W)``, and how many count as the whole when found."""

    mask: Tensor
    saturation: int


def kind_of(image_path: str | Path) -> AnomalyKind | None:
    """Kind of anomaly of a test image, taken from its folder; ``None`` if the image is good.

    Raises:
        UserError: If the image is not in one of the data set's folders.
    """
    folder = Path(image_path).parent.name
    kinds: dict[str, AnomalyKind | None] = {
        "good": None,
        **{f"{kind}_anomalies": kind for kind in get_args(AnomalyKind)},
    }
    if folder not in kinds:
        msg = f"{image_path} is in a folder {folder!r}; MVTec LOCO AD has {list(kinds)}"
        raise UserError(msg)
    return kinds[folder]


def of_kind(image_paths: Sequence[str], kind: AnomalyKind | None) -> list[int]:
    """Indices of the good images and of the images with one kind of anomaly; ``None`` selects both kinds."""
    kinds = [kind_of(path) for path in image_paths]
    return [index for index, found in enumerate(kinds) if kind is None or found in {None, kind}]


def read_defects(path: Path) -> dict[int, tuple[float, bool]]:
    """Read ``defects_config.json`` of a category.

    Returns:
        By pixel value in ground truth channels, the area that counts as the whole defect when found, and whether it is
        a share of the defect's area instead of a number of pixels.

    Raises:
        MissingFileError: If the file is missing.
        UserError: If the file has another format.
    """
    if not path.is_file():
        msg = (
            f"{path} is missing: sPRO reads saturation thresholds from it; the data set's archive has one per category"
        )
        raise MissingFileError(msg)
    try:
        return {
            entry["pixel_value"]: (entry["saturation_threshold"], entry["relative_saturation"])
            for entry in json.loads(path.read_text(encoding="utf-8"))
        }
    except (TypeError, KeyError, json.JSONDecodeError) as error:
        msg = f"{path} must be a list of defects, each with pixel_value and saturation_threshold: {error!r}"
        raise UserError(msg) from error


def saturation(area: int, threshold: float, relative: bool) -> int:
    """Number of pixels that count as the whole of a region of ``area`` pixels; at least 1."""
    return max(1, int(threshold * area) if relative else min(int(threshold), area))


def read_regions(image_path: str | Path) -> list[Region]:
    """Read the ground truth channels of a test image, ``ground_truth/<kind>/<image>/*.png``, at their original size.

    They are read from files because anomalib's items keep only one of several masks, and its batches keep none if the
    first image is good. Empty channels are left out.

    Raises:
        MissingFileError: If an anomalous image has no channels or its category has no ``defects_config.json``.
        UserError: If a channel holds several values, or one that ``defects_config.json`` does not list.
    """
    path = Path(image_path)
    if kind_of(path) is None:
        return []
    category, folder = path.parents[2], path.parents[2] / "ground_truth" / path.parent.name / path.stem
    channels = sorted(folder.glob("*.png"))
    if not channels:
        msg = f"no ground truth for {path}: expected one PNG per defect in {folder}"
        raise MissingFileError(msg)
    defects = read_defects(category / "defects_config.json")
    regions = []
    for channel in channels:
        pixels = pil_to_tensor(Image.open(channel))[0]
        values = pixels.flatten().bincount()[1:].nonzero().add(1).flatten().tolist()
        if values and (len(values) > 1 or values[0] not in defects):
            msg = f"{channel} holds the values {values}, expected one of {sorted(defects)} from defects_config.json"
            raise UserError(msg)
        if values:
            mask = pixels != 0
            regions.append(Region(mask, saturation(int(mask.sum()), *defects[values[0]])))
    return regions


class _KindAUROC(_AUROC):
    def __init__(self, kind: AnomalyKind | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind

    def update(self, scores: Tensor, target: Tensor, image_path: Sequence[str]) -> None:  # type: ignore[override]
        keep = torch.tensor(of_kind(image_path, self.kind), device=scores.device, dtype=torch.long)
        super().update(scores[keep], target[keep])


class KindAUROC(AnomalibMetric, _KindAUROC):
    """Image AUROC on good images and one kind of MVTec LOCO AD's anomalies; logged as ``<kind>_image_AUROC``.

    Args:
        kind: Kind of anomaly, ``structural`` or ``logical``; ``None`` uses both.
        **kwargs: Arguments of anomalib's metrics: ``fields``, ``prefix``, ``strict``.
    """

    default_fields = ("pred_score", "gt_label", "image_path")

    def __init__(self, kind: AnomalyKind | None = None, **kwargs: Any) -> None:
        super().__init__(kind=kind, **kwargs)
        self.name = f"{kind + '_' if kind else ''}image_AUROC"
