# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Script that looks plugins up in a fresh interpreter, without importing this package itself.

The argument is a JSON list of plugins, ``[[kind, name], ...]``. The last line of output is a JSON object: ``missing``
holds an error for each plugin that anomalib does not find, ``errors`` those of imports.
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

import anomalib.callbacks  # noqa: E402
import anomalib.cli  # noqa: E402, F401  # the command line is one of the places that may be imported first
import anomalib.data  # noqa: E402
import anomalib.models  # noqa: E402
from jsonargparse import ArgumentError, ArgumentParser  # noqa: E402
from lightning.pytorch import Callback  # noqa: E402

# Module whose attributes are looked up by short name, and base class of what the command line accepts.
PLACES = {
    "model": (anomalib.models, anomalib.models.AnomalibModule),
    "datamodule": (anomalib.data, anomalib.data.AnomalibDataModule),
    "callback": (anomalib.callbacks, Callback),
}


def problem(kind: str, name: str) -> str:
    """Name the first of anomalib's lookups that does not find a plugin; empty if all do."""
    module, base = PLACES[kind]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(base, kind)
    try:
        parser.parse_args([f"--{kind}", name])
    except ArgumentError as error:
        return f"the command line does not know it: {str(error).splitlines()[-1]}"
    if not hasattr(module, name):
        return f"class_path does not find it: {module.__name__} has no {name}"
    if kind == "model" and name not in anomalib.models.list_models("pascal"):
        return "get_model and list_models do not know it"
    if kind == "model" and not {"anomalib_plugins", "anomalib_plugins.models"} <= anomalib.models.ALLOWED_MODULES:
        return "get_model refuses its full path: anomalib_plugins is not in anomalib.models.ALLOWED_MODULES"
    return ""


if __name__ == "__main__":
    problems = {name: problem(kind, name) for kind, name in json.loads(sys.argv[1])}
    registry = sys.modules.get("anomalib_plugins.registry")
    errors = {path: str(error) for path, error in registry.import_errors().items()} if registry else {}
    missing = {name: text for name, text in problems.items() if text}
    sys.stdout.write(f"\n{json.dumps({'missing': missing, 'errors': errors, 'hooked': registry is not None})}\n")
