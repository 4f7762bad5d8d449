# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""POUTA: contrasts the features of an auto-encoder's encoder and decoder instead of image and reconstruction."""

from .lightning_model import Pouta

__all__ = ["Pouta"]
