# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Photographs a drawn part: lamp, sky, shadows, brushed metal, lens and camera noise."""

import cv2
import numpy as np

from .flange import SUPERSAMPLING, Surface


def brushed(rng: np.random.Generator, surface: Surface) -> np.ndarray:
    """Brush marks along the part's own ``u`` axis, about standard normal, ``(S, S)``."""
    side = len(surface.u)
    grain = rng.standard_normal((side, side), dtype=np.float32)
    lines = cv2.blur(grain, (side // 5, 1)) * 3 + cv2.GaussianBlur(grain, (0, 0), 1.0)
    columns, rows = ((0.5 + axis) * side for axis in (surface.u, surface.v))
    marks = cv2.remap(lines, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return marks / marks.std()


def _shadow(height: np.ndarray, azimuth: float) -> np.ndarray:
    """How much of the lamp's light each pixel loses to higher neighbours, in ``[0, 0.65]``."""
    side = len(height)
    shift = np.array([[1, 0, -np.cos(azimuth)], [0, 1, -np.sin(azimuth)]], dtype=np.float32)
    shift[:, 2] *= side * 0.022
    cast = cv2.warpAffine(cv2.GaussianBlur(height, (0, 0), side * 0.006), shift, (side, side))
    return np.clip((cast - height - 0.004) * 45, 0, 0.65)


def shade(surface: Surface, rng: np.random.Generator) -> np.ndarray:
    """Photograph the surface: one lamp from the upper left, sky light, camera blur and noise.

    Args:
        surface: What is lit.
        rng: Lamp position, brightness, brush marks and noise are drawn from it, always in the same order and
            number, so that two surfaces shaded with equal generators differ only where the surfaces do.

    Returns:
        RGB image ``(H, W, 3)``, uint8.
    """
    side = len(surface.u)
    azimuth, brightness = rng.normal(-2.25, 0.08), rng.normal(0.92, 0.04)
    warmth, streak_at = rng.normal(0, 0.012), rng.normal(-0.08, 0.035)
    metal = np.clip((surface.gloss - 0.3) / 0.25, 0, 1) * surface.plate
    marks = brushed(rng, surface) * metal
    mat = cv2.GaussianBlur(rng.standard_normal((side, side), dtype=np.float32), (0, 0), 1.2)

    slope_x = cv2.Sobel(surface.height, cv2.CV_32F, 1, 0, ksize=3) / (8 * surface.pixel)
    slope_y = cv2.Sobel(surface.height, cv2.CV_32F, 0, 1, ksize=3) / (8 * surface.pixel)
    slope_y += 0.045 * marks + 0.25 * mat * (1 - surface.plate)
    lamp = np.array([np.cos(azimuth) * 0.55, np.sin(azimuth) * 0.55, 0.83], dtype=np.float32)
    half = lamp + np.array([0, 0, 1], dtype=np.float32)  # between lamp and camera
    half /= np.linalg.norm(half)
    norm = np.sqrt(slope_x**2 + slope_y**2 + 1)
    unshaded: np.ndarray = 1 - _shadow(surface.height, azimuth)
    diffuse = np.clip((lamp[2] - slope_x * lamp[0] - slope_y * lamp[1]) / norm, 0, None) * unshaded
    mirror = np.clip((half[2] - slope_x * half[0] - slope_y * half[1]) / norm, 0, 1) ** 28 * unshaded
    hollow = np.clip((cv2.GaussianBlur(surface.height, (0, 0), side * 0.02) - surface.height) * 14, 0, 0.6)
    streak = np.exp(-(((surface.u * 0.55 + surface.v - np.float32(streak_at)) / 0.20) ** 2)) * metal

    light = (0.30 * (1 - hollow) + 0.80 * diffuse) * (1 + 0.06 * marks)  # cavities see less sky
    gleam = surface.gloss * (0.30 * mirror + 0.12 * streak * (1 + 0.15 * marks))
    image = surface.albedo * light[..., None] + gleam[..., None]
    image = cv2.GaussianBlur(image, (0, 0), 0.45 * SUPERSAMPLING)
    image = cv2.resize(image, (side // SUPERSAMPLING,) * 2, interpolation=cv2.INTER_AREA)
    image *= brightness * np.array([1 + warmth, 1, 1 - warmth])
    image = np.clip(image, 0, 1) ** (1 / 2.2) + rng.normal(0, 0.008, image.shape)
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
