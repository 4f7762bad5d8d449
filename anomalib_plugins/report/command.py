# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Command ``report``: an HTML page about the results of a benchmark."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anomalib_plugins.benchmark import results
from anomalib_plugins.errors import UserError
from anomalib_plugins.report.groups import Place

if TYPE_CHECKING:
    from anomalib_plugins.report.page import Gallery


def parser() -> argparse.ArgumentParser:
    """Build the command line parser."""
    cli = argparse.ArgumentParser(
        prog="anomalib-plugins report",
        description="Write an HTML page about the results of a benchmark: tables beside published numbers, curves, and "
        "a gallery with an adjustable threshold. The page is a single file and works offline.",
    )
    add = cli.add_argument
    add("results", type=Path, help="results file of `benchmark`, or its folder")
    add("--output", type=Path, metavar="HTML", help="page to write (default: name of the results file with .html)")
    paper = "published category to compare a category of another name with, e.g. my_screw=MVTecAD/screw"
    add("--paper-category", nargs="+", default=[], type=_alias, metavar="NAME=DATASET/CATEGORY", help=paper)
    most = "largest number of pictures per model and category (default: %(default)s)"
    add("--images", type=int, default=1000, metavar="N", help=most)
    side = "size of the gallery's pictures (default: %(default)s)"
    add("--picture-size", type=int, default=192, metavar="PIXELS", help=side)
    return cli


def _alias(text: str) -> tuple[str, Place]:
    name, _, place = text.partition("=")
    dataset, _, category = place.partition("/")
    if not (name and dataset and category):
        msg = f"expected NAME=DATASET/CATEGORY, got {text}"
        raise argparse.ArgumentTypeError(msg)
    return name, (dataset, category)


def find(path: Path) -> Path:
    """Find the results file: the path itself, or the only ``*.csv`` in the folder.

    Raises:
        UserError: If the folder has no results file or several.
    """
    if path.is_file():
        return path
    files = sorted(path.glob("*.csv"))
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        msg = f"{path} must be a results file or a folder with one *.csv, found {names}"
        raise UserError(msg)
    return files[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page for the arguments after ``report`` and print its path; invalid ones exit with 2."""
    cli = parser()
    args = cli.parse_args(argv)
    if args.images < 1 or args.picture_size < 16:
        cli.error("--images must be at least 1 and --picture-size at least 16")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    from anomalib_plugins.report.page import Gallery, build

    gallery = Gallery(args.picture_size, args.images)
    try:
        source = find(args.results)
        page = build(results.read(source), source, gallery, dict(args.paper_category))
    except ValueError as error:
        cli.error(str(error))
    output = args.output or source.with_suffix(".html")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page, encoding="utf-8")
    sys.stdout.write(_summary(output, gallery) + "\n")
    return 0


def _summary(output: Path, gallery: "Gallery") -> str:
    pictures = sum(len(each["items"]) for each in gallery.images.values())
    lines = [
        f"{output}: {output.stat().st_size / 1e6:.1f} MB, {len(gallery.jobs)} jobs with pictures of {pictures} images"
    ]
    if not gallery.jobs:
        lines.append("no predictions beside the results: tables only")
    if gallery.missing:
        lines.append(f"{gallery.missing} images were not found where the jobs read them: heatmaps only")
    return "\n".join(lines)
