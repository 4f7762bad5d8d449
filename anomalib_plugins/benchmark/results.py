# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Results file of a benchmark: CSV with one row per job."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anomalib_plugins.components.files import whole_file
from anomalib_plugins.errors import UserError

METRICS = ("image_auroc", "pixel_auroc", "aupro", "pixel_ap")
SETTING = ("image_size", "batch_size", "precision", "schedule", "options", "data")
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
COLUMNS = ("model", "dataset", "category", "seed", *METRICS, *SETTING, *MEASURED, "machine", "versions", "job")
REQUIRED = ("model", "category", "seed", *METRICS, "schedule", "machine")

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
        path: Results file, created if it does not exist. Only one program at a time may write to it.
        row: Values by column. Columns that are not in `COLUMNS` are added at the end.
        order: Values of ``job`` in their order. Rows of these jobs come last and in this order, whichever ended first.
    """
    rows: list[dict[str, Any]] = [*read(path), row]
    rows.sort(key=lambda each: order.index(each["job"]) if each["job"] in order else -1)
    with whole_file(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, dict.fromkeys([*COLUMNS, *(name for each in rows for name in each)]))
        writer.writeheader()
        writer.writerows(rows)
