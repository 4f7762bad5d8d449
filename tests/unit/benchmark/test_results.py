# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Results files."""

from pathlib import Path

import pytest

from anomalib_plugins.benchmark import results

DOCS = Path(__file__).parents[3] / "docs" / "results"


def row(model: str = "Slsg", category: str = "bolt", seed: int = 0, value: float = 0.5, **changes: object) -> dict:
    """A row with the same value for every metric."""
    filled = dict.fromkeys(results.COLUMNS, "x") | dict.fromkeys(results.METRICS, str(value))
    return {**filled, "model": model, "category": category, "seed": str(seed), "image_size": "64", **changes}


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.csv"
    rows = [row(options='{"a": "b, c"}'), row("Padim")]
    for each in rows:
        results.append(path, each)
    assert results.read(path) == rows


def test_there_are_no_results_before_the_first(tmp_path: Path) -> None:
    assert results.read(tmp_path / "none.csv") == []


def test_a_file_without_a_required_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"other.csv has columns \['a', 'b'\], without \['model', "):
        results.read(tmp_path / "other.csv")


def test_older_files_are_read_with_the_newer_columns_empty_and_can_be_continued(tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    path.write_text(",".join(results.REQUIRED) + "\n" + ",".join("12345678 9"[: len(results.REQUIRED)]) + "\n")
    (old,) = results.read(path)
    assert (old["model"], old["job"], old["latency_ms"]) == ("1", "", "")
    results.append(path, row())
    assert results.read(path) == [old, row()]


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.csv")), ids=lambda path: path.stem)
def test_committed_results_can_be_read(path: Path) -> None:
    rows = results.read(path)
    assert rows
    assert all(0 <= float(each[metric]) <= 1 for each in rows for metric in results.METRICS)


def test_further_columns_of_a_row_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    results.append(path, row())
    results.append(path, {**row(), "spro": "0.5"})
    assert [each["spro"] for each in results.read(path)] == ["", "0.5"]


def test_rows_stand_in_the_order_of_their_jobs_whichever_ended_first(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    for job in ("other", "c", "a", "b"):
        results.append(path, row(job=job), order="abc")
    assert [each["job"] for each in results.read(path)] == ["other", "a", "b", "c"]


@pytest.mark.parametrize(("owner", "name"), [(results.csv.DictWriter, "writerows"), (Path, "replace")])
def test_a_crash_while_writing_leaves_the_rows_before(
    owner: type, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.csv"
    results.append(path, row())
    monkeypatch.setattr(owner, name, lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        results.append(path, row())
    assert results.read(path) == [row()]
