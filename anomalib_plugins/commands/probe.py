# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Script that tries anomalib's lookups in a fresh interpreter, without importing this package itself.

The argument is a JSON list of plugins, ``[[kind, name], ...]``. The last line of output is a JSON object. For each
plugin and each lookup, it holds an empty string if the plugin was found, else the error.
"""

import contextlib
import io
import json
import sys
import warnings
from collections.abc import Callable

warnings.simplefilter("ignore")

import anomalib.callbacks  # noqa: E402
import anomalib.data  # noqa: E402
import anomalib.models  # noqa: E402
from anomalib.cli import AnomalibCLI  # noqa: E402

_OPTION = {
    "model": ["--model", "{name}"],
    "datamodule": ["--model", "Padim", "--data", "{name}"],
    "callback": ["--model", "Padim", "--trainer.callbacks+={name}"],
}
_HOST = {"model": anomalib.models, "datamodule": anomalib.data, "callback": anomalib.callbacks}


def command_line(kind: str, name: str) -> None:
    """Check that ``anomalib train`` accepts the short name."""
    arguments = [part.format(name=name) for part in _OPTION[kind]]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            AnomalibCLI(["train", *arguments, "--print_config"], run=False)
    except SystemExit as error:
        if error.code:
            raise LookupError(printed.getvalue().strip().splitlines()[-1]) from error


def class_path(kind: str, name: str) -> None:
    """Check that ``class_path: NAME``, as used in benchmark configurations, is an attribute of anomalib's module."""
    getattr(_HOST[kind], name)


def by_name(_: str, name: str) -> None:
    """Check that ``get_model`` and ``list_models`` know the name."""
    if name not in anomalib.models.list_models("pascal"):
        msg = f"list_models() has no {name}"
        raise LookupError(msg)


def full_path(*_: str) -> None:
    """Check that ``get_model`` accepts a class path into this package."""
    if not {"anomalib_plugins", "anomalib_plugins.models"} <= anomalib.models.ALLOWED_MODULES:
        msg = "anomalib_plugins is not in anomalib.models.ALLOWED_MODULES"
        raise LookupError(msg)


DOORS: dict[str, dict[str, Callable[[str, str], None]]] = {
    "model": {
        "anomalib --model": command_line,
        "get_model, list_models": by_name,
        "class_path: short": class_path,
        "class_path: full": full_path,
    },
    "datamodule": {"anomalib --data": command_line, "get_datamodule": class_path},
    "callback": {"trainer.callbacks": command_line, "anomalib.callbacks": class_path},
}


def attempt(door: Callable[[str, str], None], kind: str, name: str) -> str:
    """Try one lookup.

    Returns:
        Empty text if the plugin was found, else the error.
    """
    try:
        door(kind, name)
    except Exception as error:  # noqa: BLE001  # any error is a result
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    findings = {
        name: {label: attempt(door, kind, name) for label, door in DOORS[kind].items()}
        for kind, name in json.loads(sys.argv[1])
    }
    registry = sys.modules.get("anomalib_plugins.registry")
    errors = {path: str(error) for path, error in registry.import_errors().items()} if registry else {}
    sys.stdout.write(f"\n{json.dumps({'doors': findings, 'errors': errors, 'hooked': registry is not None})}\n")
