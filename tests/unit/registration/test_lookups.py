# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import json

import pytest

from anomalib_plugins.commands import doctor
from anomalib_plugins.commands.doctor import PROBE
from anomalib_plugins.registry import PLUGINS

OFF = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}

LOOKUPS = """
import json
import multiprocessing


def lookup(name):
    from anomalib.models import list_models

    return name in list_models()


if __name__ == "__main__":
    from anomalib.models import get_model, list_models
    from anomalib.data import get_datamodule
    import anomalib_plugins
    from anomalib_plugins.registry import register

    paths = ["Slsg", "anomalib_plugins.Slsg", "anomalib_plugins.models.Slsg"]
    models = [get_model("slsg"), get_model("Slsg"), *(get_model({"class_path": path}) for path in paths)]
    before = list_models("pascal")
    register()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        spawned = pool.map(lookup, ["slsg"])
    print(json.dumps({
        "models": sorted({f"{type(model).__module__}:{type(model).__name__}" for model in models}),
        "listed": ["slsg" in list_models(), "Slsg" in list_models("pascal"), "Slsg" in list_models("title")],
        "datamodule": type(get_datamodule({"class_path": "DemoParts"})).__name__,
        "twice": list_models("pascal") == before,
        "spawned": spawned,
        "package": anomalib_plugins.__file__,
        "public": [name for name in ("Slsg", "DemoParts", "SynthesisPreview") if name in dir(anomalib_plugins)],
    }))
"""

COMMAND_LINES = """
import runpy, sys

for program, name in (("anomalib.cli.cli", "anomalib_plugins.Slsg"), ("anomalib_plugins", "Slsg")):
    sys.argv = [program, "train", "--model", name, "--print_config"]
    try:
        if program == "anomalib_plugins":
            runpy.run_module(program, run_name="__main__")
        else:
            from anomalib.cli.cli import main
            main()
    except SystemExit as end:
        assert not end.code
"""


@pytest.mark.parametrize(
    ("first", "environment"),
    [
        ("import torch", {}),
        ("import anomalib.cli", {}),
        ("from anomalib.models.image.padim import Padim", {}),  # imports anomalib.models first
        # Ours is half imported when anomalib, which it imports, is done.
        ("from anomalib_plugins.models.slsg.lightning_model import Slsg", {}),
        ("import anomalib.cli, anomalib.callbacks\nimport anomalib_plugins", OFF),
    ],
)
def test_every_plugin_is_found_whatever_is_imported_first(fresh, first, environment):
    code = f"import runpy, sys\n{first}\nrunpy.run_path(sys.argv.pop(1), run_name='__main__')"
    table = json.dumps([(plugin.kind, plugin.name) for plugin in PLUGINS])
    assert fresh(code, str(PROBE), table, **environment).json == {"missing": {}, "errors": {}, "hooked": True}


def test_command_lines_know_the_models_without_the_hook(fresh):
    done = fresh(COMMAND_LINES, **OFF)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("class_path: anomalib_plugins.Slsg") == 2


def test_doctor_says_that_the_hook_did_not_run(monkeypatch, capsys):
    monkeypatch.setenv("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
    assert doctor.main([]) == 1
    printed = capsys.readouterr().out
    assert "unset TORCH_DEVICE_BACKEND_AUTOLOAD" in printed
    assert f"{len(PLUGINS)} broken" in printed


def test_wheel_answers_to_every_spelling_and_in_spawned_processes(fresh, wheel):
    found = fresh(LOOKUPS, PYTHONPATH=str(wheel)).json
    assert found == {
        "models": ["anomalib_plugins.models.slsg.lightning_model:Slsg"],
        "listed": [True, True, True],
        "datamodule": "DemoParts",
        "twice": True,
        "spawned": [True],
        "package": str(wheel / "anomalib_plugins" / "__init__.py"),
        "public": ["Slsg", "DemoParts", "SynthesisPreview"],
    }


def test_wheel_holds_every_module_and_no_test(wheel):
    modules = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*.py")}
    assert "anomalib_plugins/models/slsg/torch_model.py" in modules
    assert (wheel / "anomalib_plugins" / "py.typed").exists()
    assert not [module for module in modules if not module.startswith("anomalib_plugins/")]
