# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What models that train in phases share: one way to step, to validate, to be saved."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from anomalib.data import Batch
from lightning.pytorch import Callback
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn

from anomalib_plugins.components.backbone import Backbone
from anomalib_plugins.components.finetuning import FineTuning
from anomalib_plugins.components.tiling import cut
from anomalib_plugins.errors import DivergedError, UserError
from anomalib_plugins.models.base import PluginModule
from anomalib_plugins.phases.phase import mix_seed
from anomalib_plugins.phases.schedule import PhaseSchedule
from anomalib_plugins.synthesis import AnomalyGenerator, SyntheticBatch

LOG_STEPS = 10
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


class PhasedModule(PluginModule):
    """Mixin in front of ``AnomalibModule`` for a model that walks through phases in one fit.

    The model's constructor sets ``model``, its network; ``schedule``, its phases; and ``simulator`` if it learns from
    synthetic anomalies. Its ``training_step`` asks the schedule for steps and ends each with
    :meth:`take_optimizer_step`.

    Attributes:
        file_options: Names of the arguments that are files or folders. A checkpoint holds what was in them, and names
            them not: it is to load where they are not.
    """

    model: nn.Module
    schedule: PhaseSchedule
    tuning: FineTuning
    simulator: AnomalyGenerator | None = None
    file_options: ClassVar[tuple[str, ...]] = ("weights", "texture_root")
    automatic_optimization = False  # a loader's batch is several optimizer steps, or none
    _load_later: str | None = None

    def start_from(self, network: str, weights: str | Path | None, pre_trained: bool) -> None:
        """Load ImageNet weights from a file at once; a download waits for the training, no constructor does.

        Args:
            network: Where in this model they belong, e.g. ``"model.backbone"``; the part there has a method ``load``.
            weights: File to read.
            pre_trained: Whether to download without a file.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is of another architecture.
        """
        if weights is not None:
            self._load_weights(network, weights)
        elif pre_trained:
            self._load_later = network

    def _load_weights(self, name: str, weights: str | Path | None = None) -> None:
        network = self.get_submodule(name)
        network.load(weights, **({"prefix": f"{name}.network."} if isinstance(network, Backbone) else {}))

    def on_fit_start(self) -> None:
        """Leave evaluation, where using the model before its training has put it.

        Raises:
            ValueError: If several devices would fill a memory, each with its share of the images.
        """
        super().on_fit_start()
        if self.remembers and self.trainer.world_size > 1:
            msg = f"{type(self).__name__} fills its memory on one device, not {self.trainer.world_size}: set devices=1"
            raise UserError(msg)
        self.train()

    def setup(self, stage: str) -> None:
        """Load ImageNet weights before the first training."""
        super().setup(stage)
        if stage == "fit" and self._load_later is not None:
            self._load_weights(self._load_later)
            self._load_later = None

    @property
    def optimizer_list(self) -> list[Any]:
        """What ``configure_optimizers`` gave, ready for manual steps."""
        optimizers = self.optimizers()
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def take_optimizer_step(
        self, optimizer: Any, loss: Tensor, name: str = "train_loss", learning_rate: float | None = None
    ) -> None:
        """Take one optimizer step, or a part of it where the trainer accumulates gradients, and log the loss.

        Args:
            optimizer: Whose parameters the loss is of.
            loss: A scalar.
            name: What the log calls it.
            learning_rate: Learning rate of this step, times the ``lr_scale`` of groups that have one; ``None``
                leaves it as it is.

        Raises:
            FloatingPointError: If the loss is no finite number.
        """
        if not torch.isfinite(loss):
            msg = (
                f"{name} became {loss.item()} in phase {self.schedule.phase.name!r} after {self.schedule.total_steps} "
                "steps: look at the training images, lower the learning rate, or set --trainer.precision 32"
            )
            raise DivergedError(msg)
        has, takes = self.schedule.accumulated
        if has == 0:
            for group in optimizer.param_groups if learning_rate is not None else ():
                group["lr"] = learning_rate * group.get("lr_scale", 1)
            optimizer.zero_grad()
        self.manual_backward(loss / takes)
        if has == takes - 1:
            self.schedule.gradients.clip([each for group in optimizer.param_groups for each in group["params"]])
            optimizer.step()
        self.log(name, loss.detach(), prog_bar=True)

    def on_validation_model_zero_grad(self) -> None:
        """Keep gradients that wait for their optimizer step."""
        if self.schedule.finished or self.schedule.accumulated[0] == 0:
            super().on_validation_model_zero_grad()

    def note_tuning(self, backbone: Backbone, images: Tensor) -> None:
        """Remember that the backbone has learned; log in every tenth step how near its features are to those before.

        Args:
            backbone: The network now.
            images: Normal images ``(N, 3, H, W)`` in ``[0, 1]``, of which eight are looked at.
        """
        self.tuning.pending = True
        if self.schedule.total_steps % LOG_STEPS == 0:
            for layer, cosine in self.tuning.similarity(backbone, images[:8]).items():
                self.log(f"cosine_to_start/{layer}", cosine)

    def tile_of_each(self, images: Tensor) -> Tensor:
        """A tile of each image at random, for a model that learns from tiles; without tiling the images.

        Args:
            images: ``(N, 3, H, W)``.
        """
        if self.model.tiler is None:
            return images
        tiles = cut(images, self.model.tiler).unflatten(0, (len(images), -1))
        trainer = self._trainer
        draw = trainer.fit_loop.total_batch_idx * trainer.world_size + trainer.global_rank if trainer else 0
        generator = torch.Generator().manual_seed(mix_seed(self.schedule.seed, draw))
        return tiles[torch.arange(len(images)), torch.randint(tiles.shape[1], (len(images),), generator=generator)]

    def preview_anomalies(self, images: Tensor) -> SyntheticBatch | None:
        """Anomalies as training sees them, from a generator of their own; ``None`` if it sees none.

        Args:
            images: Normal images ``(N, 3, H, W)`` in ``[0, 1]``.
        """
        if self.simulator is None:
            return None
        return self.simulator(images, generator=torch.Generator().manual_seed(self.schedule.seed))

    def validation_step(self, batch: Batch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Score a batch ``(N, 3, H, W)``; fills ``pred_score`` and ``anomaly_map``."""
        del args, kwargs
        return batch.update(**self.model(batch.image)._asdict())

    def configure_callbacks(self) -> Sequence[Callback]:
        """The phase schedule joins the callbacks of every model.

        Raises:
            ValueError: If the trainer's precision is none that the networks compute in.
        """
        trainer, known = self.trainer, ", ".join(PRECISIONS)
        if trainer.precision not in PRECISIONS:
            msg = f"{type(self).__name__} computes in precision {known}, not {trainer.precision}: set one"
            raise UserError(msg)
        self.schedule.remember(trainer)
        return [*super().configure_callbacks(), self.schedule]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name no files, see :attr:`file_options`: a model that is trained further wants them again."""
        super().on_save_checkpoint(checkpoint)
        if hasattr(self, "tuning"):
            checkpoint["tuning"] = self.tuning.state_dict()
        options = checkpoint["hyper_parameters"]
        options |= dict.fromkeys(options.keys() & set(self.file_options))
        if "pre_trained" in options:
            options["pre_trained"] = False

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember whether a backbone that has learned is still to be interpolated."""
        super().on_load_checkpoint(checkpoint)
        if hasattr(self, "tuning") and "tuning" in checkpoint:
            self.tuning.load_state_dict(checkpoint["tuning"])

    @property
    def remembers(self) -> bool:
        """Whether a phase fills a memory."""
        return any(phase.full_pass for phase in self.schedule.phases)

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """No sanity check, whose thresholds mean nothing; one device for a memory, which would hold its share only."""
        return {"num_sanity_val_steps": 0, **({"devices": 1} if self.remembers else {})}


@contextmanager
def seeded(seed: int | None) -> Generator[None, None, None]:
    """Draw initial weights from a seed, leaving torch's own as it is; ``None`` draws from that."""
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        yield
