# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest

from anomalib_plugins.benchmark import results

START, END = results.START.format(""), results.END.format("")
DOCS = Path(__file__).parents[3] / "docs" / "results"


def row(model="Slsg", category="bolt", seed=0, value=0.5, **changes):
    """A row with the same value for every metric."""
    filled = (
        dict.fromkeys(results.COLUMNS, "x")
        | {"options": "{}", "data": "{}"}
        | dict.fromkeys(results.METRICS, str(value))
    )
    return {**filled, "model": model, "category": category, "seed": str(seed), "image_size": "64", **changes}


def test_rows_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "deep" / "results.csv"
    rows = [row(options='{"a": "b, c"}'), row("Padim")]
    for each in rows:
        results.append(path, each)
    assert results.read(path) == rows


def test_there_are_no_results_before_the_first(tmp_path):
    assert results.read(tmp_path / "none.csv") == []


def test_a_file_without_a_required_column_is_refused(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"other.csv has columns \['a', 'b'\], without \['model', "):
        results.read(tmp_path / "other.csv")


def test_older_files_are_read_with_the_newer_columns_empty_and_can_be_continued(tmp_path):
    path = tmp_path / "old.csv"
    path.write_text(",".join(results.REQUIRED) + "\n" + ",".join("12345678 9"[: len(results.REQUIRED)]) + "\n")
    (old,) = results.read(path)
    assert (old["model"], old["job"], old["latency_ms"]) == ("1", "", "")
    results.append(path, row())
    assert results.read(path) == [old, row()]


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.csv")), ids=lambda path: path.stem)
def test_committed_results_can_be_read(path):
    rows = results.read(path)
    assert rows
    assert all(0 <= float(each[metric]) <= 1 for each in rows for metric in results.METRICS)


def test_further_columns_of_a_row_are_kept(tmp_path):
    path = tmp_path / "results.csv"
    results.append(path, row())
    results.append(path, {**row(), "spro": "0.5"})
    assert [each["spro"] for each in results.read(path)] == ["", "0.5"]


def test_rows_stand_in_the_order_of_their_jobs_whichever_ended_first(tmp_path):
    path = tmp_path / "results.csv"
    for job in ("other", "c", "a", "b"):
        results.append(path, row(job=job), order="abc")
    assert [each["job"] for each in results.read(path)] == ["other", "a", "b", "c"]


def cells(rows):
    lines = [line.strip("| ").split(" | ") for line in results.table(rows).splitlines() if line.startswith("|")]
    return {line[0]: line[1:] for line in lines}


def test_cells_are_means_over_seeds_and_the_last_row_means_over_categories():
    table = cells([row(value=0.2), row(seed=1, value=0.4), row(category="nut", value=0.9)])
    assert [cell.split(" ")[0] for cell in table["bolt"]] == ["0.300"]
    assert table["nut"] == ["0.900 / 0.900 / 0.900 / 0.900"]
    assert table["**mean**"][0].startswith("0.600 / ")


def test_what_was_not_run_is_a_dash_and_has_no_mean():
    table = cells([row(), row(category="nut"), row("Padim")])
    assert table["nut"][1] == table["**mean**"][1] == "-"
    assert table["**mean**"][0].startswith("0.5")


def test_undefined_is_not_zero():
    assert cells([row(value=float("nan"))])["bolt"] == ["n/a / n/a / n/a / n/a"]


def test_schedules_and_sizes_are_columns_of_their_own():
    assert len(cells([row(), row(schedule="5 min"), row(image_size="128"), row(seed=3)])["category"]) == 3


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"precision": "bf16-mixed"}, "Slsg precision=bf16-mixed"),
        ({"machine": "CPU, 1 threads"}, "Slsg accelerator=cpu"),
        ({"options": '{"network": {"k": 2}, "seed": 1}'}, "Slsg k=2"),
        ({"data": '{"init_args": {"root": "r", "k": 4}}'}, "Slsg k=4"),
    ],
)
def test_other_settings_in_one_category_are_a_column_of_their_own(changes, name):
    """Between categories they may differ, and with seeds they do."""
    same = [row(), row(seed=1, options='{"seed": 1}'), row(**{"class": ""}), row(category="nut", batch_size="1")]
    assert len(cells(same)["category"]) == 1
    assert cells([*same, row(**changes)])["category"][1] == f"{name}, x, 64 px"


def test_a_table_needs_results():
    with pytest.raises(ValueError, match="no results"):
        results.table([])


def test_seeds_have_a_spread_and_means_over_categories_that_of_their_common_seeds():
    rows = [row(value=0.2), row(seed=1, value=0.4), row(category="nut", value=0.6), row("nut", "nut", 1, 0.6)]
    rows[3]["model"] = "Slsg"
    table = cells(rows)
    assert table["bolt"][0].startswith("0.300 ± 0.141 / ")  # sqrt(2) / 10
    assert table["nut"][0].startswith("0.600 ± 0.000 / ")
    assert table["**mean**"][0].startswith("0.450 ± 0.071 / ")


def test_data_sets_are_told_apart():
    table = cells([row(dataset="A"), row(dataset="B"), row("Padim", dataset="B")])
    assert list(table) == ["category", "---", "A bolt", "B bolt", "**mean**"]
    assert table["A bolt"][1] == "-"


def test_an_update_replaces_only_what_is_between_the_markers(tmp_path):
    document = tmp_path / "README.md"
    document.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    for text in ("first", "second"):
        results.update(document, text, "any")
    assert document.read_text() == f"before\n{START}\n\nsecond\n\n{END}\nafter\n"


def test_a_document_holds_several_tables_by_name(tmp_path):
    document = tmp_path / "README.md"
    document.write_text("".join(results.START.format(f" {n}") + results.END.format(f" {n}") for n in ("cpu", "gpu")))
    for name in ("cpu", "gpu", "cpu"):
        results.update(document, f"of the {name}", name)
    first, second = document.read_text().split("<!-- compare: end cpu -->")
    assert first == "<!-- compare: start cpu -->\n\nof the cpu\n\n"
    assert "of the gpu" in second


@pytest.mark.parametrize(
    "content", ["no markers", START, END + START, "<!-- compare: start b --><!-- compare: end b -->"]
)
def test_a_document_without_markers_is_refused_and_kept(content, tmp_path):
    document = tmp_path / "README.md"
    document.write_text(content)
    with pytest.raises(ValueError, match="has no markers for the table: add the lines <!-- compare: start a -->"):
        results.update(document, "text", "a")
    assert document.read_text() == content
