# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""PaDiM's Gaussians beside anomalib's: fit, memory and distances."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from anomalib.models.components import MultiVariateGaussian
from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator
from torch import Tensor

from anomalib_plugins.benchmark.measure import PeakMemory
from anomalib_plugins.benchmark.speed.side_by_side import Options, Row, compare
from anomalib_plugins.components.gaussians import PatchGaussians

CHANNELS, BATCH = 100, 32


def smooth_embeddings(count: int, side: int, seed: int = 0) -> Tensor:
    """Features as PaDiM gets them ``(N, C, side, side)``: correlated, at least 0."""
    generator = torch.Generator().manual_seed(seed)
    mixing = 0.3 * torch.randn(CHANNELS, 24, generator=torch.Generator().manual_seed(0))
    hidden = torch.randn(count, 24, side, side, generator=generator)
    noise = torch.randn(count, CHANNELS, side, side, generator=generator)
    return torch.einsum("cd,ndhw->nchw", mixing, hidden).add_(noise, alpha=0.2).relu_()


def ours(batches: Sequence[Tensor], half: bool = False) -> PatchGaussians:
    """Gaussians of batches of embeddings."""
    gaussians = PatchGaussians(half)
    for batch in batches:
        gaussians.add(batch)
    gaussians.finish()
    return gaussians


def theirs(batches: Sequence[Tensor]) -> MultiVariateGaussian:
    """anomalib's, which come with one array of all embeddings."""
    gaussian = MultiVariateGaussian()
    gaussian.fit(torch.vstack(list(batches)))
    return gaussian


def megabytes(work: Callable[[], torch.nn.Module]) -> tuple[float, float | str]:
    """Size of the buffers of what a work makes, in MB (10^6 bytes), and how far memory rises meanwhile.

    The latter is empty where the system does not tell.
    """
    peak, device = PeakMemory(), torch.device("cpu")
    before = peak.megabytes(device)
    held = sum(buffer.nbytes for buffer in work().buffers()) / 1e6
    return round(held, 1), round(float(peak.megabytes(device)) - float(before)) if before else ""


def fit_rows(options: Options, count: int, side: int) -> Iterator[Row]:
    """A row of each way to fit."""
    batches = smooth_embeddings(count, side).split(BATCH)
    ways = {
        "anomalib MultiVariateGaussian": partial(theirs, batches),
        "PatchGaussians": partial(ours, batches),
        "PatchGaussians, bfloat16": partial(ours, batches, half=True),
    }
    memory = {name: megabytes(way) for name, way in ways.items()}
    held, peaks = ({name: each[index] for name, each in memory.items()} for index in (0, 1))
    what = f"fit of {count} images, {side} x {side} x {CHANNELS}"
    yield from compare(what, ways, min(3, options.rounds), held_mb=held, peak_mb=peaks)


def distance_rows(options: Options, count: int, side: int) -> Iterator[Row]:
    """A row of each way to score, for batches of 1 and 8; errors are relative to anomalib's distances."""
    batches = smooth_embeddings(count, side).split(BATCH)
    gaussian, whole, half = theirs(batches), ours(batches), ours(batches, half=True)
    for size in (1, 8):
        images = smooth_embeddings(size, side, seed=1)
        statistics = [gaussian.mean, gaussian.inv_covariance]
        ways = {
            "anomalib compute_distance": partial(AnomalyMapGenerator.compute_distance, images, statistics),
            "PatchGaussians": partial(whole.forward, images),
            "PatchGaussians, bfloat16": partial(half.forward, images),
        }
        expected, *found = (way() for way in ways.values())
        errors = [float(f"{((each - expected).abs() / expected).max():.1e}") for each in found]
        yield from compare(
            f"distances of {size} images",
            ways,
            options.rounds,
            largest_error=dict(zip(list(ways)[1:], errors, strict=True)),
        )


@torch.inference_mode()
def measure(options: Options) -> Iterator[Row]:
    """Rows of fits and distances at 256 px, ResNet-18's 100 features."""
    count, side = (6, 8) if options.quick else (60, 64)
    yield from fit_rows(options, count, side)
    yield from distance_rows(options, count, side)
