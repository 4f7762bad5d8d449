# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Results files and the tables made of them."""

from pathlib import Path

import pytest

from anomalib_plugins.benchmark import results


def row(model: str = "Slsg", category: str = "bolt", seed: int = 0, value: float = 0.5, **changes: object) -> dict:
    """A row with the same value for every metric."""
    filled = dict.fromkeys(results.COLUMNS, "x") | dict.fromkeys(results.METRICS, str(value))
    return {**filled, "model": model, "category": category, "seed": str(seed), "image_size": "64", **changes}


def cells(rows: list[dict]) -> dict[str, list[str]]:
    """Cells of a table by category."""
    lines = [line.strip("| ").split(" | ") for line in results.table(rows).splitlines() if line.startswith("|")]
    return {line[0]: line[1:] for line in lines}


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.csv"
    rows = [row(options='{"a": "b, c"}'), row("Padim")]
    for each in rows:
        results.append(path, each)
    assert results.read(path) == rows


def test_there_are_no_results_before_the_first(tmp_path: Path) -> None:
    assert results.read(tmp_path / "none.csv") == []


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"other.csv has columns \['a', 'b'\]"):
        results.read(tmp_path / "other.csv")


def test_cells_are_means_over_seeds_and_the_last_row_means_over_categories() -> None:
    table = cells([row(value=0.2), row(seed=1, value=0.4), row(category="nut", value=0.9)])
    assert table["bolt"] == ["0.300 / 0.300 / 0.300 / 0.300"]
    assert table["**mean**"] == ["0.600 / 0.600 / 0.600 / 0.600"]


def test_what_was_not_run_is_a_dash_and_has_no_mean() -> None:
    table = cells([row(), row(category="nut"), row("Padim")])
    assert table["nut"][1] == table["**mean**"][1] == "-"
    assert table["**mean**"][0].startswith("0.5")


def test_undefined_is_not_zero() -> None:
    assert cells([row(value=float("nan"))])["bolt"] == ["n/a / n/a / n/a / n/a"]


def test_schedules_and_sizes_are_columns_of_their_own() -> None:
    assert len(cells([row(), row(schedule="5 min"), row(image_size="128"), row(seed=3)])["category"]) == 3


def test_a_table_needs_results() -> None:
    with pytest.raises(ValueError, match="no results"):
        results.table([])


def test_an_update_replaces_only_what_is_between_the_markers(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    start, end = results.MARKERS
    document.write_text(f"before\n{start}\nold\n{end}\nafter\n")
    for text in ("first", "second"):
        results.update(document, text)
    assert document.read_text() == f"before\n{start}\n\nsecond\n\n{end}\nafter\n"


@pytest.mark.parametrize("content", ["no markers", results.MARKERS[0], "".join(reversed(results.MARKERS))])
def test_a_document_without_markers_is_refused_and_kept(content: str, tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text(content)
    with pytest.raises(ValueError, match="has no place for the table"):
        results.update(document, "text")
    assert document.read_text() == content
