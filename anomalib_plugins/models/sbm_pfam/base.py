# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What the three detectors share: the jigsaw before, and the walk through the phases."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from anomalib.data import Batch
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from anomalib_plugins.components.finetuning import FineTuning
from anomalib_plugins.errors import UserError
from anomalib_plugins.models.base import options_of
from anomalib_plugins.models.phased import PhasedModule
from anomalib_plugins.models.sbm_pfam.jigsaw import Jigsaw
from anomalib_plugins.models.sbm_pfam.pfam import PfamExtractor
from anomalib_plugins.phases.schedule import Phase, PhaseSchedule, Step
from anomalib_plugins.synthesis import SimulatedAnomaly

JIGSAW = "jigsaw"
MEMORY = "memory"

PfamTraining = Literal["auto", "jigsaw", "none"]

MILESTONE, DECAY = 0.8, 0.1  # of the jigsaw's learning rate
# A structural anomaly as MemSeg makes it: no faint ones, and nothing from other images.
SIMULATION = {"use_logical": False, "structural_delta": (0.15, 1.0), "structural_faint": 0.0}


class SbmPfam(PhasedModule):
    """Mixin in front of ``AnomalibModule`` for a detector with jigsaw and attention before it.

    The detector's constructor sets ``model``, whose ``extractor`` is a :class:`PfamExtractor`, and calls
    :meth:`prepare`; ``detector_step`` and ``complete_memory`` are up to it.
    """

    head: nn.Module
    simulator: SimulatedAnomaly

    def prepare(
        self,
        training: str,
        shape_bias: bool,
        jigsaw: Mapping[str, Any],
        simulation: Mapping[str, Any],
        jigsaw_phase: Mapping[str, Any],
        tuning: FineTuning,
        detector_phases: Sequence[Phase],
        seed: int | None,
    ) -> None:
        """Set up the phases, and the jigsaw's parts if it has anything to train.

        Args:
            training: What trains the attention; ``"jigsaw"`` does it here.
            shape_bias: Whether the jigsaw trains the backbone.
            jigsaw: Arguments of :class:`Jigsaw`.
            simulation: Arguments of :class:`SimulatedAnomaly`.
            jigsaw_phase: Length and batch size of the jigsaw.
            tuning: How the jigsaw fine-tunes the backbone.
            detector_phases: What comes after it.
            seed: As of the model.

        Raises:
            ValueError: If an option is outside its range.
            FileNotFoundError: If the simulation's ``texture_root`` names nothing.
        """
        self.shape_bias, self.tuning = shape_bias, tuning
        self.jigsaw_trains_pfam = training == "jigsaw" and len(self.extractor.refine) > 0
        phases = list(detector_phases)
        if self.has_jigsaw:
            phases.insert(0, Phase(JIGSAW, **jigsaw_phase))
        self.schedule = PhaseSchedule(phases, seed)
        if self.has_jigsaw:
            self.jigsaw = Jigsaw(seed=self.schedule.seed, **jigsaw)
            self.simulator = SimulatedAnomaly(**{**SIMULATION, **simulation})
            width = self.extractor.width if self.jigsaw_trains_pfam else self.extractor.backbone.width
            self.head = nn.Linear(width, self.jigsaw.classes)

    @property
    def extractor(self) -> PfamExtractor:
        """What gives the detector its feature maps."""
        extractor: PfamExtractor = self.model.extractor
        return extractor

    @property
    def has_jigsaw(self) -> bool:
        """Whether anything is trained by it."""
        return self.shape_bias or self.jigsaw_trains_pfam

    def setup(self, stage: str) -> None:
        """Load weights, and remember those that the jigsaw begins with.

        Args:
            stage: What the trainer is about to do.
        """
        super().setup(stage)
        if stage == "fit" and self.shape_bias:
            self.tuning.begin(self.extractor.backbone)

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Solve jigsaws, or train the detector, with this batch.

        Args:
            batch: Normal images ``(N, 3, H, W)`` in ``[0, 1]`` and the paths of their files.
            batch_idx: Not used.
        """
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
        """Train the detector, or remember.

        Args:
            step: What the schedule gives.
        """

    @abstractmethod
    def complete_memory(self) -> None:
        """All images have been seen."""

    def _solve(self, step: Step) -> None:
        """Name the orders of shuffled images, as many normal ones as such with a simulated defect."""
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
        self.descend(self.optimizer_list[0], F.cross_entropy(logits, classes), "jigsaw_loss", learning_rate)
        accuracy = (logits.argmax(dim=1) == classes).float().mean()
        self.log("jigsaw_accuracy", accuracy, prog_bar=True)  # type: ignore[attr-defined]

    def configure_optimizers(self) -> list[Optimizer]:
        """SGD for what the jigsaw trains, if anything."""
        if not self.has_jigsaw:
            return []
        pretrained: list[nn.Parameter] = []
        if self.shape_bias:
            pretrained += self.extractor.backbone.parameters()
        if self.jigsaw_trains_pfam:
            pretrained += self.extractor.refine.parameters()
        groups = self.tuning.groups(pretrained, self.head.parameters())
        return [SGD(groups, lr=self.tuning.learning_rate, momentum=0.9, weight_decay=5e-4)]


def nested(
    network: dict[str, Any] | None, jigsaw: dict[str, Any] | None, simulation: dict[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Check the nested options that all three detectors have, see ``options_of``."""
    return (
        options_of(PfamExtractor, network, given=("backbone", "layers", "pfam", "strides", "head")),
        options_of(Jigsaw, jigsaw, given=("seed",)),
        options_of(SimulatedAnomaly, simulation, given=("texture_root", "foreground")),
    )


def training_of(pfam_training: str, choices: Sequence[str], shape_bias: bool) -> str:
    """What trains the attention; ``"auto"`` is the jigsaw if it runs anyway, else nothing.

    Raises:
        ValueError: If nothing trains it that way.
    """
    if pfam_training not in choices:
        msg = f"pfam_training must be one of {tuple(choices)}, got {pfam_training!r}"
        raise UserError(msg)
    return {"auto": "jigsaw" if shape_bias else "none"}.get(pfam_training, pfam_training)


def extractor_of(
    backbone: str,
    layers: Sequence[str] | None,
    pfam: bool,
    training: str,
    network: Mapping[str, Any],
    head: str | None,
    strides: Sequence[int] = (8, 16),
) -> PfamExtractor:
    """The feature maps; attention that starts as the identity and that nothing trains is left out.

    Args:
        backbone: As of :class:`PfamExtractor`, as are pfam and strides.
        layers: Stages; ``None`` takes those of ``strides``.
        pfam: Whether there is attention.
        training: What trains it.
        network: More arguments of :class:`PfamExtractor`.
        head: Stage whose mean features the jigsaw's classifier sees.
        strides: As of :class:`PfamExtractor`.
    """
    pfam = pfam and (training != "none" or network.get("init") == "random")
    return PfamExtractor(backbone, layers, pfam, strides=strides, head=head, **network)
