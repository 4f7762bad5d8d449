# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Programs that measure this package. They run from a checkout, e.g. ``python -m tools.latency``."""
