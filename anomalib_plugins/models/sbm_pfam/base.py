# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What the three detectors share: the jigsaw before, and the walk through the phases."""

from abc import abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from anomalib.data import Batch
from lightning.pytorch import Callback
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from anomalib_plugins.callbacks.phases import Phase, PhaseSchedule, Step
from anomalib_plugins.components.pfam import PfamExtractor
from anomalib_plugins.models.base import PluginModule, options_of
from anomalib_plugins.pretext.jigsaw import Jigsaw
from anomalib_plugins.synthesis import SimulatedAnomaly, SyntheticBatch

JIGSAW = "jigsaw"
MEMORY = "memory"

PfamTraining = Literal["jigsaw", "none"]

MILESTONE, DECAY = 0.8, 0.1  # of the jigsaw's learning rate
# A structural anomaly as MemSeg makes it: no faint ones, and nothing from other images.
SIMULATION = {"use_logical": False, "structural_delta": (0.15, 1.0), "structural_faint": 0.0}


class SbmPfam(PluginModule):
    """Mixin in front of ``AnomalibModule`` for a detector with jigsaw and attention before it.

    The detector's constructor sets ``model``, whose ``extractor`` is a :class:`PfamExtractor`, and calls
    :meth:`prepare`; ``detector_step`` and ``complete_memory`` are up to it.
    """

    model: nn.Module
    head: nn.Module
    schedule: PhaseSchedule

    def prepare(
        self,
        training: str,
        shape_bias: bool,
        jigsaw: Mapping[str, Any],
        simulation: Mapping[str, Any],
        jigsaw_phase: Mapping[str, Any],
        jigsaw_learning_rate: float,
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
            jigsaw_learning_rate: At its beginning.
            detector_phases: What comes after it.
            seed: As of the model.

        Raises:
            ValueError: If an option is outside its range.
            FileNotFoundError: If the simulation's ``texture_root`` names nothing.
        """
        if jigsaw_learning_rate <= 0:
            msg = f"jigsaw_learning_rate must be above 0, got {jigsaw_learning_rate}"
            raise ValueError(msg)
        self.automatic_optimization = False  # a batch is several steps, or none
        self.jigsaw_learning_rate = jigsaw_learning_rate
        self.shape_bias = shape_bias
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

    def load_weights(self, weights: str | Path | None, pre_trained: bool) -> None:
        """Load a file at once; a download waits for the training, no constructor does."""
        self._downloads = pre_trained and weights is None
        if weights is not None:
            self.extractor.backbone.load(weights, prefix="model.extractor.backbone.network.")

    def setup(self, stage: str) -> None:
        """Load ImageNet weights before the first training.

        Args:
            stage: What the trainer is about to do.
        """
        super().setup(stage)  # type: ignore[misc]
        if stage == "fit" and self._downloads:
            self.extractor.backbone.load()
            self._downloads = False

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Solve jigsaws, or train the detector, with this batch.

        Args:
            batch: Normal images ``(N, 3, H, W)`` in ``[0, 1]`` and the paths of their files.
            batch_idx: Not used.
        """
        del batch_idx
        remembers = False
        for step in self.schedule.steps_of(torch.arange(len(batch.image))):
            if step.phase == JIGSAW:
                self._solve(batch.image, step)
            else:
                self.detector_step(batch, step)
            remembers = step.phase == MEMORY
        if remembers and (self.schedule.finished or self.schedule.phase.name != MEMORY):
            self.complete_memory()

    @abstractmethod
    def detector_step(self, batch: Batch, step: Step) -> None:
        """Train the detector, or remember.

        Args:
            batch: All images of the loader's batch.
            step: ``images`` are the numbers of those to take.
        """

    @abstractmethod
    def complete_memory(self) -> None:
        """All images have been seen."""

    def _solve(self, images: Tensor, step: Step) -> None:
        """Name the orders of shuffled images, as many normal ones as such with a simulated defect."""
        optimizer = self._optimizers()[0]
        for group in optimizer.param_groups:
            group["lr"] = self.jigsaw_learning_rate * (DECAY if step.progress >= MILESTONE else 1)
        normal = images[step.images]
        defective = self.simulator(normal, step.generator, pool=images).image
        shuffled, classes = self.jigsaw(torch.cat([normal, defective]), step.generator)
        self.model.train()
        self.extractor.backbone.train(self.shape_bias)
        frozen = not self.shape_bias
        if self.jigsaw_trains_pfam:
            pooled = self.extractor.pooled(shuffled, frozen)
        else:
            pooled = self.extractor.backbone(shuffled)
        logits = self.head(pooled).float()
        self.update(optimizer, F.cross_entropy(logits, classes), "jigsaw_loss")
        accuracy = (logits.argmax(dim=1) == classes).float().mean()
        self.log("jigsaw_accuracy", accuracy, prog_bar=True)  # type: ignore[attr-defined]

    def update(self, optimizer: Any, loss: Tensor, name: str) -> None:
        """Take one optimizer step.

        Args:
            optimizer: Whose parameters the loss is of.
            loss: A scalar.
            name: What the log calls it.

        Raises:
            FloatingPointError: If the loss is no finite number.
        """
        if not torch.isfinite(loss):
            msg = (
                f"{name} became {loss.item()} after {self.schedule.total_steps} steps: "
                "look at the training images, lower the learning rate, or set --trainer.precision 32"
            )
            raise FloatingPointError(msg)
        optimizer.zero_grad()
        self.manual_backward(loss)  # type: ignore[attr-defined]
        optimizer.step()
        self.log(name, loss.detach(), prog_bar=True)  # type: ignore[attr-defined]

    def _optimizers(self) -> list[Any]:
        optimizers = self.optimizers()  # type: ignore[attr-defined]
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def preview_anomalies(self, images: Tensor) -> SyntheticBatch | None:
        """Defects as the jigsaw's images have them; ``None`` without a jigsaw.

        Args:
            images: Normal images ``(N, 3, H, W)`` in ``[0, 1]``.
        """
        if not self.has_jigsaw:
            return None
        return self.simulator(images, generator=torch.Generator().manual_seed(self.schedule.seed))

    def validation_step(self, batch: Batch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Score a batch ``(N, 3, H, W)``; fills ``pred_score`` and ``anomaly_map``."""
        del args, kwargs
        return batch.update(**self.model(batch.image)._asdict())

    def configure_optimizers(self) -> list[Optimizer]:
        """SGD for what the jigsaw trains, if anything."""
        if not self.has_jigsaw:
            return []
        parameters = [*self.head.parameters()]
        if self.shape_bias:
            parameters += self.extractor.backbone.parameters()
        if self.jigsaw_trains_pfam:
            parameters += self.extractor.refine.parameters()
        return [SGD(parameters, lr=self.jigsaw_learning_rate, momentum=0.9, weight_decay=5e-4)]

    def configure_callbacks(self) -> Sequence[Callback]:
        """The phase schedule joins the callbacks of every model."""
        return [*super().configure_callbacks(), self.schedule]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name no files in the checkpoint: it holds the weights, and is to load where those files are not.

        A model that is loaded to be trained further wants its ``texture_root`` again.
        """
        super().on_save_checkpoint(checkpoint)  # type: ignore[misc]
        checkpoint["hyper_parameters"] |= {"pre_trained": False, "weights": None, "texture_root": None}

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """No sanity check of an empty memory, and one device: each would remember its own share of the images."""
        return {"num_sanity_val_steps": 0, "devices": 1}


@contextmanager
def seeded(seed: int | None) -> Generator[None, None, None]:
    """Draw initial weights from a seed, leaving torch's own as it is; ``None`` draws from that."""
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def nested(
    network: dict[str, Any] | None, jigsaw: dict[str, Any] | None, simulation: dict[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Check the nested options that all three detectors have, see ``options_of``."""
    return (
        options_of(PfamExtractor, network, given=("backbone", "layers", "pfam")),
        options_of(Jigsaw, jigsaw, given=("seed",)),
        options_of(SimulatedAnomaly, simulation, given=("texture_root", "foreground")),
    )


def check_training(training: str, choices: Sequence[str]) -> None:
    """Raise a ``ValueError`` if nothing trains the attention that way."""
    if training not in choices:
        msg = f"pfam_training must be one of {tuple(choices)}, got {training!r}"
        raise ValueError(msg)
