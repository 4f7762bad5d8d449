# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Textures that structural defects are painted with: a folder of images, or noise where there is no folder."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anomalib_plugins.synthesis.draws import integers, uniform
from anomalib_plugins.synthesis.perlin import perlin_noise

logger = logging.getLogger(__name__)

EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


class TextureSource(ABC):
    """Gives random textures of any size."""

    @abstractmethod
    def __call__(
        self,
        count: int,
        size: Sequence[int],
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """``count`` random RGB textures ``(count, 3, H, W)`` in ``[0, 1]`` of ``size`` (height, width)."""


class TextureFolder(TextureSource):
    """Every image under a folder, such as the Describable Textures Dataset, resized to the size asked for.

    Images are read when first drawn and kept resized, as 8-bit values, until ``cache_bytes`` is full.

    Args:
        root: Folder, searched with all its subfolders.
        cache_bytes: Most memory the kept textures may take; 0 reads the file each time.

    Raises:
        FileNotFoundError: If ``root`` is no folder or holds no image.
        ValueError: If a file with an image's extension is no image.
    """

    def __init__(self, root: str | Path, cache_bytes: int = 512 * 2**20) -> None:
        root = Path(root)
        if not root.is_dir():
            msg = f"texture folder {root} does not exist; give a folder of images, or none for procedural textures"
            raise FileNotFoundError(msg)
        self.paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
        if not self.paths:
            msg = (
                f"texture folder {root} holds no image ({', '.join(EXTENSIONS)}, subfolders included); "
                "give a folder of images, or none for procedural textures"
            )
            raise FileNotFoundError(msg)
        for path in self.paths:
            _check_header(path)
        self._room = cache_bytes
        self._cache: dict[tuple[int, int, int], Tensor] = {}

    def __call__(
        self,
        count: int,
        size: Sequence[int],
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """``count`` random RGB textures ``(count, 3, H, W)`` in ``[0, 1]`` of ``size`` (height, width)."""
        drawn = integers((count,), 0, len(self.paths), generator).tolist()
        textures = torch.stack([self._load(number, (size[0], size[1])) for number in drawn])
        return textures.to(device).float().div_(255)

    def _load(self, number: int, size: tuple[int, int]) -> Tensor:
        """One texture ``(3, H, W)`` of 8-bit values."""
        key = (number, *size)
        if key in self._cache:
            return self._cache[key]
        pixels = cv2.imread(str(self.paths[number]), cv2.IMREAD_COLOR)
        if pixels is None:
            msg = f"texture {self.paths[number]} cannot be read; remove or replace it"
            raise ValueError(msg)
        pixels = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
        texture = torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1)))
        if texture.nbytes <= self._room:
            self._room -= texture.nbytes
            self._cache[key] = texture
        return texture


def _check_header(path: Path) -> None:
    try:
        Image.open(path).close()
    except OSError as error:
        msg = f"texture {path} is no readable image; remove or replace it"
        raise ValueError(msg) from error


class ProceduralTextures(TextureSource):
    """Random coloured noise: four octaves of Perlin noise in three channels, mixed into a random colour each."""

    OCTAVES = 4

    def __call__(
        self,
        count: int,
        size: Sequence[int],
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """``count`` random RGB textures ``(count, 3, H, W)`` in ``[0, 1]`` of ``size`` (height, width)."""
        base = 2 ** integers((count, 1, 2), 1, 4, generator)  # cells of the coarsest octave
        noise = torch.zeros(count, 3, *size, device=device)
        for octave in range(self.OCTAVES):
            cells = (base * 2**octave).expand(-1, 3, -1).reshape(-1, 2)
            noise += 0.5**octave * perlin_noise(size, cells, generator, device).view_as(noise)
        colour = uniform((count, 3, 1), generator=generator).to(device)
        mixing = uniform((count, 3, 3), -0.5, 0.5, generator).to(device)
        return torch.baddbmm(colour, mixing, noise.flatten(2)).clamp_(0, 1).view_as(noise)


def texture_source(root: str | Path | None = None) -> TextureSource:
    """Textures from the folder ``root``; without one procedural textures, which the log says."""
    if root is None:
        logger.info("No texture folder given: structural anomalies use procedural textures. Results may differ.")
        return ProceduralTextures()
    source = TextureFolder(root)
    logger.info("Structural anomalies use the %d textures in %s.", len(source.paths), root)
    return source
