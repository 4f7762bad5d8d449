# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import os

# One thread a worker, its child processes included: read when torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"
