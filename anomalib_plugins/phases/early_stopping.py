# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Lightning's ``EarlyStopping`` in a fit of several phases: it ends a phase, not the phases after it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from anomalib_plugins.compat import EARLY_STOPPING_CHECK

if TYPE_CHECKING:
    from anomalib_plugins.phases.schedule import PhaseSchedule


def watch_phases(trainer: Trainer, schedule: "PhaseSchedule") -> None:
    """Let each ``EarlyStopping`` of a trainer end the phase whose metric it watches, until :func:`leave_phases`.

    Lightning would end the fit at once: without the phases that follow, and with thresholds of earlier weights where
    the epoch had no validation. And it would take a metric that another phase logs for a typing error.
    """
    for callback in trainer.callbacks:
        if isinstance(callback, EarlyStopping):
            setattr(callback, EARLY_STOPPING_CHECK, _check_of(callback, schedule))


def leave_phases(trainer: Trainer) -> None:
    """Undo :func:`watch_phases`, and say so if a metric was never there."""
    for callback in trainer.callbacks:
        check = vars(callback).pop(EARLY_STOPPING_CHECK, None) if isinstance(callback, EarlyStopping) else None
        if check is not None and not check.seen and callback.monitor not in trainer.callback_metrics:
            known = ", ".join(sorted(trainer.callback_metrics)) or "none"
            rank_zero_warn(f"EarlyStopping watched {callback.monitor!r}, which no phase logged; there was: {known}.")


def _check_of(callback: EarlyStopping, schedule: "PhaseSchedule") -> Callable[[Trainer], None]:
    """Check of the callback that ends a phase instead of the fit."""
    original = getattr(callback, EARLY_STOPPING_CHECK)

    def check(trainer: Trainer) -> None:
        if schedule.finished or schedule.phase.full_pass or callback.monitor not in trainer.callback_metrics:
            return
        check.seen = True  # type: ignore[attr-defined]
        stopped_before = trainer.should_stop
        original(trainer)
        if trainer.should_stop and not stopped_before:
            trainer.should_stop = False
            rank_zero_info(f"EarlyStopping ends phase {schedule.phase.name!r}: {callback.stopping_reason_message}")
            schedule.end_phase()
            _forget(callback)

    check.seen = False  # type: ignore[attr-defined]
    return check


def _forget(callback: Any) -> None:
    """Reset the callback: losses of the next phase have another scale."""
    callback.wait_count = 0
    worst = torch.tensor(torch.inf)
    callback.best_score = worst if callback.mode == "min" else -worst
