# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The shape of the demo part, a machined flange: signed distances drawn into height and material maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

SUPERSAMPLING = 2
CORNERS = ((-0.235, -0.235), (0.235, -0.235), (0.235, 0.235), (-0.235, 0.235))
VIEW = 0.86  # image width in part units: the plate fills three quarters of it
STEEL, ALUMINIUM = (0.24, 0.24, 0.25), (0.45, 0.455, 0.46)
BLUE, PAPER, INK, RUBBER = (0.09, 0.22, 0.50), (0.80, 0.78, 0.70), (0.08, 0.08, 0.09), (0.06, 0.06, 0.065)
PLATE_HALF, PLATE_RADIUS, SCREW_RADIUS, LABEL_HALF = 0.315, 0.055, 0.045, (0.125, 0.042)


@dataclass(frozen=True)
class Flange:
    """What is mounted where, in part units; the origin is the centre of the part.

    Args:
        screws: Which of the four corners hold a screw.
        holes: Centres of the threaded holes; those under a screw cannot be seen.
        label: Centre ``(u, v)`` and rotation (radians) of the paper label.
        connector: Centre of the plastic connector.
        connector_colour: Its linear RGB colour in ``[0, 1]``.
    """

    screws: tuple[int, ...] = (0, 1, 2, 3)
    holes: tuple[tuple[float, float], ...] = CORNERS
    label: tuple[float, float, float] = (0.0, 0.235, 0.0)
    connector: tuple[float, float] = (0.0, -0.237)
    connector_colour: tuple[float, float, float] = BLUE


@dataclass
class Surface:
    """What the light falls on, all maps ``(S, S)`` or ``(S, S, 3)`` at the supersampled size.

    Args:
        u: Part coordinate to the right of every pixel.
        v: Part coordinate downwards of every pixel.
        height: Height above the table in part units.
        albedo: Linear RGB reflectance in ``[0, 1]``.
        gloss: Share of mirror-like reflection in ``[0, 1]``.
        plate: Share of the pixel the plate covers, in ``[0, 1]``.
        pixel: Width of a supersampled pixel in part units.
    """

    u: np.ndarray
    v: np.ndarray
    height: np.ndarray
    albedo: np.ndarray
    gloss: np.ndarray
    plate: np.ndarray
    pixel: float

    @classmethod
    def table(cls, pose: tuple[float, float, float], size: int) -> "Surface":
        """The empty table for a final image of ``size`` pixels; ``pose`` as in :func:`build`."""
        side = size * SUPERSAMPLING
        axis = (((np.arange(side, dtype=np.float32) + 0.5) / side) - 0.5) * VIEW
        x, y = (axis - np.float32(pose[1]))[None], (axis - np.float32(pose[2]))[:, None]
        cos, sin = np.float32(np.cos(pose[0])), np.float32(np.sin(pose[0]))
        u, v = x * cos + y * sin, y * cos - x * sin
        empty: np.ndarray = np.zeros_like(u)
        albedo: np.ndarray = np.full((side, side, 3), 0.055, dtype=np.float32)
        return cls(u, v, empty, albedo, empty.copy(), empty.copy(), VIEW / side)

    def around(self, u: float, v: float, reach: float) -> "Surface":
        """The square part of the surface within ``reach`` of a point, sharing memory, with the point as its origin."""
        near = (np.abs(self.u - u) < reach) & (np.abs(self.v - v) < reach)
        rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
        cut: tuple[slice, slice] = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        maps = (self.height[cut], self.albedo[cut], self.gloss[cut], self.plate[cut])
        return Surface(self.u[cut] - np.float32(u), self.v[cut] - np.float32(v), *maps, self.pixel)

    def cover(self, distance: np.ndarray) -> np.ndarray:
        """Share of each pixel inside the shape whose signed distance is given, in ``[0, 1]``."""
        return np.clip(0.5 - distance / self.pixel, 0, 1)

    def paint(self, cover: np.ndarray, colour: tuple[float, float, float] | np.ndarray, gloss: float) -> None:
        """Lay a material over what is there; ``cover`` ``(S, S)`` is its opacity."""
        self.albedo += cover[..., None] * (np.asarray(colour, dtype=np.float32) - self.albedo)
        self.gloss += cover * (gloss - self.gloss)

    def raise_shape(self, distance: np.ndarray, amount: float, bevel: float) -> None:
        """Lift (or with a negative ``amount`` sink) a shape, over a rounded edge ``bevel`` wide."""
        ramp = np.clip(-distance / bevel, 0, 1)
        self.height += amount * np.sin(ramp * (np.pi / 2))


def box(u: np.ndarray, v: np.ndarray, half_width: float, half_height: float, radius: float) -> np.ndarray:
    """Signed distance to a rounded box around the origin."""
    x, y = np.abs(u) - half_width + radius, np.abs(v) - half_height + radius
    return np.hypot(np.maximum(x, 0), np.maximum(y, 0)) + np.minimum(np.maximum(x, y), 0) - radius


def hexagon(u: np.ndarray, v: np.ndarray, apothem: float, angle: float) -> np.ndarray:
    """Signed distance (exact at the flats) to a hexagon around the origin."""
    turns = angle + np.arange(3) * (np.pi / 3)
    return np.max([np.abs(u * np.cos(t) + v * np.sin(t)) for t in turns], axis=0) - apothem


