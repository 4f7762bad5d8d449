# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Command ``check``: everything in a folder of photos that would spoil a training."""

import argparse
import warnings
from collections.abc import Sequence

from anomalib_plugins.components.names import counted
from anomalib_plugins.errors import UserError

from .arguments import existing_file, existing_folder


def main(argv: Sequence[str] | None = None) -> int:
    """Print the findings.

    Args:
        argv: Command-line arguments after ``check``.

    Returns:
        Exit code: 1 if there are errors, 0 otherwise.
    """
    parser = argparse.ArgumentParser(
        prog="anomalib-plugins check",
        description="Find everything in a folder of photos that would spoil a training. Exits with 1 if there are "
        "errors, with which training would fail or be meaningless. Notes are worth a look.",
    )
    photos = "photos in MVTec AD's layout, in subfolders good and bad, or good ones only"
    parser.add_argument("folder", type=existing_folder, nargs="?", help=photos)
    parser.add_argument("--data", type=existing_file, metavar="FILE.yaml", help="configuration of a datamodule instead")
    arguments = parser.parse_args(argv)
    if (arguments.folder is None) == (arguments.data is None):
        parser.error("give a folder, or --data FILE.yaml")

    from anomalib_plugins.inspection.parts import of_datamodule, of_folder

    warnings.simplefilter("ignore")  # what is worth saying is a finding
    errors = notes = 0
    try:
        for title, found in of_datamodule(arguments.data) if arguments.data else of_folder(arguments.folder):
            print(title, end="\n\n")
            for finding in sorted(found, key=lambda finding: not finding.refused):
                errors, notes = errors + finding.refused, notes + (not finding.refused)
                print("ERROR" if finding.refused else "note", finding, sep="  ", end="\n\n")
    except UserError as error:
        parser.error(str(error))
    print(counted(errors, "error/errors"), counted(notes, "note/notes"), sep=", ")
    return int(errors > 0)
