# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""SBM and PFAM: a sense of shape and attention for PaDiM, PatchCore and CFA."""

from .cfa import SbmPfamCfa
from .padim import SbmPfamPadim
from .patchcore import SbmPfamPatchcore

__all__ = ["SbmPfamCfa", "SbmPfamPadim", "SbmPfamPatchcore"]
