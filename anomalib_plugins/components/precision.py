# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Which arithmetic this machine is fast at."""

from pathlib import Path
from typing import Literal

import torch


def fast_precision(cpuinfo: Path = Path("/proc/cpuinfo")) -> Literal["bf16-mixed", "32-true"]:
    """Trainer precision that is fast here: bfloat16 where a GPU or a CPU with AMX multiplies it natively.

    On a CPU without AMX bfloat16 is emulated and slower than float32.

    Args:
        cpuinfo: The kernel's description of the CPU; only Linux has one.
    """
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    native = cpuinfo.is_file() and "amx_bf16" in cpuinfo.read_text(encoding="utf-8")
    return "bf16-mixed" if native else "32-true"
