# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Data modules: a part drawn by the package, and synthetic anomalies on anyone's photos."""

from .demo import DemoParts
from .synthetic import SyntheticAnomaly

__all__ = ["DemoParts", "SyntheticAnomaly"]
