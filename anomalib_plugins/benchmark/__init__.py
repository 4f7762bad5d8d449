# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Benchmark that trains and tests models side by side: accuracy, speed, size and memory."""
