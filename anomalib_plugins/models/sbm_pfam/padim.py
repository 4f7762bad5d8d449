# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""PaDiM behind SBM and PFAM."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from anomalib.data import InferenceBatch
from anomalib.models import AnomalibModule
from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.components.gaussians import PatchGaussians
from anomalib_plugins.components.inference import mark_non_finite
from anomalib_plugins.components.tiling import cut, merge
from anomalib_plugins.errors import UserError
from anomalib_plugins.models.sbm_pfam.pfam import PfamExtractor
from anomalib_plugins.phases.schedule import Step

from .base import SbmPfam

if TYPE_CHECKING:
    from anomalib.data.utils.tiler import Tiler

# Channels and stride of the paper's networks, and at most of all others, where they were measured to be better.
PUBLISHED = {"resnet18": (100, 4), "wide_resnet50_2": (550, 4)}
OTHERS = (200, 8)


class SbmPfamPadimModel(nn.Module):
    """PaDiM (Defard et al., 2021) on feature maps with attention.

    Args:
        extractor: Network of the feature maps.
        n_features: Number of channels that describe a patch, drawn at random; ``None`` takes 100 of ResNet-18, 550 of
            WideResNet-50-2 and up to 200 of other networks.
        half: Whether to keep the Gaussians in bfloat16, see :class:`PatchGaussians`.
        stride: Distance between Gaussians in pixels; ``None`` takes 4 with these two networks and 8 with others.

    Raises:
        ValueError: If there are fewer channels than ``n_features``, or ``stride`` is no multiple of the first map's.
    """

    index: Tensor
    stride: Tensor

    def __init__(
        self, extractor: PfamExtractor, n_features: int | None = None, half: bool = False, stride: int | None = None
    ) -> None:
        super().__init__()
        self.tiler: Tiler | None = None  # set by anomalib's TilerConfigurationCallback
        self.extractor = extractor
        channels = sum(extractor.out_dims)
        features, spacing = PUBLISHED.get(extractor.backbone.name, OTHERS)
        count = min(features, channels) if n_features is None else n_features
        self.first = extractor.backbone.reductions[0]  # stride of the first map
        stride = -(-spacing // self.first) * self.first if stride is None else stride
        if not 1 <= count <= channels:
            msg = f"n_features must be from 1 to the {channels} channels of the layers, got {n_features}"
            raise UserError(msg)
        if stride < 1 or stride % self.first:
            msg = f"stride must be a multiple of {self.first}, the stride of the first map, got {stride}"
            raise UserError(msg)
        self.pool = stride // self.first
        self.register_buffer("index", torch.randperm(channels)[:count])
        self.register_buffer("stride", torch.tensor(stride))
        self.gaussians = PatchGaussians(half)
        self.anomaly_map = AnomalyMapGenerator()

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        # Version 0.2 and earlier had Gaussians at the stride of the first map, and fewer channels by default.
        if f"{prefix}stride" not in state and f"{prefix}index" in state:
            state[f"{prefix}stride"] = torch.tensor(self.first)
            self.index = state[f"{prefix}index"].to(self.index.device, copy=True)
        super()._load_from_state_dict(state, prefix, *args)
        self.pool = int(state[f"{prefix}stride"]) // self.first if f"{prefix}stride" in state else self.pool

    def embed(self, images: Tensor) -> Tensor:
        """Embed patches by the chosen channels: ``(N, C, h, w)``, float32."""
        first, *rest = self.extractor(cut(images, self.tiler)).values()
        first = F.avg_pool2d(first, self.pool, ceil_mode=True) if self.pool > 1 else first
        scaled = [self._resized(each, first.shape[-2:]) for each in rest]
        embedding = torch.cat([first, *scaled], dim=1).index_select(1, self.index).float()
        return merge(embedding, self.tiler, images.shape[-2:])

    def _resized(self, features: Tensor, size: Sequence[int]) -> Tensor:
        """Bring a map to the grid of the Gaussians; at the stride of the first map as published, by repeating."""
        if self.pool == 1:
            return F.interpolate(features, size, mode="nearest")
        if features.shape[-1] > size[-1]:
            return F.adaptive_avg_pool2d(features, size)
        return F.interpolate(features, size, mode="bilinear")

    def forward(self, images: Tensor) -> Tensor | InferenceBatch:
        """Score images, or embed patches in training mode, as :class:`PatchcoreModel` does.

        Images with a NaN or an infinity get ``gaussians.broken`` everywhere, which no other image reaches.
        """
        embedding = self.embed(images)
        if self.training:
            return embedding
        distances = self.gaussians(embedding)
        with torch.autocast(images.device.type, enabled=False):
            larger = self.anomaly_map.up_sample(distances, images.shape[-2:])
            anomaly_map = self.anomaly_map.smooth_anomaly_map(larger)
        score, anomaly_map = mark_non_finite(
            images, anomaly_map.amax(dim=(1, 2, 3)), anomaly_map, self.gaussians.broken
        )
        return InferenceBatch(pred_score=score, anomaly_map=anomaly_map)


class SbmPfamPadim(SbmPfam, AnomalibModule):
    """PaDiM whose backbone learned the shape of the parts, and whose features have attention.

    Phase ``jigsaw`` shuffles the tiles of normal images, half of them with a simulated defect, and trains the backbone
    (SBM) and the attention (PFAM) to name the order. Phase ``memory`` then looks at every image once and fits a
    Gaussian to each place of the image; a patch far from its place's mean is anomalous. Yuan et al., "Anomaly detection
    of industrial products considering both texture and shape information"; Defard et al., "PaDiM: a patch distribution
    modeling framework for anomaly detection and localization" (2021).

    Trains on normal images alone. A shorter ``max_epochs``, ``max_steps`` or ``max_time`` of the trainer shortens the
    jigsaw; the memory always sees all images.

    Args:
        n_features: Number of channels that describe a patch, drawn at random; ``None`` takes 100 of ResNet-18, 550 of
            WideResNet-50-2, as published, and all, up to 200, of other networks. Memory grows with its square.
        half: Whether to keep the Gaussians in bfloat16, which nearly halves that memory and the exported file, and
            changes distances by some thousandths. Faster where the processor is fast at it.
        stride: Distance between Gaussians in pixels, a multiple of the first map's stride. Finer maps are averaged,
            coarser ones interpolated. ``None`` takes 4 with these two networks, as published, and 8 with others, where
            that is more accurate and takes less memory.
        kwargs: Arguments of :class:`SbmPfam`, common to the three detectors.
    """

    def __init__(
        self, *, n_features: int | None = None, half: bool = False, stride: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.assemble(lambda extractor: SbmPfamPadimModel(extractor, n_features, half, stride))

    def detector_step(self, step: Step) -> None:
        """Add the features of unchanged images to the Gaussians."""
        if step.progress == 0:
            self.model.gaussians.clear()
        with torch.no_grad():
            self.model.gaussians.add(self.model.eval().embed(step.images))

    def complete_memory(self) -> None:
        """Fit the Gaussians."""
        self.model.gaussians.finish()
