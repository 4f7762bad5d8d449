# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import io
import os
import re
import sys
import time

import pytest

from anomalib_plugins.components import console as module_under_test
from anomalib_plugins.components.console import Console, quiet


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_only_the_console_is_seen_and_the_rest_is_in_the_log(tmp_path, capfd):
    with quiet(tmp_path / "log") as console:
        print("of a library")
        os.write(2, b"of native code\n")
        console.say("ours")
    print("afterwards")
    assert capfd.readouterr() == ("ours\nafterwards\n", "")
    assert {"of a library", "of native code"} <= set((tmp_path / "log").read_text(encoding="utf-8").splitlines())


def test_output_comes_back_after_an_error(tmp_path, capfd):
    with pytest.raises(ZeroDivisionError), quiet(tmp_path / "log"):
        print(1 / 0)
    print("seen", file=sys.stderr)
    assert capfd.readouterr().err == "seen\n"


def test_a_bar_moves_in_a_terminal_and_leaves_one_line():
    stream = Terminal()
    console = Console(stream)
    with console.step("Train"):
        console.done = 0.5
        time.sleep(0.5)
    assert "Train: ############............ " in stream.getvalue()
    assert re.search(r"\r\x1b\[KTrain: \d s\n$", stream.getvalue())


def test_elsewhere_a_line_comes_now_and_then(monkeypatch):
    monkeypatch.setattr(module_under_test, "SECONDS", 0.1)
    stream = io.StringIO()
    console = Console(stream)
    with console.step("Train"):
        console.done = 0.25
        time.sleep(0.25)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Train ..."
    assert re.fullmatch(r"  \d s, 25%", lines[1])
    assert re.fullmatch(r"Train: \d s", lines[-1])
