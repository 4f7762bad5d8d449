# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""CutSwap: a backbone learns to see swapped patches, then fills PatchCore's memory."""

from .lightning_model import CutSwapPatchcore

__all__ = ["CutSwapPatchcore"]
