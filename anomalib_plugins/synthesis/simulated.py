# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Structural and logical anomalies as SLSG simulates them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from anomalib_plugins.components.checks import check_choice, check_least, check_range, check_share
from anomalib_plugins.errors import UserError
from anomalib_plugins.synthesis.base import (
    LOGICAL,
    STRUCTURAL,
    AnomalyGenerator,
    SyntheticBatch,
    chance,
    check_minimum_change,
    keep_visible,
    moved_together,
    uniform,
)
from anomalib_plugins.synthesis.colour import adjust_lists, random_colours
from anomalib_plugins.synthesis.geometry import gaussian_blur, pixel_scale
from anomalib_plugins.synthesis.masks import (
    LOGICAL_STYLE,
    STRUCTURAL_STYLE,
    Foreground,
    perlin_masks,
    pixel_numbers,
    place_masks,
    rectangle_masks,
    scratch_masks,
)
from anomalib_plugins.synthesis.patches import blend, read
from anomalib_plugins.synthesis.presets import apply_rule, find_preset
from anomalib_plugins.synthesis.sources import logical_sources, self_patches, turned
from anomalib_plugins.synthesis.textures import random_textures, texture_source

FAINT_OPACITY, CLEAR = 0.25, (0.4, 1.0)
SOURCE_CHANGE_PROBABILITY = 0.2
SOURCE_COLOURS = (0.2, 0.2, 0.2, 0.1)  # brightness, contrast, saturation, hue
BLUR_SIGMA = 2.0
# Flat indices of the masked pixels of each image ``(P,)``; ``P`` differs between images.
Places = Sequence[Tensor]
TEXTURE_SHARE = {"both": 0.5, "texture": 1.0, "self": 0.0}


