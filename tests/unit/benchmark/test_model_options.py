# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import argparse

import pytest

from anomalib_plugins.benchmark.command import add_model_options, read_models


def read(*arguments):
    cli = argparse.ArgumentParser()
    add_model_options(cli, default=["Padim"])
    return read_models(cli.parse_args(arguments))


def test_default_models_have_no_arguments():
    assert read() == {"Padim": ("Padim", {})}


def test_a_label_tells_variants_apart(tmp_path):
    file = tmp_path / "args.yaml"
    file.write_text("fast: {steps: 3}\n")
    models = read("--models", "Slsg", "fast=Slsg", "--model-args", str(file))
    assert models == {"Slsg": ("Slsg", {}), "fast": ("Slsg", {"steps": 3})}


def test_arguments_of_a_model_that_is_not_run_now_are_left_out(tmp_path):
    file = tmp_path / "args.yaml"
    file.write_text("Slsg: {steps: 3}\nPadim: {backbone: resnet18}\n")
    assert read("--models", "Slsg", "--model-args", str(file)) == {"Slsg": ("Slsg", {"steps": 3})}


def test_arguments_of_no_model_are_refused(tmp_path):
    file = tmp_path / "args.yaml"
    file.write_text("Slgs: {steps: 3}\n")
    with pytest.raises(ValueError, match=r"arguments for \['Slgs'\], but the models are called \['Slsg'\]"):
        read("--models", "Slsg", "--model-args", str(file))


@pytest.mark.parametrize("content", ["", "just words", "- Slsg", "Slsg: 3"])
def test_a_file_that_is_no_mapping_of_arguments_is_refused_with_what_it_should_be(tmp_path, content):
    file = tmp_path / "args.yaml"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"args.yaml must hold arguments by label, e.g. `Slsg: {steps: 100}`"):
        read("--models", "Slsg", "--model-args", str(file))


def test_two_rows_of_one_label_are_refused():
    with pytest.raises(ValueError, match="its own label"):
        read("--models", "Slsg", "Slsg")
