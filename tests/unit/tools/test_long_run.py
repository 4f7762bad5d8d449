# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What the long run counts, and when it fails."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tools import long_run

FLAT = [100.0] * 20


class Inferencer:
    """Says the same of each photo, but once a little more of the seventh."""

    def __init__(self, *args, **kwargs):
        self.said = 0

    def predict(self, photo):
        self.said += 1
        score = np.float32(len(photo.name))
        anomaly_map = np.full((4, 4), score)
        if self.said == 7:
            anomaly_map[2, 2] = np.nextafter(score, np.float32(9))
        return SimpleNamespace(pred_score=score, anomaly_map=anomaly_map)


def test_a_prediction_that_changes_is_counted(monkeypatch):
    monkeypatch.setattr("anomalib.deploy.OpenVINOInferencer", Inferencer)
    model = SimpleNamespace(to_openvino=lambda folder: folder)
    memory, changed = long_run.predict(model, [Path("a"), Path("bb")], Path(), 20)
    assert changed == 1
    assert len(memory) == 20


def test_growth_is_of_medians_once_it_is_warm():
    warms_up, leaks = [*range(4), *FLAT[4:]], [100.0 + step for step in range(20)]
    assert long_run.growth(warms_up) == 0
    assert long_run.growth([*FLAT[:18], 500, 100]) == 0
    assert long_run.growth(leaks) == 12


def test_memory_is_what_the_system_says_this_process_holds():
    kilobytes = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))[1]
    assert long_run.resident() == pytest.approx(int(kilobytes) / 2**10, abs=10)


@pytest.mark.parametrize(
    ("trained", "changed", "code"), [(FLAT, 0, 0), (FLAT, 1, 1), ([float(5 * step) for step in range(20)], 0, 1)]
)
def test_it_fails_where_memory_grows_or_a_score_changes_and_writes_what_it_saw(
    monkeypatch, tmp_path, trained, changed, code
):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(long_run, "train", lambda *_: (None, trained, []))
    monkeypatch.setattr(long_run, "predict", lambda *_: (FLAT, changed))
    assert long_run.main(["--output", "x.json", "--figure", "x.svg"]) == code
    runs = json.loads((tmp_path / "x.json").read_text())["runs"]
    assert [run["memory_mb"] for run in runs.values()] == [trained, FLAT]
    assert (tmp_path / "x.svg").read_text().startswith("<?xml")


def test_runs_too_short_to_see_growth_are_refused(capsys):
    with pytest.raises(SystemExit):
        long_run.main(["--epochs", "4"])
    assert "at least 5 epochs" in capsys.readouterr().err
