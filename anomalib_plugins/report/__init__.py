# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""One HTML page about the results of a benchmark, and the published numbers beside them."""
