# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""A page on this machine: drop photos, see heatmaps and scores, move the threshold."""
