# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What a person sees of a running benchmark, and the file that takes everything else."""

import contextlib
import logging
import sys
from collections.abc import Callable, Generator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class View:
    """One line per finished job; below them, in a terminal, how far the running ones and all jobs are.

    Args:
        total: Number of jobs to run.
        console: Where to write; the process's standard error, as it is now, by default.
    """

    def __init__(self, total: int, console: Console | None = None) -> None:
        console = console or Console(file=sys.stderr)  # not stderr=True, which would follow a redirection
        columns = (SpinnerColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._total = total
        self._done = 0
        self._all = self._progress.add_task(f"0 of {total} jobs", total=total)

    def __enter__(self) -> "View":
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop drawing."""
        self._progress.stop()

    def begin(self, title: str) -> tuple[TaskID, Callable[[str], None]]:
        """Show that a job runs.

        Args:
            title: What it is called.

        Returns:
            Its number for :meth:`end`, and a function that is told how far it is.
        """
        task = self._progress.add_task(title, total=None)
        return task, lambda stage: self._progress.update(task, description=f"{title}: {stage}")

    def end(self, line: str, task: TaskID | None = None) -> None:
        """Leave a line about a job, and take it away if it was shown.

        Args:
            line: What became of it.
            task: Number of the job.
        """
        self._done += 1
        if task is not None:
            self._progress.remove_task(task)
        self._progress.update(self._all, completed=self._done, description=f"{self._done} of {self._total} jobs")
        self.say(f"[{self._done}/{self._total}] {line}")

    def say(self, line: str) -> None:
        """Write a line above what is drawn."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def everything_into(log: Path) -> Generator[None, None, None]:
    """Append to a file what is printed, logged or warned meanwhile, progress bars of others included.

    Args:
        log: File; its folder is made.
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
