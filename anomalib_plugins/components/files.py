# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Files that are written completely or not at all."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: Path, mode: str = "wb", **arguments: Any) -> Generator[IO[Any]]:
    """Write a file atomically: it replaces the old one only when it is complete and on disk.

    After an error, a crash or a power cut, ``path`` holds either the old or the whole new file. Only a killed process
    leaves its unfinished file, ``.NAME.PID.part``, beside it.

    Args:
        path: File to write; its folder is created.
        mode: ``wb`` or ``w``.
        arguments: Further arguments of :meth:`pathlib.Path.open`.

    Yields:
        File object to write to.
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
