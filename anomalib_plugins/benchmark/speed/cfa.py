# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CFA's scoring beside anomalib's: distances of all patches to all centroids, the nearest three of each."""

from collections.abc import Iterator
from types import SimpleNamespace

import torch
from anomalib.models.image.cfa.anomaly_map import AnomalyMapGenerator
from anomalib.models.image.cfa.torch_model import CfaModel

from anomalib_plugins.benchmark.speed.coreset import smooth_patches
from anomalib_plugins.benchmark.speed.side_by_side import Options, Row, compare
from anomalib_plugins.models.sbm_pfam.hyperspheres import Hyperspheres, weighed_distance

NEIGHBORS = 3


@torch.inference_mode()
def measure(options: Options) -> Iterator[Row]:
    """Rows of ResNet-18's channels and, but if quick, of WideResNet-50-2's, at 256 px."""
    side = 8 if options.quick else 64
    for channels in (448,) if options.quick else (448, 1792):
        patches = smooth_patches(2 * side**2, channels)
        centroids, image = patches[: side**2], patches[None, side**2 :]
        bank = SimpleNamespace(memory_bank=centroids.T.contiguous())
        maps = AnomalyMapGenerator(num_nearest_neighbors=NEIGHBORS)
        spheres = Hyperspheres()
        spheres.add(centroids[None])
        spheres.finish()

        def theirs(image=image, bank=bank, maps=maps):  # noqa: ANN001, ANN202
            return maps.compute_score(CfaModel.compute_distance(bank, image), (side, side))

        def ours(image=image, spheres=spheres):  # noqa: ANN001, ANN202
            return weighed_distance(spheres(image, NEIGHBORS), spheres.far)

        expected = theirs().flatten()
        error = ((ours().flatten() - expected).abs() / expected).max()
        ways = {"anomalib Cfa": theirs, "Hyperspheres": ours}
        what = f"{side**2} patches, {side**2} centroids x {channels}"
        errors = {"Hyperspheres": float(f"{error:.1e}")}
        yield from compare(what, ways, options.rounds, largest_error=errors)
