# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Programs that measure this package, run from a checkout: ``python -m tools.latency``. They are not installed."""
