# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Progress of a running benchmark on the terminal, and the log file for all other output."""

import contextlib
import logging
import sys
from collections.abc import Callable, Generator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class View:
    """Progress view: one line per finished job and, in a terminal, progress bars for the running jobs and the total.

    Args:
        total: Number of jobs to run.
        console: Console to write to. ``None`` uses the current standard error.
    """

    def __init__(self, total: int, console: Console | None = None) -> None:
        console = console or Console(file=sys.stderr)  # not stderr=True, which would follow a redirection
        columns = (SpinnerColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._total = total
        self._done = 0
        self._all = self._progress.add_task(f"0 of {total} jobs", total=total)

    def __enter__(self) -> "View":
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop drawing."""
        self._progress.stop()

    def begin(self, title: str) -> tuple[TaskID, Callable[[str], None]]:
        """Show a job as running.

        Args:
            title: Name of the job.

        Returns:
            Identifier for :meth:`end`, and a function that shows a text as the job's stage.
        """
        task = self._progress.add_task(title, total=None)
        return task, lambda stage: self._progress.update(task, description=f"{title}: {stage}")

    def end(self, line: str, task: TaskID | None = None) -> None:
        """Print the outcome of a job and remove its progress bar.

        Args:
            line: Outcome of the job.
            task: Identifier from :meth:`begin`, if the job was shown as running.
        """
        self._done += 1
        if task is not None:
            self._progress.remove_task(task)
        self._progress.update(self._all, completed=self._done, description=f"{self._done} of {self._total} jobs")
        self.say(f"[{self._done}/{self._total}] {line}")

    def say(self, line: str) -> None:
        """Print a line above the progress bars."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


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
