# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""DRAEM's ten colour and geometry operations, which augment textures.

They work on one 8-bit RGB image ``(H, W, 3)`` at a time: on the CPU, a look-up table of 256 values is several times
faster than the same arithmetic on float batches. Each operation takes pixels and ``amounts``, up to three numbers in
``[0, 1)`` that it scales to its own ranges.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch

from anomalib_plugins.errors import UserError
from anomalib_plugins.synthesis.draws import uniform

Operation = Callable[[np.ndarray, Sequence[float]], np.ndarray]

LEVELS = np.arange(256, dtype=np.float32)
# Image of all values, which is the identity as a look-up table. An operation on values turns it into its own table.
RAMP = np.repeat(LEVELS.astype(np.uint8)[:, None, None], 3, axis=2)


def _look_up(pixels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Replace every value by its rounded and clipped entry in ``table``, ``(256,)`` or ``(256, 3)`` by channel."""
    if table.dtype != np.uint8:
        table = table.round().clip(0, 255).astype(np.uint8)
    return cv2.LUT(pixels, table.reshape(1, 256, -1))


def gamma_contrast(pixels: np.ndarray, amounts: Sequence[float]) -> np.ndarray:
    """Raise each channel, scaled to ``[0, 1]``, to its own power from 0.5 to 2."""
    return _look_up(pixels, 255 * (LEVELS[:, None] / 255) ** (0.5 + 1.5 * np.array(amounts[:3])))


def shift_brightness(pixels: np.ndarray, amounts: Sequence[float]) -> np.ndarray:
    """Multiply by 0.8 to 1.2, then add -30 to 30."""
    return _look_up(pixels, LEVELS * (0.8 + 0.4 * amounts[0]) - 30 + 60 * amounts[1])


def sharpen(pixels: np.ndarray, amounts: Sequence[float]) -> np.ndarray:
    """Blend with a copy smoothed by PIL's kernel, by a factor from 0 (smooth) to 3 (sharp); 1 changes nothing."""
    factor = 3 * amounts[0]
    box = cv2.blur(pixels, (3, 3), borderType=cv2.BORDER_REPLICATE)
    # PIL's kernel has 5 at the centre and 1 around it, divided by 13: 9 / 13 of the box and 4 / 13 of the pixel.
    return cv2.addWeighted(pixels, factor + (1 - factor) * 4 / 13, box, (1 - factor) * 9 / 13, 0)


def shift_hue_saturation(pixels: np.ndarray, amounts: Sequence[float]) -> np.ndarray:
    """Add -50 to 50 (of 255) to the hue, which wraps around, and to the saturation in HSV."""
    hue, saturation = (100 * amount - 50 for amount in amounts[:2])
    table = np.stack(((LEVELS + round(hue)) % 256, LEVELS + saturation, LEVELS), axis=1)
    return cv2.cvtColor(_look_up(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL), table), cv2.COLOR_HSV2RGB_FULL)


def solarize(pixels: np.ndarray, amounts: Sequence[float]) -> np.ndarray:
    """Invert, with probability 0.5, all values from a random threshold between 32 and 128 up."""
    threshold = 32 + 96 * amounts[1] if amounts[0] < 0.5 else 256
    return _look_up(pixels, np.where(threshold <= LEVELS, 255 - LEVELS, LEVELS))


def posterize(pixels: np.ndarray, amounts: Sequence[float]) -> np.ndarray:
    """Keep the 1 to 8 highest bits of each value."""
    step = 2 ** (7 - int(8 * amounts[0]))
    return _look_up(pixels, LEVELS // step * step)


def invert(pixels: np.ndarray, amounts: Sequence[float]) -> np.ndarray:  # noqa: ARG001
    """Swap dark and bright."""
    return cv2.bitwise_not(pixels)


def auto_contrast(pixels: np.ndarray, amounts: Sequence[float]) -> np.ndarray:  # noqa: ARG001
    """Stretch each channel to the full range."""
    return _look_up(pixels, _stretching(count_values(pixels)))


def equalize(pixels: np.ndarray, amounts: Sequence[float]) -> np.ndarray:  # noqa: ARG001
    """Flatten the histogram of each channel."""
    return _look_up(pixels, _flattening(count_values(pixels)))


def count_values(pixels: np.ndarray) -> np.ndarray:
    """Count the values of each channel of an 8-bit RGB image ``(H, W, 3)``: a histogram ``(256, 3)``."""
    return np.stack([cv2.calcHist([pixels], [channel], None, [256], [0, 256]).ravel() for channel in range(3)], axis=1)


def _stretching(counts: np.ndarray) -> np.ndarray:
    """Look-up table ``(256, 3)`` of ``auto_contrast`` for a histogram ``(256, 3)``."""
    low, high = (counts > 0).argmax(axis=0), 255 - (counts[::-1] > 0).argmax(axis=0)
    scale = 255 / np.maximum(high - low, 1)
    # Rounded once, as in OpenCV.
    return (LEVELS[:, None].astype(float) * np.float32(scale) - np.float32(low * scale)).astype(np.float32)


def _flattening(counts: np.ndarray) -> np.ndarray:
    """Look-up table ``(256, 3)`` of ``equalize`` for a histogram ``(256, 3)``."""
    least = counts[(counts > 0).argmax(axis=0), range(3)]
    above = (counts.cumsum(axis=0) - least).astype(np.float32)
    return np.where(above[-1] > 0, above * (255 / np.maximum(above[-1], 1)), LEVELS[:, None])


def turn(pixels: np.ndarray, amounts: Sequence[float]) -> np.ndarray:
    """Rotate by -45 to 45 degrees around the centre; pixels from outside the image are black."""
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 90 * amounts[0] - 45, 1.0)
    padded = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA)  # OpenCV rotates four channels twice as fast as three
    return cv2.cvtColor(cv2.warpAffine(padded, matrix, (width, height)), cv2.COLOR_RGBA2RGB)


