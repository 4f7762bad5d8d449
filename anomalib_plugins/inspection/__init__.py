# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What is wrong with a folder of photos, for whoever is about to train on it."""
