# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Arguments, jigsaw and walk through the phases that the three detectors share."""

# ruff: noqa: ARG002 (assemble() reads the arguments from self.hparams)
import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from anomalib_plugins.components.checks import check_choice
from anomalib_plugins.components.finetuning import BatchNorm, FineTuning
from anomalib_plugins.models.base import check_size, options_of
from anomalib_plugins.models.phased import PhasedModule, seeded
from anomalib_plugins.models.sbm_pfam.jigsaw import Jigsaw
from anomalib_plugins.models.sbm_pfam.pfam import PfamExtractor
from anomalib_plugins.phases.schedule import Phase, PhaseSchedule, Step
from anomalib_plugins.synthesis import SimulatedAnomaly

JIGSAW = "jigsaw"
MEMORY = "memory"

PfamTraining = Literal["auto", "detector", "jigsaw", "none"]

MILESTONE, DECAY = 0.8, 0.1  # of the jigsaw's learning rate
# A structural anomaly as MemSeg makes it: no faint ones, and nothing from other images.
SIMULATION = {"use_logical": False, "structural_delta": (0.15, 1.0), "structural_faint": 0.0}

VARIADIC = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


class SbmPfam(PhasedModule):
    """Mixin in front of ``AnomalibModule`` for a detector with jigsaw and attention before it.

    The detector's constructor passes its further arguments on to this one, then calls :meth:`assemble`.

    Args:
        image_size: Height and width that images are resized to, in pixels, each at least 32.
        center_crop: Height and width to cut out of their middle, ``[224, 224]`` in the paper; ``None`` keeps the
            border, where defects may be.
        backbone: Name of the network in timm.
        layers: Stages of the network that describe a patch; ``None`` takes those of strides 4, 8 and 16 (``layer1`` to
            ``layer3`` of a ResNet), for PatchCore those of strides 8 and 16.
        pre_trained: Whether to start from ImageNet weights.
        weights: File with these weights; ``None`` looks in the caches and downloads when training begins.
        shape_bias: SBM: whether the jigsaw trains the backbone. The paper does so for objects, not for textures.
        pfam: PFAM: whether feature maps have attention.
        pfam_training: What trains the attention, which starts as the identity: the ``"jigsaw"``, or ``"none"``, which
            leaves it out. ``"auto"`` has it trained where ``shape_bias`` runs the jigsaw anyway. CFA takes
            ``"detector"``, its own loss, instead of ``"auto"``.
        network: Further arguments of :class:`PfamExtractor`, e.g. ``{"init": "random"}``.
        texture_root: Folder of textures that defects are painted with, e.g. DTD; ``None`` makes procedural textures.
        foreground: Region for defects: ``"auto"`` finds the object, ``"none"`` takes the whole image.
        simulation: Further arguments of :class:`SimulatedAnomaly`.
        jigsaw: Arguments of :class:`Jigsaw`, e.g. ``{"tiles": 4}``.
        jigsaw_epochs: Length of the jigsaw in passes over the images.
        jigsaw_steps: Length of the jigsaw in optimizer steps instead, with ``jigsaw_epochs`` null.
        jigsaw_batch_size: Number of normal images per optimizer step; each also comes with a defect.
        jigsaw_learning_rate: Learning rate of backbone and attention in SGD with momentum 0.9; a tenth from 80 % of the
            jigsaw on.
        jigsaw_head_learning_rate: Learning rate of the classifier, which falls alike; ``None`` is that of the backbone.
        jigsaw_warmup: Share of the jigsaw, at its beginning, in which only the classifier learns.
        head_layer: Stage whose mean features the classifier sees; later stages do not learn. ``None`` takes the end of
            the network. A stage that the weights file lacks is refused.
        backbone_bn: ``"eval"`` keeps the statistics of the backbone's normalisation layers; ``"train"`` replaces them
            by those of the jigsaw's images.
        weight_interpolation: Share of the tuned weights in the backbone that is kept; the rest are those it started
            from (WiSE-FT).
        seed: Seed of initial weights, jigsaws, defects and the detector's own choices; ``None`` follows torch's seed.
        pre_processor: Pre-processor without ``Normalize``, or ``True`` for one that resizes to ``image_size``.
        post_processor: Post-processor, or ``True`` for anomalib's thresholds and score normalisation.
        evaluator: Evaluator, or ``True`` for AUROC, F1, AUPRO and average precision.
        visualizer: Visualizer, or ``True`` for anomalib's heatmaps.

    Raises:
        ValueError: If an option is outside its range.
        FileNotFoundError: If ``weights`` or ``texture_root`` names nothing.
        TypeError: If ``network``, ``simulation`` or ``jigsaw`` name an unknown argument.
    """

    strides: ClassVar[Sequence[int]] = (4, 8, 16)
    trainings: ClassVar[Sequence[str]] = ("auto", "jigsaw", "none")
    __signature__: ClassVar[inspect.Signature]
    hparams: Any
    head: nn.Module
    simulator: SimulatedAnomaly

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Show the shared arguments in the signature of a detector."""
        super().__init_subclass__(**kwargs)
        found: dict[str, inspect.Parameter] = {}
        for owner in (each for each in cls.__mro__ if "__init__" in vars(each)):
            own = inspect.signature(vars(owner)["__init__"]).parameters.values()
            found = {each.name: each for each in own if each.kind not in VARIADIC and each.name != "self"} | found
            if owner is SbmPfam or all(each.kind is not inspect.Parameter.VAR_KEYWORD for each in own):
                break
        cls.__signature__ = inspect.Signature([each.replace(kind=each.KEYWORD_ONLY) for each in found.values()])

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
        seed: int | None = None,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        check_choice("pfam_training", pfam_training, self.trainings)
        tuning = FineTuning(
            jigsaw_learning_rate, jigsaw_head_learning_rate, jigsaw_warmup, backbone_bn, weight_interpolation
        )
        check_size(image_size)
        nested = {
            "network": options_of(PfamExtractor, network, given=("backbone", "layers", "pfam", "strides", "head")),
            "simulation": options_of(SimulatedAnomaly, simulation, given=("texture_root", "foreground")),
            "jigsaw": options_of(Jigsaw, jigsaw, given=("seed",)),
        }
        if pre_processor is True:
            pre_processor = self.configure_pre_processor(image_size, center_crop)
        super().__init__(
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        self.make_hparams_plain(**nested)
        self.tuning, self.shape_bias = tuning, shape_bias

    def assemble(self, build: Callable[[PfamExtractor], nn.Module], *later_phases: Phase) -> None:
        """Build the network, the phases and, if it has anything to train, the jigsaw.

        Args:
            build: Function that builds the detector's network on feature maps; its ``extractor`` must be these.
            later_phases: Phases after the memory.
        """
        given, training = self.hparams, self.hparams.pfam_training
        if training == "auto":
            training = "jigsaw" if self.shape_bias else "none"
        # Attention that starts as the identity and that nothing trains is left out.
        pfam = given.pfam and (training != "none" or given.network.get("init") == "random")
        phases = [Phase(MEMORY, 32, epochs=1, full_pass=True), *later_phases]
        with seeded(given.seed):
            extractor = PfamExtractor(
                given.backbone, given.layers, pfam, strides=self.strides, head=given.head_layer, **given.network
            )
            self.model = build(extractor)
            self.jigsaw_trains_pfam = training == "jigsaw" and len(extractor.refine) > 0
            if self.has_jigsaw:
                phases.insert(0, Phase(JIGSAW, given.jigsaw_batch_size, given.jigsaw_epochs, given.jigsaw_steps))
            self.schedule = PhaseSchedule(phases, given.seed)
            if self.has_jigsaw:
                self.jigsaw = Jigsaw(seed=self.schedule.seed, **given.jigsaw)
                region = {"texture_root": given.texture_root, "foreground": given.foreground}
                self.simulator = SimulatedAnomaly(**{**SIMULATION, **given.simulation, **region})
                width = extractor.width if self.jigsaw_trains_pfam else extractor.backbone.width
                self.head = nn.Linear(width, self.jigsaw.classes)
        self.start_from("model.extractor.backbone", given.weights, given.pre_trained)
        # Convolutions are faster in this layout, above all in bfloat16.
        self.to(memory_format=torch.channels_last)

    @property
    def extractor(self) -> PfamExtractor:
        """Feature maps of the detector."""
        extractor: PfamExtractor = self.model.extractor
        return extractor

    @property
    def has_jigsaw(self) -> bool:
        """Whether the jigsaw trains anything."""
        return self.shape_bias or self.jigsaw_trains_pfam

    def on_train_start(self) -> None:
        """Remember the weights that the jigsaw begins with."""
        super().on_train_start()
        if self.shape_bias:
            self.tuning.begin(self.extractor.backbone)

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Solve jigsaws, or train the detector, with normal images ``(N, 3, H, W)`` in ``[0, 1]``."""
        del batch_idx
        remembers = False
        for step in self.schedule.steps_of(batch.image, batch.image_path):
            if step.phase == JIGSAW:
                self._solve(step)
                if self.shape_bias:
                    self.note_tuning(self.extractor.backbone, step.images)
            else:
                self.tuning.finish(self.extractor.backbone)
                self.detector_step(step)
            remembers = step.phase == MEMORY
        if remembers and (self.schedule.finished or self.schedule.phase.name != MEMORY):
            self.complete_memory()

    @abstractmethod
    def detector_step(self, step: Step) -> None:
        """Gather the images of a step in the memory, or train the detector with them."""

    @abstractmethod
    def complete_memory(self) -> None:
        """Finish the memory: all images have been gathered."""

    def _solve(self, step: Step) -> None:
        """Classify the orders of shuffled images, each normal and with a simulated defect."""
        pool = torch.cat([step.images, step.others])
        defective = self.simulator(step.images, step.generator, pool=pool).image
        shuffled, classes = self.jigsaw(torch.cat([step.images, defective]), step.generator)
        self.model.train()
        self.extractor.backbone.train(self.shape_bias and self.tuning.batch_norm == "train")
        with torch.set_grad_enabled(step.progress >= self.tuning.warmup):
            if self.jigsaw_trains_pfam:
                pooled = self.extractor.pooled(shuffled, frozen=not self.shape_bias)
            else:
                pooled = self.extractor.backbone(shuffled)
        logits = self.head(pooled).float()
        learning_rate = self.tuning.learning_rate * (DECAY if step.progress >= MILESTONE else 1)
        self.take_optimizer_step(self.optimizer_list[0], F.cross_entropy(logits, classes), "jigsaw_loss", learning_rate)
        accuracy = (logits.argmax(dim=1) == classes).float().mean()
        self.log("jigsaw_accuracy", accuracy, prog_bar=True)

    def configure_optimizers(self) -> list[Optimizer]:
        """Create SGD for what the jigsaw trains, if anything."""
        if not self.has_jigsaw:
            return []
        pretrained: list[nn.Parameter] = []
        if self.shape_bias:
            pretrained += self.extractor.backbone.parameters()
        if self.jigsaw_trains_pfam:
            pretrained += self.extractor.refine.parameters()
        groups = self.tuning.groups(pretrained, self.head.parameters())
        return [SGD(groups, lr=self.tuning.learning_rate, momentum=0.9, weight_decay=5e-4)]
