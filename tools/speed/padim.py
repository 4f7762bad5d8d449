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
from anomalib_plugins.callbacks.fast_fit import Gathered
from anomalib_plugins.components.gaussians import STRIPS, PatchGaussians
from tools.speed import Options
from tools.timing import Measurement, Work, side_by_side

CHANNELS, BATCH = 100, 32
THEIRS = "anomalib compute_distance"


def smooth_embeddings(count: int, side: int, seed: int = 0) -> Tensor:
    """Draw features ``(N, C, side, side)`` that resemble PaDiM's: correlated and at least 0."""
    generator = torch.Generator().manual_seed(seed)
    mixing = 0.3 * torch.randn(CHANNELS, 24, generator=torch.Generator().manual_seed(0))
    hidden = torch.randn(count, 24, side, side, generator=generator)
    noise = torch.randn(count, CHANNELS, side, side, generator=generator)
    return torch.einsum("cd,ndhw->nchw", mixing, hidden).add_(noise, alpha=0.2).relu_()


def ours(batches: Sequence[Tensor], half: bool = False, strips: int | None = None) -> PatchGaussians:
    """Fit this package's Gaussians to batches of embeddings; ``strips`` of ``None`` uses the default number."""
    gaussians = PatchGaussians(half)
    gaussians.strips = strips or gaussians.strips
    for batch in batches:
        gaussians.add(batch)
    gaussians.finish()
    return gaussians


def theirs(batches: Sequence[Tensor]) -> MultiVariateGaussian:
    """Fit anomalib's Gaussian, which needs all embeddings in one array."""
    gaussian = MultiVariateGaussian()
    gaussian.fit(torch.vstack(list(batches)))
    return gaussian


def gathered(batches: Sequence[Tensor]) -> MultiVariateGaussian:
    """Fit anomalib's Gaussian as the callback ``FastGaussians`` does."""
    gaussian = MultiVariateGaussian()
    sums = Gathered(gaussian)
    for batch in batches:
        sums.append(batch)
    sums.fit(torch.vstack(sums))
    return gaussian


def megabytes(work: Callable[[], torch.nn.Module]) -> tuple[float, float | str]:
    """Measure the buffers of a result and the rise of peak memory while it is computed, in MB (10^6 bytes).

    The latter is empty on systems other than Linux.
    """
    peak, device = PeakMemory(), torch.device("cpu")
    before = peak.megabytes(device)
    held = size(work())
    return held, round(float(peak.megabytes(device)) - float(before)) if before else ""


def size(module: torch.nn.Module) -> float:
    """Size of a module's buffers in MB (10^6 bytes)."""
    return round(sum(buffer.nbytes for buffer in module.buffers()) / 1e6, 1)


def fit_rows(options: Options, count: int, side: int) -> Iterator[Measurement]:
    """Yield a row for each way to fit."""
    batches = smooth_embeddings(count, side).split(BATCH)
    ways = {
        "anomalib MultiVariateGaussian": partial(theirs, batches),
        "the same with FastGaussians": partial(gathered, batches),
        "PatchGaussians": partial(ours, batches),
        "PatchGaussians, bfloat16": partial(ours, batches, half=True),
    }
    memory = {name: megabytes(way) for name, way in ways.items()}
    held, peaks = ({name: each[index] for name, each in memory.items()} for index in (0, 1))
    what = f"fit of {count} images, {side} x {side} x {CHANNELS}"
    yield from side_by_side(what, ways, min(3, options.rounds), held_mb=held, peak_mb=peaks)


def distance_rows(options: Options, count: int, side: int) -> Iterator[Measurement]:
    """Yield a row for each way to score, for batches of 1 and 8. Errors are relative to anomalib's distances."""
    batches = smooth_embeddings(count, side).split(BATCH)
    gaussian = theirs(batches)
    kept = {
        "PatchGaussians": ours(batches),
        f"PatchGaussians, {2 * STRIPS} strips": ours(batches, strips=2 * STRIPS),
        "PatchGaussians, bfloat16": ours(batches, half=True),
    }
    held = {THEIRS: size(gaussian), **{name: size(each) for name, each in kept.items()}}
    for number in (1, 8):
        images = smooth_embeddings(number, side, seed=1)
        statistics = [gaussian.mean, gaussian.inv_covariance]
        ways: dict[str, Work] = {THEIRS: partial(AnomalyMapGenerator.compute_distance, images, statistics)}
        ways |= {name: partial(each.forward, images) for name, each in kept.items()}
        expected, *found = (torch.as_tensor(way()) for way in ways.values())
        errors = [float(f"{((each - expected).abs() / expected).max():.1e}") for each in found]
        yield from side_by_side(
            f"distances of {number} images",
            ways,
            options.rounds,
            held_mb=held,
            largest_error=dict(zip(kept, errors, strict=True)),
        )


@torch.inference_mode()
def measure(options: Options) -> Iterator[Measurement]:
    """Yield rows of fits and distances at 256 px with 100 features of ResNet-18."""
    count, side = (6, 8) if options.quick else (60, 64)
    yield from fit_rows(options, count, side)
    yield from distance_rows(options, count, side)
