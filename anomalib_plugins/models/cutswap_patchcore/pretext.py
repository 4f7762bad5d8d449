# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CutSwap's task on a training set, with patches where the images are salient."""

import copy
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from anomalib_plugins.components.backbone import Backbone
from anomalib_plugins.components.checks import check_choice, check_distinct, check_least
from anomalib_plugins.errors import MissingFileError, UserError
from anomalib_plugins.models.cutswap_patchcore.anchors import Anchors
from anomalib_plugins.models.cutswap_patchcore.saliency import VGG16_POOLS, LayerCam, Target, vgg16_saliency
from anomalib_plugins.models.cutswap_patchcore.task import CutSwapTask
from anomalib_plugins.synthesis import SyntheticBatch

logger = logging.getLogger(__name__)

LOOKS = {
    "class": "looks for the class it takes an image for",
    "feature-energy": "has its strongest features: its weights have no trained classifier to name a class",
}
MARGINS = {"vgg16": 0, "backbone": 32}  # without one the maps of a ResNet are mostly the zeros around the image


class SwapPretext:
    """The task, the saliency that places its patches, and the anchors of each training image.

    It is not a module, so that checkpoints hold none of it.

    Args:
        task: Task that makes the labelled images.
        anchors: Empty anchors to fill.
        saliency: Network of the saliency, ``"vgg16"`` or ``"backbone"``.
        layers: Layers of VGG-16 or stages of the backbone; ``None`` takes the poolings, or all stages.
        weights: File with VGG-16's weights; ``None`` looks in the caches and downloads.
        margin: Number of mirrored pixels around an image; ``None`` takes 0 for VGG-16 and 32 for the backbone.
        pre_trained: Whether VGG-16 has weights at all.
        stages: Names of the backbone's stages.

    Raises:
        ValueError: If ``saliency`` or a layer is unknown.
        FileNotFoundError: If ``weights`` does not exist.
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
        check_choice("saliency", saliency, known)
        default = VGG16_POOLS if saliency == "vgg16" else stages
        self.layers = tuple(default if layers is None else layers)
        check_distinct(f"saliency_layers of {saliency}", self.layers, known[saliency])
        self.margin = MARGINS[saliency] if margin is None else margin
        check_least("saliency_margin", self.margin, 0)
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
        """Number of maps, and of examples of each image: one per layer."""
        return len(self.layers)

    @property
    def follows_saliency(self) -> bool:
        """Whether saliency places the patches."""
        return self.task.has_anchors and not self.anchors.anywhere

    def begin_with(self, backbone: Backbone, weights: str | Path | None, pre_trained: bool) -> None:
        """Keep the weights that training begins with for the saliency, since a resumed run has others.

        Args:
            backbone: Backbone before a checkpoint is restored.
            weights: File with its ImageNet weights; ``None`` takes those of the caches.
            pre_trained: Whether it has ImageNet weights.
        """
        if self.follows_saliency and self.saliency == "backbone":
            classifying = backbone.with_classifier(weights) if pre_trained or weights is not None else None
            network = copy.deepcopy(backbone.network) if classifying is None else classifying
            target: Target = "feature-energy" if classifying is None else "class"
            layers = [str(layer) for layer in self.layers]
            normalize = copy.deepcopy(backbone.normalize)
            self._cam = LayerCam(network.float(), layers, target, self.margin, normalize)

    def look(self, paths: Sequence[str], load: Callable[[str], Tensor], device: torch.device) -> None:
        """Find where patches may be anchored in every image of the training set.

        Args:
            paths: Files of the images.
            load: Function that reads the image ``(3, H, W)`` of a file, on the device.
            device: Device to compute on.
        """
        if not self.follows_saliency:
            return
        if self._cam is None:
            layers = [int(layer) for layer in self.layers]
            self._cam = vgg16_saliency(self.weights, layers, pre_trained=self.pre_trained, margin=self.margin)
        logger.info("Patches lie where %s %s.", self.saliency, LOOKS[self._cam.target])
        self.anchors.gather(paths, load, self._cam.to(device))

    def drop_network(self) -> None:
        """Free the saliency network, which only previews still need."""
        self._cam = None

    def drop_all(self) -> None:
        """Free the saliency network and the anchors after the pretext."""
        self._cam = None
        self.anchors.clear()

    def __call__(
        self, images: Tensor, paths: Sequence[str], layers: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Make labelled images of pairs of an image and a layer.

        Args:
            images: Normal images ``(P, 3, H, W)``.
            paths: Files of the images ``(P,)``.
            layers: Number of the map that places the patches of each image ``(P,)``.
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
        """Make one anomaly in each image, patches and scars in turn, each by another layer's map."""
        maps = self.preview_saliency(images)
        places = None if maps is None else self.anchors.of_maps(maps, generator)[:, 0]
        return self.task.preview(images, generator, places)

    def preview_saliency(self, images: Tensor) -> Tensor | None:
        """Maps ``(N, 1, H, W)`` that place the anomalies of a preview; ``None`` if none does."""
        if self._cam is None:
            return None
        maps = self._cam(images)
        number = torch.arange(len(images), device=maps.device)
        return maps[number, number % self.maps][:, None]
