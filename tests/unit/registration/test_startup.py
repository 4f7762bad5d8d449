# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import pytest

from anomalib_plugins import registry
from anomalib_plugins._startup import HOSTS
from anomalib_plugins.registry import Plugin

# A plugin that cannot be imported, a user's class with the name of one of ours, and one of ours with the name of
# anomalib's, which differs in nothing but case.
TROUBLE = """
import json, sys, types
import anomalib_plugins.registry as registry
from anomalib_plugins.registry import Plugin
from lightning.pytorch import Callback
class SynthesisPreview(Callback): pass

registry.PLUGINS = (Plugin("anomalib_plugins.no_such_module:Nothing"), *registry.PLUGINS)
import anomalib.callbacks, anomalib.models
from anomalib_plugins.callbacks.preview import SynthesisPreview as ours
broken = list(registry.import_errors())
models = anomalib.models.list_models()

other = types.ModuleType("other")
other.PADIM = type("PADIM", (anomalib.models.Padim, anomalib.models.AnomalibModule), {"__module__": "other"})
sys.modules["other"] = other
registry.PLUGINS = (Plugin("other:PADIM"),)
messages = []
for _ in range(2):
    try:
        registry.register()
    except ValueError as error:
        messages.append(str(error))
print(json.dumps({
    "found": ["padim" in models, "slsg" in models, anomalib.callbacks.SynthesisPreview is ours],
    "broken": broken, "taken": messages, "opened": hasattr(anomalib.models, "PADIM"),
}))
"""

NO_REGISTRY = """
import sys, json
sys.modules['anomalib_plugins.registry'] = None
from anomalib.models import list_models
print(json.dumps('padim' in list_models()))
"""


def test_torch_alone_costs_three_small_modules(fresh):
    code = "import json, sys, torch; print(json.dumps([sorted(sys.modules), list(sys.stdlib_module_names)]))"
    with_us, standard = fresh(code).json
    without_us, _ = fresh(code, TORCH_DEVICE_BACKEND_AUTOLOAD="0").json
    added = {name for name in set(with_us) - set(without_us) if name.partition(".")[0] not in standard}
    added = {name for name in added if not name.startswith("__editable__")}
    assert added == {"anomalib_plugins", "anomalib_plugins._startup", "anomalib_plugins.compat"}


def test_importing_the_package_imports_neither_torch_nor_anomalib(fresh):
    code = "import json, sys, anomalib_plugins; print(json.dumps([n in sys.modules for n in ('torch', 'anomalib')]))"
    assert fresh(code).json == [False, False]


@pytest.mark.parametrize("command", ["check", "demo", "quickstart", "threshold"])
def test_a_missing_file_is_answered_before_torch_is_imported(fresh, command):
    code = (
        "import sys\nfrom anomalib_plugins.__main__ import main\ntry:\n    main(sys.argv[1:])\n"
        "except SystemExit:\n    print('torch' in sys.modules)"
    )
    done = fresh(code, command, "nowhere")
    assert "nowhere" in done.stderr
    assert done.stdout.strip() == "False"


@pytest.fixture(scope="module")
def trouble(fresh):
    return fresh(TROUBLE)


def test_broken_plugin_costs_one_warning_that_names_it(trouble):
    assert trouble.json["found"] == [True, True, True]
    assert trouble.json["broken"] == ["anomalib_plugins.no_such_module:Nothing"]
    assert len(trouble.warnings) == 1
    assert "anomalib_plugins.no_such_module:Nothing" in trouble.warnings[0]


def test_name_anomalib_has_is_refused_naming_both_modules(trouble):
    messages = trouble.json["taken"]
    assert len(messages) == 2
    assert "anomalib.models.image.padim.lightning_model" in messages[0]
    assert "other" in messages[0]
    assert not trouble.json["opened"]


def test_broken_registry_costs_one_warning_and_leaves_anomalib_alive(fresh):
    done = fresh(NO_REGISTRY)
    assert done.json is True
    assert len(done.warnings) == 1
    assert "anomalib-plugins doctor" in done.warnings[0]


def test_same_name_twice_is_refused_naming_both_modules(monkeypatch):
    monkeypatch.setattr(registry, "PLUGINS", (Plugin("first.module:Model"), Plugin("second.module:MODEL")))
    with pytest.raises(ValueError, match=r"first\.module and second\.module"):
        registry.register()


def test_same_name_for_different_kinds_is_fine(monkeypatch):
    monkeypatch.setattr(registry, "KINDS", {kind: registry.Kind("not imported", "") for kind in registry.KINDS})
    monkeypatch.setattr(registry, "PLUGINS", (Plugin("a.b:Parts"), Plugin("a.c:Parts", "datamodule")))
    registry.register()


def test_unknown_name_lists_what_there_is():
    import anomalib_plugins.models

    with pytest.raises(AttributeError, match="its plugins are Slsg"):
        _ = anomalib_plugins.models.Slgs


def test_hosts_are_those_of_the_table():
    assert set(HOSTS) == {kind.host for kind in registry.KINDS.values()}
