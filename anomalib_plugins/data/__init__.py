# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Datamodules: a part drawn by the package, and synthetic anomalies on anyone's photos."""

from anomalib_plugins.registry import lazy_names

__getattr__, __dir__ = lazy_names(__name__)
