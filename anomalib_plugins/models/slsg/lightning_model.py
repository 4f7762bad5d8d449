# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""SLSG as a Lightning module: inpainting pretext, then segmentation of simulated anomalies."""

import math
from collections.abc import Mapping, Sequence
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
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from anomalib_plugins.callbacks.checkpoint_files import CheckpointError
from anomalib_plugins.components.checks import check_choice, check_positive, check_share
from anomalib_plugins.components.patchcore import PatchMemory
from anomalib_plugins.components.weights import saved_options
from anomalib_plugins.errors import MissingFileError, UserError
from anomalib_plugins.models.base import check_size, options_of
from anomalib_plugins.models.phased import PhasedModule, seeded
from anomalib_plugins.models.slsg.masking import InpaintingMask
from anomalib_plugins.phases.schedule import Phase, PhaseSchedule, Step
from anomalib_plugins.synthesis import SimulatedAnomaly, colour_jitter

from .encoder import SlsgEncoder
from .inpainting_model import InpaintingDecoder, PatchDiscriminator
from .loss import SegmentationLoss, adversarial_loss, discriminator_loss, inpainting_loss
from .torch_model import SlsgModel

PRETEXT = "pretext"
MEMORY = "memory"
SEGMENTATION = "segmentation"
LEARNING_RATES = {"sgd": 0.04, "adamw": 0.001}


