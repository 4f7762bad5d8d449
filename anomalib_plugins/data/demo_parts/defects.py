# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Ten things that go wrong with the demo part: five on its surface, five in how it was assembled."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from .flange import CORNERS, PLATE_HALF, Flange, Surface

FIXED_POINT = 4  # fractional bits of OpenCV's drawing coordinates


def _spot_on_metal(surface: Surface, rng: np.random.Generator, margin: float) -> tuple[float, float]:
    """A place ``(u, v)`` on bare metal, ``margin`` away from everything mounted on it."""
    bare = ((surface.plate > 0.99) & (np.abs(surface.gloss - 0.55) < 0.02)).astype(np.uint8)
    room = cv2.distanceTransform(bare, cv2.DIST_L2, 3)
    rows, columns = np.nonzero(room >= min(margin / surface.pixel, room.max()))
    pick = rng.integers(len(rows))
    return float(surface.u[rows[pick], columns[pick]]), float(surface.v[rows[pick], columns[pick]])


def _path_cover(surface: Surface, path: np.ndarray, width: int) -> np.ndarray:
    """Pixels covered by a line of ``width`` pixels through part coordinates ``(P, 2)``, in ``[0, 1]``."""
    corner = np.array([surface.u[0, 0], surface.v[0, 0]])
    right = np.array([surface.u[0, 1], surface.v[0, 1]]) - corner
    down = np.array([surface.u[1, 0], surface.v[1, 0]]) - corner
    pixels = (path - corner) @ np.linalg.inv(np.stack([right, down]))
    canvas = np.zeros(surface.u.shape, dtype=np.uint8)
    points = np.rint(pixels * 2**FIXED_POINT).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(canvas, [points], isClosed=False, color=255, thickness=width, lineType=cv2.LINE_AA, shift=FIXED_POINT)
    return canvas.astype(np.float32) / 255


def scratch(surface: Surface, rng: np.random.Generator) -> None:
    """One to three bright, slightly bent grooves beside each other."""
    centre = np.array(_spot_on_metal(surface, rng, 0.02))
    angle, bend = rng.uniform(0, np.pi), rng.uniform(-0.35, 0.35)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    for _ in range(rng.integers(1, 4)):
        reach = np.linspace(-1, 1, 24)[:, None] * rng.uniform(0.04, 0.11)
        offset = across * rng.normal(0, 0.008) + along * rng.normal(0, 0.015)
        cover = _path_cover(surface, centre + offset + reach * along + reach**2 * (bend / 0.2) * across, 2)
        cover *= surface.plate * rng.uniform(0.6, 1.0)
        surface.height -= cv2.GaussianBlur(cover, (0, 0), 0.8) * 0.003
        surface.paint(cover * 0.65, (0.78, 0.78, 0.78), 0.7)


def dent(surface: Surface, rng: np.random.Generator) -> None:
    """A round hollow where something fell on the metal, with the rim it threw up."""
    u, v = _spot_on_metal(surface, rng, 0.03)
    radius, squeeze, angle = rng.uniform(0.018, 0.034), rng.uniform(0.75, 1.0), rng.uniform(0, np.pi)
    du, dv = surface.u - u, surface.v - v
    x, y = du * np.cos(angle) + dv * np.sin(angle), (dv * np.cos(angle) - du * np.sin(angle)) / squeeze
    away = (x**2 + y**2) / radius**2
    surface.height += surface.plate * rng.uniform(0.35, 0.6) * radius * (0.35 * away - 1) * np.exp(-away * 1.6)


def stain(surface: Surface, rng: np.random.Generator) -> None:
    """A dried drop of oil or coolant: brown, duller, darker at its border."""
    u, v = _spot_on_metal(surface, rng, 0.035)
    cloud = cv2.GaussianBlur(rng.standard_normal(surface.u.shape, dtype=np.float32), (0, 0), 0.025 / surface.pixel)
    radius = rng.uniform(0.03, 0.06)
    depth = 1 + 0.45 * cloud / cloud.std() - np.hypot(surface.u - u, surface.v - v) / radius  # > 0 inside
    body = np.clip(depth / 0.25, 0, 1)
    border = np.exp(-((depth / 0.18) ** 2)) * (depth > 0)
    opacity = rng.uniform(0.35, 0.6) * (0.75 * body + 0.5 * border) * surface.plate
    tint = np.array(rng.uniform((0.30, 0.22, 0.10), (0.45, 0.34, 0.22)), dtype=np.float32)
    surface.albedo *= 1 - opacity[..., None] * (1 - tint)
    surface.gloss *= 1 - 0.8 * opacity


