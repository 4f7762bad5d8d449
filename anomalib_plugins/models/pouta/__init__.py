# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""POUTA: an auto-encoder whose encoder and decoder features are contrasted instead of image and reconstruction."""

from .lightning_model import Pouta

__all__ = ["Pouta"]
