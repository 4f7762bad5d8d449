# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Page on this machine that shows heatmaps and scores of photos, and lets the threshold move."""
