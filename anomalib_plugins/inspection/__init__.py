# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Faults of photos, masks and folders that would spoil a training."""
