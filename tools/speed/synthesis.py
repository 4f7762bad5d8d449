# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Simulated anomalies beside anomalib's.

"Same work" is a Perlin mask, a texture from a file augmented by three of ten operations, and the blend. The two still
differ: anomalib's masks have 1 to 32 cells per side and at least one pixel, ours have 1 to 8 cells and at least 49
pixels; anomalib reads a texture each time, ours caches resized textures; and five operations differ in detail.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import torch
from anomalib.data.utils.generators.perlin import PerlinAnomalyGenerator, generate_perlin_noise
from PIL import Image
from torch import Tensor

from anomalib_plugins.synthesis import ProceduralTextures, SimulatedAnomaly, TextureFolder, perlin_noise
from tools.speed import Options
from tools.timing import Measurement, Work, side_by_side

BATCH = 8


def perlin_works(count: int, size: int) -> dict[str, Work]:
    """Define the work of computing ``count`` Perlin maps with 1 to 32 cells per side: anomalib's, then ours."""
    device = torch.device("cpu")
    return {
        "anomalib generate_perlin_noise": lambda: [
            generate_perlin_noise(size, size, device=device) for _ in range(count)
        ],
        "perlin_noise": lambda: perlin_noise((size, size), 2 ** torch.randint(0, 6, (count, 2))),
    }


def image_works(images: Tensor, texture_root: Path) -> dict[str, Work]:
    """Define the work of making anomalous images from textures: anomalib's, then ours with three settings."""
    theirs = PerlinAnomalyGenerator(texture_root, probability=1.0)
    same = SimulatedAnomaly(texture_root, use_logical=False, structural_source="texture", foreground="none")
    unkept = SimulatedAnomaly(texture_root, use_logical=False, structural_source="texture", foreground="none")
    unkept.textures = TextureFolder(texture_root, cache_bytes=0)
    default = SimulatedAnomaly(texture_root)
    for number in range(len(same.textures)):  # fill the caches, as in training after the first pass
        for generator in (same, default):
            generator.textures.get(number, tuple(images.shape[-2:]))
    return {
        "anomalib PerlinAnomalyGenerator": lambda: theirs(images),
        "SimulatedAnomaly, same work": lambda: same(images),
        "SimulatedAnomaly, same work, textures read each time": lambda: unkept(images),
        "SimulatedAnomaly, default (object mask, logical)": lambda: default(images),
    }


def write_textures(folder: Path, size: int = 400) -> None:
    """Write procedural textures as JPEG files of a typical size for photographs of textures."""
    textures = ProceduralTextures(count=32)
    for number in range(len(textures)):
        Image.fromarray(textures.make(number, (size, size))).save(folder / f"{number}.jpg", quality=92)


def measure(options: Options) -> Iterator[Measurement]:
    """Yield rows of Perlin maps and of whole images."""
    size = 64 if options.quick else 256
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    yield from side_by_side(f"{BATCH} Perlin maps, {size} px", perlin_works(BATCH, size), options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        write_textures(Path(folder))
        works = image_works(torch.rand(BATCH, 3, size, size), Path(folder))
        yield from side_by_side(f"{BATCH} anomalous images, {size} px", works, options.rounds)
