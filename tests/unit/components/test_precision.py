# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch

from anomalib_plugins.components.precision import fast_precision


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("avx512f amx_bf16 amx_tile", "bf16-mixed"), ("avx512f avx512_bf16", "bf16-mixed"), ("avx2 avx512f", "32-true")],
)
def test_a_cpu_uses_bfloat16_where_it_computes_in_it(monkeypatch, tmp_path, flags, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : {flags}\n", encoding="utf-8")
    assert fast_precision(cpuinfo) == expected


def test_without_a_description_of_the_cpu_it_is_float32(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert fast_precision(tmp_path / "none") == "32-true"


@pytest.mark.parametrize(("supported", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_decides_for_itself(monkeypatch, supported, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    assert fast_precision() == expected
