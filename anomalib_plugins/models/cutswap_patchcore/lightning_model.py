# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CutSwap and PatchCore as a Lightning module: a pretext for the backbone, then a memory of its patches."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from anomalib.data import Batch
from anomalib.data.utils import read_image
from anomalib.metrics import Evaluator
from anomalib.models import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from anomalib_plugins.components.checks import check_choice, check_least
from anomalib_plugins.components.finetuning import BatchNorm, FineTuning
from anomalib_plugins.components.memory_bank import Search
from anomalib_plugins.components.patchcore import Matching, PatchMemory
from anomalib_plugins.errors import UserError, UserTypeError
from anomalib_plugins.models.base import check_size, options_of
from anomalib_plugins.models.cutswap_patchcore.anchors import Anchors, AnchorStrategy, Cluster
from anomalib_plugins.models.cutswap_patchcore.task import Augmentation, CutSwapTask, TaskMode
from anomalib_plugins.models.phased import PhasedModule, seeded
from anomalib_plugins.phases.schedule import Phase, PhaseSchedule, Step
from anomalib_plugins.synthesis import CutPaste, CutSwap, SyntheticBatch

from .pretext import SwapPretext
from .torch_model import CutSwapPatchcoreModel, PretextHead

PRETEXT = "pretext"
MEMORY = "memory"


