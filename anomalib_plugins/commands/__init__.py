# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Commands of ``anomalib-plugins``, one module each."""
