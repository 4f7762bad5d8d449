# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Programs that measure models side by side: ``benchmark`` (accuracy, and more) and those about speed alone."""