class CutSwapPatchcore(PhasedModule, AnomalibModule):
    """CutSwap, then PatchCore: a backbone learns to see patches that were swapped where images are salient.

    Phase ``pretext`` fine-tunes the backbone to tell images as they are from such with two patches swapped and from
    such with two rotated scars swapped; the patches lie where LayerCAM finds the images salient. Phase ``memory`` then
    looks at every image once and keeps a coreset of its patches; a patch far from all of them is anomalous. Qin et al.,
    "Multilevel saliency-guided self-supervised learning for image anomaly detection" (2024); Roth et al., "Towards
    total recall in industrial anomaly detection" (2022).

    Trains on normal images alone. A shorter ``max_epochs``, ``max_steps`` or ``max_time`` of the trainer shortens the
    pretext; the memory always sees all images.

    Args:
        image_size: Height and width that images are resized to, in pixels, each at least 32.
        center_crop: Height and width to cut out of their middle, e.g. ``[224, 224]`` as the paper's implementation of
            PatchCore probably did; ``None`` keeps the border, where defects may be.
        backbone: Name of the network in timm.
        layers: Stages of the network that describe a patch; ``None`` takes those of strides 8 and 16, ``layer2`` and
            ``layer3`` of a ResNet.
        pre_trained: Whether to start from ImageNet weights. ``False`` makes the network of ``saliency="vgg16"`` random,
            too.
        weights: File with the backbone's ImageNet weights; ``None`` looks in the caches and downloads when training
            begins.
        augmentation: ``"cutswap"``, or ``"cutpaste"`` to compare with; ``"none"`` skips the pretext: plain PatchCore.
        mode: ``"3way"``, or ``"binary"`` without scars.
        saliency: Network of the saliency maps: ``"vgg16"`` trained on ImageNet, or the ``"backbone"`` itself. They show
            the class that the network predicts or, if its weights have no trained classifier, its strongest features.
        saliency_layers: Layers with a map each: numbers in VGG-16's ``features``, by default its five poolings, or
            names of the backbone's stages, by default all.
        saliency_weights: File with VGG-16's weights; ``None`` looks in the caches and downloads.
        saliency_margin: Number of mirrored pixels around an image, whose border looks like an edge to the saliency
            network otherwise; ``None`` is 0 for VGG-16, as published, and 32 for the backbone.
        k: Number of clusters of a map's intensities, K. 1 swaps patches anywhere and needs no saliency.
        cluster: Cluster that patches are anchored in: ``"max"`` (most salient), ``"min"`` or ``"random"``, another
            one each time.
        anchor_strategy: ``"kmeans"``, or ``"topk"`` for the 300 most salient pixels.
        swap: Further arguments of :class:`CutSwap` (or :class:`CutPaste`), e.g. ``{"overlap": "require_disjoint"}``.
        head_dims: Widths of the classifier's hidden layers.
        steps: Length of the pretext in optimizer steps.
        epochs: Length of the pretext in passes over all (image, layer) pairs instead, with ``steps`` null.
        batch_size: Number of pairs per optimizer step; each makes three images.
        learning_rate: Learning rate of the backbone in SGD with momentum 0.9; falls to zero along a cosine.
        head_learning_rate: Learning rate of the classifier, which falls alike; ``None`` is that of the backbone.
        head_layer: Stage whose mean features the classifier sees; later stages do not learn. ``None`` takes the end of
            the network. A stage that the weights file lacks is refused.
        freeze_steps: Number of steps at the beginning in which only the classifier learns, less than ``steps``. If the
            trainer shortens the pretext, they are shortened alike.
        backbone_bn: ``"eval"`` keeps the statistics of the backbone's normalisation layers; ``"train"``, as the paper
            seems to, replaces them by those of the pretext's images.
        weight_interpolation: Share of the tuned weights in the backbone that fills the memory; the rest are those it
            started from (WiSE-FT).
        coreset_sampling_ratio: Share of all patches that is kept; the paper reports 0.01 and 0.001. At least
            ``num_neighbors`` are kept.
        num_neighbors: Number of neighbours that weight the image's score in joint matching; 1 takes the largest
            distance as it is.
        search: ``"faiss"`` looks at the nearest cells of the memory only: faster from some ten thousand patches on, and
            nearly exact. Exported models are exact.
        matching: ``"layerwise"`` keeps a memory per layer, at its resolution: the map is the geometric mean of the
            distances, and its largest value scores the image. ``"joint"`` joins the layers, as published.
        max_bank_size: Largest number of patches to keep. More are refused before training, with an estimate of the
            memory.
        seed: Seed of initial weights, patches and coreset; ``None`` follows torch's seed.
        pre_processor: Pre-processor without ``Normalize``, or ``True`` for one that resizes to ``image_size``.
        post_processor: Post-processor, or ``True`` for anomalib's thresholds and score normalisation.
        evaluator: Evaluator, or ``True`` for AUROC, F1, AUPRO and average precision.
        visualizer: Visualizer, or ``True`` for anomalib's heatmaps.

    Raises:
        ValueError: If an option is outside its range.
        FileNotFoundError: If ``weights`` or ``saliency_weights`` name no file.
        TypeError: If ``swap`` names an unknown argument.
    """

    file_options = ("weights", "saliency_weights")

    def __init__(
        self,
        image_size: Sequence[int] = (256, 256),
        center_crop: Sequence[int] | None = None,
        backbone: str = "resnet18",
        layers: Sequence[str] | None = None,
        pre_trained: bool = True,
        weights: str | Path | None = None,
        augmentation: Augmentation = "cutswap",
        mode: TaskMode = "3way",
        saliency: str = "vgg16",
        saliency_layers: Sequence[int | str] | None = None,
        saliency_weights: str | Path | None = None,
        saliency_margin: int | None = None,
        k: int = 4,
        cluster: Cluster = "max",
        anchor_strategy: AnchorStrategy = "kmeans",
        swap: dict[str, Any] | None = None,
        head_dims: Sequence[int] = (512, 128),
        steps: int | None = 256,
        epochs: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 2e-4,
        head_learning_rate: float | None = 1e-2,
        head_layer: str | None = None,
        freeze_steps: int = 20,
        backbone_bn: BatchNorm = "eval",
        weight_interpolation: float = 0.5,
        coreset_sampling_ratio: float = 0.01,
        num_neighbors: int = 9,
        search: Search = "exact",
        matching: Matching = "joint",
        max_bank_size: int = 100_000,
        seed: int | None = None,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        check_choice("augmentation", augmentation, Augmentation)
        tuning = FineTuning(learning_rate, head_learning_rate, 0.0, backbone_bn, weight_interpolation)
        check_least("freeze_steps", freeze_steps, 0)
        if augmentation != "none" and steps is not None and freeze_steps >= steps:
            msg = f"freeze_steps={freeze_steps} leaves the backbone none of the {steps} steps: set fewer, or more steps"
            raise UserError(msg)
        swap = options_of(CutPaste if augmentation == "cutpaste" else CutSwap, swap, given=("mode",))
        if pre_processor is True:
            pre_processor = self.configure_pre_processor(image_size, center_crop)
        check_size(image_size)
        super().__init__(
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        self.steps, self.freeze_steps, self.tuning = steps, freeze_steps, tuning
        task = None if augmentation == "none" else CutSwapTask(augmentation, mode, swap)
        with seeded(seed):
            self.model = CutSwapPatchcoreModel(backbone, layers, num_neighbors, search, matching, head_layer)
            if task is not None:
                self.head = PretextHead(self.model.backbone.width, head_dims, task.classes)
        self.memory = PatchMemory(self.model, coreset_sampling_ratio, max_bank_size)
        self.start_from("model.backbone", weights, pre_trained)
        self.imagenet = weights, pre_trained
        self.pretext: SwapPretext | None = None
        phases = [Phase(MEMORY, 32, epochs=1, full_pass=True)]
        if task is not None:
            stages = self.model.backbone.stages
            anchors = Anchors(k, cluster, anchor_strategy)
            self.pretext = SwapPretext(
                task, anchors, saliency, saliency_layers, saliency_weights, saliency_margin, pre_trained, stages
            )
            phases.insert(0, Phase(PRETEXT, batch_size, epochs=epochs, steps=steps, examples=self.pretext.maps))
        self.schedule = PhaseSchedule(phases, seed)
        self._resumed_anchors: int | None = None
        # Convolutions run faster in this layout, most so in bfloat16.
        self.to(memory_format=torch.channels_last)

    def setup(self, stage: str) -> None:
        """Load weights, and keep those that training begins with for the saliency."""
        super().setup(stage)
        if stage == "fit" and self.pretext is not None:
            self.pretext.begin_with(self.model.backbone, *self.imagenet)

    def on_train_start(self) -> None:
        """Refuse a memory that is too large, and find anchors in the training images."""
        super().on_train_start()
        if self.pretext is not None:
            self.tuning.begin(self.model.backbone)
        samples = getattr(self.trainer.train_dataloader.dataset, "samples", None)
        if samples is None:
            msg = f"{type(self).__name__} reads the training images by file: it needs a dataset of anomalib's"
            raise UserTypeError(msg)
        paths = sorted(set(samples["image_path"]))
        self.memory.check(len(paths), self._load(paths[0]))
        if self.pretext is not None and self.schedule.phase.name == PRETEXT:
            half = str(self.trainer.precision).startswith("bf16")  # float16 would lose small gradients
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
                self.pretext.look(paths, self._load, self.device)
            if self._resumed_anchors not in {None, self.pretext.anchors.fingerprint}:
                rank_zero_warn(
                    "Patches lie elsewhere than in the run that is resumed: give the model the same weights and "
                    "saliency options, or the result is another than that of an unbroken run."
                )
            self._resumed_anchors = None

    def _load(self, path: str) -> Tensor:
        """Read an image ``(3, H, W)`` as the network sees it."""
        return self.resized(read_image(path, as_tensor=True).to(self.device))

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Train the pretext, or fill the memory, with normal images ``(N, 3, H, W)`` in ``[0, 1]``."""
        del batch_idx
        remembers = False
        for step in self.schedule.steps_of(batch.image, batch.image_path):
            remembers = step.phase == MEMORY
            if self.pretext is not None and not remembers:
                self._learn(step, self.pretext)
            else:
                self._remember(step)
        if remembers and self.schedule.finished:
            self.memory.fill(self.schedule.seed)

    def _learn(self, step: Step, pretext: SwapPretext) -> None:
        """Take a step on pairs of an image and a layer whose saliency places the patches."""
        pretext.drop_network()
        images, classes = pretext(step.images, step.paths, step.versions, step.generator)
        self._classify(images, classes, step.progress)
        self.note_tuning(self.model.backbone, step.images)

    def _classify(self, images: Tensor, classes: Tensor, progress: float) -> None:
        self.model.backbone.train(self.tuning.batch_norm == "train")
        self.head.train()
        frozen = progress * self.full_steps < min(self.freeze_steps, self.full_steps // 2)
        with torch.set_grad_enabled(not frozen):
            pooled = self.model.backbone(images)
        logits = self.head(pooled).float()
        learning_rate = self.tuning.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
        self.take_optimizer_step(self.optimizers(), F.cross_entropy(logits, classes), "pretext_loss", learning_rate)
        accuracy = (logits.argmax(dim=1) == classes).float().mean()
        self.log("pretext_accuracy", accuracy, prog_bar=True)

    @property
    def full_steps(self) -> int:
        """Length of the pretext without limits of the trainer."""
        return self.steps or self.schedule.lengths[0]

    def _remember(self, step: Step) -> None:
        """Gather the patches of unchanged images."""
        if step.progress == 0:
            self.memory.clear()
            self.tuning.finish(self.model.backbone)
            if self.pretext is not None:
                self.pretext.drop_all()
        self.memory.gather(step.paths, step.images)

    def preview_anomalies(self, images: Tensor) -> SyntheticBatch | None:
        """Swap patches and scars in turn in images ``(N, 3, H, W)``; ``None`` without a pretext."""
        generator = torch.Generator().manual_seed(self.schedule.seed)
        return None if self.pretext is None else self.pretext.preview(images, generator)

    def preview_saliency(self, images: Tensor) -> Tensor | None:
        """Maps ``(N, 1, H, W)`` that place the anomalies of the preview; ``None`` if none does."""
        return None if self.pretext is None else self.pretext.preview_saliency(images)

    def configure_optimizers(self) -> Optimizer | None:
        """Create SGD for backbone and classifier; nothing for a memory alone."""
        if self.pretext is None:
            return None
        groups = self.tuning.groups(self.model.backbone.parameters(), self.head.parameters())
        return SGD(groups, lr=self.tuning.learning_rate, momentum=0.9, weight_decay=3e-5)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the fingerprint of the anchors."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["anchors"] = None if self.pretext is None else self.pretext.anchors.fingerprint

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load the fingerprint of the anchors."""
        super().on_load_checkpoint(checkpoint)
        self._resumed_anchors = checkpoint.get("anchors")