class SimulatedAnomaly(AnomalyGenerator):
    """Simulated structural and logical anomalies of SLSG (Yang et al., 2024).

    A structural anomaly paints a blob with a foreign texture or with the image's own tiles in disorder. A logical
    anomaly replaces a larger region by the same region of another normal image.

    Args:
        texture_root: Folder of texture images; ``None`` makes procedural textures.
        logical_probability: Share of logical anomalies, in ``[0, 1]``.
        use_structural: ``False`` makes all anomalies logical.
        use_logical: ``False`` makes all anomalies structural.
        foreground: Where anomalies may be: ``"auto"``, ``"threshold"``, ``"none"`` or an MVTec AD object category.
            ``"auto"`` is the preset's rule if that has one.
        foreground_threshold: Grey value, 0 to 255, for ``foreground="threshold"``.
        foreground_polarity: Whether the object is brighter or darker than that value.
        mask_shape: ``"perlin"`` blobs or ``"rect"`` rectangles.
        structural_source: What structural anomalies are made of: ``"texture"``, the image it``self`` or ``"both"``.
        logical_rotation: Whether the other image is turned by up to 5 degrees and, half the time, upside down.
            ``None``, here and below: as the preset has it, without a preset the value in brackets (``True``).
        structural_delta: Range of the opacity of structural anomalies, in ``[0, 1]`` (0.1 to 1).
        structural_faint: Share of structural anomalies whose opacity is 0.25 instead (0.25).
        logical_delta: Range of the opacity of logical anomalies, in ``[0, 1]`` (0.75 to 1).
        minimum_area: Fewest pixels of a mask in an image of 256 x 256, scaled with the area of others (49).
        structural_scratches: Share of structural anomalies that become scratches, thin wandering lines, if these have
            ``minimum_area``. The paper has 0.
        minimum_change: Smallest mean change in the neighbourhood of each pixel of an anomaly, in ``[0, 0.5)``, of the
            channel that changes most. Fainter parts are not made: a model that has to find what nobody can see becomes
            unsure of everything. The paper has no such limit, 0.
        preset: Category of MVTec LOCO AD whose settings to use: ``"juice_bottle"``, ``"breakfast_box"``,
            ``"pushpins"``, ``"screw_bag"`` or ``"splicing_connectors"``. Other arguments that are given win over it.

    Raises:
        ValueError: If an option is outside its range or not among its choices, or both kinds are switched off.
        FileNotFoundError: If ``texture_root`` is no folder with images.

    Example:
        >>> images = torch.rand(4, 3, 64, 64)
        >>> batch = SimulatedAnomaly()(images, torch.Generator().manual_seed(0))
        >>> bool(((batch.image != images).any(dim=1, keepdim=True) == batch.mask.bool()).all())
        True
    """

    def __init__(
        self,
        texture_root: str | Path | None = None,
        logical_probability: float = 0.5,
        use_structural: bool = True,
        use_logical: bool = True,
        foreground: str = "auto",
        foreground_threshold: int | None = None,
        foreground_polarity: Literal["brighter", "darker"] = "brighter",
        mask_shape: Literal["perlin", "rect"] = "perlin",
        structural_source: Literal["both", "texture", "self"] = "both",
        logical_rotation: bool | None = None,
        structural_delta: Sequence[float] | None = None,
        structural_faint: float | None = None,
        logical_delta: Sequence[float] | None = None,
        minimum_area: int | None = None,
        structural_scratches: float = 0.25,
        minimum_change: float = 0.1,
        preset: str | None = None,
    ) -> None:
        given: dict[str, Any] = {
            "logical_rotation": logical_rotation,
            "structural_delta": structural_delta,
            "structural_faint": structural_faint,
            "logical_delta": logical_delta,
            "minimum_area": minimum_area,
        }
        self.settings = replace(find_preset(preset), **{name: x for name, x in given.items() if x is not None})
        check_share("logical_probability", logical_probability)
        check_share("structural_faint", self.settings.structural_faint)
        check_range("structural_delta", self.settings.structural_delta)
        check_range("logical_delta", self.settings.logical_delta)
        check_choice("mask_shape", mask_shape, ("perlin", "rect"))
        check_choice("structural_source", structural_source, TEXTURE_SHARE)
        if not (use_structural or use_logical):
            msg = "use_structural and use_logical are both False: no anomaly is left to simulate"
            raise UserError(msg)
        check_least("minimum_area", self.settings.minimum_area)
        check_minimum_change(minimum_change)
        check_share("structural_scratches", structural_scratches)
        self.minimum_change, self.scratches = minimum_change, structural_scratches
        self.logical_probability = float(use_logical) * (logical_probability if use_structural else 1.0)
        chosen = Foreground(foreground, foreground_threshold, foreground_polarity)
        self.foreground = self.settings.foreground if foreground == "auto" else chosen
        self.draw_masks = perlin_masks if mask_shape == "perlin" else rectangle_masks
        self.texture_share = TEXTURE_SHARE[structural_source]
        self.textures = texture_source(texture_root)

    def simulate(self, images: Tensor, pool: Tensor, generator: torch.Generator | None) -> SyntheticBatch:
        """Make every image anomalous, see ``AnomalyGenerator``."""
        logical = chance(len(images), self.logical_probability, generator)
        texture = ~logical & chance(len(images), self.texture_share, generator)
        sources = self._sources(images, pool, logical, texture, generator)
        places = pixel_numbers(self._masks(images, sources, logical, generator))
        paints = self._paints(images, sources, texture, places, generator)
        delta = self._delta(logical, generator).tolist()
        mixed = torch.empty_like(images, memory_format=torch.contiguous_format)
        masks = torch.empty_like(mixed[:, :1], memory_format=torch.contiguous_format)
        for arguments in zip(images, mixed, masks, places, paints, delta, strict=True):
            blend(*arguments)
        # Where the paint looks like the image too little has changed, so something that differs takes its place.
        for make in (self._texture_paints, opposite):
            changed = keep_visible(images, mixed, masks, self.minimum_change)
            poor = (changed < self._minimum(images)).cpu().nonzero()[:, 0].tolist()
            if not poor:
                break
            logical[poor] = False
            opacities = [1.0] * len(poor) if make is opposite else uniform((len(poor),), *CLEAR, generator).tolist()
            for number, paint, delta in zip(poor, make(images, places, poor, generator), opacities, strict=True):
                blend(images[number], mixed[number], masks[number], places[number], paint, delta)
        kind = torch.where(logical, LOGICAL, STRUCTURAL).to(images.device)
        return SyntheticBatch(mixed, masks, kind)

    def _minimum(self, images: Tensor) -> float:
        return max(1.0, self.settings.minimum_area * pixel_scale(images.shape[-2:]) ** 2)

    def _sources(
        self, images: Tensor, pool: Tensor, logical: Tensor, texture: Tensor, generator: torch.Generator | None
    ) -> list[Tensor]:
        """What each image is painted with ``(3, H, W)``; the image itself where that is a texture."""
        sources = list(images)
        for chosen, make in ((~logical & ~texture, self_patches), (logical, partial(self._logical_sources, pool))):
            which = chosen.nonzero()[:, 0].tolist()
            if which:
                for number, source in zip(which, make(images[which], generator), strict=True):
                    sources[number] = source
        return sources

    def _logical_sources(self, pool: Tensor, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """What logical anomalies in the images are painted with ``(N, 3, H, W)``."""
        sources = logical_sources(images, pool, self.settings.logical_recipes, generator)
        if self.settings.logical_rotation:
            sources = turned(sources, generator)
        blurred = chance(len(images), SOURCE_CHANGE_PROBABILITY, generator).nonzero()[:, 0].tolist()
        if blurred:
            blur = gaussian_blur(sources[blurred], BLUR_SIGMA * pixel_scale(images.shape[-2:]))
            sources[blurred] = blur.clamp_(0, 1)  # rounding takes white above 1
        return sources

    def _masks(
        self, images: Tensor, sources: Sequence[Tensor], logical: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """Where to change each image, as boolean masks ``(N, 1, H, W)``."""

        def draw(which: Tensor) -> Tensor:
            styles = [LOGICAL_STYLE if kind else STRUCTURAL_STYLE for kind in logical[which]]
            return self.draw_masks(styles, images.shape[-2:], generator, images.device)

        foreground, minimum = self.foreground(images), self._minimum(images)
        masks = place_masks(draw, foreground, minimum)
        chosen = ~logical & chance(len(images), self.scratches, generator)
        if chosen.any():
            lines = torch.zeros(masks.shape, dtype=torch.bool)
            lines[chosen] = scratch_masks(int(chosen.sum()), images.shape[-2:], generator)
            lines = lines.to(images.device) & foreground
            masks = torch.where(lines.sum(dim=(1, 2, 3), keepdim=True) >= minimum, lines, masks)
        for rule in self.settings.mask_rules:
            apply_rule(rule, masks, sources, logical, foreground, minimum, generator)
        return masks

    def _paints(
        self,
        images: Tensor,
        sources: Sequence[Tensor],
        texture: Tensor,
        places: Places,
        generator: torch.Generator | None,
    ) -> list[Tensor]:
        """The colours to put at the places of each image ``(3, P)``, with ``P`` its own for each."""
        which = texture.nonzero()[:, 0].tolist()
        textures = dict(zip(which, self._texture_paints(images, places, which, generator), strict=True))
        paints = [
            textures[number] if number in textures else read(source, places[number])
            for number, source in enumerate(sources)
        ]
        recoloured = chance(len(images), SOURCE_CHANGE_PROBABILITY, generator).nonzero()[:, 0].tolist()
        change = random_colours(len(recoloured), generator, SOURCE_COLOURS)
        for number, paint in zip(
            recoloured, adjust_lists([paints[number] for number in recoloured], change), strict=True
        ):
            paints[number] = paint
        return paints

    def _texture_paints(
        self, images: Tensor, places: Places, which: Sequence[int], generator: torch.Generator | None
    ) -> list[Tensor]:
        """Colours of textures for the images of numbers ``which``."""
        if not which:
            return []
        textures = random_textures(self.textures, len(which), images.shape[-2:], generator)
        here = moved_together([places[number] for number in which], torch.device("cpu"))
        picked = [pixels.reshape(-1, 3)[place.numpy()].T for pixels, place in zip(textures, here, strict=True)]
        colours = [torch.from_numpy(np.divide(each, np.float32(255), dtype=np.float32, order="C")) for each in picked]
        return [colour.to(images.dtype) for colour in moved_together(colours, images.device)]

    def _delta(self, logical: Tensor, generator: torch.Generator | None) -> Tensor:
        """Opacity of each anomaly ``(N,)``."""
        share = 1 - uniform((len(logical),), generator=generator)  # (0, 1]: an opacity of 0 would change nothing
        low, high = torch.tensor([self.settings.structural_delta, self.settings.logical_delta])[logical.long()].T
        delta = torch.lerp(low, high, share)
        delta[~logical & chance(len(logical), self.settings.structural_faint, generator)] = FAINT_OPACITY
        return delta


def opposite(
    images: Tensor,
    places: Places,
    which: Sequence[int],
    generator: torch.Generator | None = None,  # noqa: ARG001
) -> list[Tensor]:
    """Colours half the range away from those of the images ``which`` in every channel, so that every pixel differs."""
    colours = [read(images[number], places[number]) for number in which]
    return [torch.where(colour < 0.5, colour + 0.5, colour - 0.5) for colour in colours]
