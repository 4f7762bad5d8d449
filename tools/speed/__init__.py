# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What is faster than anomalib's or the usual way, by how much, and what it costs: one file a subject."""
