# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CutSwap's task on a training set: looks at every image once, then makes labelled ones where they are salient."""

import copy
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from anomalib_plugins.components.backbone import Backbone
from anomalib_plugins.errors import MissingFileError, UserError
from anomalib_plugins.models.cutswap_patchcore.saliency import VGG16_POOLS, LayerCam, Target, vgg16_saliency
from anomalib_plugins.models.cutswap_patchcore.task import Anchors, CutSwapTask
from anomalib_plugins.synthesis import SyntheticBatch

logger = logging.getLogger(__name__)

LOOKS = {
    "class": "looks for the class it takes an image for",
    "feature-energy": "has its strongest features: its weights have no trained classifier to name a class",
}
MARGINS = {"vgg16": 0, "backbone": 32}  # without one the maps of a ResNet are mostly the zeros around the image


class SwapPretext:
    """The task, the saliency that places its patches, and what the saliency of each training image was.

    No module: none of it goes into a checkpoint.

    Args:
        task: Makes the labelled images.
        anchors: Keeps where patches may be anchored.
        saliency: ``"vgg16"`` or ``"backbone"``.
        layers: VGG-16's layers or the backbone's stages; ``None`` takes its poolings, or all stages.
        weights: VGG-16's weights; ``None`` looks in the caches and downloads.
        margin: Mirrored pixels around an image; ``None`` takes 0 for VGG-16 and 32 for the backbone.
        pre_trained: Whether VGG-16 has weights at all.
        stages: Names of the backbone's stages.

    Raises:
        ValueError: If ``saliency`` or a layer is unknown.
        FileNotFoundError: If there is no file ``weights``.
    """

    def __init__(
        self,
        task: CutSwapTask,
        anchors: Anchors,
        saliency: str,
        layers: Sequence[int | str] | None,
        weights: str | Path | None,
        margin: int | None,
        pre_trained: bool,
        stages: Sequence[str],
    ) -> None:
        known: dict[str, Sequence[Any]] = {"vgg16": range(31), "backbone": stages}
        if saliency not in known:
            msg = f"saliency must be one of {tuple(known)}, got {saliency!r}"
            raise UserError(msg)
        default = VGG16_POOLS if saliency == "vgg16" else stages
        self.layers = tuple(default if layers is None else layers)
        is_known = [layer in known[saliency] and not isinstance(layer, bool) for layer in self.layers]
        if not self.layers or not all(is_known) or len(set(self.layers)) < len(self.layers):
            msg = (
                f"saliency_layers of {saliency} must be different ones of {list(known[saliency])}, at least one, "
                f"got {self.layers}"
            )
            raise UserError(msg)
        self.margin = MARGINS[saliency] if margin is None else margin
        if self.margin < 0:
            msg = f"saliency_margin must be at least 0 pixels, got {margin}"
            raise UserError(msg)
        if weights is not None and saliency != "vgg16":
            msg = f'saliency_weights are VGG-16\'s, but saliency is "{saliency}": leave one of them out'
            raise UserError(msg)
        if weights is not None and not Path(weights).is_file():
            msg = f"saliency_weights: there is no file {weights}"
            raise MissingFileError(msg)
        self.task, self.anchors, self.saliency = task, anchors, saliency
        self.weights, self.pre_trained = weights, pre_trained
        self._cam: LayerCam | None = None

    @property
    def maps(self) -> int:
        """How many examples there are of each image: one a layer."""
        return len(self.layers)

    @property
    def follows_saliency(self) -> bool:
        """Whether patches lie where images are salient, and not anywhere."""
        return self.task.has_anchors and not self.anchors.anywhere

    def begin_with(self, backbone: Backbone, weights: str | Path | None, pre_trained: bool) -> None:
        """Keep the weights that training begins with, for the saliency: those of a resumed run are others.

        Args:
            backbone: Before a checkpoint is restored.
            weights: File of its ImageNet weights; ``None`` for those of the caches.
            pre_trained: Whether it has any.
        """
        if self.follows_saliency and self.saliency == "backbone":
            classifying = backbone.with_classifier(weights) if pre_trained or weights is not None else None
            network = copy.deepcopy(backbone.network) if classifying is None else classifying
            target: Target = "feature-energy" if classifying is None else "class"
            layers = [str(layer) for layer in self.layers]
            mean, std = backbone.pixel_mean.flatten().tolist(), backbone.pixel_std.flatten().tolist()
            self._cam = LayerCam(network.float(), layers, target, self.margin, mean=mean, std=std)

    def look(self, paths: Sequence[str], load: Callable[[str], Tensor], device: torch.device) -> None:
        """Find where patches may be anchored in every image of the training set.

        Args:
            paths: The images' files.
            load: Gives the image of a file ``(3, H, W)``, on the device.
            device: Where to compute.
        """
        if not self.follows_saliency:
            return
        if self._cam is None:
            layers = [int(layer) for layer in self.layers]
            self._cam = vgg16_saliency(self.weights, layers, pre_trained=self.pre_trained, margin=self.margin)
        logger.info("Patches lie where %s %s.", self.saliency, LOOKS[self._cam.target])
        self._cam.network.to(device)
        self.anchors.gather(paths, load, self._cam)

    def forget(self) -> None:
        """Free all of it: the pretext is over."""
        self.drop_network()
        self.anchors.clear()

    def drop_network(self) -> None:
        """Give the memory of the saliency network free; its maps are not needed any more, but for a preview."""
        self._cam = None

    def __call__(
        self, images: Tensor, paths: Sequence[str], layers: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Labelled images of pairs of an image and a layer.

        Args:
            images: Normal ones ``(P, 3, H, W)``.
            paths: Their files ``(P,)``.
            layers: Which of the maps places the patches of each ``(P,)``.
            generator: Source of all randomness.

        Returns:
            Images ``(K * P, 3, H, W)`` and their classes ``(K * P,)``.
        """
        places = self.anchors(paths, layers, generator) if self.follows_saliency else None
        if places is not None and places.shape[1:] != images.shape[2:]:
            rank_zero_warn("Images of another size than their files, as in a tiled ensemble: patches lie anywhere.")
            places = None
        return self.task(images, generator, places)

    def preview(self, images: Tensor, generator: torch.Generator) -> SyntheticBatch:
        """Anomalies as the task makes them, patches and scars in turn, each by another layer's map."""
        maps = self.preview_saliency(images)
        places = None if maps is None else self.anchors.of_maps(maps, generator)[:, 0]
        return self.task.preview(images, generator, places)

    def preview_saliency(self, images: Tensor) -> Tensor | None:
        """The map ``(N, 1, H, W)`` that places each image's anomaly in a preview; ``None`` if none does."""
        if self._cam is None:
            return None
        maps = self._cam(images)
        number = torch.arange(len(images), device=maps.device)
        return maps[number, number % self.maps][:, None]
