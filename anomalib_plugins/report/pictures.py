# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Small pictures of test images, ground truth and heatmaps, encoded as text for a page."""

import base64
import io
from pathlib import Path
from typing import IO, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

QUALITY = 55  # of WebP: an image of 192 pixels takes about 4 kB, a heatmap 1 kB


class Picture(NamedTuple):
    """Small picture of an image: WebP file in base64, and width divided by height."""

    data: str
    ratio: float


def image_of(source: Path | IO[bytes], side: int) -> Picture | None:
    """Load an image, at most ``side`` pixels wide and high; ``None`` if the file is missing or not an image.

    It is not turned as its EXIF data may say: models saw it like this, too.
    """
    try:
        with Image.open(source) as file:
            file.draft("RGB", (side, side))  # JPEG files are decoded at a fraction of their size
            image = file.convert("RGB")
    except (OSError, ValueError):
        return None
    image.thumbnail((side, side))
    return Picture(_webp(image, quality=QUALITY), round(image.width / image.height, 3))


def mask_of(mask: npt.NDArray[np.bool_], side: int) -> str | None:
    """Draw ground truth in white on black, losslessly and at most ``side`` pixels wide; ``None`` for a good image."""
    if not mask.any():
        return None
    # Reduced by maximum, so that a scratch of one pixel's width does not vanish.
    step = max(1, -(-max(mask.shape) // side))
    height, width = (-(-length // step) * step for length in mask.shape)
    padded = np.zeros((height, width), bool)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    small = padded.reshape(height // step, step, width // step, step).any(axis=(1, 3))
    return _webp(Image.fromarray(small.astype(np.uint8) * 255), lossless=True)


def scale_of(maps: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Scores of the darkest and the brightest colour; the lowest 1 % and the highest 0.1 % are clipped."""
    finite = maps[np.isfinite(maps)]
    if not len(finite):
        return 0.0, 1.0
    low, high = np.quantile(finite[:: max(1, len(finite) // 1_000_000)], [0.01, 0.999])
    return float(low), float(high) if high > low else float(low) + 1.0


def heatmap_of(scores: npt.NDArray[np.floating], scale: tuple[float, float], side: int) -> str:
    """Draw an anomaly map in colours from the lowest to the highest score of the scale; NaN is the brightest."""
    low, high = scale
    share = np.clip((np.where(np.isnan(scores), high, scores) - low) / (high - low), 0, 1)
    grey = Image.fromarray((share * 255).round().astype(np.uint8))
    grey.thumbnail((side, side), Image.Resampling.BOX)
    colours = cv2.applyColorMap(np.asarray(grey), cv2.COLORMAP_INFERNO)[..., ::-1]  # from BGR
    return _webp(Image.fromarray(np.ascontiguousarray(colours)), quality=QUALITY)


def _webp(image: Image.Image, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **options)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
