# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Presets of simulated anomalies for the categories of MVTec LOCO AD, and defaults for any other images."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from anomalib_plugins.errors import UserError
from anomalib_plugins.synthesis.colour import colour_jitter
from anomalib_plugins.synthesis.foreground import BrightObject, Foreground
from anomalib_plugins.synthesis.geometry import shuffle_tiles
from anomalib_plugins.synthesis.masks import MaskRule, add_square, keep_object, only_object
from anomalib_plugins.synthesis.sources import Recipe, flip, repeat_middle_rows

ROWS, COLUMNS = 2, 3


@dataclass(frozen=True)
class Preset:
    """Settings that may depend on the category. The defaults fit any category.

    The presets for MVTec LOCO AD follow the authors' code with two simplifications. A logical mask that a rule would
    make too small is not changed, where their code draws again with a lower threshold. The share of logical anomalies,
    the occasional blur and change of colours and, unless a preset sets its own, the foreground are the same for all.

    Attributes:
        structural_delta: Range of the opacity of structural anomalies.
        structural_faint: Share of structural anomalies whose opacity is 0.25 instead.
        logical_delta: Range of the opacity of logical anomalies.
        minimum_area: Smallest number of pixels of a mask in an image of 256 x 256.
        foreground: Function for ``foreground="auto"`` that returns masks ``(N, 1, H, W)`` of images ``(N, 3, H, W)``.
        logical_rotation: Whether sources of logical anomalies are rotated.
        logical_ways: Ways to make sources of logical anomalies. Their probabilities sum to 1.
        mask_rules: Rules that change masks after they are drawn, in this order.
    """

    structural_delta: tuple[float, float] = (0.1, 1.0)
    structural_faint: float = 0.25
    logical_delta: tuple[float, float] = (0.75, 1.0)
    minimum_area: int = 49
    foreground: Callable[[Tensor], Tensor] = Foreground()  # noqa: RUF009 - has no state
    logical_rotation: bool = True
    logical_ways: tuple[Recipe, ...] = (Recipe(1.0, other=True),)
    mask_rules: tuple[MaskRule, ...] = ()


upside_down = partial(flip, axis=ROWS)
left_right = partial(flip, axis=COLUMNS)
strong_jitter = partial(colour_jitter, brightness=0.7, saturation=0.7, hue=0.45)


def tiles(rows: int, columns: int) -> partial:
    """Create a function that shuffles ``rows x columns`` tiles."""
    return partial(shuffle_tiles, rows=rows, columns=columns)


PRESETS = {
    "juice_bottle": Preset(
        foreground=BrightObject(8, erode=(15, 15), dilate=(3, 3), rows=240, columns=201),
        structural_delta=(1.0, 1.0),
        structural_faint=0.0,
        logical_delta=(1.0, 1.0),
        logical_rotation=False,
        logical_ways=(Recipe(1 / 3, (upside_down,)), Recipe(1 / 4, (tiles(3, 3),)), Recipe(5 / 12, other=True)),
    ),
    "breakfast_box": Preset(
        foreground=Foreground("none"),
        structural_delta=(0.3, 1.0),
        structural_faint=0.0,
        logical_delta=(0.3, 1.0),
        logical_rotation=False,
        logical_ways=(Recipe(1 / 3, (tiles(3, 2),)), Recipe(1 / 3, (upside_down,)), Recipe(1 / 3, (left_right,))),
        mask_rules=(MaskRule(0.2, partial(add_square, first=140, last=204)),),
    ),
    "pushpins": Preset(
        structural_delta=(0.6, 1.0),
        structural_faint=0.0,
        logical_delta=(1.0, 1.0),
        minimum_area=64,
        logical_rotation=False,
        logical_ways=(Recipe(1 / 3, (upside_down,)), Recipe(1 / 4, (tiles(3, 5),)), Recipe(5 / 12, other=True)),
        mask_rules=(MaskRule(0.75, partial(keep_object, rule=BrightObject(36, dilate=(5, 5))), logical_only=True),),
    ),
    "screw_bag": Preset(
        logical_rotation=False,
        logical_ways=(
            Recipe(1 / 8, (strong_jitter, upside_down)),
            Recipe(1 / 8, (strong_jitter, left_right)),
            Recipe(1 / 4, (strong_jitter, tiles(4, 4))),
            Recipe(1 / 2, (tiles(4, 4),), other=True),
        ),
    ),
    "splicing_connectors": Preset(
        foreground=Foreground("none"),
        logical_delta=(1.0, 1.0),
        logical_rotation=False,
        logical_ways=(
            Recipe(0.7 * 0.75, (repeat_middle_rows, tiles(1, 4)), other=True),
            Recipe(0.7 * 0.25, other=True),
            Recipe(0.3 * 0.8, (repeat_middle_rows, tiles(2, 4))),
            Recipe(0.3 * 0.2, (tiles(2, 4),)),
        ),
        mask_rules=(
            MaskRule(
                0.2, partial(only_object, rule=BrightObject(20, erode=(6, 13), dilate=(9, 15))), logical_only=True
            ),
        ),
    ),
}


def find_preset(name: str | None) -> Preset:
    """Find a preset by name; ``None`` gives the defaults for any images.

    Raises:
        ValueError: If there is no preset of that name.
    """
    if name is None:
        return Preset()
    if name not in PRESETS:
        msg = f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}, or no preset for other images"
        raise UserError(msg)
    return PRESETS[name]
