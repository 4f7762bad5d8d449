# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What a running benchmark shows, and what it keeps from the screen."""

import io
import logging
import sys
import warnings
from pathlib import Path

import pytest
from rich.console import Console

from anomalib_plugins.benchmark.progress import View, everything_into


def shown(terminal: bool) -> str:
    """What two jobs show, one of them ended."""
    screen = io.StringIO()
    with View(2, Console(file=screen, force_terminal=terminal, width=100)) as view:
        first, report = view.begin("Slsg bottle")
        report("training, epoch 3")
        view.begin("Padim [bottle]")
        view._progress.refresh()
        view.end("Slsg bottle: 0.9 [best]", first)
    return screen.getvalue()


def test_a_terminal_shows_all_jobs_and_the_stage_of_the_running_ones() -> None:
    screen = shown(terminal=True)
    for text in ("0 of 2 jobs", "Slsg bottle: training, epoch 3", "Padim [bottle]", "1 of 2 jobs"):
        assert text in screen
    assert "Slsg bottle: training" not in screen.rpartition("1 of 2 jobs")[2]


def test_a_file_gets_a_line_per_finished_job_and_nothing_else() -> None:
    assert shown(terminal=False) == "[1/2] Slsg bottle: 0.9 [best]\n"


def test_the_screen_is_the_one_from_before_a_redirection(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with View(1) as view, everything_into(tmp_path / "log"):
        view.say("visible")
    assert capsys.readouterr().err == "visible\n"
    assert not (tmp_path / "log").read_text()


def test_prints_logs_and_warnings_are_added_to_the_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    lonely = logging.getLogger("test_progress.lonely")
    lonely.propagate = False
    log = tmp_path / "new" / "results.log"
    for number in range(2):
        with everything_into(log):
            print(f"print {number}")
            print("to stderr", file=sys.stderr)
            logging.getLogger("test_progress.any").error("logged")
            lonely.error("alone")
            warnings.warn("careful", stacklevel=1)
    text = log.read_text()
    for part in ("print 0", "print 1", "to stderr", "logged", "alone", "careful"):
        assert part in text
    assert text.count("logged") == 2
    assert not "".join(capsys.readouterr())


def test_loggers_write_where_they_did_before(tmp_path: Path) -> None:
    logger, stream = logging.getLogger("test_progress.own"), io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    root = list(logging.root.handlers)
    with pytest.raises(ZeroDivisionError), everything_into(tmp_path / "log"):
        logger.error("within %d", 1 / 0)
    logger.error("after")
    assert stream.getvalue() == "after\n"
    assert logging.root.handlers == root
    logger.removeHandler(handler)
