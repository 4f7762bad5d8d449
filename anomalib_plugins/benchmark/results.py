# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Results of a benchmark: a CSV file with one row per job, and Markdown tables of it."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from anomalib_plugins.components.files import atomic_write
from anomalib_plugins.errors import UserError

METRICS = ("image_auroc", "pixel_auroc", "aupro", "pixel_ap")
MISTAKES = ("false_alarms", "misses")
SETTING = ("image_size", "batch_size", "precision", "schedule", "class", "options", "data")
MEASURED = (
    "train_seconds",
    "train_cpu_seconds",
    "steps",
    "latency_ms",
    "images_per_second",
    "parameters",
    "gmacs",
    "peak_memory_mb",
)
COLUMNS = (
    "model",
    "dataset",
    "category",
    "seed",
    *METRICS,
    *MISTAKES,
    *SETTING,
    *MEASURED,
    "machine",
    "versions",
    "job",
)
REQUIRED = ("model", "category", "seed", *METRICS, "schedule", "machine")
# Arguments of data sets that have a column of their own, or only say where the data are and how they are loaded.
NOT_A_SETTING = {"root", "name", "category", "train_batch_size", "eval_batch_size", "num_workers"}
START, END = "<!-- compare: start{} -->", "<!-- compare: end{} -->"

Row = dict[str, str]


