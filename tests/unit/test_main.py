# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import sys
import types

import pytest

from anomalib_plugins import __main__ as program


def test_help_names_every_command_and_anomalibs(capsys):
    assert program.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {command}" in printed for command in program.COMMANDS)
    assert "train" in printed


def test_no_command_prints_the_help_and_fails(capsys):
    assert program.main([]) == 2
    assert "usage" in capsys.readouterr().out


def test_command_gets_the_arguments_after_it_and_its_exit_code_is_returned(monkeypatch):
    received = []
    fake = types.SimpleNamespace(main=lambda argv: received.extend(argv) or 3)
    monkeypatch.setitem(program.COMMANDS, "fake", ("fake_command", ""))
    monkeypatch.setitem(sys.modules, "fake_command", fake)
    assert program.main(["fake", "--option", "1"]) == 3
    assert received == ["--option", "1"]


def test_anything_else_goes_to_anomalib_whole(monkeypatch):
    import anomalib_plugins.cli

    monkeypatch.setattr(anomalib_plugins.cli, "main", lambda argv: argv)
    assert program.main(["train", "--model", "Slsg"]) == ["train", "--model", "Slsg"]


@pytest.mark.parametrize("command", ["doctor", "cost"])
def test_each_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        program.main([command, "--help"])
    assert exit_.value.code == 0
    assert f"anomalib_plugins {command}" in capsys.readouterr().out
