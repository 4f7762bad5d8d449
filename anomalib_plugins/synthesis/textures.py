# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Textures for anomalies, from a folder of images or from noise, and the operations that augment them."""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from scipy.spatial import KDTree

from anomalib_plugins.errors import MissingFileError, UserError
from anomalib_plugins.synthesis.base import integers, uniform

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
        self._kept: dict[tuple[int, int, int], np.ndarray] = {}

    @abstractmethod
    def __len__(self) -> int:
        """Number of textures."""

    @abstractmethod
    def make(self, number: int, size: tuple[int, int]) -> np.ndarray:
        """Create texture ``number`` as 8-bit RGB ``(H, W, 3)`` of ``size`` (height, width)."""

    def get(self, number: int, size: tuple[int, int]) -> np.ndarray:
        """Get a texture from the cache or from ``make``. It must not be modified."""
        key = (number, *size)
        if key in self._kept:
            return self._kept[key]
        texture = self.make(number, size)
        if texture.nbytes <= self._room:
            self._room -= texture.nbytes
            self._kept[key] = texture
        return texture


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
    """Textures of noise, as cloudy, cracked, grained, cellular or woven as those of photos, in few colours.

    Args:
        count: Number of different textures. The same number always gives the same texture.
        cache_bytes: Largest size of the cache; 0 disables it.
    """

    def __init__(self, count: int = 256, cache_bytes: int = 512 * 2**20) -> None:
        super().__init__(cache_bytes)
        self.count = count

    def __len__(self) -> int:
        """Number of different textures."""
        return self.count

    def make(self, number: int, size: tuple[int, int]) -> np.ndarray:
        """Create texture ``number`` from a generator with that seed."""
        random = np.random.default_rng(number)
        height = PATTERNS[number % len(PATTERNS)](random, size)
        low, high = np.quantile(height, (0.01, 0.99))
        height = ((height - low) / (high - low + 1e-6)).clip(0, 1)
        levels = random.permutation(np.linspace(random.uniform(0, 0.4), random.uniform(0.6, 1), random.integers(2, 5)))
        tint = random.normal(0, random.choice([0.05, 0.3]), 3)  # mostly one hue, as in photos
        colours = levels[:, None] + tint + random.normal(0, 0.05, (len(levels), 3))
        steps = np.linspace(0, 1, len(colours))
        texture = np.stack([np.interp(height, steps, channel) for channel in colours.T], axis=2)
        texture += random.normal(0, random.uniform(0, 0.06), (*size, 1))  # grain
        return (texture.clip(0, 1) * 255).round().astype(np.uint8)


def clouds(random: np.random.Generator, size: tuple[int, int], slope: float | None = None) -> np.ndarray:
    """Noise ``(H, W)`` whose amplitudes fall with a power of the frequency, from grains to clouds, in any direction."""
    y, x = np.meshgrid(np.fft.fftfreq(size[0]), np.fft.rfftfreq(size[1]), indexing="ij")
    angle, stretch = random.uniform(0, np.pi), 2 ** random.uniform(-2, 2)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    frequency = np.hypot(along * stretch, across / stretch) + 1 / max(size)
    slope = random.uniform(0.5, 2) if slope is None else slope
    noise = np.fft.irfft2(np.fft.rfft2(random.normal(size=size)) / frequency**slope, size)
    return noise / noise.std()


def cracks(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Thin lines where noise changes its sign."""
    return np.exp(-np.abs(clouds(random, size, slope=random.uniform(1.2, 2))) / random.uniform(0.05, 0.4))


def cells(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Distances to the nearest of random points (Worley noise), or a random height for each of their cells."""
    points = random.random((int(2 ** random.uniform(4, 10)), 2)) * size
    places = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=2)
    distances, nearest = KDTree(points).query(places)
    return distances if random.random() < 0.5 else random.random(len(points))[nearest]


def weave(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Stripes, or checks of two directions, bent by noise."""
    y, x = np.meshgrid(*map(np.arange, size), indexing="ij")
    bend = random.uniform(0, 3) * clouds(random, size, slope=2)
    angle, period = random.uniform(0, np.pi), 2 ** random.uniform(2, 5.5)
    waves = [
        np.sin(2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / period + bend) for turn in (angle, angle + np.pi / 2)
    ]
    return waves[0] if random.random() < 0.5 else waves[0] * waves[1]


PATTERNS = (clouds, cracks, cells, weave)


def texture_source(root: str | Path | None = None) -> TextureSource:
    """Create and log a source of textures: the folder ``root``, or procedural textures for ``None``."""
    if root is None:
        logger.info("No texture folder given: structural anomalies use procedural textures. Results may differ.")
        return ProceduralTextures()
    source = TextureFolder(root)
    logger.info("Structural anomalies use the %d textures in %s.", len(source), root)
    return source


def random_textures(
    textures: TextureSource, count: int, size: Sequence[int], generator: torch.Generator | None = None
) -> np.ndarray:
    """Draw textures and change each by three random operations of DRAEM.

    Args:
        textures: Source of the textures.
        count: Number of textures N.
        size: Height and width of the textures.
        generator: Source of the choice of textures and operations.

    Returns:
        8-bit RGB ``(N, H, W, 3)``.
    """
    numbers = integers((count,), 0, len(textures), generator).tolist()
    made = np.empty((count, *size, 3), np.uint8)
    for number, order, amounts, result in zip(numbers, *random_operations(count, generator), made, strict=True):
        pixels = textures.get(number, (size[0], size[1]))
        for operation, amount in zip(order, amounts, strict=True):
            pixels = OPERATIONS[operation](pixels, amount)
        result[:] = pixels
    return made


# DRAEM's ten operations on 8-bit RGB images (H, W, 3). A look-up table of 256 values is several times faster on the CPU
# than the same arithmetic on float batches. Each operation takes up to three amounts in [0, 1), which it scales to its
# own ranges.

Operation = Callable[[np.ndarray, Sequence[float]], np.ndarray]

LEVELS = np.arange(256, dtype=np.float32)


def _look_up(pixels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Replace every value by its rounded and clipped entry in ``table``, ``(256,)`` or ``(256, 3)`` by channel."""
    return cv2.LUT(pixels, table.round().clip(0, 255).astype(np.uint8).reshape(1, 256, -1))


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
    planes = [cv2.normalize(plane, None, 0, 255, cv2.NORM_MINMAX) for plane in cv2.split(pixels)]
    return cv2.merge(planes)


def equalize(pixels: np.ndarray, amounts: Sequence[float]) -> np.ndarray:  # noqa: ARG001
    """Flatten the histogram of each channel."""
    return cv2.merge([cv2.equalizeHist(plane) for plane in cv2.split(pixels)])


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


def random_operations(
    images: int, generator: torch.Generator | None = None, count: int = 3
) -> tuple[list[list[int]], list[list[list[float]]]]:
    """Choose ``count`` distinct operations in random order for each of ``images`` images: indices and amounts."""
    order = uniform((images, len(OPERATIONS)), generator=generator).argsort(dim=1)[:, :count]
    return order.tolist(), uniform((images, count, 3), generator=generator).tolist()
