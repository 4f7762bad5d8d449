# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""SLSG: mask-inpainting pretext, then segmentation with a self-attentive graph block."""

from .lightning_model import Slsg

__all__ = ["Slsg"]
