# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Masks of simulated anomalies: thresholded Perlin noise or rectangles, placed on the object in the foreground."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from anomalib_plugins.errors import UserError
from anomalib_plugins.synthesis.base import integers, moved_together, uniform
from anomalib_plugins.synthesis.colour import LUMA
from anomalib_plugins.synthesis.geometry import pixel_scale, rotate, rotations, warp_plane

ATTEMPTS = 20
LINE_POINTS = 12


@lru_cache(maxsize=128)
def _basis(size: int, cells: int, nodes: int, device: torch.device) -> Tensor:
    """Slope ``weight * offset`` and ``weight`` of every lattice node at every pixel of one axis ``(2, size, nodes)``.

    The offset is the distance from the node to the pixel in cells. The weight ``1 - fade(|offset|)`` is zero from one
    cell on, so that lattices of different sizes fit into one batched product.
    """
    position = torch.arange(size, dtype=torch.float64) * cells / size
    offset = position[:, None] - torch.arange(nodes)  # (size, nodes)
    distance = offset.abs().clamp(max=1)
    weight = 1 - distance**3 * (6 * distance**2 - 15 * distance + 10)
    return torch.stack((weight * offset, weight)).float().to(device)


def perlin_from_angles(angles: Tensor, cells: Tensor, size: Sequence[int]) -> Tensor:
    """Compute Perlin noise ``(N, 1, H, W)`` from given gradient directions, zero at the lattice nodes.

    With the slope and weight matrices ``D`` and ``A`` of each axis and unit gradients ``(cos, sin)``, the noise is
    ``sqrt(2) (D_y cos A_x^T + A_y sin D_x^T)``.

    Args:
        angles: Gradient direction at each lattice node in radians, ``(N, K, K)`` with ``K > cells.max()``. An image
            with fewer cells uses the first ``cells + 1`` rows and columns.
        cells: Number of lattice cells of each image along height and width ``(N, 2)``, at least 1.
        size: Height and width of the noise.
    """
    nodes = angles.shape[-1]
    rows, columns = (
        torch.stack([_basis(length, number, nodes, angles.device) for number in axis])  # (N, 2, length, K)
        for length, axis in zip(size, cells.T.tolist(), strict=True)
    )
    gradients = math.sqrt(2) * torch.stack((angles.cos(), angles.sin()), dim=1)  # (N, 2, K, K)
    left = rows @ gradients  # (N, 2, H, K)
    noise = torch.bmm(left[:, 0], columns[:, 1].mT).baddbmm_(left[:, 1], columns[:, 0].mT)
    return noise.unsqueeze(1)


