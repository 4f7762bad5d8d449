# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Private parts of other libraries that this package uses, and why there is no public way.

All of them were tried with Python 3.11, lightning 2.6.6 and anomalib 2.7.0; ``tests/unit/test_compat.py`` fails when
one is gone. Importing this module imports only the standard library: torch's start-up hook does.
"""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import Timer

logger = logging.getLogger(__name__)

# Python's import system sets this attribute of a module's spec while the import runs. A wrapped loader would come too
# late for an import that is running already.
IMPORT_RUNS = "_initializing"

# Method of Lightning's EarlyStopping that both of its hooks call, at the end of an epoch and of validation. Overriding
# the hooks would need a subclass, but the callback is the user's object.
EARLY_STOPPING_CHECK = "_run_early_stopping_check"


def import_runs(spec: "ModuleSpec | None") -> bool:
    """Whether the import of a module is not over."""
    return bool(getattr(spec, IMPORT_RUNS, False))


def fetch_anew(trainer: "Trainer") -> Any:
    """Ask the training loader for its images again; returns the iterator.

    Lightning asks before ``on_train_epoch_start``, so the sampler has already drawn the order of the first epoch.
    """
    return iter(trainer.fit_loop._data_fetcher).iterator  # noqa: SLF001


def count_optimizer_step(trainer: "Trainer") -> None:
    """Let ``global_step`` rise without an optimizer, or ``ModelCheckpoint`` takes the checkpoint for saved already."""
    progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    progress.increment_ready()
    progress.increment_completed()


def silence(timer: "Timer") -> None:
    """Let Lightning's timer end no phase with its own message, which it would repeat for every phase."""
    timer._verbose = False  # noqa: SLF001


def go_without_latest() -> None:
    """Let anomalib's engine train where ``latest`` is a real folder, or the disk has no links. Safe to call twice."""
    from anomalib.utils import path as paths

    make = paths.create_versioned_dir
    if make.__module__ == __name__:
        return

    def create_versioned_dir(root_dir: str | Path) -> Path:
        """Make the folder of a new run, and the link to it if that works."""
        before = paths._highest_version_dir(Path(root_dir))  # noqa: SLF001
        try:
            return make(root_dir)
        except OSError as error:
            made = paths._highest_version_dir(Path(root_dir))  # noqa: SLF001
            if made in {None, before}:
                raise
            folder = Path(root_dir).resolve() / str(made)
            logger.warning("%s is no link to this run (%s): look in %s.", folder.with_name("latest"), error, folder)
            return folder

    paths.create_versioned_dir = create_versioned_dir
    engine = sys.modules.get("anomalib.engine.engine")
    if engine is not None:
        engine.create_versioned_dir = create_versioned_dir  # type: ignore[attr-defined]
