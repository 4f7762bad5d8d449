# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Contact sheets with labelled rows or columns of images, and heatmaps on grey images."""

from collections.abc import Mapping, Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2.functional import to_pil_image

CELL = 224  # pixels of the longer side of a shown image
GAP, HEADER = 6, 24


def table(
    series: Mapping[str, Tensor],
    captions: Mapping[str, Sequence[str]] | None = None,
    cell: int = CELL,
    across: bool = False,
) -> Image.Image:
    """Draw series of images side by side, each under its heading.

    Args:
        series: Images in ``[0, 1]`` by heading, ``(N, 3, H, W)`` or ``(N, 1, H, W)``. All are resized to the size of
            the first.
        captions: Texts by heading, written into the upper left corner of each image.
        cell: Longer side of a drawn image, in pixels.
        across: Whether to draw each series as a row instead of a column.

    Returns:
        Picture on a white background.
    """
    number, _, *size = next(iter(series.values())).shape
    height, width = (max(1, round(side * cell / max(size))) for side in size)
    columns, rows = (number, len(series)) if across else (len(series), number)
    # Columns share one line of headings; every row has its own.
    line = height + GAP + across * HEADER
    picture = Image.new("RGB", (GAP + columns * (width + GAP), (not across) * HEADER + rows * line), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=14)
    for place, (title, images) in enumerate(series.items()):
        left, top = (GAP, place * line) if across else (GAP + place * (width + GAP), 0)
        pen.text((left, top + 4), title, fill="black", font=font)
        shown = interpolate(images.detach().float().cpu(), size=(height, width), mode="nearest-exact")
        texts = (captions or {}).get(title, [""] * number)
        for i, (image, text) in enumerate(zip(shown.clamp(0, 1).expand(-1, 3, -1, -1), texts, strict=True)):
            corner = (left + i * (width + GAP), top + HEADER) if across else (left, HEADER + i * line)
            picture.paste(to_pil_image(image), corner)
            at = (corner[0] + 4, corner[1] + 2)
            pen.text(at, text, fill="white", font=font, stroke_width=2, stroke_fill="black")
    return picture


def heat(images: Tensor, maps: Tensor) -> Tensor:
    """Draw maps over grey images, transparent where a map is 0, then red, and yellow where it is 1.

    Args:
        images: RGB images in ``[0, 1]`` ``(N, 3, H, W)``.
        maps: Maps in ``[0, 1]`` ``(N, 1, h, w)``, of any size.

    Returns:
        RGB images ``(N, 3, H, W)``.
    """
    maps = interpolate(maps.to(images), size=images.shape[-2:], mode="bilinear")
    colour = torch.cat([torch.ones_like(maps), maps, torch.zeros_like(maps)], dim=1)
    return torch.lerp(images.mean(dim=1, keepdim=True).expand_as(images), colour, 0.8 * maps)


def stretch(maps: Tensor) -> Tensor:
    """Rescale maps to 0 at the median of all pixels and 1 at their maximum, so that small differences show.

    Args:
        maps: Maps of any shape.

    Returns:
        Maps of the same shape in ``[0, 1]``; 0 if all pixels are equal.
    """
    low, high = maps.median(), maps.amax()
    return ((maps - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
