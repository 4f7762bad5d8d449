# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CutSwap's saliency beside a CAM library, and its k-means beside scikit-learn."""

from collections.abc import Iterator

import torch
from sklearn.cluster import KMeans
from torch import Tensor

from anomalib_plugins.components.precision import fast_precision
from anomalib_plugins.models.cutswap_patchcore.kmeans import kmeans_1d
from anomalib_plugins.models.cutswap_patchcore.saliency import LayerCam, vgg16_saliency
from anomalib_plugins.synthesis import ProceduralTextures
from tools.speed.side_by_side import Options, Row, Work, compare

K = 4
STARTS = 10


def cam_works(cam: LayerCam, images: Tensor) -> dict[str, Work]:
    """Define the work of computing maps of all layers: with the CAM library, once per layer, and with LayerCam."""
    from pytorch_grad_cam import LayerCAM

    modules = dict(cam.network.named_modules())

    def library() -> None:
        cam.network.requires_grad_()  # as in any loaded network
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
    """Cluster numbers ``(P,)`` with scikit-learn and return the inertia."""
    return KMeans(K, n_init=starts, random_state=0).fit(row.double().numpy()[:, None]).inertia_


def kmeans_works(rows: Tensor) -> dict[str, Work]:
    """Define the work of clustering rows of intensities ``(R, P)``: with scikit-learn and with kmeans_1d."""
    return {
        f"scikit-learn KMeans, {STARTS} starts": lambda: [scikit_learn(row, STARTS) for row in rows],
        "scikit-learn KMeans, 1 start": lambda: [scikit_learn(row, 1) for row in rows],
        "kmeans_1d": lambda: kmeans_1d(rows, K),
    }


def measure(options: Options) -> Iterator[Row]:
    """Yield rows of the maps of VGG-16's five layers, and of clusters of their intensities."""
    size = 32 if options.quick else 256
    torch.manual_seed(0)
    texture = torch.from_numpy(ProceduralTextures().make(0, (size, size))).permute(2, 0, 1)[None] / 255
    cam = vgg16_saliency(pre_trained=False, target="class")  # weights do not change the time
    yield from compare(f"five LayerCAM maps of VGG-16, {size} px", cam_works(cam, texture), min(3, options.rounds))
    rows = cam(texture)[0].flatten(1)
    theirs = rows.new_tensor([scikit_learn(row, STARTS) for row in rows], dtype=torch.float64)
    worst = (kmeans_1d(rows, K).inertia / theirs).nan_to_num(1.0).max().item()  # 0 / 0 where a map is flat
    what = f"{K} clusters of each of {len(rows)} x {rows.shape[1]} intensities"
    inertia = {f"scikit-learn KMeans, {STARTS} starts": 1.0, "kmeans_1d": round(worst, 5)}
    yield from compare(what, kmeans_works(rows), min(3, options.rounds), largest_inertia_ratio=inertia)
