# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Self-supervised tasks that run before detection."""

from .inpainting import InpaintingMask

__all__ = ["InpaintingMask"]
