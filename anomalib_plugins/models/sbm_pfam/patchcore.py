# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""PatchCore behind SBM and PFAM."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from anomalib.metrics import Evaluator
from anomalib.models import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import Tensor

from anomalib_plugins.components.finetuning import BatchNorm, FineTuning
from anomalib_plugins.components.memory_bank import Search
from anomalib_plugins.components.patch_memory import PatchMemory
from anomalib_plugins.components.patchcore import PatchcoreModel
from anomalib_plugins.models.base import check_size
from anomalib_plugins.models.phased import seeded
from anomalib_plugins.models.sbm_pfam.pfam import PfamExtractor
from anomalib_plugins.phases.schedule import Phase, Step

from .base import MEMORY, PfamTraining, SbmPfam, extractor_of, nested, training_of


class SbmPfamPatchcoreModel(PatchcoreModel):
    """PatchCore on feature maps with attention.

    Args:
        extractor: Gives the maps.
        num_neighbors: Neighbours that weigh the image's score, see :class:`MemoryBank`.
        search: How the nearest vector is found, see there.
    """

    def __init__(self, extractor: PfamExtractor, num_neighbors: int = 9, search: Search = "exact") -> None:
        super().__init__(sum(extractor.out_dims), num_neighbors, search)
        self.extractor = extractor

    def features(self, images: Tensor) -> list[Tensor]:
        """Feature maps ``(N, C, h, w)`` of RGB images in ``[0, 1]`` ``(N, 3, H, W)``."""
        return list(self.extractor(images).values())


class SbmPfamPatchcore(SbmPfam, AnomalibModule):
    """PatchCore whose backbone learned the shape of the parts, and whose features have attention.

    Phase ``jigsaw`` shuffles the tiles of normal images, half of them with a simulated defect, and trains the backbone
    (SBM) and the attention (PFAM) to name the order. Phase ``memory`` then looks at every image once and keeps a
    coreset of its patches; a patch far from all of them is anomalous. Yuan et al., "Anomaly detection of industrial
    products considering both texture and shape information"; Roth et al., "Towards total recall in industrial anomaly
    detection" (2022).

    Trains on normal images alone. A shorter ``max_epochs``, ``max_steps`` or ``max_time`` of the trainer shortens the
    jigsaw; the memory always sees all images.

    Args:
        image_size: Height and width that images are resized to, in pixels, each at least 32.
        center_crop: Height and width to cut out of their middle, ``[224, 224]`` in the paper; ``None`` keeps the
            border, where defects may be.
        backbone: Network, as timm calls it.
        layers: Its stages that describe a patch; ``None`` takes those of strides 8 and 16, a ResNet's ``layer2`` and
            ``layer3``.
        pre_trained: Start from ImageNet weights.
        weights: File with them; ``None`` looks in the caches and downloads when training begins.
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
        coreset_sampling_ratio: Share of all patches that is kept; at least ``num_neighbors`` are.
        num_neighbors: Neighbours that weigh the image's score; 1 takes the largest distance as it is.
        search: ``"faiss"`` looks at the nearest cells of the memory only: faster from some ten thousand patches on, and
            nearly exact. Exported models are exact.
        max_bank_size: Most patches to keep. More are refused before training, with an estimate of the memory.
        seed: Seeds initial weights, jigsaws, defects and coreset; ``None`` follows torch's seed.
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
        coreset_sampling_ratio: float = 0.1,
        num_neighbors: int = 9,
        search: Search = "exact",
        max_bank_size: int = 100_000,
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
            extractor = extractor_of(backbone, layers, pfam, training, network, head_layer)
            self.model = SbmPfamPatchcoreModel(extractor, num_neighbors, search)
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
        self.memory = PatchMemory(self.model, coreset_sampling_ratio, max_bank_size)
        self.start_from("model.extractor.backbone", weights, pre_trained)
        # Convolutions run faster in this layout, most so in bfloat16.
        self.to(memory_format=torch.channels_last)

    def on_train_start(self) -> None:
        """Refuse a memory that is too large."""
        super().on_train_start()
        loader = self.trainer.train_dataloader
        example = self.resized(loader.dataset[0].image)
        self.memory.check(len(loader.dataset), example.to(self.device))

    def detector_step(self, step: Step) -> None:
        """Gather patches of images that are as they were taken.

        Args:
            step: What the schedule gives.
        """
        if step.progress == 0:
            self.memory.clear()
        self.memory.gather(step.paths, step.images)

    def complete_memory(self) -> None:
        """Keep a coreset of the patches."""
        self.memory.fill(self.schedule.seed)
