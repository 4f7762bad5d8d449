# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CPU time of CutSwap's saliency beside the usual ways: ``python -m anomalib_plugins.benchmark.saliency_speed``."""

import argparse
from pathlib import Path

import torch
from sklearn.cluster import KMeans
from torch import Tensor

from anomalib_plugins.benchmark.synthesis_speed import Work, cpu_milliseconds, table
from anomalib_plugins.components.kmeans import kmeans_1d
from anomalib_plugins.components.precision import fast_precision
from anomalib_plugins.components.saliency import LayerCam, vgg16_saliency
from anomalib_plugins.synthesis import ProceduralTextures

K = 4
STARTS = 10


def cam_works(cam: LayerCam, images: Tensor) -> dict[str, Work]:
    """Maps of all layers: from the CAM library, which runs once a layer, then ours."""
    from pytorch_grad_cam import LayerCAM

    modules = dict(cam.network.named_modules())

    def library() -> None:
        cam.network.requires_grad_()  # as networks come
        for name in cam.layers:
            with LayerCAM(cam.network, [modules[name]]) as once:
                once(images, None)

    def half() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            cam(images)

    works: dict[str, Work] = {"pytorch-grad-cam, once a layer": library, "LayerCam": lambda: cam(images)}
    if fast_precision() == "bf16-mixed":
        works["LayerCam, bfloat16"] = half
    return works


def scikit_learn(row: Tensor, starts: int) -> float:
    """Inertia of scikit-learn's clusters of numbers ``(P,)``."""
    return KMeans(K, n_init=starts, random_state=0).fit(row.double().numpy()[:, None]).inertia_


def kmeans_works(rows: Tensor) -> dict[str, Work]:
    """Clusters of rows of intensities ``(R, P)``: scikit-learn's, then ours."""
    return {
        f"scikit-learn KMeans, {STARTS} starts": lambda: [scikit_learn(row, STARTS) for row in rows],
        "scikit-learn KMeans, 1 start": lambda: [scikit_learn(row, 1) for row in rows],
        "kmeans_1d": lambda: kmeans_1d(rows, K),
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="file of VGG-16 for the maps to cluster; default: random weights")
    parser.add_argument("--size", type=int, default=256, help="side of the images in pixels")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    size = (arguments.size, arguments.size)
    texture = torch.from_numpy(ProceduralTextures().make(0, size)).permute(2, 0, 1)[None] / 255
    print(f"CPU time an image, one thread, {arguments.size} px, VGG-16, five layers, target class")
    random = vgg16_saliency(pre_trained=False, target="class")  # weights do not change the time
    print(table(cpu_milliseconds(cam_works(random, texture), arguments.repeats), 1), "\n")
    cam = vgg16_saliency(arguments.weights, pre_trained=arguments.weights is not None)
    rows = cam(texture)[0].flatten(1)
    print(f"CPU time a map of {rows.shape[1]} intensities, {K} clusters")
    print(table(cpu_milliseconds(kmeans_works(rows), arguments.repeats), len(rows)))
    theirs = rows.new_tensor([scikit_learn(row, STARTS) for row in rows], dtype=torch.float64)
    ratios = kmeans_1d(rows, K).inertia / theirs
    print(f"Inertia over scikit-learn's with {STARTS} starts: {ratios.min():.5f} to {ratios.max():.5f}")


if __name__ == "__main__":
    main()
