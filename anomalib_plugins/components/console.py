# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Progress on the console while the output of other libraries goes to a file."""

import os
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

WIDTH = 24  # characters of the bar
SECONDS = 10  # seconds between two lines where there is no terminal


class Console:
    """Console for progress, the only output to the terminal inside :func:`quiet`.

    Args:
        stream: Stream to write to. A terminal shows a moving bar, any other stream gets a line every ten seconds.
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
        """Show the progress of a step and the time it took.

        Args:
            title: Name of the step.
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
    """Redirect all output of this process to a file, including that of native libraries.

    Args:
        log: File to write.

    Yields:
        Console that writes to the original standard output.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    try:
        with (
            log.open("w", encoding="utf-8") as file,
            os.fdopen(os.dup(1), "w", encoding="utf-8") as stream,
            # Never closed, because logging handlers may keep them.
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
