# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Where the object is: simulated defects belong on the part, not on the table it lies on."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anomalib_plugins.errors import UserError
from anomalib_plugins.synthesis.colour import LUMA

BORDER = 5
COVERAGE = (0.05, 0.95)
# Share of the variance that lies between object and background. Values spread evenly reach 3/4, so that less than this
# is no object but shading or texture.
SEPARABILITY = 0.75
SQUARE = np.ones((3, 3), np.uint8)

# Grey threshold and side of it on which the object lies, from the MIT-licensed TooTouch/MemSeg. Categories of MVTec AD
# that are not listed (cable, all textures) use no foreground.
MVTEC_FOREGROUND: dict[str, tuple[int, Literal["brighter", "darker"]]] = {
    "hazelnut": (50, "brighter"),
    "metal_nut": (40, "brighter"),
    "pill": (100, "brighter"),
    "toothbrush": (30, "brighter"),
    "capsule": (120, "darker"),
    "transistor": (90, "darker"),
    "bottle": (250, "darker"),
    "screw": (110, "darker"),
    "zipper": (100, "darker"),
}


class Foreground:
    """Binary masks of the object in each image.

    An image in which no object is found (it would be all background, or almost all of it object) counts as all object,
    so that a defect always has somewhere to go.

    Args:
        mode: ``"auto"`` finds what differs in colour from the image's border, and finds nothing in a texture;
            ``"threshold"`` uses ``threshold`` and ``polarity``; ``"none"`` calls every pixel object, for textures; the
            name of an MVTec AD object category uses that category's threshold.
        threshold: Grey value, 0 to 255, for ``mode="threshold"``.
        polarity: Whether the object is ``"brighter"`` or ``"darker"`` than ``threshold``.

    Raises:
        ValueError: If ``mode`` or ``polarity`` is unknown, or ``threshold`` is missing, superfluous or out of range.
    """

    def __init__(
        self,
        mode: str = "auto",
        threshold: int | None = None,
        polarity: Literal["brighter", "darker"] = "brighter",
    ) -> None:
        if mode not in {"auto", "threshold", "none", *MVTEC_FOREGROUND}:
            choices = ", ".join(("auto", "threshold", "none", *MVTEC_FOREGROUND))
            msg = f"unknown foreground {mode!r}; choose one of {choices}"
            raise UserError(msg)
        if polarity not in {"brighter", "darker"}:
            msg = f'foreground polarity must be "brighter" or "darker", got {polarity!r}'
            raise UserError(msg)
        if (mode == "threshold") != (threshold is not None):
            msg = f'a foreground threshold goes with mode "threshold" and only with it, got {mode!r} and {threshold}'
            raise UserError(msg)
        if threshold is not None and not 0 <= threshold <= 255:
            msg = f"foreground threshold must be a grey value in [0, 255], got {threshold}"
            raise UserError(msg)
        self.mode = mode
        self.threshold, self.polarity = MVTEC_FOREGROUND.get(mode, (threshold, polarity))

    def __call__(self, images: Tensor) -> Tensor:
        """Masks ``(N, 1, H, W)``, true on the object, of images ``(N, 3, H, W)`` in ``[0, 1]``."""
        if self.mode == "none":
            return images.new_ones(len(images), 1, *images.shape[-2:], dtype=torch.bool)
        if self.threshold is None:
            planes = images.mul(255).round_().byte().cpu().numpy()
            masks = torch.from_numpy(np.stack([_standing_out(image) for image in planes]) > 0).to(images.device)
        else:
            grey = torch.einsum("nchw,c->nhw", images, images.new_tensor(LUMA)) * 255
            masks = grey > self.threshold if self.polarity == "brighter" else grey < self.threshold
        masks = masks[:, None]
        return masks | ~masks.flatten(1).any(dim=1)[:, None, None, None]


@dataclass(frozen=True)
class BrightObject:
    """Binary masks of what is bright in the blue channel. Sizes are pixels of an image of 256 x 256, scaled to others.

    Attributes:
        threshold: Value, 0 to 255, above which a pixel is object.
        erode: Height and width of the rectangle whose every pixel must be object.
        dilate: Height and width of the rectangle that then surrounds every object pixel.
        rows: Rows from the top that may be object.
        columns: Columns from the left that may be object.
    """

    threshold: int
    erode: tuple[int, int] = (1, 1)
    dilate: tuple[int, int] = (1, 1)
    rows: int = 256
    columns: int = 256

    def __call__(self, images: Tensor) -> Tensor:
        """Masks ``(N, 1, H, W)``, true on the object, of RGB images ``(N, 3, H, W)`` in ``[0, 1]``."""
        height, width = images.shape[-2:]
        masks = (images[:, 2:] > self.threshold / 255).to(images.dtype)
        masks = _dilated(1 - _dilated(1 - masks, self.erode), self.dilate)
        masks[:, :, round(self.rows * height / 256) :] = 0
        masks[..., round(self.columns * width / 256) :] = 0
        return masks > 0


def _dilated(masks: Tensor, shape: tuple[int, int]) -> Tensor:
    """Largest value in a rectangle about each pixel, of ``shape`` (height, width) in an image of 256 x 256."""
    kernel = [max(1, round(side * size / 256)) for side, size in zip(shape, masks.shape[-2:], strict=True)]
    rows, columns = ((side // 2, side - 1 - side // 2) for side in kernel)  # the middle of even sides as in OpenCV
    return F.max_pool2d(F.pad(masks, (*columns, *rows)), kernel, stride=1)


def _standing_out(planes: np.ndarray) -> np.ndarray:
    """Mask ``(H, W)`` of what differs from the colour along the border of an 8-bit image ``(3, H, W)``.

    Otsu's threshold on the distance from the border's median colour, opened, closed and filled. All ones if the two
    classes are not clearly apart or one of them is almost the whole image: then nothing stands out.
    """
    border = (planes[:, :BORDER], planes[:, -BORDER:], planes[:, :, :BORDER], planes[:, :, -BORDER:])
    colour = np.median(np.concatenate([side.reshape(3, -1) for side in border], axis=1), axis=1)
    red, green, blue = (cv2.absdiff(plane, float(value)) for plane, value in zip(planes, colour, strict=True))
    distance = cv2.GaussianBlur(cv2.max(cv2.max(red, green), blue), (5, 5), 0)
    _, mask = cv2.threshold(distance, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    share = _coverage(mask)
    gap = cv2.mean(distance, mask)[0] - cv2.mean(distance, 1 - mask)[0]
    if share * (1 - share) * gap**2 <= SEPARABILITY * cv2.meanStdDev(distance)[1].item() ** 2:
        return np.ones_like(mask)
    mask = cv2.morphologyEx(cv2.morphologyEx(mask, cv2.MORPH_OPEN, SQUARE), cv2.MORPH_CLOSE, SQUARE)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(mask, outlines, -1, 1, thickness=cv2.FILLED)
    return mask if COVERAGE[0] <= _coverage(mask) <= COVERAGE[1] else np.ones_like(mask)


def _coverage(mask: np.ndarray) -> float:
    return cv2.countNonZero(mask) / mask.size
