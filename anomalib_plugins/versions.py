# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The folders ``v0``, ``v1`` ... of runs, also where the link ``latest`` beside them cannot be made."""

import logging
import sys
from pathlib import Path

from anomalib.utils import path as paths

logger = logging.getLogger(__name__)


def go_without_latest() -> None:
    """Let anomalib's engine train where ``latest`` is a real folder, or the disk has no links. Safe to call twice."""
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
