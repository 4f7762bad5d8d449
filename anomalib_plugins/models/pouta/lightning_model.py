# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""POUTA as a Lightning module: reconstruction and segmentation of simulated anomalies, trained together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch.optim import Adam, Optimizer

from anomalib_plugins.callbacks.phases import Phase, PhaseSchedule, Step
from anomalib_plugins.models.base import options_of
from anomalib_plugins.models.phased import PhasedModule, seeded
from anomalib_plugins.synthesis import MergedTexture, SyntheticBatch
from anomalib_plugins.synthesis.draws import chance

from .loss import PoutaLoss
from .torch_model import NetworkVariant, PoutaModel

# The learning rate falls to a fifth at these shares of the schedule: epochs 480 and 540 of 600.
MILESTONES = (0.8, 0.9)
DECAY = 0.2


def decay(progress: float) -> float:
    """Factor of the learning rate after a share of the schedule, in ``[0, 1)``."""
    return DECAY ** sum(progress >= milestone for milestone in MILESTONES)


class Pouta(PhasedModule, AnomalibModule):
    """POUTA: an auto-encoder repairs simulated anomalies, and its features, used twice, tell what was repaired.

    One network, trained end to end: what the encoder sees stands for the image, what the decoder sees for the image as
    it should be, and a light head contrasts the two, level by level. Wang et al., "Produce once, utilize twice for
    anomaly detection".

    Trains on normal images alone and needs no pretrained weights. A shorter ``max_epochs``, ``max_steps`` or
    ``max_time`` of the trainer shortens the schedule.

    Args:
        image_size: Height and width the network works at, in pixels, each at least 32.
        variant: ``"pouta"``, or ``"vanilla"``, the paper's baseline: the U-Net of Draem compares image and
            reconstruction, and the next two options have no meaning.
        use_hsg: Guide each level by the next deeper one (ablation).
        use_mss: Supervise each level (ablation).
        texture_root: Folder of textures that anomalies are painted with, e.g. DTD; ``None`` makes procedural textures.
        foreground: Where anomalies may lie: ``"none"`` takes the whole image, ``"auto"`` finds the object.
        anomaly_probability: Share of the training images that get an anomaly, in ``(0, 1]``.
        epochs: Length of the training in passes over the images.
        min_steps_per_epoch: Images are repeated until a pass has so many optimizer steps, for training sets of a few
            images; 1 never repeats.
        batch_size: Images an optimizer step takes.
        learning_rate: Of Adam; a fifth from 80 % of the training on, a 25th from 90 %.
        network: More arguments of :class:`PoutaModel`, e.g. ``{"init": "draem"}``.
        simulation: More arguments of :class:`MergedTexture`, e.g. ``{"delta": [0.3, 1.0]}``.
        loss: More arguments of :class:`PoutaLoss`, e.g. ``{"gamma": 2.0}``.
        seed: Seeds initial weights and anomalies; ``None`` follows torch's seed.
        pre_processor: ``True`` resizes to ``image_size``; or an own pre-processor without ``Normalize``.
        post_processor: ``True`` for anomalib's thresholds and score normalisation.
        evaluator: ``True`` for AUROC, F1, AUPRO and average precision.
        visualizer: ``True`` for anomalib's heatmaps.

    Raises:
        ValueError: If an option is outside its range.
        FileNotFoundError: If ``texture_root`` names nothing.
        TypeError: If ``network``, ``simulation`` or ``loss`` name an unknown argument.
    """

    simulator: MergedTexture

    def __init__(
        self,
        image_size: Sequence[int] = (224, 224),
        variant: NetworkVariant = "pouta",
        use_hsg: bool = True,
        use_mss: bool = True,
        texture_root: str | Path | None = None,
        foreground: str = "none",
        anomaly_probability: float = 0.5,
        epochs: int = 600,
        min_steps_per_epoch: int = 1,
        batch_size: int = 8,
        learning_rate: float = 2e-4,
        network: dict[str, Any] | None = None,
        simulation: dict[str, Any] | None = None,
        loss: dict[str, Any] | None = None,
        seed: int | None = None,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        if not 0 < anomaly_probability <= 1:
            msg = f"anomaly_probability must be above 0 and at most 1, got {anomaly_probability}"
            raise ValueError(msg)
        if not learning_rate > 0:
            msg = f"learning_rate must be above 0, got {learning_rate}"
            raise ValueError(msg)
        network = options_of(PoutaModel, network, given=("variant", "use_hsg", "use_mss"))
        simulation = options_of(MergedTexture, simulation, given=("texture_root", "foreground"))
        loss = options_of(PoutaLoss, loss)
        pre_processor = self.configure_pre_processor(image_size) if pre_processor is True else pre_processor
        image_size = list(image_size)  # a plain one: checkpoints are read with weights_only=True
        super().__init__(
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        self.anomaly_probability = anomaly_probability
        self.learning_rate = learning_rate
        self.simulator = MergedTexture(texture_root=texture_root, foreground=foreground, **simulation)
        self.loss = PoutaLoss(**loss)
        phase = Phase("training", batch_size, epochs=epochs, min_steps_per_epoch=min_steps_per_epoch)
        self.schedule = PhaseSchedule([phase], seed)
        with seeded(seed):
            self.model = PoutaModel(variant, use_hsg, use_mss, **network)
        # Convolutions run faster in this layout, most so in bfloat16.
        self.to(memory_format=torch.channels_last)

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Take as many optimizer steps as the batch size makes of this batch.

        Args:
            batch: Normal images ``(N, 3, H, W)`` in ``[0, 1]``.
            batch_idx: Not used.
        """
        del batch_idx
        for step in self.schedule.steps_of(batch.image):
            self._step(step)

    def _step(self, step: Step) -> None:
        """Repair and segment simulated anomalies among untouched images."""
        made = self.simulate(step)
        terms = self.loss(self.model(made.image), step.images, made.mask)
        learning_rate = self.learning_rate * decay(step.progress)
        self.descend(self.optimizers(), terms.total, learning_rate=learning_rate)
        self.log("reconstruction_loss", terms.reconstruction.detach())

    def simulate(self, step: Step) -> SyntheticBatch:
        """The images of a step, some of them with an anomaly.

        Args:
            step: What the schedule gives.
        """
        images, generator = step.images, step.generator
        chosen = chance(len(images), self.anomaly_probability, generator).nonzero()[:, 0]
        mixed, mask = images.clone(), torch.zeros_like(images[:, :1])
        kind = torch.zeros(len(images), dtype=torch.long, device=images.device)
        if len(chosen):
            pool = torch.cat([images, step.others])
            made = self.simulator(images[chosen], generator=generator, pool=pool)
            mixed[chosen], mask[chosen], kind[chosen] = made
        return SyntheticBatch(mixed, mask, kind)

    def configure_optimizers(self) -> Optimizer:
        """Adam for the whole network."""
        return Adam(self.model.parameters(), lr=self.learning_rate, fused=True)  # a quarter of the time
