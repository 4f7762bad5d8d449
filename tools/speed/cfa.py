# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CFA's scoring beside anomalib's, and beside the bare matrix product that any exact method needs."""

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace

import torch
from anomalib.models.image.cfa.anomaly_map import AnomalyMapGenerator
from anomalib.models.image.cfa.torch_model import CfaModel
from torch import Tensor

from anomalib_plugins.models.sbm_pfam.hyperspheres import Hyperspheres, weighed_distance
from tools.speed import Options
from tools.speed.coreset import smooth_patches
from tools.timing import Measurement, side_by_side

NEIGHBORS = 3
PRODUCT = "bare matrix product"


def theirs(bank: SimpleNamespace, maps: AnomalyMapGenerator, image: Tensor, side: int) -> Tensor:
    """Score an image's patches ``(1, P, C)`` with anomalib; ``side`` is the height and width of the map."""
    distance = CfaModel.compute_distance(bank, image)
    return maps.compute_score(distance, (side, side))


def ours(spheres: Hyperspheres, image: Tensor) -> Tensor:
    """Score an image's patches ``(1, P, C)`` with this package."""
    return weighed_distance(spheres.forward(image, NEIGHBORS), spheres.far)


@torch.inference_mode()
def measure(options: Options) -> Iterator[Measurement]:
    """Yield rows for the channels of ResNet-18 and, unless quick, of WideResNet-50-2, at 256 px."""
    side = 8 if options.quick else 64
    for channels in (448,) if options.quick else (448, 1792):
        patches = smooth_patches(2 * side**2, channels)
        centroids, image = patches[: side**2], patches[None, side**2 :]
        bank = SimpleNamespace(memory_bank=centroids.T.contiguous())
        maps = AnomalyMapGenerator(num_nearest_neighbors=NEIGHBORS)
        spheres = Hyperspheres()
        spheres.add(centroids[None])
        spheres.finish()

        ways = {"anomalib Cfa": partial(theirs, bank, maps, image, side), "Hyperspheres": partial(ours, spheres, image)}
        expected, found = (way().flatten() for way in ways.values())
        product = partial(torch.mm, image[0], bank.memory_bank, out=torch.empty(side**2, side**2))
        error = ((found - expected).abs() / expected).max()
        what = f"{side**2} patches, {side**2} centroids x {channels}"
        errors = {"Hyperspheres": float(f"{error:.1e}")}
        compared = side_by_side(what, {**ways, PRODUCT: product}, options.rounds, largest_error=errors)
        for row in compared:
            row["gflop_a_second"] = float(f"{2e-6 * side**4 * channels / row['cpu_ms']:.3g}")
        yield from compared