def read(path: Path) -> list[Row]:
    """Read the rows of a results file; none if the file does not exist yet.

    Args:
        path: File with at least the columns of `REQUIRED`. Other missing columns of `COLUMNS` are empty in every row.

    Raises:
        ValueError: If a required column is missing.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
        if missing:
            msg = f"{path} has columns {reader.fieldnames}, without {missing}: choose another file"
            raise UserError(msg)
        return [{**dict.fromkeys(COLUMNS, ""), **row} for row in reader]


def append(path: Path, row: dict[str, Any], order: Sequence[str] = ()) -> None:
    """Add one row to a results file. The file is replaced in one step, so a crash never leaves half a row.

    Args:
        path: Results file. Only one program at a time may write to it.
        row: Values by column. Columns that are not in `COLUMNS` are added at the end.
        order: Values of ``job`` in their order. Rows of these jobs come last and in this order, whichever ended first.
    """
    rows: list[dict[str, Any]] = [*read(path), row]
    rows.sort(key=lambda each: order.index(each["job"]) if each["job"] in order else -1)
    with atomic_write(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, dict.fromkeys([*COLUMNS, *(name for each in rows for name in each)]))
        writer.writeheader()
        writer.writerows(rows)


def variants(rows: Iterable[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """Group rows by model, schedule and image size, in order of appearance.

    If rows of one category differ in other settings than the seed, these are part of the model's name, as in
    ``Slsg precision=bf16-mixed``. Settings may differ between categories, as some papers' do.
    """
    models: dict[tuple[str, str, str], list[tuple[Row, dict[str, str]]]] = {}
    for row in rows:
        key = row["model"], row["schedule"], row.get("image_size", "")
        models.setdefault(key, []).append((row, _settings(row)))
    found: dict[tuple[str, str, str], list[Row]] = {}
    for (model, schedule, size), own in models.items():
        places: dict[tuple[str, str], list[dict[str, str]]] = {}
        for row, settings in own:
            places.setdefault((row.get("dataset", ""), row["category"]), []).append(settings)
        differing = {name for each in places.values() for name in _differing(each)}
        for row, settings in own:
            words = [
                f"{name.rpartition('.')[2]}={value}" for name, value in settings.items() if value and name in differing
            ]
            found.setdefault((" ".join([model, *words]), schedule, size), []).append(row)
    return found


def _settings(row: Row) -> dict[str, str]:
    """Everything that decides a result except schedule, image size and seed, by name."""
    options = flat(json.loads(row.get("options") or "{}"))
    data = flat(json.loads(row.get("data") or "{}").get("init_args", {}))
    return {
        **{name: row.get(name, "") for name in ("class", "precision", "batch_size")},  # empty in older files
        "accelerator": "cpu" if row["machine"].endswith((" thread", " threads")) else "gpu",
        **{name: str(value) for name, value in options.items() if name != "seed"},
        **{name: str(value) for name, value in data.items() if name.rpartition(".")[2] not in NOT_A_SETTING},
    }


def _differing(settings: Sequence[dict[str, str]]) -> set[str]:
    names = {name for each in settings for name in each}
    return {name for name in names if len({each.get(name) for each in settings} - {""}) > 1}


def flat(options: Mapping[str, Any]) -> dict[str, Any]:
    """Nested arguments by dotted names, e.g. ``network.k``."""
    found = {}
    for name, value in options.items():
        inner = {f"{name}.{key}": each for key, each in flat(value).items()} if isinstance(value, dict) else {}
        found.update(inner or {name: value})
    return found


def table(rows: list[Row]) -> str:
    """Format results as a Markdown table, with a row per category, a row of means and a column per model.

    Each of the `variants` of a model has its own column. Cells are means over seeds, followed by the standard deviation
    if there are several; in the last row it is the deviation of the means over categories. A dash means not run, "n/a"
    means undefined. A line about metrics, seeds, machine and versions follows.

    Raises:
        UserError: If there are no rows.
    """
    if not rows:
        msg = "no results for a table: run a benchmark first"
        raise UserError(msg)
    columns: dict[tuple[str, str, str], dict[tuple[str, str], list[Row]]] = {}
    for variant, own in variants(rows).items():
        column = columns.setdefault(variant, {})
        for row in own:
            column.setdefault((row["dataset"], row["category"]), []).append(row)
    places = sorted({place for column in columns.values() for place in column})
    single = len({dataset for dataset, _ in places}) == 1
    lines = [["category", *(f"{model}, {schedule}, {size} px" for model, schedule, size in columns)]]
    lines.append(["---"] * len(lines[0]))
    for place in places:
        cells = [_cell([column.get(place, [])]) for column in columns.values()]
        lines.append([place[1] if single else " ".join(place).strip(), *cells])
    means = [_cell([column.get(place, []) for place in places]) for column in columns.values()]
    lines.append(["**mean**", *means])
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), "", _caption(rows)])


def _caption(rows: list[Row]) -> str:
    seeds = sorted({int(row["seed"]) for row in rows})
    spread = ", mean ± standard deviation over seeds" if len(seeds) > 1 else ""
    machines = "; ".join(sorted({row["machine"] for row in rows}))
    software = "; ".join(sorted({row["versions"] for row in rows} - {""})) or "versions unknown"
    numbers = ", ".join(map(str, seeds))
    return (
        f"Image AUROC / pixel AUROC / AUPRO / pixel AP on raw scores{spread}, seed {numbers}. {machines}; {software}."
    )


def _cell(categories: list[list[Row]]) -> str:
    """Format means over categories and seeds; a dash unless every category was run."""
    return " / ".join(_statistic(categories, metric) for metric in METRICS) if all(categories) else "-"


def _statistic(categories: list[list[Row]], metric: str) -> str:
    """Format the mean, and the standard deviation over those seeds with which every category was run."""
    mean = fmean(fmean(float(row[metric]) for row in rows) for rows in categories)
    if math.isnan(mean):
        return "n/a"
    seeds = set.intersection(*({row["seed"] for row in rows} for rows in categories))
    if len(seeds) < 2:
        return f"{mean:.3f}"
    means = [fmean(float(row[metric]) for rows in categories for row in rows if row["seed"] == seed) for seed in seeds]
    return f"{mean:.3f} ± {stdev(means):.3f}"


def update(document: Path, text: str, name: str) -> None:
    """Replace the text between the lines ``<!-- compare: start NAME -->`` and ``<!-- compare: end NAME -->``.

    A document with a single table may omit the name.

    Raises:
        UserError: If a marker is missing.
    """
    content = document.read_text(encoding="utf-8")
    for mark in (f" {name}", ""):
        start, end = START.format(mark), END.format(mark)
        before, found, rest = content.partition(start)
        _, found_end, after = rest.partition(end)
        if found and found_end:
            document.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}", encoding="utf-8")
            return
    start, end = START.format(f" {name}"), END.format(f" {name}")
    msg = f"{document} has no markers for the table: add the lines {start} and {end} where it belongs"
    raise UserError(msg)
