# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Fast precision of this machine."""

from pathlib import Path
from typing import Literal

import torch

NATIVE = {"amx_bf16", "avx512_bf16"}


def fast_precision(cpuinfo: Path = Path("/proc/cpuinfo")) -> Literal["bf16-mixed", "32-true"]:
    """Choose the fastest trainer precision: bfloat16 on a GPU or CPU that supports it natively.

    A CPU without AMX and AVX512-BF16 emulates bfloat16, which is slower than float32.

    Args:
        cpuinfo: File in which Linux describes the CPU. Other systems have none.
    """
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    flags = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.is_file() else set()
    return "bf16-mixed" if flags & NATIVE else "32-true"
