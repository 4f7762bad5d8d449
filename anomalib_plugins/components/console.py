# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Progress on the console while everything that other libraries print goes to a file."""

import os
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

WIDTH = 24  # characters of the bar
SECONDS = 10  # between two lines where no bar can move


class Console:
    """The only thing that writes to the terminal inside :func:`quiet`.

    Args:
        stream: Where to write. In a terminal a bar moves; elsewhere a line comes every ten seconds.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.moves = stream, stream.isatty()
        self.done = 0.0  # share of the current step
        self._stop = threading.Event()

    def say(self, text: str = "") -> None:
        """Write a line."""
        self.stream.write(text + "\n")
        self.stream.flush()

    @contextmanager
    def step(self, title: str) -> Generator[None, None, None]:
        """Show that something is going on, and how long it took.

        Args:
            title: What is going on.
        """
        self.done, self._stop = 0.0, threading.Event()
        start = time.monotonic()
        if not self.moves:
            self.say(f"{title} ...")
        ticker = threading.Thread(target=self._tick, args=(title, start), daemon=True)
        ticker.start()
        try:
            yield
        finally:
            self._stop.set()
            ticker.join()
            self._clear()
        self.say(f"{title}: {time.monotonic() - start:.0f} s")

    def _tick(self, title: str, start: float) -> None:
        while not self._stop.wait(0.2 if self.moves else SECONDS):
            seconds, share = time.monotonic() - start, min(self.done, 1)
            if self.moves:
                bar = ("#" * round(WIDTH * share)).ljust(WIDTH, ".") if share else "-\\|/"[int(seconds * 5) % 4]
                self.stream.write(f"\r\033[K{title}: {bar} {seconds:.0f} s")
                self.stream.flush()
            else:
                self.say(f"  {seconds:.0f} s" + f", {share:.0%}" * (share > 0))

    def _clear(self) -> None:
        if self.moves:
            self.stream.write("\r\033[K")


@contextmanager
def quiet(log: Path) -> Generator[Console, None, None]:
    """Send what this process prints to a file, native libraries included.

    Args:
        log: The file.

    Yields:
        The console, which still writes to where standard output went.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    try:
        with (
            log.open("w", encoding="utf-8") as file,
            os.fdopen(os.dup(1), "w", encoding="utf-8") as stream,
            # Never closed: handlers of logging may keep them.
            redirect_stdout(open(1, "w", encoding="utf-8", buffering=1, closefd=False)),
            redirect_stderr(open(2, "w", encoding="utf-8", buffering=1, closefd=False)),
        ):
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield Console(stream)
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