def label_print() -> np.ndarray:
    """Ink on the paper label, 1 where printed, ``(84, 250)``."""
    ink: np.ndarray = np.zeros((84, 250), dtype=np.uint8)
    cv2.putText(ink, "FL-204", (12, 40), cv2.FONT_HERSHEY_DUPLEX, 1.15, 255, 3, cv2.LINE_AA)
    cv2.putText(ink, "24V", (12, 72), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2, cv2.LINE_AA)
    widths = np.random.default_rng(204).integers(2, 6, size=40)
    edges = 92 + np.cumsum(widths)
    for left, right in zip(edges[::2], edges[1::2], strict=True):
        if right < 238:
            cv2.rectangle(ink, (int(left), 52), (int(right) - 1, 74), 255, -1)
    cv2.circle(ink, (212, 26), 15, 255, 3, cv2.LINE_AA)
    cv2.line(ink, (205, 26), (211, 33), 255, 3, cv2.LINE_AA)
    cv2.line(ink, (211, 33), (220, 18), 255, 3, cv2.LINE_AA)
    return ink.astype(np.float32) / 255


def _draw_screw(spot: Surface, angle: float) -> None:
    radius = np.hypot(spot.u, spot.v)
    spot.paint(spot.cover(radius - SCREW_RADIUS * 1.30) * 0.5, (0.25, 0.25, 0.26), 0.3)  # washer
    spot.raise_shape(radius - SCREW_RADIUS * 1.22, 0.004, 0.004)
    spot.paint(spot.cover(radius - SCREW_RADIUS), STEEL, 0.75)
    spot.raise_shape(radius - SCREW_RADIUS, 0.016, 0.012)
    socket = hexagon(spot.u, spot.v, SCREW_RADIUS * 0.5, angle)
    spot.paint(spot.cover(socket), (0.03, 0.03, 0.035), 0.1)
    spot.raise_shape(socket, -0.014, 0.006)


def _draw_hole(spot: Surface) -> None:
    radius = np.hypot(spot.u, spot.v)
    spot.paint(spot.cover(radius - SCREW_RADIUS * 0.78), (0.26, 0.26, 0.27), 0.4)  # countersink
    spot.raise_shape(radius - SCREW_RADIUS * 0.78, -0.008, 0.010)
    spot.paint(spot.cover(radius - SCREW_RADIUS * 0.58), (0.02, 0.02, 0.022), 0.05)
    spot.raise_shape(radius - SCREW_RADIUS * 0.58, -0.012, 0.008)


def _draw_bore(spot: Surface) -> None:
    radius = np.hypot(spot.u, spot.v)
    spot.raise_shape(radius - 0.150, 0.012, 0.012)
    spot.paint(spot.cover(np.abs(radius - 0.118) - 0.002) * 0.6, (0.2, 0.2, 0.21), 0.3)  # turned groove
    spot.paint(spot.cover(radius - 0.100), RUBBER, 0.12)  # sealing ring
    spot.raise_shape(np.abs(radius - 0.090) - 0.010, 0.008, 0.010)
    spot.paint(spot.cover(radius - 0.080), (0.22, 0.22, 0.23), 0.35)
    spot.raise_shape(radius - 0.080, -0.022, 0.020)
    spot.paint(spot.cover(radius - 0.064), (0.02, 0.02, 0.022), 0.05)


def _draw_label(spot: Surface, angle: float) -> None:
    x, y = spot.u * np.cos(angle) + spot.v * np.sin(angle), spot.v * np.cos(angle) - spot.u * np.sin(angle)
    distance = box(x, y, *LABEL_HALF, 0.006)
    spot.paint(spot.cover(distance), PAPER, 0.06)
    spot.raise_shape(distance, 0.0015, 0.002)
    ink = label_print()
    rows, columns = ink.shape
    to_column = ((x / LABEL_HALF[0] + 1) / 2 * columns - 0.5).astype(np.float32)
    to_row = ((y / LABEL_HALF[1] + 1) / 2 * rows - 0.5).astype(np.float32)
    spot.paint(cv2.remap(ink, to_column, to_row, cv2.INTER_LINEAR), INK, 0.06)


def _draw_connector(spot: Surface, colour: tuple[float, float, float]) -> None:
    body = box(spot.u, spot.v, 0.085, 0.043, 0.012)
    spot.paint(spot.cover(body), colour, 0.22)
    spot.raise_shape(body, 0.030, 0.008)
    well = box(spot.u, spot.v - 0.004, 0.064, 0.024, 0.006)
    spot.paint(spot.cover(well), np.asarray(colour) * 0.35, 0.1)
    spot.raise_shape(well, -0.020, 0.004)
    for offset in (-0.042, -0.014, 0.014, 0.042):
        pin = box(spot.u - offset, spot.v - 0.004, 0.0065, 0.013, 0.003)
        spot.paint(spot.cover(pin), (0.62, 0.48, 0.20), 0.7)
        spot.raise_shape(pin, 0.012, 0.004)


def build(layout: Flange, pose: tuple[float, float, float], screw_angles: Sequence[float], size: int) -> Surface:
    """Put the part together.

    Args:
        layout: What is mounted where.
        pose: Rotation (radians) and shift ``(right, down)`` in part units.
        screw_angles: Rotation of each screw's socket in radians, one for each corner.
        size: Side of the final image in pixels.

    Returns:
        The surface at ``size * SUPERSAMPLING``.
    """
    surface = Surface.table(pose, size)
    outline = box(surface.u, surface.v, PLATE_HALF, PLATE_HALF, PLATE_RADIUS)
    surface.plate[:] = surface.cover(outline)
    surface.paint(surface.plate, ALUMINIUM, 0.55)
    surface.raise_shape(outline, 0.030, 0.012)
    _draw_bore(surface.around(0, 0, 0.16))
    for hole in layout.holes:
        _draw_hole(surface.around(*hole, 0.04))
    for corner in layout.screws:
        _draw_screw(surface.around(*CORNERS[corner], 0.065), screw_angles[corner])
    _draw_connector(surface.around(*layout.connector, 0.1), layout.connector_colour)
    _draw_label(surface.around(*layout.label[:2], 0.14), layout.label[2])
    return surface