class Slsg(PhasedModule, AnomalibModule):
    """SLSG: an encoder learns by inpainting, then a segmentation network with a self-attentive graph block.

    Phase ``pretext`` trains the encoder to fill masked regions of the normal images against a patch discriminator.
    Phase ``segmentation`` freezes it and trains decoder and graph block to segment simulated structural and logical
    anomalies. Only the segmentation network is used afterwards, and with ``memory`` what it remembers. Yang et al.,
    "SLSG: Industrial image anomaly detection by learning better feature embeddings and one-class classification"
    (2024).

    Trains on normal images alone and needs no pretrained weights. A shorter ``max_epochs``, ``max_steps`` or
    ``max_time`` of the trainer shortens both phases alike; a memory always sees all images.

    Args:
        image_size: Height and width the network works at, in pixels, each at least 32.
        encoder: ``"resnet18"``, which is published, or any other network of timm with stages of stride 2, 4, 8 and 16,
            e.g. ``"tf_efficientnet_lite0"``.
        width: Factor of the channels of decoder and SG block; 1 is published.
        pretrain: ``"gpt"`` runs the inpainting phase; ``"imagenet"`` and ``"none"`` skip it and keep the encoder's
            ImageNet or random weights; a path takes the encoder of an Slsg checkpoint or a weights file of ``encoder``.
        pre_trained: Whether the encoder starts from ImageNet weights (implied by ``pretrain="imagenet"``).
        weights: File with ImageNet weights (``.safetensors``, ``.pth``); ``None`` looks in the caches and downloads
            when training begins.
        freeze_encoder: Whether the encoder's parameters are fixed in the segmentation phase, as in the paper's code.
        encoder_bn: ``"train"`` updates the batch statistics of the frozen encoder, as in the paper's code; ``"eval"``
            fixes them, too.
        memory: Share of the normal patches to remember, in ``[0, 1]``. A phase ``memory`` before the segmentation fills
            PatchCore's memory banks with features of the encoder, which must not change afterwards. Each pixel's
            distance to the nearest normal patch, times a power of its anomaly probability, is then the anomaly map.
            0, as published, remembers nothing; with tiling, a tile of each image is remembered.
        max_bank_size: Largest number of patches to remember. More are refused before training.
        texture_root: Folder of textures for structural anomalies, e.g. DTD; ``None`` makes procedural textures.
        foreground: Region for anomalies: ``"auto"`` finds the object, ``"none"`` takes the whole image.
        preset: A category of MVTec LOCO AD whose simulation settings to use, or ``None``.
        pretrain_epochs: Length of the pretext phase in passes over the images.
        pretrain_batch_size: Number of images per optimizer step of the pretext phase.
        steps: Length of the segmentation phase in optimizer steps.
        batch_size: Number of normal images per optimizer step of the segmentation phase; as many simulated ones join.
        optimizer: Optimizer of the segmentation phase: ``"sgd"`` with momentum 0.9, as published, or ``"adamw"``, which
            gets further in schedules of a few hundred steps.
        learning_rate: Learning rate at the start of the segmentation phase; falls to zero along a half cosine. ``None``
            is 0.04 for SGD and 0.001 for AdamW.
        network: Further arguments of :class:`SlsgModel` (ablations), e.g. ``{"use_gcn": False}``. ``stem`` is
            ``"standard"`` for ImageNet weights without inpainting, else ``"reference"``.
        masking: Further arguments of :class:`InpaintingMask`, e.g. ``{"mask_ratio": 0.6}``.
        simulation: Further arguments of :class:`SimulatedAnomaly`, e.g. ``{"logical_probability": 0.3}``.
        loss: Further arguments of :class:`SegmentationLoss`, e.g. ``{"use_aux": False}``.
        seed: Seed of initial weights, masks and anomalies; ``None`` follows torch's seed.
        pre_processor: Pre-processor without ``Normalize``, or ``True`` for one that resizes to ``image_size``.
        post_processor: Post-processor, or ``True`` for anomalib's thresholds and score normalisation.
        evaluator: Evaluator, or ``True`` for AUROC, F1, AUPRO and average precision.
        visualizer: Visualizer, or ``True`` for anomalib's heatmaps.

    Raises:
        ValueError: If an option is outside its range.
        FileNotFoundError: If ``weights``, ``pretrain`` or ``texture_root`` name nothing.
        TypeError: If ``network``, ``masking``, ``simulation`` or ``loss`` name an unknown argument.
    """

    simulator: SimulatedAnomaly

    def __init__(
        self,
        image_size: Sequence[int] = (256, 256),
        encoder: str = "resnet18",
        width: float = 1.0,
        pretrain: str = "gpt",
        pre_trained: bool = False,
        weights: str | Path | None = None,
        freeze_encoder: bool = True,
        encoder_bn: str = "train",
        memory: float = 0.0,
        max_bank_size: int = 100_000,
        texture_root: str | Path | None = None,
        foreground: str = "auto",
        preset: str | None = None,
        pretrain_epochs: int = 40,
        pretrain_batch_size: int = 6,
        steps: int = 3500,
        batch_size: int = 4,
        optimizer: str = "sgd",
        learning_rate: float | None = None,
        network: dict[str, Any] | None = None,
        masking: dict[str, Any] | None = None,
        simulation: dict[str, Any] | None = None,
        loss: dict[str, Any] | None = None,
        seed: int | None = None,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        check_choice("encoder_bn", encoder_bn, ("train", "eval"))
        check_choice("optimizer", optimizer, LEARNING_RATES)
        check_share("memory", memory)
        if memory and not (freeze_encoder and encoder_bn == "eval"):
            msg = f"memory={memory} keeps features of the encoder: set freeze_encoder=True and encoder_bn='eval', too"
            raise UserError(msg)
        learning_rate = LEARNING_RATES[optimizer] if learning_rate is None else learning_rate
        check_positive("learning_rate", learning_rate)
        from_imagenet = pre_trained or weights is not None or pretrain == "imagenet"
        network = options_of(SlsgModel, network, given=("encoder", "width", "memory"))
        if from_imagenet and pretrain in {"imagenet", "none"}:
            network = {"stem": "standard"} | network
        masking = options_of(InpaintingMask, masking)
        simulation = options_of(SimulatedAnomaly, simulation, given=("texture_root", "foreground", "preset"))
        loss = options_of(SegmentationLoss, loss)
        pre_processor = self.configure_pre_processor(image_size) if pre_processor is True else pre_processor
        check_size(image_size)
        super().__init__(
            pre_processor=pre_processor,
            post_processor=post_processor,
            evaluator=evaluator,
            visualizer=visualizer,
        )
        self.runs_pretext = pretrain == "gpt"
        self.freeze_encoder = freeze_encoder
        self.encoder_bn = encoder_bn
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.simulator = SimulatedAnomaly(texture_root=texture_root, foreground=foreground, preset=preset, **simulation)
        self.masks = InpaintingMask(**masking)
        self.loss = SegmentationLoss(**loss)
        phases = [Phase(SEGMENTATION, batch_size, steps=steps)]
        if memory:
            phases.insert(0, Phase(MEMORY, 32, epochs=1, full_pass=True))
        if self.runs_pretext:
            phases.insert(0, Phase(PRETEXT, pretrain_batch_size, epochs=pretrain_epochs))
        self.schedule = PhaseSchedule(phases, seed)
        with seeded(seed):
            self.model = SlsgModel(encoder, width, memory=memory > 0, **network)
            self._load_encoder(pretrain, weights, from_imagenet)
            if self.runs_pretext:
                self.decoder = InpaintingDecoder(self.model.encoder.channels, self.model.widths)
                self.discriminator = PatchDiscriminator()
        self.memory = PatchMemory(self.model, memory, max_bank_size, "memory") if memory else None
        # Convolutions run faster in this layout, most so in bfloat16.
        self.to(memory_format=torch.channels_last)

    def _load_encoder(self, pretrain: str, weights: str | Path | None, from_imagenet: bool) -> None:
        if pretrain not in {"gpt", "imagenet", "none"}:
            if not Path(str(pretrain)).is_file():  # str: YAML's null comes as None
                msg = f'pretrain must be "gpt", "imagenet", "none" or a file of weights; there is no file {pretrain!r}'
                raise MissingFileError(msg)
            self.model.encoder.load(pretrain)
            self._refuse_other_stem(pretrain, saved_options(pretrain))
        else:
            self.start_from("model.encoder", weights, from_imagenet)

    def _refuse_other_stem(self, source: str, options: Mapping[str, Any] | None) -> None:
        """Refuse weights whose features mean something else behind this stem, which has no weights of its own."""
        if options is None or not isinstance(self.model.encoder, SlsgEncoder):
            return
        stem = (options.get("network") or {}).get("stem", "reference")  # version 0.1 had no other default
        if stem != self.model.stem:
            msg = (
                f"{source} was trained with the stem {stem!r}, this model has {self.model.stem!r}: "
                f"give it network={{'stem': '{stem}'}}"
            )
            raise UserError(msg)

    def on_train_start(self) -> None:
        """Refuse a memory that is too large, or of images that it cannot tell apart."""
        super().on_train_start()
        if self.memory is None:
            return
        dataset = self.trainer.train_dataloader.dataset
        first = dataset[0]
        if not first.image_path:
            msg = (
                f"memory={self.memory.ratio} tells images apart by their file: the items of the dataset need image_path"
            )
            raise UserError(msg)
        example = self.resized(first.image).to(self.device)
        self.memory.check(len(dataset), self.tile_of_each(example[None])[0])

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Take the optimizer steps for which the images of this batch and those left of earlier ones suffice."""
        del batch_idx
        remembers = False
        for step in self.schedule.steps_of(self.tile_of_each(batch.image), batch.image_path):
            remembers = step.phase == MEMORY
            if step.phase == PRETEXT:
                self._inpaint(step)
            elif step.phase == SEGMENTATION:
                self._segment(step)
            elif self.memory is not None:
                self._remember(step, self.memory)
        if self.memory is not None and remembers and self.schedule.phase.name == SEGMENTATION:
            self.memory.fill(self.schedule.seed)
            self.model.train()

    def _remember(self, step: Step, memory: PatchMemory) -> None:
        """Gather the patches of unchanged images."""
        if step.progress == 0:
            memory.clear()
        memory.gather(step.paths, step.images)

    def _inpaint(self, step: Step) -> None:
        """Take a step of the discriminator, then of the generator, on masked images (least-squares GAN)."""
        optimizer_d, optimizer_g, _ = self.optimizer_list
        self.model.encoder.requires_grad_(requires_grad=True)
        target = self.model.normalize(step.images)
        mask = self.masks(step.images, generator=step.generator)
        reconstruction, aux = self.decoder(self.model.encoder(target * (1 - mask)), target.shape[-2:])

        loss_d = discriminator_loss(self.discriminator(target), self.discriminator(reconstruction.detach()))
        self.take_optimizer_step(optimizer_d, loss_d, "pretext_loss_d")

        self.discriminator.requires_grad_(requires_grad=False)
        adversarial = adversarial_loss(self.discriminator(reconstruction))
        self.discriminator.requires_grad_(requires_grad=True)
        loss_g = inpainting_loss(adversarial, reconstruction, aux, target)
        self.take_optimizer_step(optimizer_g, loss_g, "pretext_loss")

    def _segment(self, step: Step) -> None:
        """Take a step on simulated anomalies and as many normal images."""
        images = colour_jitter(step.images, generator=step.generator)
        simulated = self.simulator(images, generator=step.generator, pool=torch.cat([images, step.others]))
        inputs = torch.cat([images, simulated.image])
        target = torch.cat([torch.zeros_like(simulated.mask), simulated.mask])

        self.model.encoder.requires_grad_(not self.freeze_encoder).train(self.encoder_bn == "train")
        logits, aux_logits = self.model(inputs)
        loss = self.loss(logits, aux_logits, target)
        cosine = 0.5 * (1 + math.cos(math.pi * step.progress))
        self.take_optimizer_step(self.optimizer_list[-1], loss, learning_rate=self.learning_rate * cosine)

    def configure_optimizers(self) -> list[Optimizer]:
        """Create Adam for discriminator and generator, and the chosen optimizer for the segmentation network."""
        parameters: list[nn.Parameter] = [
            p for name, p in self.model.named_parameters() if not (self.freeze_encoder and name.startswith("encoder."))
        ]
        segmentation: Optimizer = (
            SGD(parameters, lr=self.learning_rate, momentum=0.9, weight_decay=3e-5)
            if self.optimizer == "sgd"
            else AdamW(parameters, lr=self.learning_rate)
        )
        if not self.runs_pretext:
            return [segmentation]
        generator = [*self.model.encoder.parameters(), *self.decoder.parameters()]
        betas = (0.5, 0.999)
        return [
            Adam(self.discriminator.parameters(), lr=6e-4, betas=betas),
            Adam(generator, lr=1e-3, betas=betas),
            segmentation,
        ]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name no files in the checkpoint: it holds the weights, and is to load where those files are not."""
        super().on_save_checkpoint(checkpoint)
        options = checkpoint["hyper_parameters"]
        if not self.runs_pretext:
            options["pretrain"] = "none"
        # Said, as it would follow from the weights' origin, which a checkpoint does not name.
        options["network"] = {**(options.get("network") or {}), "stem": self.model.stem}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another stem, whose tensors have the same names and shapes, or without the memory."""
        self._refuse_other_stem("the checkpoint", checkpoint.get("hyper_parameters"))
        if self.memory is not None and "model.memory.banks.0.vectors" not in checkpoint["state_dict"]:
            msg = f"the checkpoint was trained without a memory, and memory is {self.memory.ratio} here: give memory=0"
            raise CheckpointError(msg)
        super().on_load_checkpoint(checkpoint)
