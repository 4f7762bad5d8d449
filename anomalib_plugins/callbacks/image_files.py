# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What is wrong with an image file, found by decoding it once."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

DEEP_MODES = ("I", "F")  # PIL's modes of more than 8 bits begin so; anomalib's convert("RGB") clips them to 255


class ImageFile(NamedTuple):
    """What decoding a file showed.

    Attributes:
        problem: Why anomalib cannot read the image, or would read it wrongly; ``None`` if it can.
        size: Width and height in pixels.
        constant: Whether all pixels are equal.
        transparent: Whether some pixels are not opaque.
    """

    problem: str | None = None
    size: tuple[int, int] = (0, 0)
    constant: bool = False
    transparent: bool = False


_seen: dict[tuple[str, int, int], ImageFile] = {}


def read_files(paths: Iterable[str | Path]) -> dict[str, ImageFile]:
    """Decode files in threads; a file that this process has seen and that has not changed is not read again."""
    names = sorted({str(path) for path in paths})
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        return dict(zip(names, threads.map(read_file, names), strict=True))


def read_file(path: str) -> ImageFile:
    """Decode one file.

    Args:
        path: The file.

    Returns:
        What there is to say about it. Nothing is raised: whatever goes wrong is the ``problem``.
    """
    try:
        stat = Path(path).stat()
    except OSError as error:
        return ImageFile(f"cannot be opened ({error.strerror})")
    key = (path, stat.st_mtime_ns, stat.st_size)
    if key not in _seen:
        _seen[key] = _decode(path) if stat.st_size else ImageFile("is empty (0 bytes)")
    return _seen[key]


def _decode(path: str) -> ImageFile:
    try:
        with Image.open(path) as image:
            if image.mode.startswith(DEEP_MODES):
                kind = "float" if image.mode == "F" else "16-bit or deeper"
                return ImageFile(f"has {kind} pixels, which anomalib reads as plain white or black", image.size)
            image.load()
            lowest, highest = np.reshape(image.getextrema(), (-1, 2)).T  # of each band
            return ImageFile(None, image.size, bool((lowest == highest).all()), _is_transparent(image))
    except UnidentifiedImageError:
        return ImageFile("is not an image")
    except Image.DecompressionBombError as error:
        return ImageFile(f"is too large: {error}")
    except Exception as error:  # noqa: BLE001  # decoders raise OSError, SyntaxError, struct.error, zlib.error, ...
        return ImageFile(f"is damaged ({error})")


def _is_transparent(image: Image.Image) -> bool:
    if not image.has_transparency_data:
        return False
    return bool((np.asarray(image.convert("RGBA"))[..., 3] < 255).any())
