# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Lightning module of POUTA: joint training of reconstruction and segmentation of simulated anomalies."""

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

from anomalib_plugins.components.checks import check_positive, check_share
from anomalib_plugins.models.base import check_size, options_of
from anomalib_plugins.models.phased import PhasedModule, seeded
from anomalib_plugins.phases.schedule import Phase, PhaseSchedule, Step
from anomalib_plugins.synthesis import MergedTexture, SyntheticBatch
from anomalib_plugins.synthesis.base import chance

from .loss import PoutaLoss
from .torch_model import NetworkVariant, PoutaModel

# Shares of the schedule at which the learning rate falls to a fifth: epochs 480 and 540 of 600.
MILESTONES = (0.8, 0.9)
DECAY = 0.2


def decay(progress: float) -> float:
    """Factor of the learning rate at a share ``progress`` of the schedule, in ``[0, 1)``."""
    return DECAY ** sum(progress >= milestone for milestone in MILESTONES)


class Pouta(PhasedModule, AnomalibModule):
    """POUTA: an auto-encoder repairs simulated anomalies, and a second use of its features segments them.

    The network is trained end to end. The encoder's features represent the image, the decoder's features the image
    without anomalies, and a light head contrasts both level by level (Wang et al., "Produce once, utilize twice for
    anomaly detection").

    It trains on normal images only and needs no pretrained weights. A lower ``max_epochs``, ``max_steps`` or
    ``max_time`` of the trainer shortens the schedule.

    Args:
        image_size: Height and width of the network's input in pixels, each at least 32.
        variant: Network, ``"pouta"`` or ``"vanilla"``. The latter is the paper's baseline, where Draem's U-Net compares
            image and reconstruction; it ignores ``use_hsg`` and ``use_mss``.
        use_hsg: Whether each level is guided by the next deeper one (ablation).
        use_mss: Whether each level is supervised (ablation).
        texture_root: Folder of textures for anomalies, e.g. DTD. ``None`` uses procedural textures.
        foreground: Region for anomalies: ``"none"`` is the whole image, ``"auto"`` detects the object.
        anomaly_probability: Share of the training images that get an anomaly, in ``(0, 1]``.
        epochs: Number of passes over the training images.
        min_steps_per_epoch: Smallest number of optimizer steps per epoch. Images are repeated to reach it, which helps
            with training sets of a few images; 1 never repeats.
        batch_size: Number of images per optimizer step.
        learning_rate: Learning rate of Adam. It falls to a fifth after 80 % of the training and again after 90 %.
        network: Further arguments of :class:`PoutaModel`, e.g. ``{"init": "draem"}``.
        simulation: Further arguments of :class:`MergedTexture`, e.g. ``{"delta": [0.3, 1.0]}``.
        loss: Further arguments of :class:`PoutaLoss`, e.g. ``{"gamma": 2.0}``.
        seed: Seed of the initial weights and anomalies. ``None`` uses torch's seed.
        pre_processor: Pre-processor without ``Normalize``, or ``True`` for one that resizes to ``image_size``.
        post_processor: Post-processor, or ``True`` for anomalib's thresholds and score normalisation.
        evaluator: Evaluator, or ``True`` for AUROC, F1, AUPRO and average precision.
        visualizer: Visualizer, or ``True`` for anomalib's heatmaps.

    Raises:
        ValueError: If an option is out of range.
        FileNotFoundError: If ``texture_root`` does not exist.
        TypeError: If ``network``, ``simulation`` or ``loss`` have an unknown argument.
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
        check_share("anomaly_probability", anomaly_probability, above_zero=True)
        check_positive("learning_rate", learning_rate)
        network = options_of(PoutaModel, network, given=("variant", "use_hsg", "use_mss"))
        simulation = options_of(MergedTexture, simulation, given=("texture_root", "foreground"))
        loss = options_of(PoutaLoss, loss)
        pre_processor = self.configure_pre_processor(image_size) if pre_processor is True else pre_processor
        check_size(image_size)
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
        # Convolutions are faster in this layout, above all in bfloat16.
        self.to(memory_format=torch.channels_last)

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Take the optimizer steps for which the images of this batch and those left of earlier ones suffice."""
        del batch_idx
        for step in self.schedule.steps_of(self.tile_of_each(batch.image)):
            self._step(step)

    def _step(self, step: Step) -> None:
        """Take one optimizer step on images with and without simulated anomalies."""
        made = self.simulate(step)
        terms = self.loss(self.model(made.image), step.images, made.mask)
        learning_rate = self.learning_rate * decay(step.progress)
        self.take_optimizer_step(self.optimizers(), terms.total, learning_rate=learning_rate)
        self.log("reconstruction_loss", terms.reconstruction.detach())

    def simulate(self, step: Step) -> SyntheticBatch:
        """Simulate anomalies in some images of a step, and return all of them with masks and kinds."""
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
        """Create Adam for the whole network."""
        return Adam(self.model.parameters(), lr=self.learning_rate, fused=True)  # fused takes a quarter of the time
