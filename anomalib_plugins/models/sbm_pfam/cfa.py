# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CFA behind SBM and PFAM."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models import AnomalibModule
from anomalib.models.components import GaussianBlur2d
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer

from anomalib_plugins.components.finetuning import BatchNorm, FineTuning
from anomalib_plugins.components.inference import never_normal
from anomalib_plugins.components.tiling import cut, merge
from anomalib_plugins.errors import UserError
from anomalib_plugins.models.base import check_size
from anomalib_plugins.models.phased import seeded
from anomalib_plugins.models.sbm_pfam.pfam import PfamExtractor
from anomalib_plugins.phases.schedule import Phase, Step

from .base import MEMORY, SbmPfam, extractor_of, nested, training_of
from .hyperspheres import Hyperspheres, hypersphere_loss, weighed_distance

if TYPE_CHECKING:
    from anomalib.data.utils.tiler import Tiler

ADAPTATION = "adaptation"

CfaPfamTraining = Literal["detector", "jigsaw", "none"]


class SbmPfamCfaModel(nn.Module):
    """CFA (Lee et al., 2022) on feature maps with attention.

    Args:
        extractor: Gives the maps; the first sets the resolution.
        gamma_c: How many places of the image share a centroid.
        gamma_d: Channels of the maps over channels of the described patches.
        num_nearest_neighbors: Centroids that make a patch's score.

    Raises:
        ValueError: If an argument is below 1, or ``gamma_d`` above the number of channels.
    """

    def __init__(
        self, extractor: PfamExtractor, gamma_c: int = 1, gamma_d: int = 1, num_nearest_neighbors: int = 3
    ) -> None:
        super().__init__()
        channels = sum(extractor.out_dims)
        if not 1 <= gamma_d <= channels:
            msg = f"gamma_d must be from 1 to the {channels} channels of the layers, got {gamma_d}"
            raise UserError(msg)
        if num_nearest_neighbors < 1:
            msg = f"num_nearest_neighbors must be at least 1, got {num_nearest_neighbors}"
            raise UserError(msg)
        self.tiler: Tiler | None = None  # set by anomalib's TilerConfigurationCallback
        self.extractor = extractor
        self.descriptor = nn.Conv2d(channels + 2, channels // gamma_d, 1)  # sees the place, too
        self.spheres = Hyperspheres(gamma_c)
        self.num_nearest_neighbors = num_nearest_neighbors
        self.blur = GaussianBlur2d(sigma=4)

    def embed(self, images: Tensor) -> Tensor:
        """Describe every patch by adapted features of all layers and its place.

        Args:
            images: RGB in ``[0, 1]`` ``(N, 3, H, W)``.

        Returns:
            ``(N, C, h, w)``.
        """
        maps = self.extractor(cut(images, self.tiler)).values()
        first, *rest = (F.avg_pool2d(each, 3, stride=1, padding=1) for each in maps)
        scaled = [F.interpolate(each, size=first.shape[-2:], mode="bilinear") for each in rest]
        features = merge(torch.cat([first, *scaled], dim=1), self.tiler, images.shape[-2:])
        count, _, height, width = features.shape
        row = torch.linspace(-1, 1, height, device=features.device)[:, None].expand(count, 1, height, width)
        column = torch.linspace(-1, 1, width, device=features.device).expand(count, 1, height, width)
        return self.descriptor(torch.cat([features, row, column], dim=1))

    def patches(self, images: Tensor) -> Tensor:
        """Described patches ``(N, P, C)`` of images ``(N, 3, H, W)``."""
        return self.embed(images).flatten(2).transpose(1, 2)

    def forward(self, images: Tensor) -> Tensor | InferenceBatch:
        """Score, or describe patches if training.

        Args:
            images: RGB in ``[0, 1]`` ``(N, 3, H, W)``.

        Returns:
            In training, described patches ``(N, C, h, w)``. Else distances ``(N, 1, H, W)``, at least 0, and scores
            ``(N,)``; images that hold a NaN or an infinity get ``spheres.broken`` everywhere, which no other image
            reaches.
        """
        embedding = self.embed(images)
        if self.training:
            return embedding
        squared = self.spheres(embedding.flatten(2).transpose(1, 2), self.num_nearest_neighbors)
        with torch.autocast(images.device.type, enabled=False):
            weighed = weighed_distance(squared, self.spheres.far)  # (N, P)
            small = weighed.unflatten(1, embedding.shape[2:])[:, None]
            anomaly_map = self.blur(F.interpolate(small, size=images.shape[-2:], mode="bilinear"))
        score, anomaly_map = never_normal(images, anomaly_map.amax(dim=(1, 2, 3)), anomaly_map, self.spheres.broken)
        return InferenceBatch(pred_score=score, anomaly_map=anomaly_map)


class SbmPfamCfa(SbmPfam, AnomalibModule):
    """CFA whose backbone learned the shape of the parts, and whose features have attention.

    Phase ``jigsaw`` shuffles the tiles of normal images, half of them with a simulated defect, and trains the backbone
    to name the order (SBM). Phase ``memory`` looks at every image once and keeps the mean patch of every place. Phase
    ``adaptation`` trains a descriptor and the attention (PFAM) to draw patches to the means near them; a patch far from
    all of them is anomalous. Yuan et al., "Anomaly detection of industrial products considering both texture and shape
    information"; Lee et al., "CFA: coupled-hypersphere-based feature adaptation for target-oriented anomaly
    localization" (2022).

    Trains on normal images alone. A shorter ``max_epochs``, ``max_steps`` or ``max_time`` of the trainer shortens
    jigsaw and adaptation alike; the memory always sees all images.

    Args:
        image_size: Height and width that images are resized to, in pixels, each at least 32.
        center_crop: Height and width to cut out of their middle, ``[224, 224]`` in the paper; ``None`` keeps the
            border, where defects may be.
        backbone: Network, as timm calls it.
        layers: Its stages that describe a patch; ``None`` takes those of strides 4, 8 and 16, a ResNet's ``layer1`` to
            ``layer3``.
        pre_trained: Start from ImageNet weights.
        weights: File with them; ``None`` looks in the caches and downloads when training begins.
        gamma_c: How many places of the image share a centroid; above 1 k-means finds them.
        gamma_d: Channels of the feature maps over channels of the described patches.
        num_nearest_neighbors: Centroids that a patch is drawn to, and that make its score.
        num_hard_negative_features: How many more centroids the loss looks at.
        radius: Of the spheres that patches are drawn into.
        shape_bias: SBM: the jigsaw trains the backbone. The paper does so for objects, not for textures.
        pfam: PFAM: attention on the feature maps.
        pfam_training: What trains the attention, which starts as the identity: the ``"detector"``, the ``"jigsaw"``, or
            ``"none"``, which leaves it out.
        network: More arguments of :class:`PfamExtractor`, e.g. ``{"init": "random"}``.
        texture_root: Folder of textures that defects are painted with, e.g. DTD; ``None`` makes procedural textures.
        foreground: Where defects may lie: ``"auto"`` finds the object, ``"none"`` takes the whole image.
        simulation: More arguments of :class:`SimulatedAnomaly`.
        jigsaw: Arguments of :class:`Jigsaw`, e.g. ``{"tiles": 4}``.
        jigsaw_epochs: Length of the jigsaw in passes over the images.
        jigsaw_steps: Its length in optimizer steps instead, with ``jigsaw_epochs`` null.
        jigsaw_batch_size: Normal images an optimizer step takes; each also comes with a defect.
        jigsaw_learning_rate: Learning rate of backbone and attention in SGD with momentum 0.9; a tenth from 80 % of the
            jigsaw on.
        jigsaw_head_learning_rate: Learning rate of its classifier, which falls alike; ``None`` is that of the backbone.
        jigsaw_warmup: Share of the jigsaw, at its beginning, in which only the classifier learns.
        head_layer: Stage whose mean features the classifier sees; later stages do not learn. ``None`` takes the end of
            the network. A stage that the weights file lacks is refused.
        backbone_bn: ``"eval"`` keeps the statistics of the backbone's normalisation layers; ``"train"`` replaces them
            by those of the jigsaw's images.
        weight_interpolation: Share of the tuned weights in the backbone that is kept; the rest are those it started
            from (WiSE-FT).
        epochs: Length of the adaptation in passes over the images.
        batch_size: Images an optimizer step of the adaptation takes.
        learning_rate: Of its AdamW.
        seed: Seeds initial weights, jigsaws and defects; ``None`` follows torch's seed.
        pre_processor: ``True`` resizes to ``image_size``; or an own pre-processor without ``Normalize``.
        post_processor: ``True`` for anomalib's thresholds and score normalisation.
        evaluator: ``True`` for AUROC, F1, AUPRO and average precision.
        visualizer: ``True`` for anomalib's heatmaps.

    Raises:
        ValueError: If an option is outside its range.
        FileNotFoundError: If ``weights`` or ``texture_root`` names nothing.
        TypeError: If ``network``, ``simulation`` or ``jigsaw`` name an unknown argument.
    """

    def __init__(
        self,
        image_size: Sequence[int] = (256, 256),
        center_crop: Sequence[int] | None = None,
        backbone: str = "wide_resnet50_2",
        layers: Sequence[str] | None = None,
        pre_trained: bool = True,
        weights: str | Path | None = None,
        gamma_c: int = 1,
        gamma_d: int = 1,
        num_nearest_neighbors: int = 3,
        num_hard_negative_features: int = 3,
        radius: float = 1e-5,
        shape_bias: bool = True,
        pfam: bool = True,
        pfam_training: CfaPfamTraining = "detector",
        network: dict[str, Any] | None = None,
        texture_root: str | Path | None = None,
        foreground: str = "auto",
        simulation: dict[str, Any] | None = None,
        jigsaw: dict[str, Any] | None = None,
        jigsaw_epochs: int | None = 30,
        jigsaw_steps: int | None = None,
        jigsaw_batch_size: int = 16,
        jigsaw_learning_rate: float = 5e-5,
        jigsaw_head_learning_rate: float | None = 1e-2,
        jigsaw_warmup: float = 0.2,
        head_layer: str | None = None,
        backbone_bn: BatchNorm = "eval",
        weight_interpolation: float = 0.5,
        epochs: int = 30,
        batch_size: int = 4,
        learning_rate: float = 1e-3,
        seed: int | None = None,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        training = training_of(pfam_training, get_args(CfaPfamTraining), shape_bias)
        if num_hard_negative_features < 0 or not radius >= 0 or not learning_rate > 0:
            msg = (
                "num_hard_negative_features and radius must be at least 0, learning_rate above 0, got "
                f"{num_hard_negative_features}, {radius}, {learning_rate}"
            )
            raise UserError(msg)
        tuning = FineTuning(
            jigsaw_learning_rate, jigsaw_head_learning_rate, jigsaw_warmup, backbone_bn, weight_interpolation
        )
        network, jigsaw, simulation = nested(network, jigsaw, simulation)
        if pre_processor is True:
            pre_processor = self.configure_pre_processor(image_size, center_crop)
        # Plain ones: checkpoints are read with weights_only=True.
        image_size, layers = check_size(image_size), layers and list(layers)
        center_crop = center_crop and list(center_crop)
        super().__init__(
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        self.num_hard_negative_features, self.radius = num_hard_negative_features, radius
        self.learning_rate, self.adapts_pfam = learning_rate, pfam_training == "detector"
        with seeded(seed):
            extractor = extractor_of(backbone, layers, pfam, training, network, head_layer, strides=(4, 8, 16))
            self.model = SbmPfamCfaModel(extractor, gamma_c, gamma_d, num_nearest_neighbors)
            self.prepare(
                training,
                shape_bias,
                jigsaw,
                {**simulation, "texture_root": texture_root, "foreground": foreground},
                {"batch_size": jigsaw_batch_size, "epochs": jigsaw_epochs, "steps": jigsaw_steps},
                tuning,
                [Phase(MEMORY, 32, epochs=1, whole=True), Phase(ADAPTATION, batch_size, epochs=epochs)],
                seed,
            )
        self.start_from("model.extractor.backbone", weights, pre_trained)
        # Convolutions run faster in this layout, most so in bfloat16.
        self.to(memory_format=torch.channels_last)

    def detector_step(self, step: Step) -> None:
        """Gather mean patches, or draw patches to them.

        Args:
            step: What the schedule gives.
        """
        images, spheres = step.images, self.model.spheres
        self.model.eval()
        if step.phase == MEMORY:
            if step.progress == 0:
                spheres.clear()
            with torch.no_grad():
                spheres.add(self.model.patches(images))
            return
        neighbors = self.model.num_nearest_neighbors
        squared = spheres(self.model.patches(images), neighbors + self.num_hard_negative_features)
        loss = hypersphere_loss(squared, neighbors, self.num_hard_negative_features, self.radius)
        self.descend(self.optimizer_list[-1], loss)

    def complete_memory(self) -> None:
        """Keep the means, which stay as they are from now on."""
        self.model.spheres.finish(self.schedule.seed)

    def configure_optimizers(self) -> list[Optimizer]:
        """SGD for what the jigsaw trains, AdamW for the adaptation."""
        parameters = [*self.model.descriptor.parameters()]
        if self.adapts_pfam:
            parameters += self.extractor.refine.parameters()
        adam = AdamW(parameters, lr=self.learning_rate, weight_decay=5e-4, amsgrad=True)
        return [*super().configure_optimizers(), adam]
