# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What anomalib's functions return for our names, from an installed wheel and in spawned processes."""

LOOKUPS = """
import json
from anomalib.models import get_model, list_models
from anomalib.data import get_datamodule
import anomalib_plugins
from anomalib_plugins.registry import register

paths = ["Slsg", "anomalib_plugins.Slsg", "anomalib_plugins.models.Slsg"]
models = [get_model("slsg"), get_model("Slsg"), *(get_model({"class_path": path}) for path in paths)]
before = list_models("pascal")
register()
print(json.dumps({
    "models": sorted({f"{type(model).__module__}:{type(model).__name__}" for model in models}),
    "listed": ["slsg" in list_models(), "Slsg" in list_models("pascal"), "Slsg" in list_models("title")],
    "datamodule": type(get_datamodule({"class_path": "DemoParts"})).__name__,
    "twice": list_models("pascal") == before,
    "package": anomalib_plugins.__file__,
    "public": [name for name in ("Slsg", "DemoParts", "SynthesisPreview") if name in dir(anomalib_plugins)],
}))
"""

SPAWN = """
import json
import multiprocessing


def lookup(name):
    from anomalib.models import list_models

    return name in list_models()


if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(json.dumps(pool.map(lookup, ["slsg"])))
"""


def test_wheel_answers_to_every_spelling(fresh, wheel):
    found = fresh(LOOKUPS, PYTHONPATH=str(wheel)).json
    assert found["models"] == ["anomalib_plugins.models.slsg.lightning_model:Slsg"]
    assert found["listed"] == [True, True, True]
    assert found["datamodule"] == "DemoParts"
    assert found["twice"]
    assert found["package"] == str(wheel / "anomalib_plugins" / "__init__.py")
    assert found["public"] == ["Slsg", "DemoParts", "SynthesisPreview"]


def test_wheel_holds_every_module_and_no_test(wheel):
    modules = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*.py")}
    assert "anomalib_plugins/models/slsg/torch_model.py" in modules
    assert (wheel / "anomalib_plugins" / "py.typed").exists()
    assert not [module for module in modules if not module.startswith("anomalib_plugins/")]


def test_spawned_process_knows_the_models(fresh, tmp_path):
    (tmp_path / "spawning.py").write_text(SPAWN)
    assert fresh("", module="spawning", PYTHONPATH=str(tmp_path)).json == [True]
