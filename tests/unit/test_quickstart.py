# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The quickstart, for real but short."""

import pytest

from anomalib_plugins import quickstart


@pytest.mark.slow
def test_two_steps_end_with_everything_it_names(tmp_path, capfd):
    assert quickstart.main(["--output", str(tmp_path), "--steps", "2"]) == 0
    printed = capfd.readouterr().out
    for kind in ("good", "scratch", "missing_screw"):
        assert kind in printed
    run = tmp_path / "Slsg" / "DemoParts" / "flange" / "v0"
    assert (run / "synthesis_preview.png").is_file()
    assert len(list((run / "images").rglob("*.png"))) == 70
    assert (run / "weights" / "lightning" / "model.ckpt").is_file()
    assert (run / "weights" / "openvino" / "model.xml").is_file()
    assert len(list((run / "openvino_predictions").glob("*.png"))) == 11
    metrics = next((tmp_path / "logs").rglob("metrics.csv")).read_text(encoding="utf-8")
    assert "image_AUROC" in metrics


def test_a_failing_command_ends_it_with_its_exit_code(tmp_path, monkeypatch):
    monkeypatch.setattr(quickstart, "_train", lambda *_: 7)
    assert quickstart.main(["--output", str(tmp_path)]) == 7
    assert not list(tmp_path.iterdir())