OPERATIONS: tuple[Operation, ...] = (
    gamma_contrast,
    shift_brightness,
    sharpen,
    shift_hue_saturation,
    solarize,
    posterize,
    invert,
    auto_contrast,
    equalize,
    turn,
)


# Operations that replace each value by another, and operations that need the histogram to do so.
BY_VALUE = {gamma_contrast, shift_brightness, solarize, posterize, invert}
BY_COUNT = {auto_contrast: _stretching, equalize: _flattening}
# Indices of the operations that need more than one pixel.
WHOLE_IMAGE = {OPERATIONS.index(operation) for operation in (sharpen, turn, *BY_COUNT)}


def augment(
    pixels: np.ndarray,
    order: Sequence[int],
    amounts: Sequence[Sequence[float]],
    place: np.ndarray,
    counts: np.ndarray | None = None,
) -> np.ndarray:
    """Apply operations to an image and return some of its pixels.

    Only these pixels are computed after the last operation that needs the whole image. Operations that replace values
    are combined into one look-up table.

    Args:
        pixels: 8-bit RGB image ``(H, W, 3)``; not modified.
        order: Indices of the operations in ``OPERATIONS``.
        amounts: Amounts of each operation.
        place: Flat indices of the pixels to return ``(P,)``.
        counts: Result of ``count_values(pixels)``. ``None`` computes it when needed.

    Returns:
        8-bit RGB values ``(P, 3)``.
    """
    whole = max((step + 1 for step, number in enumerate(order) if number in WHOLE_IMAGE), default=0)
    table = RAMP
    for step, (number, amount) in enumerate(zip(order, amounts, strict=True)):
        if step == whole:
            pixels = _pick(pixels, place)
        operation = OPERATIONS[number]
        if operation in BY_VALUE:
            table = operation(table, amount)
        elif operation in BY_COUNT:
            counts = count_values(pixels) if counts is None else counts
            table = _look_up(table, BY_COUNT[operation](_replaced(counts, table)))
        else:
            pixels = operation(pixels if table is RAMP else _look_up(pixels, table), amount)
            table, counts = RAMP, None
    if whole == len(order):
        pixels = _pick(pixels, place)
    return _look_up(pixels, table)[0]


def _pick(pixels: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Pick pixels of an image and return them as an image of one row ``(1, P, 3)``; OpenCV is slow on one column."""
    return np.take(pixels.reshape(1, -1, 3), place, axis=1)


def _replaced(counts: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Update a histogram ``(256, 3)`` for a ``_look_up`` in ``table`` ``(256, 1, 3)``."""
    return np.stack([np.bincount(*column, 256) for column in zip(table[:, 0].T, counts.T, strict=True)], axis=1)


def random_operations(
    images: int, generator: torch.Generator | None = None, count: int = 3
) -> tuple[list[list[int]], list[list[list[float]]]]:
    """Choose ``count`` distinct operations in random order for each image.

    Args:
        images: Number of images.
        generator: Source of the choices and amounts.
        count: Number of operations per image, from 1 to 10.

    Returns:
        Indices of the operations of each image, and their amounts, in the form that ``augment`` takes.

    Raises:
        ValueError: If ``count`` is below 1 or above the number of operations.
    """
    if not 1 <= count <= len(OPERATIONS):
        msg = f"count must be 1 to {len(OPERATIONS)} operations, got {count}"
        raise UserError(msg)
    order = uniform((images, len(OPERATIONS)), generator=generator).argsort(dim=1)[:, :count]
    return order.tolist(), uniform((images, count, 3), generator=generator).tolist()
