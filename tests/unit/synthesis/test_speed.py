# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The benchmark of the synthesis."""

import sys
import time
from pathlib import Path

import pytest

from anomalib_plugins.benchmark import synthesis_speed


def test_times_are_per_call_and_the_slower_work_is_slower() -> None:
    def busy(seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    times = synthesis_speed.cpu_milliseconds({"short": lambda: busy(0.002), "long": lambda: busy(0.006)}, 3)
    assert 2 <= times["short"] < 4
    assert 6 <= times["long"] < 9


def test_table_gives_time_rate_and_ratio_to_the_first() -> None:
    first, second = synthesis_speed.table({"theirs": 40.0, "ours": 4.0}, 4).splitlines()
    assert first.split() == ["theirs", "10.000", "ms", "100", "/s", "1.0", "x"]
    assert second.split() == ["ours", "1.000", "ms", "1000", "/s", "10.0", "x"]


@pytest.mark.parametrize("own_textures", [False, True])
def test_runs_with_and_without_a_texture_folder(
    own_textures: bool, texture_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["synthesis_speed", "--size", "64", "--batch-size", "2", "--repeats", "1"]
    if own_textures:
        (texture_root / "grey.bmp").unlink()  # anomalib cannot read it
        arguments += ["--texture-root", str(texture_root)]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(synthesis_speed.torch, "set_num_threads", lambda _: None)
    synthesis_speed.main()
    printed = capsys.readouterr().out
    assert "PerlinAnomalyGenerator" in printed
    assert printed.count(" x") >= 6
