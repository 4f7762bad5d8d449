# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Types of arguments, checked before anything that takes seconds to import."""

from argparse import ArgumentTypeError
from pathlib import Path


def existing_folder(text: str) -> Path:
    """Path of a folder that exists."""
    if not Path(text).is_dir():
        msg = f"there is no folder {text}"
        raise ArgumentTypeError(msg)
    return Path(text)


def existing_file(text: str) -> Path:
    """Path of a file that exists."""
    if not Path(text).is_file():
        msg = f"{text} is a folder: name the file in it" if Path(text).is_dir() else f"there is no file {text}"
        raise ArgumentTypeError(msg)
    return Path(text)
