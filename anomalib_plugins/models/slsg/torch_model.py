# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""SegNet, the network that detects anomalies."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from anomalib.data import InferenceBatch
from torch import Tensor, nn

from anomalib_plugins.components.backbone import Normalize
from anomalib_plugins.components.checks import check_least
from anomalib_plugins.components.inference import BROKEN_SCORE, mark_non_finite, top_k_score
from anomalib_plugins.components.patchcore import PatchBanks
from anomalib_plugins.components.segmentation import anomaly_probability
from anomalib_plugins.components.tiling import cut, merge
from anomalib_plugins.errors import UserError

from .decoder import BottleneckHead, Decoder, Laterals, resize_to, scaled_widths
from .encoder import Features, SlsgEncoder, Stem, TimmEncoder
from .sg_block import AttnScale, SelfAttentiveGraphBlock, ValueConv

if TYPE_CHECKING:
    from anomalib.data.utils.tiler import Tiler


REMEMBERED_STRIDES = (8, 16)
# With a memory, the map is distance * max(probability, LEAST_PROBABILITY) ** PROBABILITY_EXPONENT: where the decoder
# sees nothing, the distance falls by 29 %.
LEAST_PROBABILITY = 0.001
PROBABILITY_EXPONENT = 0.05


class SkipRefinement(nn.Module):
    """Large-kernel attention on a skip connection (LKA), in the authors' release but not in the paper.

    Args:
        channels: Channels of the skip.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.Conv2d(channels, channels, 3, padding=3, dilation=3, groups=channels),
            nn.Conv2d(channels, channels, 1),
        )
        self.project = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Weight features ``(N, C, H, W)`` by their surroundings; the shape does not change."""
        near, far, mix = self.attention
        weights = near(features)
        # oneDNN's bfloat16 weight gradient of dilated depthwise convolutions holds uninitialised memory in
        # channels_last (torch 2.15, CPUs with AMX): values of 1e34 and NaN. float32 is right there.
        with torch.autocast(features.device.type, enabled=False):
            weights = far(weights.float())
        return features + self.project(features * mix(weights))


