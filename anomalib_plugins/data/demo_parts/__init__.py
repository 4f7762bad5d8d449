# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Rendered machine parts, good and defective, for demonstrations without data."""
