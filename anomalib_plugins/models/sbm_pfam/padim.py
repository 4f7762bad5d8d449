# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""PaDiM behind SBM and PFAM."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
from anomalib.data import InferenceBatch
from anomalib.metrics import Evaluator
from anomalib.models import AnomalibModule
from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import Tensor, nn
from torch.nn import functional as F

from anomalib_plugins.components.finetuning import BatchNorm, FineTuning
from anomalib_plugins.components.gaussians import PatchGaussians
from anomalib_plugins.components.inference import never_normal
from anomalib_plugins.components.tiling import cut, merge
from anomalib_plugins.errors import UserError
from anomalib_plugins.models.base import check_size
from anomalib_plugins.models.phased import seeded
from anomalib_plugins.models.sbm_pfam.pfam import PfamExtractor
from anomalib_plugins.phases.schedule import Phase, Step

from .base import MEMORY, PfamTraining, SbmPfam, extractor_of, nested, training_of

if TYPE_CHECKING:
    from anomalib.data.utils.tiler import Tiler

N_FEATURES = {"resnet18": 100, "wide_resnet50_2": 550}
FEW_FEATURES = 100  # of other networks


class SbmPfamPadimModel(nn.Module):
    """PaDiM (Defard et al., 2021) on feature maps with attention.

    Args:
        extractor: Gives the maps; the first sets the resolution.
        n_features: How many channels of all maps describe a patch, drawn at random; ``None`` takes 550 of
            WideResNet-50-2, 100 of others.
        half: Keep the Gaussians in bfloat16, see :class:`PatchGaussians`.

    Raises:
        ValueError: If there are not so many.
    """

    index: Tensor

    def __init__(self, extractor: PfamExtractor, n_features: int | None = None, half: bool = False) -> None:
        super().__init__()
        self.tiler: Tiler | None = None  # set by anomalib's TilerConfigurationCallback
        self.extractor = extractor
        channels = sum(extractor.out_dims)
        count = (
            min(N_FEATURES.get(extractor.backbone.name, FEW_FEATURES), channels) if n_features is None else n_features
        )
        if not 1 <= count <= channels:
            msg = f"n_features must be from 1 to the {channels} channels of the layers, got {n_features}"
            raise UserError(msg)
        self.register_buffer("index", torch.randperm(channels)[:count])
        self.gaussians = PatchGaussians(half)
        self.anomaly_map = AnomalyMapGenerator()

    def embed(self, images: Tensor) -> Tensor:
        """Describe every patch by the drawn channels.

        Args:
            images: RGB in ``[0, 1]`` ``(N, 3, H, W)``.

        Returns:
            ``(N, C, h, w)``, float32.
        """
        first, *rest = self.extractor(cut(images, self.tiler)).values()
        scaled = [F.interpolate(each, size=first.shape[-2:], mode="nearest") for each in rest]
        embedding = torch.cat([first, *scaled], dim=1).index_select(1, self.index).float()
        return merge(embedding, self.tiler, images.shape[-2:])

    def forward(self, images: Tensor) -> Tensor | InferenceBatch:
        """Score, or describe patches if training.

        Args:
            images: RGB in ``[0, 1]`` ``(N, 3, H, W)``.

        Returns:
            In training, embeddings ``(N, C, h, w)``. Else distances ``(N, 1, H, W)``, at least 0, and scores ``(N,)``;
            images that hold a NaN or an infinity get ``gaussians.broken`` everywhere, which no other image reaches.
        """
        embedding = self.embed(images)
        if self.training:
            return embedding
        distances = self.gaussians(embedding)
        with torch.autocast(images.device.type, enabled=False):
            larger = self.anomaly_map.up_sample(distances, images.shape[-2:])
            anomaly_map = self.anomaly_map.smooth_anomaly_map(larger)
        score, anomaly_map = never_normal(images, anomaly_map.amax(dim=(1, 2, 3)), anomaly_map, self.gaussians.broken)
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
        image_size: Height and width that images are resized to, in pixels, each at least 32.
        center_crop: Height and width to cut out of their middle, ``[224, 224]`` in the paper; ``None`` keeps the
            border, where defects may be.
        backbone: Network, as timm calls it.
        layers: Its stages that describe a patch; ``None`` takes those of strides 4, 8 and 16, a ResNet's ``layer1`` to
            ``layer3``.
        pre_trained: Start from ImageNet weights.
        weights: File with them; ``None`` looks in the caches and downloads when training begins.
        n_features: How many channels describe a patch, drawn at random; ``None`` takes 550 of WideResNet-50-2, 100 of
            others. Memory grows with its square: at 256 x 256 px 90 MB with 100, 2.7 GB with 550.
        half: Keep the Gaussians in bfloat16, which nearly halves that memory and the exported file, and turns distances
            by some thousandths. Faster where the processor is fast at it.
        shape_bias: SBM: the jigsaw trains the backbone. The paper does so for objects, not for textures.
        pfam: PFAM: attention on the feature maps.
        pfam_training: What trains the attention, which starts as the identity: the ``"jigsaw"``, or ``"none"``, which
            leaves it out; ``"auto"`` has it trained where ``shape_bias`` runs the jigsaw anyway.
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
        seed: Seeds initial weights, channels, jigsaws and defects; ``None`` follows torch's seed.
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
        n_features: int | None = None,
        half: bool = False,
        shape_bias: bool = True,
        pfam: bool = True,
        pfam_training: PfamTraining = "auto",
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
        seed: int | None = None,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        training = training_of(pfam_training, get_args(PfamTraining), shape_bias)
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
        with seeded(seed):
            extractor = extractor_of(backbone, layers, pfam, training, network, head_layer, strides=(4, 8, 16))
            self.model = SbmPfamPadimModel(extractor, n_features, half)
            self.prepare(
                training,
                shape_bias,
                jigsaw,
                {**simulation, "texture_root": texture_root, "foreground": foreground},
                {"batch_size": jigsaw_batch_size, "epochs": jigsaw_epochs, "steps": jigsaw_steps},
                tuning,
                [Phase(MEMORY, 32, epochs=1, whole=True)],
                seed,
            )
        self.start_from("model.extractor.backbone", weights, pre_trained)
        # Convolutions run faster in this layout, most so in bfloat16.
        self.to(memory_format=torch.channels_last)

    def detector_step(self, step: Step) -> None:
        """Gather patches of images that are as they were taken.

        Args:
            step: What the schedule gives.
        """
        if step.progress == 0:
            self.model.gaussians.clear()
        with torch.no_grad():
            self.model.gaussians.add(self.model.eval().embed(step.images))

    def complete_memory(self) -> None:
        """Fit the Gaussians."""
        self.model.gaussians.finish()
