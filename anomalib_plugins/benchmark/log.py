# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Log file for the output of jobs and libraries."""

import contextlib
import logging
from collections.abc import Generator
from pathlib import Path


@contextlib.contextmanager
def everything_into(log: Path) -> Generator[None, None, None]:
    """Redirect all prints, log messages and warnings to the end of a file, progress bars of libraries included.

    Args:
        log: Log file; its folder is created.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    existing = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    before = {each: each.handlers for each in (logging.root, *existing)}
    with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        for each in before:
            each.handlers = [] if each.propagate and each.parent else [handler]
        logging.captureWarnings(capture=True)
        try:
            yield
        finally:
            logging.captureWarnings(capture=False)
            for each, handlers in before.items():
                each.handlers = handlers