def perlin_noise(
    size: Sequence[int],
    cells: Tensor,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Compute Perlin noise with random gradients and one lattice per image.

    Args:
        size: Height and width of the noise.
        cells: Number of lattice cells of each image along height and width ``(N, 2)``.
        generator: Source of the gradient directions.
        device: Device of the noise.

    Returns:
        Noise ``(N, 1, H, W)`` in about ``[-1, 1]``.

    Example:
        >>> perlin_noise((100, 60), torch.tensor([[4, 2], [8, 8]])).shape
        torch.Size([2, 1, 100, 60])
    """
    nodes = int(cells.max()) + 1
    angles = uniform((len(cells), nodes, nodes), high=2 * math.pi, generator=generator)
    return perlin_from_angles(angles.to(device), cells, size)


@dataclass(frozen=True)
class MaskStyle:
    """Size and scatter of the masks of one kind of anomaly.

    Attributes:
        octaves: Number of lattice sizes. Perlin lattices have ``2 ** u`` cells along an axis, with ``u`` drawn from
            ``0`` to ``octaves - 1`` for each axis.
        threshold: Value of the noise above which a pixel belongs to the mask.
        rectangles: Largest number of rectangles in a rectangular mask. There is at least one.
        side: Smallest and largest side of a rectangle, as a share of the image's side.
    """

    octaves: int
    threshold: float
    rectangles: int
    side: tuple[float, float]


STRUCTURAL_STYLE = MaskStyle(octaves=4, threshold=0.5, rectangles=4, side=(0.02, 0.30))
LOGICAL_STYLE = MaskStyle(octaves=3, threshold=0.4, rectangles=2, side=(0.15, 0.50))


def perlin_masks(
    styles: Sequence[MaskStyle],
    size: Sequence[int],
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw masks ``(N, 1, H, W)`` from Perlin noise that is rotated by -90 to 90 degrees and thresholded.

    About one in ten is empty or almost empty.
    """
    octaves = torch.tensor([style.octaves for style in styles])
    exponents = (uniform((len(styles), 2), generator=generator) * octaves[:, None]).long()
    noise = perlin_noise(size, 2**exponents, generator, device)
    degrees = uniform((len(styles),), -90, 90, generator)
    thresholds = [style.threshold for style in styles]
    if noise.device.type != "cpu":
        return rotate(noise, degrees) > torch.tensor(thresholds, device=device)[:, None, None, None]
    # One plane at a time, thresholded while it is in the CPU cache.
    masks, turned = np.empty(noise.shape, bool), np.empty(noise.shape[-2:], np.float32)
    for (plane,), (mask,), linear, threshold in zip(
        noise.numpy(), masks, rotations(degrees).tolist(), thresholds, strict=True
    ):
        np.greater(warp_plane(plane, linear, turned), threshold, out=mask)
    return torch.from_numpy(masks)


def rectangle_masks(
    styles: Sequence[MaskStyle],
    size: Sequence[int],
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw masks as unions of random rectangles inside the image, never empty; see ``perlin_masks``."""
    most = torch.tensor([style.rectangles for style in styles])
    low, high = torch.tensor([style.side for style in styles]).T[..., None, None]  # (N, 1, 1) each
    slots = int(most.max())
    number = 1 + (uniform((len(styles),), generator=generator) * most).long()
    used = torch.arange(slots) < number[:, None]  # (N, slots)
    shape = torch.tensor(list(size))
    sides = (torch.lerp(low, high, uniform((len(styles), slots, 2), generator=generator)) * shape).round().clamp(min=1)
    start = (uniform((len(styles), slots, 2), generator=generator) * (shape - sides + 1)).floor()
    spans = []
    for axis, length in enumerate(size):
        position = torch.arange(length)
        first, last = start[..., axis, None], (start + sides)[..., axis, None]
        spans.append(((position >= first) & (position < last)).float().to(device))  # (N, slots, length)
    rows = spans[0] * used[..., None].to(spans[0])
    return (rows.transpose(1, 2) @ spans[1] > 0).unsqueeze(1)


def scratch_masks(count: int, size: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
    """Draw masks ``(count, 1, H, W)``, on the CPU, of one or two scratches: wandering lines, from a hair to a crack.

    They are 1 to 4 pixels wide in an image of 256 x 256, and 10 pixels to 0.6 sides long.
    """
    masks = np.zeros((count, *size), np.uint8)
    scale = pixel_scale(size)
    for mask, seed in zip(masks, integers((count,), 0, 2**31 - 1, generator).tolist(), strict=True):
        random = np.random.default_rng(seed)
        for _ in range(random.integers(1, 3)):
            length = np.exp(random.uniform(np.log(10 * scale), np.log(0.6 * max(size))))
            bend = np.linspace(-1, 1, LINE_POINTS) * random.normal(0, 0.25)
            wander = random.normal(0, random.choice([0.03, 0.3]), LINE_POINTS).cumsum()
            angle = random.uniform(0, 2 * np.pi) + bend + wander
            steps = np.stack([np.cos(angle), np.sin(angle)], axis=1) * length / LINE_POINTS
            points = random.random(2) * size[::-1] + steps.cumsum(axis=0)
            width = max(1, round(scale * random.choice([1, 1, 2, 3, 4])))
            cv2.polylines(mask, [points.round().astype(np.int32)], isClosed=False, color=1, thickness=width)
    return torch.from_numpy(masks)[:, None].bool()


def areas(masks: Tensor) -> Tensor:
    """Count the pixels of each boolean mask ``(N, 1, H, W)`` and return them ``(N,)`` on the CPU."""
    return torch.tensor([np.count_nonzero(mask) for mask in masks.cpu().numpy()])


def pixel_numbers(masks: Tensor) -> list[Tensor]:
    """Flat indices ``(P,)`` of the pixels of each boolean mask ``(N, 1, H, W)``; ``P`` differs between masks."""
    return moved_together([torch.from_numpy(np.flatnonzero(mask)) for mask in masks.cpu().numpy()], masks.device)


def place_masks(draw: Callable[[Tensor], Tensor], foreground: Tensor, minimum: float) -> Tensor:
    """Draw masks until each covers enough of its object, at most 20 times.

    If no mask covers enough of the object, for example because the object is tiny, the image gets a mask that ignores
    the object.

    Args:
        draw: Function that draws boolean masks ``(K, 1, H, W)`` for images of given indices ``(K,)``.
        foreground: Boolean masks of the objects ``(N, 1, H, W)``.
        minimum: Smallest number of pixels of a mask.

    Returns:
        Masks ``(N, 1, H, W)`` with at least ``minimum`` pixels, on the object unless that failed.
    """
    masks = draw(torch.arange(len(foreground))) & foreground
    for attempt in range(1, 2 * ATTEMPTS):
        pending = (areas(masks) < minimum).nonzero()[:, 0]
        if len(pending) == 0:
            return masks
        drawn = draw(pending)
        masks[pending] = drawn & foreground[pending] if attempt < ATTEMPTS else drawn
    # Never observed. The middle of the image guarantees the minimum.
    height, width = foreground.shape[-2:]
    masks[pending, :, height // 3 : -(height // 3), width // 3 : -(width // 3)] = True
    return masks


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
