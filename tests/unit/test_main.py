# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import re
import sys
import types
import warnings

import pytest
import torch

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


def test_what_anomalibs_imports_warn_of_themselves_is_not_shown(monkeypatch, recwarn):
    fake = types.SimpleNamespace(main=lambda argv: warnings.warn("moved", FutureWarning, stacklevel=1) or 0)
    monkeypatch.setitem(program.COMMANDS, "fake", ("fake_command", ""))
    monkeypatch.setitem(sys.modules, "fake_command", fake)
    program.main(["fake"])
    assert len(recwarn) == 0


def test_anything_else_goes_to_anomalib_whole(monkeypatch):
    import anomalib_plugins.commands.cli

    monkeypatch.setattr(anomalib_plugins.commands.cli, "main", lambda argv: argv)
    assert program.main(["train", "--model", "Slsg"]) == ["train", "--model", "Slsg"]


def refuse(_):
    from anomalib_plugins.models.base import check_size

    return check_size([8, 8])


def refuse_as_an_option(_):
    """As anomalib's parser does it, which wraps the error."""
    from anomalib.models import AnomalibModule
    from jsonargparse import ArgumentParser

    parser = ArgumentParser()
    parser.add_subclass_arguments(AnomalibModule, "model")
    parser.instantiate_classes(parser.parse_args(["--model=Pouta", "--model.image_size=[8, 8]"]))


def miss_a_folder(_):
    from anomalib.data.utils.path import validate_path

    validate_path("fotos")


def misread_a_clock(_):
    from lightning.pytorch.callbacks import Timer

    Timer("3min")


@pytest.mark.parametrize(
    ("refusing", "said"), [(miss_a_folder, r"error: .*fotos"), (misread_a_clock, "error: .*DD:HH:MM:SS")]
)
def test_what_anomalib_and_lightning_refuse_ends_in_one_line_too(monkeypatch, capsys, refusing, said):
    from anomalib_plugins.commands import cli

    monkeypatch.delenv(cli.TRACEBACK, raising=False)
    monkeypatch.setattr(cli, "SeededCLI", refusing)
    assert cli.main(["train"]) == 2
    assert re.match(said, capsys.readouterr().err)


def meet_a_bug_of_ours(_):
    from anomalib_plugins.models.base import options_of

    return options_of(dict, 3)  # a TypeError, but not from a `raise` of ours


def meet_an_error_of_others(_):
    raise ValueError("somebody else's")  # noqa: EM101


@pytest.mark.parametrize("refusing", [refuse, refuse_as_an_option])
@pytest.mark.parametrize("asked_for_traceback", [False, True])
def test_what_we_refuse_ends_in_one_line_unless_the_traceback_is_asked_for(
    monkeypatch, capsys, refusing, asked_for_traceback
):
    from anomalib_plugins.commands import cli

    monkeypatch.setattr(cli, "SeededCLI", refusing)
    if asked_for_traceback:
        monkeypatch.setenv(cli.TRACEBACK, "1")
        with pytest.raises(ValueError, match="image_size must be"):
            cli.main(["train"])
    else:
        monkeypatch.delenv(cli.TRACEBACK, raising=False)
        assert cli.main(["train"]) == 2
        said = capsys.readouterr().err.splitlines()
        assert said[0].startswith("error: image_size must be (height, width)")
        assert len(said) == 2


def give_anomalib_a_wrong_shape(_):
    from anomalib.data import ImageBatch

    ImageBatch(image=torch.zeros(3, 8))  # no user's mistake


@pytest.mark.parametrize(
    ("wrong", "error"),
    [(meet_a_bug_of_ours, TypeError), (meet_an_error_of_others, ValueError), (give_anomalib_a_wrong_shape, ValueError)],
)
def test_bugs_keep_their_traceback(monkeypatch, wrong, error):
    from anomalib_plugins.commands import cli

    monkeypatch.setattr(cli, "SeededCLI", wrong)
    with pytest.raises(error):
        cli.main(["train"])


@pytest.mark.parametrize("command", ["doctor", "cost"])
def test_each_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        program.main([command, "--help"])
    assert exit_.value.code == 0
    assert f"anomalib-plugins {command}" in capsys.readouterr().out
