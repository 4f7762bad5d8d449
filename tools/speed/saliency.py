# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CutSwap's saliency compared with a CAM library."""

from collections.abc import Iterator

import torch
from torch import Tensor

from anomalib_plugins.components.precision import fast_precision
from anomalib_plugins.models.cutswap_patchcore.saliency import LayerCam, vgg16_saliency
from anomalib_plugins.synthesis import ProceduralTextures
from tools.speed import Options
from tools.timing import Measurement, Work, side_by_side


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


def measure(options: Options) -> Iterator[Measurement]:
    """Yield rows of the maps of VGG-16's five layers."""
    size = 32 if options.quick else 256
    torch.manual_seed(0)
    texture = torch.from_numpy(ProceduralTextures().make(0, (size, size))).permute(2, 0, 1)[None] / 255
    cam = vgg16_saliency(pre_trained=False, target="class")  # weights do not change the time
    yield from side_by_side(f"five LayerCAM maps of VGG-16, {size} px", cam_works(cam, texture), min(3, options.rounds))
