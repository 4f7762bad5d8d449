# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Comparisons of speed with anomalib and other libraries, one module per subject."""
