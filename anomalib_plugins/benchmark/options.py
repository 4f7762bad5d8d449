# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Command line options that choose the models of a benchmark."""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from anomalib_plugins.errors import UserError


class Choice(NamedTuple):
    """One row of a benchmark.

    Attributes:
        label: Name of the row, e.g. ``Patchcore-1%``.
        model: Name under which anomalib finds the model.
    """

    label: str
    model: str


def add_model_options(cli: argparse.ArgumentParser | argparse._ArgumentGroup, default: list[str]) -> None:
    """Add the options ``--models`` and ``--model-args``.

    Args:
        cli: Parser of the program, or a group of its options.
        default: Models to run by default.
    """
    cli.add_argument(
        "--models",
        nargs="+",
        default=default,
        metavar="[LABEL=]NAME",
        help="names of models; labels distinguish variants of one, e.g. Patchcore-1%%=Patchcore",
    )
    cli.add_argument(
        "--model-args", type=Path, metavar="FILE", help="YAML or JSON file with constructor arguments by label"
    )


def read_model_options(args: argparse.Namespace) -> tuple[list[Choice], dict[str, dict[str, Any]]]:
    """Read the chosen models in their order, and constructor arguments by label.

    The file of arguments may name further models, so one file can serve many runs.

    Raises:
        ValueError: If the file of arguments is not a mapping of mappings, if one of its keys is neither a label nor a
            model, or if two models share a label.
    """
    choices = [Choice(label, name or label) for label, _, name in (model.partition("=") for model in args.models)]
    labels = [choice.label for choice in choices]
    if len(set(labels)) < len(labels):
        msg = f"every model needs its own label, e.g. A=Slsg B=Slsg; got {labels}"
        raise UserError(msg)
    arguments = yaml.safe_load(args.model_args.read_text(encoding="utf-8")) if args.model_args else {}
    if not isinstance(arguments, dict) or not all(isinstance(each, dict) for each in arguments.values()):
        msg = f"{args.model_args} must hold arguments by label, e.g. `Slsg: {{steps: 100}}`; got {arguments!r}"
        raise UserError(msg)
    unknown = _no_models(set(arguments) - set(labels))
    if unknown:
        msg = f"{args.model_args} has arguments for {unknown}, but the models are called {labels}"
        raise UserError(msg)
    return choices, {label: arguments[label] for label in labels if label in arguments}


def _no_models(names: set[str]) -> list[str]:
    if not names:
        return []
    from anomalib.models import list_models  # takes seconds

    return sorted(names - list_models(case="pascal"))
