# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CPU time of simulated anomalies beside anomalib's: ``python -m anomalib_plugins.benchmark.synthesis_speed``."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import torch
from anomalib.data.utils.generators.perlin import PerlinAnomalyGenerator, generate_perlin_noise
from PIL import Image
from torch import Tensor

from anomalib_plugins.synthesis import ProceduralTextures, SimulatedAnomaly, TextureFolder, perlin_noise

Work = Callable[[], object]

CALLS = 3


def cpu_milliseconds(works: dict[str, Work], repeats: int) -> dict[str, float]:
    """Median CPU time of each piece of work, taken in turns so that all meet the same load.

    Args:
        works: What to time, by name. Each is called a few times beforehand.
        repeats: Timings of each, of a few calls in a row.

    Returns:
        CPU milliseconds a call, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(-1, repeats):
        for name, work in works.items():
            start = time.process_time()
            for _ in range(CALLS):
                work()
            if repeat >= 0:
                times[name].append(1000 * (time.process_time() - start) / CALLS)
    return {name: statistics.median(values) for name, values in times.items()}


def perlin_works(count: int, size: int) -> dict[str, Work]:
    """``count`` Perlin maps with 1 to 32 cells a side: anomalib's, then ours."""
    device = torch.device("cpu")
    return {
        "anomalib generate_perlin_noise": lambda: [
            generate_perlin_noise(size, size, device=device) for _ in range(count)
        ],
        "perlin_noise": lambda: perlin_noise((size, size), 2 ** torch.randint(0, 6, (count, 2))),
    }


def image_works(images: Tensor, texture_root: Path) -> dict[str, Work]:
    """Whole anomalous images from textures in ``texture_root``: anomalib's, then ours in three settings."""
    theirs = PerlinAnomalyGenerator(texture_root, probability=1.0)
    same = SimulatedAnomaly(texture_root, use_logical=False, structural_source="texture", foreground="none")
    unkept = SimulatedAnomaly(texture_root, use_logical=False, structural_source="texture", foreground="none")
    unkept.textures = TextureFolder(texture_root, cache_bytes=0)
    default = SimulatedAnomaly(texture_root)
    for number in range(len(same.textures)):  # the first pass over the textures is not what a training sees
        for generator in (same, default):
            generator.textures.get(number, tuple(images.shape[-2:]))
    return {
        "anomalib PerlinAnomalyGenerator": lambda: theirs(images),
        "SimulatedAnomaly, same work": lambda: same(images),
        "SimulatedAnomaly, same work, textures read each time": lambda: unkept(images),
        "SimulatedAnomaly, default (object mask, logical)": lambda: default(images),
    }


def write_textures(folder: Path, size: int = 400) -> None:
    """Write procedural textures as JPEG files of a size that is usual for texture photographs."""
    textures = ProceduralTextures(count=32)
    for number in range(len(textures)):
        Image.fromarray(textures.make(number, (size, size))).save(folder / f"{number}.jpg", quality=92)


def table(milliseconds: dict[str, float], count: int) -> str:
    """One line for each piece of work: CPU time an item, items a CPU second, ratio to the first."""
    base = next(iter(milliseconds.values()))
    return "\n".join(
        f"{name:54s} {value / count:8.3f} ms {1000 * count / value:9.0f} /s {base / value:7.1f} x"
        for name, value in milliseconds.items()
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texture-root", type=Path, help="folder of textures; default: procedural ones as JPEG files")
    parser.add_argument("--size", type=int, default=256, help="side of the images in pixels")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    images = torch.rand(arguments.batch_size, 3, arguments.size, arguments.size)
    print(f"CPU time an item, one thread, {arguments.size} px, batches of {arguments.batch_size}")
    print("Same work: a Perlin mask, a texture from a file changed by three of ten operations, the blend.")
    print("Not the same: anomalib's mask has 1 to 32 cells a side and at least one pixel, ours 1 to 8 and 49 pixels;")
    print("anomalib reads a texture each time, ours keeps the resized ones; five operations differ in detail.\n")
    print(table(cpu_milliseconds(perlin_works(len(images), arguments.size), arguments.repeats), len(images)), "\n")
    with tempfile.TemporaryDirectory() as folder:
        root = arguments.texture_root or Path(folder)
        if arguments.texture_root is None:
            write_textures(root)
        print(table(cpu_milliseconds(image_works(images, root), arguments.repeats), len(images)))


if __name__ == "__main__":
    main()
