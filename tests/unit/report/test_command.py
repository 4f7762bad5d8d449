# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest

from anomalib_plugins.__main__ import main
from anomalib_plugins.report.command import find


def test_the_page_is_beside_the_results(results_file, capsys):
    assert main(["report", str(results_file.parent), "--picture-size", "32"]) == 0
    page = results_file.with_suffix(".html")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert f"{page}: {page.stat().st_size / 1e6:.1f} MB, 4 jobs with pictures of 20 images" in capsys.readouterr().out


def test_tables_alone_are_said_to_be(tmp_path, row, capsys):
    from anomalib_plugins.benchmark import results

    results.append(tmp_path / "a.csv", row("Pouta", "my_screw", dataset="mine"))
    output = tmp_path / "new" / "page.html"
    arguments = ["--output", str(output), "--paper-category", "my_screw=MVTecAD/screw"]
    assert main(["report", str(tmp_path / "a.csv"), *arguments]) == 0
    assert "no predictions beside the results: tables only" in capsys.readouterr().out
    assert ">0.985<" in output.read_text(encoding="utf-8")


def test_a_folder_has_one_results_file(tmp_path):
    with pytest.raises(ValueError, match=r"must be a results file or a folder with one \*\.csv, found none"):
        find(tmp_path)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"found a\.csv, b\.csv"):
        find(tmp_path)
    assert find(tmp_path / "a.csv") == tmp_path / "a.csv"
