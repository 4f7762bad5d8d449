# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Traits of a model's training that affect a benchmark."""

from anomalib.models import AnomalibModule
from anomalib.models.components import MemoryBankMixin
from lightning.pytorch import LightningModule

from anomalib_plugins.phases.schedule import PhaseSchedule


def is_one_pass(model: AnomalibModule) -> bool:
    """Whether a model sees its training images only once, as memory banks do, so that no limit applies."""
    return model.trainer_arguments.get("max_epochs") == 1


def steps_of(model: AnomalibModule, batches: int) -> int:
    """Optimizer steps that a model has taken: counted by its phases if it has any, else the number of batches."""
    schedule = getattr(model, "schedule", None)
    return schedule.total_steps if isinstance(schedule, PhaseSchedule) else batches


def learns_from_validation(model: AnomalibModule) -> bool:
    """Whether a model learns more than thresholds from validation images, as EfficientAd does to scale its maps."""
    hook = type(model).on_validation_start
    return hook not in {LightningModule.on_validation_start, MemoryBankMixin.on_validation_start}
