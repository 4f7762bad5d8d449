# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Lightning callbacks: data checked before training, a preview of what is taught, phases of training."""

from anomalib_plugins.registry import lazy_names

__getattr__, __dir__ = lazy_names(__name__)
