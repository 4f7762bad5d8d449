# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Faults of an image file, found by decoding it once."""

import hashlib
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import ExifTags, Image, ImageStat, TiffImagePlugin, UnidentifiedImageError

DEEP_MODES = ("I", "F")  # PIL's modes of more than 8 bits begin so; anomalib's convert("RGB") clips them to 255
CHANNELS = "has {} channels, of which anomalib reads one or three: save those to look at as grey or RGB"
DARK = 16  # of 255: what PIL leaves of a colour image with 12 bits in 16, of which it takes the upper 8


class ImageFile(NamedTuple):
    """Decoded image or mask.

    Attributes:
        problem: Reason why anomalib cannot read the image, or reads it wrongly; ``None`` if it can.
        size: Width and height in pixels.
        constant: Whether all pixels are equal.
        transparent: Whether some pixels are not opaque.
        paged: Whether there are further pages or frames, of which anomalib reads the first.
        rotated: Whether the camera asks viewers to turn the image, which anomalib ignores.
        brightness: Mean grey value, 0 to 255.
        digest: Hash of the bytes.
        marked: Share of pixels above 0, which are a mask's defect.
        soft: Share of pixels between 0 and the largest value, which a mask should not have.
    """

    problem: str | None = None
    size: tuple[int, int] = (0, 0)
    constant: bool = False
    transparent: bool = False
    paged: bool = False
    rotated: bool = False
    brightness: float = 0.0
    digest: bytes = b""
    marked: float = 0.0
    soft: float = 0.0


_seen: dict[tuple[str, bool, int, int], ImageFile] = {}


def read_files(paths: Iterable[str | Path], *, mask: bool = False) -> dict[str, ImageFile]:
    """Decode files in threads. Files that have not changed since the last time are not read again.

    Args:
        paths: Files.
        mask: Whether they are masks.
    """
    names = sorted({str(path) for path in paths})
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        return dict(zip(names, threads.map(lambda name: read_file(name, mask=mask), names), strict=True))


def read_file(path: str, *, mask: bool = False) -> ImageFile:
    """Decode a file; whatever goes wrong is its ``problem``.

    Args:
        path: File.
        mask: Whether it is a mask.
    """
    try:
        stat = Path(path).stat()
        key = (path, mask, stat.st_mtime_ns, stat.st_size)
        if key not in _seen:
            _seen[key] = _decode(Path(path).read_bytes(), mask=mask)
        return _seen[key]
    except OSError as error:
        return ImageFile(f"cannot be opened ({error.strerror})")


def _decode(data: bytes, *, mask: bool) -> ImageFile:
    if not data:
        return ImageFile("is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data)) as image:
            found = _mask(image) if mask else _image(image)
    except UnidentifiedImageError:
        return ImageFile(_why_unidentified(data))
    except Image.DecompressionBombError as error:
        return ImageFile(f"is too large: {error}")
    except Exception as error:  # noqa: BLE001  # decoders raise OSError, SyntaxError, struct.error, zlib.error, ...
        return ImageFile(f"is damaged ({error})")
    return found._replace(digest=hashlib.blake2b(data, digest_size=16).digest())


def _why_unidentified(data: bytes) -> str:
    """Distinguish a TIFF with more channels than PIL knows from a file that is no image."""
    with suppress(Exception):
        channels = tifffile.TiffFile(io.BytesIO(data)).pages.first.samplesperpixel
        if channels not in {1, 3}:
            return CHANNELS.format(channels)
    return "is not an image"


def _image(image: Image.Image) -> ImageFile:
    channels = getattr(image, "tag_v2", {}).get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    if channels > 4:
        return ImageFile(CHANNELS.format(channels), image.size)
    if image.mode.startswith(DEEP_MODES):
        kind = "float" if image.mode == "F" else "16-bit or deeper"
        return ImageFile(f"has {kind} pixels, which anomalib reads as plain white or black", image.size)
    deep = ";16" in str(getattr(image, "tile", ())[:1])  # PIL takes the upper 8 of 16 bits of a colour
    image.load()
    lowest, highest = np.reshape(image.getextrema(), (-1, 2)).T  # of each band
    if deep and highest[:3].max() < DARK:
        return ImageFile("has few of 16 bits in use, of which anomalib reads the upper 8: almost black", image.size)
    opaque = not image.has_transparency_data or np.asarray(image.convert("RGBA"))[..., 3].min() == 255
    return ImageFile(
        size=image.size,
        constant=bool((lowest == highest).all()),
        transparent=not opaque,
        paged=_has_pages(image),
        rotated=image.getexif().get(ExifTags.Base.Orientation, 1) != 1,
        brightness=ImageStat.Stat(image.convert("L")).mean[0],
    )


def _has_pages(image: Image.Image) -> bool:
    with suppress(Exception):  # what is behind the first page does not concern anomalib
        return image.format != "MPO" and getattr(image, "n_frames", 1) > 1  # MPO: a phone's JPEG with a preview
    return False


def _mask(image: Image.Image) -> ImageFile:
    # As anomalib reads it: converted to 8 bits of grey, where everything above 0 is the defect.
    grey = np.asarray(image.convert("L"))
    marked, brightest = grey > 0, grey.max()
    return ImageFile(size=image.size, marked=float(marked.mean()), soft=float((marked & (grey < brightest)).mean()))
