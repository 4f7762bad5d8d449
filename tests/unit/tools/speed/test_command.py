# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The speed command: what it measures, keeps and writes. Subjects are made up here; their own tests run them."""

import json
import time

import pytest
import torch

from tools.speed import __main__ as command
from tools.speed import cfa
from tools.speed.side_by_side import compare, markdown, summarise, times


def busy(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.fixture
def measured(monkeypatch):
    """Names of the subjects that were measured; each takes no time."""
    names = []

    def measure(name, options):
        names.append(name)
        rows = [{"work": name, "way": "ours", "cpu_ms": 1.0}]
        yield {"machine": "m", "versions": "v", "quick": options.quick, "rounds": options.rounds, "rows": rows}

    monkeypatch.setattr(command, "SUBJECTS", {"coreset": "a", "cfa": "b", "banks": "c", "int8": "d"})
    monkeypatch.setattr(command, "measure", measure)
    return names


def test_what_was_measured_is_not_measured_again(measured, tmp_path):
    output = ["--output", str(tmp_path / "speed.json")]
    assert command.main([*output, "--only", "cfa"]) == 0
    command.main(output)
    assert measured == ["cfa", "coreset"]  # banks and int8 have no data
    assert list(json.loads((tmp_path / "speed.json").read_text())) == ["coreset", "cfa"]


def test_what_is_asked_for_is_measured_anew(measured, tmp_path):
    output = ["--output", str(tmp_path / "speed.json")]
    command.main(output)
    command.main([*output, "--only", "cfa", "--quick"])
    assert measured == ["coreset", "cfa", "cfa"]
    results = json.loads((tmp_path / "speed.json").read_text())
    assert [results[name]["quick"] for name in results] == [False, True]


def test_subjects_without_their_data_are_said(measured, tmp_path, capsys):
    command.main(["--only", "int8", "banks", "--data", str(tmp_path)])
    assert measured == ["banks"]
    assert "int8: left out, it needs --data and --trained" in capsys.readouterr().out
    command.main(["--only", "int8", "--data", str(tmp_path), "--trained", str(tmp_path)])
    assert measured == ["banks", "int8"]


def test_each_row_is_on_disk_when_it_is_measured(tmp_path, monkeypatch):
    def rows(options):
        yield {"work": "first"}
        raise KeyboardInterrupt

    monkeypatch.setattr(cfa, "measure", rows)
    with pytest.raises(KeyboardInterrupt):
        command.main(["--only", "cfa", "--output", str(tmp_path / "speed.json")])
    assert json.loads((tmp_path / "speed.json").read_text())["cfa"]["rows"] == [{"work": "first"}]


def test_marked_tables_are_brought_up_to_date(measured, tmp_path):
    document = tmp_path / "README.md"
    document.write_text("a\n<!-- compare: start speed_cfa -->\nold\n<!-- compare: end speed_cfa -->\nb\n")
    command.main(["--output", str(tmp_path / "speed.json"), "--update", str(document)])
    text = document.read_text()
    assert "| cfa | ours | 1.0 |" in text
    assert "old" not in text
    assert text.startswith("a\n")
    assert text.endswith("b\n")
    assert measured == ["coreset", "cfa"]
    command.main(["--only", "--output", str(tmp_path / "speed.json"), "--update", str(document)])
    assert measured == ["coreset", "cfa"]
    document.write_text("nothing")
    with pytest.raises(ValueError, match=r"README.md has no markers: add <!-- compare: start NAME -->"):
        command.main(["--output", str(tmp_path / "speed.json"), "--update", str(document)])


def test_a_section_says_how_it_was_measured(monkeypatch):
    monkeypatch.setattr(cfa, "measure", lambda options: iter([{"work": "x"}]))
    (section,) = command.measure("cfa", command.Options(quick=True, rounds=3))
    assert section["rows"] == [{"work": "x"}]
    assert (section["quick"], section["rounds"]) == (True, 3)
    assert "threads" in section["machine"]


def test_ways_take_turns_after_a_warm_up():
    calls = []
    seconds = times([lambda: calls.append("a"), lambda: calls.append("b")], rounds=2, shortest=0.0)
    assert calls == ["a", "b"] * 3
    assert seconds.shape == (2, 2, 2)
    assert (seconds >= 0).all()


def test_short_work_is_repeated_and_its_time_is_that_of_a_call():
    calls = []

    def work():
        calls.append(None)
        busy(0.002)

    wall, cpu = times([work], rounds=1, shortest=0.01)[:, 0, 0].tolist()
    assert len(calls) > 2
    assert 0.002 <= cpu < 0.004
    assert wall > 0


def test_ratios_are_of_the_same_round():
    """The second way takes half as long as the first, whatever the load of a round."""
    load = torch.tensor([1.0, 50.0, 2.0], dtype=torch.float64)
    first, second = summarise("w", ["a", "b"], torch.stack([2 * load, load]).expand(2, -1, -1))
    assert (first["times_faster"], second["times_faster"], second["times_faster_wall"]) == (1.0, 2.0, 2.0)
    assert second["cpu_ms"] == 2000  # median load is 2


def test_extra_columns_are_empty_where_a_row_has_none():
    rows = compare("w", {"a": lambda: busy(0.001), "b": lambda: busy(0.003)}, 1, error={"b": 0.5})
    assert rows[1]["times_faster"] < 1
    assert rows[1]["error"] == pytest.approx(0.5)
    assert markdown(rows).splitlines()[2].endswith("|  |")