def chipped_edge(surface: Surface, rng: np.random.Generator) -> None:
    """A piece broken out of the plate's border, rough metal along the break."""
    along, side = rng.uniform(-0.8, 0.8) * PLATE_HALF, rng.integers(4)
    centre = ((along, -PLATE_HALF), (PLATE_HALF, along), (along, PLATE_HALF), (-PLATE_HALF, along))[side]
    du, dv = surface.u - centre[0], surface.v - centre[1]
    theta, radius = np.arctan2(dv, du), rng.uniform(0.022, 0.042)
    rough = sum(rng.normal(0, 0.16 / k) * np.cos(k * theta + rng.uniform(0, 2 * np.pi)) for k in range(1, 9))
    distance = np.hypot(du, dv) - radius * (1 + rough)
    grain = cv2.GaussianBlur(rng.standard_normal(surface.u.shape, dtype=np.float32), (0, 0), 1.5)
    lip = np.exp(-(((distance - 0.004) / 0.005) ** 2)) * surface.plate
    surface.height += lip * (0.010 * grain - 0.006)
    surface.paint(lip * 0.8, (0.55, 0.55, 0.55), 0.2)
    gone = surface.cover(distance) * (surface.plate > 0)
    surface.height *= 1 - gone
    surface.paint(gone, (0.055, 0.055, 0.055), 0.0)
    surface.plate *= 1 - gone


def crack(surface: Surface, rng: np.random.Generator) -> None:
    """A dark wandering line that starts at a screw and forks."""
    start = np.array(CORNERS[rng.integers(4)])
    heading = np.arctan2(-start[1], -start[0]) + rng.normal(0, 0.55)
    start = start + 0.058 * np.array([np.cos(heading), np.sin(heading)])
    trunk = _wander(start, heading, int(rng.integers(14, 26)), rng)
    fork = _wander(trunk[len(trunk) // 2], heading + rng.choice((-0.7, 0.7)), int(rng.integers(4, 9)), rng)
    cover = np.maximum(_path_cover(surface, trunk, 2), 0.8 * _path_cover(surface, fork, 1))
    surface.height -= cv2.GaussianBlur(cover, (0, 0), 0.8) * 0.006
    surface.paint(cover * 0.85, (0.03, 0.03, 0.03), 0.05)


def _wander(start: np.ndarray, heading: float, steps: int, rng: np.random.Generator) -> np.ndarray:
    headings = heading + np.cumsum(rng.normal(0, 0.22, steps)) + rng.normal(0, 0.35, steps)
    moves = 0.0075 * np.stack([np.cos(headings), np.sin(headings)], axis=1)
    return start + np.concatenate([np.zeros((1, 2)), np.cumsum(moves, axis=0)])


def missing_screw(layout: Flange, rng: np.random.Generator) -> Flange:
    """One of the four screws was never put in; its threaded hole shows."""
    lost = int(rng.integers(4))
    return replace(layout, screws=tuple(corner for corner in layout.screws if corner != lost))


def extra_hole(layout: Flange, rng: np.random.Generator) -> Flange:
    """A fifth hole was drilled, at the left or right border."""
    hole = (float(rng.choice((-0.235, 0.235))), float(rng.uniform(-0.09, 0.09)))
    return replace(layout, holes=(*layout.holes, hole))


def rotated_label(layout: Flange, rng: np.random.Generator) -> Flange:
    """The label sits in its place, upside down."""
    u, v, angle = layout.label
    return replace(layout, label=(u, v, angle + np.pi + float(rng.normal(0, 0.01))))


def misplaced_label(layout: Flange, rng: np.random.Generator) -> Flange:
    """The label was stuck on crooked and too high."""
    tilt = float(rng.choice((-1, 1)) * rng.uniform(0.10, 0.22))
    return replace(layout, label=(float(rng.uniform(-0.015, 0.015)), float(rng.uniform(0.195, 0.21)), tilt))


def wrong_connector(layout: Flange, rng: np.random.Generator) -> Flange:
    """The connector of another product variant: red, green or black instead of blue."""
    colours = ((0.45, 0.05, 0.05), (0.05, 0.30, 0.10), (0.035, 0.035, 0.04))
    return replace(layout, connector_colour=colours[rng.integers(3)])


STRUCTURAL: dict[str, Callable[[Surface, np.random.Generator], None]] = {
    defect.__name__: defect for defect in (scratch, dent, stain, chipped_edge, crack)
}
LOGICAL: dict[str, Callable[[Flange, np.random.Generator], Flange]] = {
    defect.__name__: defect for defect in (missing_screw, extra_hole, rotated_label, misplaced_label, wrong_connector)
}
