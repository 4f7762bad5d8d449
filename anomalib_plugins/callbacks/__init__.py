# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Lightning callbacks for checks, previews, phases of training, checkpoints and faster fits."""

from anomalib_plugins.registry import lazy_names

__getattr__, __dir__ = lazy_names(__name__)
