# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""How a model trains, as far as a benchmark must know."""

from anomalib.models import AnomalibModule
from anomalib.models.components import MemoryBankMixin
from lightning.pytorch import LightningModule

from anomalib_plugins.callbacks.phases import PhaseSchedule


def is_one_pass(model: AnomalibModule) -> bool:
    """Whether a model sees its training images once (memory banks), so that no limit applies."""
    return model.trainer_arguments.get("max_epochs") == 1


def steps_of(model: AnomalibModule, batches: int) -> int:
    """Optimizer steps a model has taken: as its own phases count them, else one for each of the loader's batches."""
    schedule = getattr(model, "schedule", None)
    return schedule.total_steps if isinstance(schedule, PhaseSchedule) else batches


def learns_from_validation(model: AnomalibModule) -> bool:
    """Whether a model takes more than thresholds from validation images, as EfficientAd scales its maps by them."""
    hook = type(model).on_validation_start
    return hook not in {LightningModule.on_validation_start, MemoryBankMixin.on_validation_start}
