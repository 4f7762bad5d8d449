# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""PFAM: attention over the feature maps of a pretrained network, in front of any detector that takes such maps."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from anomalib_plugins.components.backbone import Backbone
from anomalib_plugins.components.checks import check_choice
from anomalib_plugins.errors import UserError
from anomalib_plugins.models.sbm_pfam.attention import Mfcsam

Combine = Literal["sum", "concat"]
Init = Literal["identity", "random"]

REFERENCE_SIDE = 224  # images at which frequencies are counted, in pixels
LOW, HIGH = 4, 16  # strides of the stages that the paper's ResNets refine: layer1 and layer3


class LowLevel(nn.Module):
    """Refinement of the largest map: attention beside a 1 x 1 convolution.

    Args:
        channels: Number of channels C of the map.
        size: Side of the map whose frequencies are used.
        combine: ``"sum"`` keeps the channels, ``"concat"`` doubles them.
        identity: Whether to start as the identity instead of at random.
    """

    def __init__(self, channels: int, size: int, combine: Combine = "sum", identity: bool = False) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, channels, 1)
        self.attend = Mfcsam(channels, size, identity)
        self.combine = combine
        if identity:
            nn.init.zeros_(self.project.weight)
            nn.init.zeros_(self.project.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Refine a map ``(N, C, H, W)``."""
        projected, attended = self.project(features), self.attend(features)
        return projected + attended if self.combine == "sum" else torch.cat([projected, attended], dim=1)


class PfamExtractor(nn.Module):
    """Feature maps of a network's stages, the lowest and the highest refined by attention (Yuan et al.).

    Replaces anomalib's ``TimmFeatureExtractor`` for images that are not normalised. Maps keep their names, and
    ``out_dims`` are their channels. Gradients of the maps train the attention, not the backbone.

    Args:
        backbone: Name of the network in timm.
        layers: Stages of the network whose maps are returned; ``None`` takes those of ``strides``.
        pfam: ``False`` leaves all maps as they are.
        low: Stage whose map becomes a 1 x 1 convolution of it plus its attention; ignored if not among ``layers``.
            ``None`` takes the one of ``layers`` with stride 4, if any.
        high: Stage whose map becomes its attention; ignored likewise. ``None`` takes the one with stride 16, of a
            transformer the last.
        combine: How the two of ``low`` are joined; ``"concat"`` doubles its channels.
        init: Start of the attention: ``"identity"``, which leaves the maps as they are, or ``"random"``.
        strides: Pixels of the image per step of a stage's map.
        head: Stage whose mean features a pretext sees, see :class:`Backbone`.

    Raises:
        ValueError: If there is no such network or stage, an option is unknown, neither ``low`` nor ``high`` is among
            ``layers``, or their channels are no multiple of 4.
    """

    def __init__(
        self,
        backbone: str = "wide_resnet50_2",
        layers: Sequence[str] | None = None,
        pfam: bool = True,
        low: str | None = None,
        high: str | None = None,
        combine: Combine = "sum",
        init: Init = "identity",
        strides: Sequence[int] = (4, 8, 16),
        head: str | None = None,
    ) -> None:
        super().__init__()
        check_choice("combine", combine, Combine)
        check_choice("init", init, Init)
        self.backbone = Backbone(backbone, layers, strides, head)
        layers = self.backbone.layers
        self.refine = nn.ModuleDict()
        self.out_dims = list(self.backbone.out_dims)
        if pfam:
            low, high = self._refined_stages(low, high)
        for number, (layer, channels) in enumerate(zip(layers, self.backbone.out_dims, strict=True)):
            # Frequencies are taken of sides that are multiples of 7.
            size = max(7, REFERENCE_SIDE // self.backbone.reductions[number] // 7 * 7)
            if pfam and layer == low:
                self.refine[_key(layer)] = LowLevel(channels, size, combine, init == "identity")
                self.out_dims[number] *= 2 if combine == "concat" else 1
            elif pfam and layer == high:
                self.refine[_key(layer)] = Mfcsam(channels, size, init == "identity")

    def _refined_stages(self, low: str | None, high: str | None) -> tuple[str | None, str | None]:
        """Choose and check the stages that get attention."""
        stages, layers = self.backbone.stages, self.backbone.layers
        unknown = [stage for stage in (low, high) if stage is not None and stage not in stages]
        if unknown:
            msg = f"low and high must be stages of {self.backbone.name}, {', '.join(stages)}; got {unknown}"
            raise UserError(msg)
        by_stride = dict(zip(self.backbone.reductions, layers, strict=True))
        if self.backbone.is_transformer:  # all its maps are of one stride
            by_stride = {HIGH: layers[-1]}
        low, high = low or by_stride.get(LOW), high or by_stride.get(HIGH)
        if low == high or not {low, high} & set(layers):
            msg = (
                f"PFAM needs two different stages of {self.backbone.name}, at least one of them among the layers "
                f"{layers}, got low={low!r} and high={high!r}: name other layers, or set low and high"
            )
            raise UserError(msg)
        return low, high

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the maps."""
        return self.backbone.layers

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Maps of the layers by name ``(N, C, h, w)`` each, of RGB images in ``[0, 1]`` ``(N, 3, H, W)``."""
        with torch.no_grad():
            features = self.backbone.features(images)
        return self._refined(features)

    def _refined(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        keys = [_key(layer) for layer in self.layers]
        refined = [self.refine[key](x) if key in self.refine else x for key, x in zip(keys, features, strict=True)]
        return dict(zip(self.layers, refined, strict=True))

    @property
    def width(self) -> int:
        """Length D of the vectors of :meth:`pooled`."""
        return self.backbone.width + sum(self.out_dims)

    def pooled(self, images: Tensor, frozen: bool = False) -> Tensor:
        """Means ``(N, D)`` of all maps and of the network's last one, for a pretext that trains the attention.

        With ``frozen`` no gradients reach the network.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            features, last = self.backbone.features_and_pooled(images)
        means = [each.mean(dim=(2, 3)) for each in self._refined(features).values()]
        return torch.cat([*means, last], dim=1)


def _key(layer: str) -> str:
    return layer.replace(".", "_")  # a module's name must not hold the dots of timm's
