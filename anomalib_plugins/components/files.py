# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Files that are there whole or not at all."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def whole_file(path: Path, mode: str = "wb", **arguments: Any) -> Generator[IO[Any]]:
    """Write a file that takes its place only when it is complete and on the disk.

    After an error, a crash or a power cut there is what was there before, or the whole new file. Only a process that
    is killed leaves its unfinished file, ``.NAME.PID.part``, beside it.

    Args:
        path: Final place; its folder is made.
        mode: ``wb`` or ``w``.
        arguments: More arguments of :meth:`pathlib.Path.open`.

    Yields:
        The file to write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open(mode, **arguments) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
