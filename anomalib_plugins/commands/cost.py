# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Command ``cost``: parameters and operations of every model beside the published ones."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from anomalib_plugins.registry import PLUGINS


def costs() -> Iterator[dict[str, Any]]:
    """Measure the variants that each model lists as ``VARIANTS`` in its module ``cost``.

    Yields:
        Row of each variant: ``model``, ``variant``, ``image_size``, ``parameters``, ``macs``, and
        ``published_parameters`` and ``published_macs``, which are ``None`` if nothing is published.
    """
    from anomalib_plugins.components.cost import measure

    for plugin in PLUGINS:
        if plugin.kind != "model":
            continue
        for variant in import_module(f"{plugin.module}.cost").VARIANTS:
            cost = measure(variant)
            yield {
                "model": plugin.name,
                "variant": variant.name,
                "image_size": variant.image_size,
                "parameters": cost.parameters,
                "published_parameters": variant.parameters,
                "macs": cost.macs,
                "published_macs": variant.macs,
            }


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"{'model':<20}{'variant':<24}{'px':>5}{'parameters':>16}{'published':>12}{'MACs':>12}{'published':>12}"]
    for row in rows:
        published_parameters = _short(row["published_parameters"], 1e6, "M")
        macs, published_macs = _short(row["macs"], 1e9, "G"), _short(row["published_macs"], 1e9, "G")
        lines.append(
            f"{row['model']:<20}{row['variant']:<24}{row['image_size']:>5}{row['parameters']:>16,}"
            f"{published_parameters:>12}{macs:>12}{published_macs:>12}",
        )
    return "\n".join(lines)


def _short(value: float | None, unit: float, letter: str) -> str:
    return "-" if value is None else f"{value / unit:.2f} {letter}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table or JSON.

    Args:
        argv: Arguments after ``cost``. ``None`` uses ``sys.argv``.

    Returns:
        Exit code, 0.
    """
    parser = argparse.ArgumentParser(
        prog="anomalib-plugins cost",
        description="Print parameters and multiply-accumulates for one image of every model beside published numbers.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    rows = list(costs())
    sys.stdout.write((json.dumps(rows, indent=2) if arguments.json else _table(rows)) + "\n")
    return 0
