# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Comparisons of speed with anomalib and other libraries, one module per subject."""

from pathlib import Path
from typing import NamedTuple


class Options(NamedTuple):
    """Options of a measurement.

    Attributes:
        quick: Whether to use small sizes, to test that everything runs.
        rounds: Number of timings of each way.
        data: Folder of real images in MVTec AD's layout, for subjects that need them.
        trained: Folder of checkpoints ``CATEGORY/MODEL.ckpt`` of models trained on these images.
    """

    quick: bool = False
    rounds: int = 5
    data: Path | None = None
    trained: Path | None = None
