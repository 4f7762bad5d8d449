# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Photos that a table names, for anomalib's datamodule ``Tabular``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from .findings import Finding

COLUMNS = ("image_path", "mask_path")


def table_findings(datamodule: Any) -> Iterator[Finding]:
    """What stops anomalib from reading the photos of a table.

    Args:
        datamodule: It may be anything; one without a table has nothing wrong.
    """
    samples = getattr(datamodule, "_unprocessed_samples", None)
    if samples is None:
        return
    table, root = pd.DataFrame(samples), getattr(datamodule, "root", None)
    named = {column: _paths(table, column) for column in COLUMNS}
    missing = {path: "" for paths in named.values() for path in paths if not (Path(root or ".") / path).is_file()}
    if missing:
        where = root or "the current folder"
        way_out = "Write / in place of the backslashes of Windows." if any("\\" in path for path in missing) else ""
        yield Finding(f"{len(missing)} files of the table are not in {where}", missing, way_out, refused=True)
    if root and named["mask_path"] and int(pd.__version__.partition(".")[0]) >= 3:
        what = f"anomalib's Tabular with root reads no masks under pandas {pd.__version__}"
        yield Finding(what, {}, "Leave out root and write it into the paths, or: pip install 'pandas<3'.", refused=True)


def _paths(table: pd.DataFrame, column: str) -> list[str]:
    return [str(value) for value in table.get(column, ()) if isinstance(value, str | Path) and str(value)]
