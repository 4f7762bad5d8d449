# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""One picture of a test: photos, masks, heatmaps and verdicts."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.v2.functional import resize, to_pil_image

from anomalib_plugins.components.pictures import heat

SIDE, GAP, HEADER = 168, 6, 24
RED, GREEN, GREY = "#c0392b", "#1e8449", "#555555"


class Verdict(NamedTuple):
    """What a model says of a photo of the test.

    Attributes:
        kind: Folder of the photo, e.g. ``good`` or ``scratch``.
        is_defect: Whether it is one.
        score: In ``[0, 1]``; the threshold is 0.5.
        photo: RGB in ``[0, 1]`` ``(3, H, W)``.
        mask: Pixels of the defect ``(H, W)``; ``None`` if nobody marked them.
        heatmap: Scores of the pixels ``(h, w)``, as ``score``.
        path: File of the photo.
    """

    kind: str
    is_defect: bool
    score: float
    photo: Tensor
    mask: Tensor | None
    heatmap: Tensor
    path: Path

    @property
    def called_defect(self) -> bool:
        """Whether the model calls it a defect."""
        return self.score > 0.5


def chosen(verdicts: Sequence[Verdict], good: int = 5, most: int = 15) -> list[Verdict]:
    """A few good photos and some of every kind of defect, as evenly as there are photos, wrong verdicts first.

    Args:
        verdicts: All of the test.
        good: Good photos to show.
        most: Photos to show.
    """
    verdicts = sorted(verdicts, key=lambda each: each.called_defect == each.is_defect)
    normal = [each for each in verdicts if not each.is_defect]
    kinds: dict[str, list[Verdict]] = {}
    for each in verdicts:
        if each.is_defect:
            kinds.setdefault(each.kind, []).append(each)
    deepest = max(map(len, kinds.values()), default=0)
    turns = [some[turn] for turn in range(deepest) for some in kinds.values() if turn < len(some)]
    return [*normal[:good], *turns[: max(len(kinds), most - good)]]


def contact_sheet(verdicts: Sequence[Verdict], columns: int = 3) -> Image.Image:
    """Draw photo, mask and heatmap of each, under the verdict.

    Args:
        verdicts: What to draw.
        columns: Photos side by side.
    """
    masks = any(each.mask is not None and each.mask.any() for each in verdicts)
    width = (3 if masks else 2) * (SIDE + GAP) + 2 * GAP
    height = SIDE + HEADER + GAP
    rows = -(-len(verdicts) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height + HEADER), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    titles = ("photo", "mask", "heatmap") if masks else ("photo", "heatmap")
    for place in range(columns):
        for number, title in enumerate(titles):
            pen.text((place * width + GAP + number * (SIDE + GAP), 4), title, fill=GREY, font=font)
    for number, each in enumerate(verdicts):
        left, top = number % columns * width + GAP, number // columns * height + HEADER
        pen.text((left, top + 3), *_caption(each), font=font)
        for place, image in enumerate(_images(each, masks)):
            sheet.paste(image, (left + place * (SIDE + GAP), top + HEADER))
    return sheet


def _caption(verdict: Verdict) -> tuple[str, str]:
    """Text and colour: green where the model is right."""
    says = "DEFECT" if verdict.called_defect else "ok"
    right = verdict.called_defect == verdict.is_defect
    name = f"{verdict.kind.replace('_', ' ')} {verdict.path.stem}"
    text = f"{name}: {says} ({verdict.score:.2f})" + " - wrong" * (not right)
    return text, GREEN if right else RED


def _hot(verdict: Verdict) -> Tensor:
    """What is above the threshold; where a photo is called a defect for less, what is highest in it."""
    top = float(verdict.heatmap.max())
    low = min(0.5, 0.7 * top) if verdict.called_defect else 0.5
    return ((verdict.heatmap - low) / ((top if verdict.called_defect else 1) - low + 1e-6)).clamp(0, 1)


def _images(verdict: Verdict, masks: bool) -> list[Image.Image]:
    photo = resize(verdict.photo, [SIDE, SIDE], antialias=True).clamp(0, 1)
    shown = [photo, heat(photo[None], _hot(verdict)[None, None])[0]]
    if masks:
        mask = torch.zeros(1, 8, 8) if verdict.mask is None else verdict.mask[None].float()
        shown.insert(1, resize(mask, [SIDE, SIDE], antialias=False))
    return [to_pil_image(each) for each in shown]
