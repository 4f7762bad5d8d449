# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import re
import sys
import types
import warnings

import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.data.utils.path import validate_path
from anomalib.models import AnomalibModule
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import Timer

from anomalib_plugins import __main__ as program
from anomalib_plugins.commands import cli
from anomalib_plugins.errors import UserError
from anomalib_plugins.models.base import check_size, options_of


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


def test_what_anomalibs_imports_warn_of_themselves_is_not_shown(monkeypatch, recwarn):
    fake = types.SimpleNamespace(main=lambda argv: warnings.warn("moved", FutureWarning, stacklevel=1) or 0)
    monkeypatch.setitem(program.COMMANDS, "fake", ("fake_command", ""))
    monkeypatch.setitem(sys.modules, "fake_command", fake)
    program.main(["fake"])
    assert len(recwarn) == 0


def test_anything_else_goes_to_anomalib_whole(monkeypatch):
    monkeypatch.setattr(cli, "main", lambda argv: argv)
    assert program.main(["train", "--model", "Slsg"]) == ["train", "--model", "Slsg"]


def refuse_as_an_option(_):
    """As anomalib's parser does it, which wraps the error."""
    parser = ArgumentParser()
    parser.add_subclass_arguments(AnomalibModule, "model")
    parser.instantiate_classes(parser.parse_args(["--model=Pouta", "--model.image_size=[8, 8]"]))


REFUSALS = {
    "ours": (lambda _: check_size([8, 8]), "image_size must be (height, width)"),
    "an option's": (refuse_as_an_option, "image_size must be (height, width)"),
    "anomalib's": (lambda _: validate_path("fotos"), "Path does not exist: "),
    "Lightning's": (lambda _: Timer("3min"), "`Timer(duration='3min')` is not a valid duration"),
}


@pytest.mark.parametrize("whose", REFUSALS)
def test_what_a_user_can_correct_ends_in_one_line_unless_the_traceback_is_asked_for(monkeypatch, capsys, whose):
    refusing, says = REFUSALS[whose]
    monkeypatch.setattr(cli, "SeededCLI", refusing)
    monkeypatch.delenv(cli.TRACEBACK, raising=False)
    assert cli.main(["train"]) == 2
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: {says}")
    assert len(rest) == 1 or whose not in {"ours", "an option's"}
    monkeypatch.setenv(cli.TRACEBACK, "1")
    with pytest.raises(Exception, match=re.escape(says)):
        cli.main(["train"])


def meet_an_error_of_others(_):
    raise ValueError("somebody else's")  # noqa: EM101


BUGS = {
    "ours": (lambda _: options_of(dict, 3), TypeError),
    "others'": (meet_an_error_of_others, ValueError),
    "anomalib's": (lambda _: ImageBatch(image=torch.zeros(3, 8)), ValueError),
}


@pytest.mark.parametrize("whose", BUGS)
def test_bugs_keep_their_traceback(monkeypatch, whose):
    wrong, error = BUGS[whose]
    monkeypatch.setattr(cli, "SeededCLI", wrong)
    with pytest.raises(error):
        cli.main(["train"])


@pytest.mark.parametrize("command", ["doctor", "cost"])
def test_each_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        program.main([command, "--help"])
    assert exit_.value.code == 0
    assert f"anomalib-plugins {command}" in capsys.readouterr().out


def test_what_a_user_can_correct_ends_in_one_line(capsys, monkeypatch):
    assert program.main(["benchmark", "--table", "setup.cfg"]) == 2
    assert capsys.readouterr().err.startswith("error: setup.cfg has columns ")
    monkeypatch.setenv("ANOMALIB_PLUGINS_TRACEBACK", "1")
    with pytest.raises(UserError):
        program.main(["benchmark", "--table", "setup.cfg"])


SAID_ONCE = "either --config FILE or --root FOLDER"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("benchmark", SAID_ONCE),
        ("benchmark --config a.yaml --root b", SAID_ONCE),
        ("benchmark --config a.yaml --models Slsg", "--models works only with --root"),
        ("benchmark --config a.yaml --batch-size 4", "--batch-size works only with --root"),
        ("benchmark --config a.yaml --model-args a.yaml", "--model-args works only with --root"),
        ("benchmark --root . --update README.md", "--update needs --table"),
        ("check", "give a folder, or --data FILE.yaml"),
        (f"check . --data {__file__}", "give a folder, or --data FILE.yaml"),
        ("check nowhere", "there is no folder nowhere"),
        ("check --data nowhere.yaml", "there is no file nowhere.yaml"),
        ("demo none.ckpt", "there is no file"),
        ("demo .", "is a folder: name the file in it"),
        ("report . --paper-category screw", "expected NAME=DATASET/CATEGORY, got screw"),
        ("report . --images 0", "--images must be at least 1"),
        ("report .", "must be a results file or a folder"),
    ],
)
def test_wrong_arguments_are_said(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        program.main(arguments.split())
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