class SlsgModel(nn.Module):
    """SegNet: encoder, self-attentive graph block and decoder, one anomaly probability per pixel.

    Images may have any size from 32 px on. Below 96 px the graph has fewer than ``k * knn_dilation`` = 27 patches, so
    that each has fewer than ``k`` neighbours (2 at 32 px). In the paper the encoder is frozen in this network.

    Args:
        encoder: ``"resnet18"``, which is published, or any other network of timm with stages of these strides, e.g.
            ``"tf_efficientnet_lite0"``, which 1x1 convolutions join to the decoder.
        width: Factor of the channels of decoder and SG block; 1 is published.
        finest_stride: Stride of the finest features of encoders other than ``"resnet18"``; three more stages follow,
            each of twice the stride. With 4 the decoder and its maps have a quarter of the pixels.
        stem: Input of the first stage of ``"resnet18"``, see :class:`SlsgEncoder`.
        skip_refine: Whether the skips have large-kernel attention.
        bottleneck_skip: Whether the reduced bottleneck enters the decoder's second and third block.
        use_attention: Whether the SG block has its attention part.
        use_gcn: Whether the SG block has its graph part. With neither part the network is a U-Net.
        remove_pos_sim: Whether position is kept out of the choice of neighbours.
        k: Number of neighbours in the graph, K.
        knn_dilation: Step between the ranks of neighbours among the most similar patches.
        attn_scale: Whether attention divides by the root of its dimension (``"sqrt"``) or not (``"none"``).
        value_conv: Form of the attention's value layer, see :class:`SelfAttentiveGraphBlock`.
        top_k: Number of largest pixels whose mean is the score of an image; all pixels if it has fewer.
        memory: Whether to remember the encoder's features of normal patches, of strides 8 and 16, as PatchCore does.
            The map is then their distance to the nearest of these times a power of the anomaly probability.

    Raises:
        ValueError: If ``top_k`` is less than 1, ``width`` is not above 0, or an option of the encoder or the SG block
            is unknown.
    """

    def __init__(
        self,
        encoder: str = "resnet18",
        width: float = 1.0,
        finest_stride: int = 2,
        stem: Stem = "reference",
        skip_refine: bool = True,
        bottleneck_skip: bool = True,
        use_attention: bool = True,
        use_gcn: bool = True,
        remove_pos_sim: bool = True,
        k: int = 9,
        knn_dilation: int = 3,
        attn_scale: AttnScale = "none",
        value_conv: ValueConv = "reference",
        top_k: int = 100,
        memory: bool = False,
    ) -> None:
        super().__init__()
        check_least("top_k", top_k)
        if encoder == "resnet18" and finest_stride != 2:
            msg = f"finest_stride of resnet18 is 2, got {finest_stride}: it is for other encoders"
            raise UserError(msg)
        self.stem = stem
        self.tiler: Tiler | None = None  # set by anomalib's TilerConfigurationCallback
        self.finest_stride = finest_stride
        self.bottleneck_skip = bottleneck_skip
        self.top_k = top_k
        self.encoder = SlsgEncoder(stem) if encoder == "resnet18" else TimmEncoder(encoder, finest_stride)
        self.widths = scaled_widths(width)
        self.normalize = Normalize(self.encoder.mean, self.encoder.std)
        self.laterals = Laterals(self.encoder.channels, self.widths)
        self.sg_block = SelfAttentiveGraphBlock(
            self.widths[-1],
            use_attention=use_attention,
            use_gcn=use_gcn,
            remove_pos_sim=remove_pos_sim,
            k=k,
            knn_dilation=knn_dilation,
            attn_scale=attn_scale,
            value_conv=value_conv,
        )
        self.refine = nn.ModuleList(SkipRefinement(c) if skip_refine else nn.Identity() for c in self.widths[:3])
        context = self.widths[0] // 2
        self.aux_head = BottleneckHead(2, self.widths[-1], context)
        self.decoder = Decoder(2, context if bottleneck_skip else 0, self.widths)
        self._remembered = [1 + int(math.log2(stride / finest_stride)) for stride in REMEMBERED_STRIDES]
        channels = [self.encoder.channels[level] for level in self._remembered]
        self.memory = PatchBanks(channels, matching="layerwise") if memory else None

    @property
    def banks(self) -> nn.ModuleList:
        """Memory banks; none without a memory."""
        return self.memory.banks if self.memory else nn.ModuleList()

    def features(self, images: Tensor) -> Features:
        """Extract the encoder's features of images ``(N, 3, H, W)``."""
        features: Features = self.encoder(self.normalize(images))
        return features

    def segment(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits of the normal and the anomalous class, and auxiliary logits from the bottleneck alone.

        The first include the second; both are ``(N, 2, H, W)``.
        """
        return self._segment(self.features(images), images)

    def _segment(self, features: Features, images: Tensor) -> tuple[Tensor, Tensor]:
        s0, f1, f2, f3, f4 = self.laterals(features)
        size = images.shape[-2:] if self.finest_stride == 2 else s0.shape[-2:]
        bottleneck = self.sg_block(f4)
        aux_logits, context = self.aux_head(bottleneck, size)
        skips = [s0, *(refine(f) for refine, f in zip(self.refine, (f1, f2, f3), strict=True))]
        logits = self.decoder(bottleneck, skips, size, context if self.bottleneck_skip else None)
        if self.finest_stride == 2:
            return logits + aux_logits, aux_logits
        return resize_to(logits + aux_logits, images.shape[-2:]), resize_to(aux_logits, images.shape[-2:])

    def embed(self, images: Tensor) -> list[Tensor]:
        """Embed every patch of images ``(N, 3, H, W)`` for each memory bank: ``(N, C, h, w)``, float32."""
        return self._embed(self.features(cut(images, self.tiler)), images.shape[-2:])

    def _embed(self, features: Features, size: Sequence[int]) -> list[Tensor]:
        if self.memory is None:
            return []
        maps = self.memory.pooled([features[level] for level in self._remembered])
        return [merge(each.float(), self.tiler, size) for each in maps]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor] | InferenceBatch:
        """Segment images, and score them unless in training mode.

        Args:
            images: RGB images in ``[0, 1]`` ``(N, 3, H, W)``.

        Returns:
            Result of :meth:`segment` in training mode, else scores ``(N,)`` and maps ``(N, 1, H, W)`` of anomaly
            probabilities in ``[0, 1]``, or with a memory of weighted distances, at least 0. Images with a NaN or an
            infinity get a score and a map which no other image reaches: 2 without a memory.
        """
        if self.training:
            return self.segment(images)
        size, tiles = images.shape[-2:], cut(images, self.tiler)
        features = self.features(tiles)
        logits, _ = self._segment(features, tiles)
        anomaly_map, broken = merge(anomaly_probability(logits), self.tiler, size), BROKEN_SCORE
        if self.memory is not None:
            _, distances, broken = self.memory.measure(self._embed(features, size), size)
            anomaly_map = distances * anomaly_map.clamp(min=LEAST_PROBABILITY).pow(PROBABILITY_EXPONENT)
        score, anomaly_map = mark_non_finite(images, top_k_score(anomaly_map, self.top_k), anomaly_map, broken)
        return InferenceBatch(pred_score=score, anomaly_map=anomaly_map)
