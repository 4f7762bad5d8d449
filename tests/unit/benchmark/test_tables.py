# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Tables made of results, and the documents they stand in."""

from pathlib import Path

import pytest

from anomalib_plugins.benchmark import results, tables

START, END = tables.START.format(""), tables.END.format("")


def row(model: str = "Slsg", category: str = "bolt", seed: int = 0, value: float = 0.5, **changes: object) -> dict:
    """A row with the same value for every metric."""
    filled = dict.fromkeys(results.COLUMNS, "x") | dict.fromkeys(results.METRICS, str(value))
    return {**filled, "model": model, "category": category, "seed": str(seed), "image_size": "64", **changes}


def cells(rows: list[dict]) -> dict[str, list[str]]:
    """Cells of a table by category."""
    lines = [line.strip("| ").split(" | ") for line in tables.table(rows).splitlines() if line.startswith("|")]
    return {line[0]: line[1:] for line in lines}


def test_cells_are_means_over_seeds_and_the_last_row_means_over_categories() -> None:
    table = cells([row(value=0.2), row(seed=1, value=0.4), row(category="nut", value=0.9)])
    assert [cell.split(" ")[0] for cell in table["bolt"]] == ["0.300"]
    assert table["nut"] == ["0.900 / 0.900 / 0.900 / 0.900"]
    assert table["**mean**"][0].startswith("0.600 / ")


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
        tables.table([])


def test_seeds_have_a_spread_and_means_over_categories_that_of_their_common_seeds() -> None:
    rows = [row(value=0.2), row(seed=1, value=0.4), row(category="nut", value=0.6), row("nut", "nut", 1, 0.6)]
    rows[3]["model"] = "Slsg"
    table = cells(rows)
    assert table["bolt"][0].startswith("0.300 ± 0.141 / ")  # sqrt(2) / 10
    assert table["nut"][0].startswith("0.600 ± 0.000 / ")
    assert table["**mean**"][0].startswith("0.450 ± 0.071 / ")


def test_data_sets_are_told_apart() -> None:
    table = cells([row(dataset="A"), row(dataset="B"), row("Padim", dataset="B")])
    assert list(table) == ["category", "---", "A bolt", "B bolt", "**mean**"]
    assert table["A bolt"][1] == "-"


def test_an_update_replaces_only_what_is_between_the_markers(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    for text in ("first", "second"):
        tables.update(document, text, "any")
    assert document.read_text() == f"before\n{START}\n\nsecond\n\n{END}\nafter\n"


def test_a_document_holds_several_tables_by_name(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text("".join(tables.START.format(f" {n}") + tables.END.format(f" {n}") for n in ("cpu", "gpu")))
    for name in ("cpu", "gpu", "cpu"):
        tables.update(document, f"of the {name}", name)
    first, second = document.read_text().split("<!-- compare: end cpu -->")
    assert first == "<!-- compare: start cpu -->\n\nof the cpu\n\n"
    assert "of the gpu" in second


@pytest.mark.parametrize(
    "content", ["no markers", START, END + START, "<!-- compare: start b --><!-- compare: end b -->"]
)
def test_a_document_without_markers_is_refused_and_kept(content: str, tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text(content)
    with pytest.raises(ValueError, match="has no markers for the table: add the lines <!-- compare: start a -->"):
        tables.update(document, "text", "a")
    assert document.read_text() == content
