# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Textures for structural anomalies, from a folder of images or from noise."""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from anomalib_plugins.errors import MissingFileError, UserError
from anomalib_plugins.synthesis.augment import count_values
from anomalib_plugins.synthesis.draws import integers, uniform
from anomalib_plugins.synthesis.perlin import perlin_noise

logger = logging.getLogger(__name__)

EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
SHOWN = 20


class TextureSource(ABC):
    """Numbered textures of any size, created on demand and cached until ``cache_bytes`` are used.

    Args:
        cache_bytes: Largest size of the cache; 0 disables it.
    """

    def __init__(self, cache_bytes: int = 512 * 2**20) -> None:
        self._room = cache_bytes
        self._kept: dict[tuple[int, int, int], tuple[np.ndarray, np.ndarray]] = {}

    @abstractmethod
    def __len__(self) -> int:
        """Number of textures."""

    @abstractmethod
    def make(self, number: int, size: tuple[int, int]) -> np.ndarray:
        """Create texture ``number`` as 8-bit RGB ``(H, W, 3)`` of ``size`` (height, width)."""

    def get(self, number: int, size: tuple[int, int]) -> np.ndarray:
        """Get a texture from the cache or from ``make``. It must not be modified."""
        return self.counted(number, size)[0]

    def counted(self, number: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Get a texture and its histogram ``(256, 3)``. Neither must be modified."""
        key = (number, *size)
        if key in self._kept:
            return self._kept[key]
        texture = self.make(number, size)
        counts = count_values(texture)
        if texture.nbytes + counts.nbytes <= self._room:
            self._room -= texture.nbytes + counts.nbytes
            self._kept[key] = texture, counts
        return texture, counts


class TextureFolder(TextureSource):
    """Textures from all images of a folder, e.g. the Describable Textures Dataset, resized as needed.

    Args:
        root: Folder of images, searched with its subfolders.
        cache_bytes: Largest size of the cache; 0 reads the file each time.

    Raises:
        FileNotFoundError: If ``root`` is not a folder or holds no image.
        ValueError: If files with the extension of an image cannot be decoded. All of them are decoded once to check.
    """

    def __init__(self, root: str | Path, cache_bytes: int = 512 * 2**20) -> None:
        super().__init__(cache_bytes)
        root = Path(root)
        if not root.is_dir():
            msg = f"texture folder {root} does not exist; give a folder of images, or none for procedural textures"
            raise MissingFileError(msg)
        self.paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
        if not self.paths:
            msg = (
                f"texture folder {root} holds no image ({', '.join(EXTENSIONS)}, subfolders included); "
                "give a folder of images, or none for procedural textures"
            )
            raise MissingFileError(msg)
        _check_files(self.paths)

    def __len__(self) -> int:
        """Number of images found."""
        return len(self.paths)

    def make(self, number: int, size: tuple[int, int]) -> np.ndarray:
        """Read and resize an image. Grey images get three equal channels; transparency and high bits are dropped.

        Raises:
            ValueError: If the file cannot be decoded.
        """
        pixels = cv2.imread(str(self.paths[number]), cv2.IMREAD_COLOR)
        if pixels is None:
            msg = f"texture {self.paths[number]} cannot be read; remove or replace it"
            raise UserError(msg)
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        return cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)


def _check_files(paths: Sequence[Path]) -> None:
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        faults = list(threads.map(_fault, paths))
    bad = [f"  {path} ({fault})" for path, fault in zip(paths, faults, strict=True) if fault]
    if bad:
        listing = "\n".join([*bad[:SHOWN], *([f"  ... and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else [])])
        msg = f"{len(bad)} of {len(paths)} textures are not readable images; remove or replace them:\n{listing}"
        raise UserError(msg)


def _fault(path: Path) -> str:
    """PIL's reason why an image cannot be decoded, or an empty text. OpenCV would fill missing data with grey."""
    try:
        with Image.open(path) as image:
            image.load()
    except UnidentifiedImageError:
        return "is not an image"
    except Exception as error:  # noqa: BLE001  # decoders raise OSError, SyntaxError, struct.error, zlib.error, ...
        return str(error) or type(error).__name__
    return ""


class ProceduralTextures(TextureSource):
    """Textures of coloured noise: four octaves of Perlin noise in three channels, mixed into random colours.

    Args:
        count: Number of different textures. The same number always gives the same texture.
        cache_bytes: Largest size of the cache; 0 disables it.
    """

    OCTAVES = 4

    def __init__(self, count: int = 256, cache_bytes: int = 512 * 2**20) -> None:
        super().__init__(cache_bytes)
        self.count = count

    def __len__(self) -> int:
        """Number of different textures."""
        return self.count

    def make(self, number: int, size: tuple[int, int]) -> np.ndarray:
        """Create texture ``number`` from a generator with that seed."""
        generator = torch.Generator().manual_seed(number)
        coarsest = 2 ** integers((1, 2), 1, 4, generator)
        noise = torch.zeros(3, *size)
        for octave in range(self.OCTAVES):
            cells = (coarsest * 2**octave).expand(3, -1)
            noise += 0.5**octave * perlin_noise(size, cells, generator)[:, 0]
        colour = uniform((3, 1, 1), generator=generator)
        mixing = uniform((3, 3), -0.5, 0.5, generator)
        texture = colour + torch.einsum("cd,dhw->chw", mixing, noise)
        return texture.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()


def texture_source(root: str | Path | None = None) -> TextureSource:
    """Create and log a source of textures: the folder ``root``, or procedural textures for ``None``."""
    if root is None:
        logger.info("No texture folder given: structural anomalies use procedural textures. Results may differ.")
        return ProceduralTextures()
    source = TextureFolder(root)
    logger.info("Structural anomalies use the %d textures in %s.", len(source), root)
    return source
