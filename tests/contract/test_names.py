# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Under what names every registered model is found, and what its configurations say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from anomalib.utils.path import convert_to_snake_case

from anomalib_plugins.registry import PLUGINS

CONFIGS = Path(__file__).parents[2] / "configs"

# In one fresh interpreter, as its import takes as long as all lookups: every spelling and every configuration.
LOOKUPS = """
import contextlib, io, json, sys
from anomalib.cli.cli import main
from anomalib.models import get_model

names, configs = json.loads(sys.argv[1])


def found(name):
    try:
        return type(get_model(name)).__name__
    except Exception as error:
        return repr(error)


def printed(arguments):
    sys.argv = ["anomalib", "train", *arguments, "--print_config"]
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            main()
    except SystemExit as end:
        return [end.code or 0, output.getvalue()]
    return [None, output.getvalue()]


print(json.dumps([[found(name) for name in names], {path: printed(arguments) for path, arguments in configs.items()}]))
"""


# How the command line takes each kind of configuration; those of benchmarks are no configurations of a training.
TAKEN = {
    "model": ["-c", "{}"],
    "trainer": ["--model", "Pouta", "-c", "{}"],
    "data": ["--model", "Pouta", "--data", "{}"],
}


def snake(plugin):
    return convert_to_snake_case(plugin.name)


def spellings(plugin):
    """What ``get_model`` must understand: class name, snake case, and class paths with and without a package."""
    paths = [plugin.name, f"anomalib_plugins.{plugin.name}", f"anomalib_plugins.models.{plugin.name}"]
    return [plugin.name, snake(plugin), *({"class_path": path} for path in paths)]


@pytest.fixture(scope="module")
def lookups(tmp_path_factory):
    """What a fresh interpreter finds under every name of every model, and what its CLI makes of every configuration."""
    names = [spelling for plugin in PLUGINS if plugin.kind == "model" for spelling in spellings(plugin)]
    configs = {
        str(path): [argument.format(path) for argument in arguments]
        for kind, arguments in TAKEN.items()
        for path in sorted((CONFIGS / kind).rglob("*.yaml"))
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOOKUPS, json.dumps([names, configs])],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env={**os.environ, "TORCH_DEVICE_BACKEND_AUTOLOAD": "1"},
    )
    assert done.returncode == 0, done.stderr
    found, printed = json.loads(done.stdout.strip().splitlines()[-1])
    return dict(zip(map(str, names), found, strict=True)), printed


def test_found_by_every_name_in_a_fresh_interpreter(plugin, lookups):
    found, _ = lookups
    assert {str(name): found[str(name)] for name in spellings(plugin)} == dict.fromkeys(
        map(str, spellings(plugin)), plugin.name
    )


def test_command_line_takes_its_configurations(plugin, lookups):
    _, printed = lookups
    models = CONFIGS / "model"
    for config in (models / f"{snake(plugin)}.yaml", *sorted((models / snake(plugin)).glob("*.yaml"))):
        code, output = printed[str(config)]
        assert code == 0, output
        given = yaml.safe_load(config.read_text())["model"]["init_args"]
        assert given.items() <= yaml.safe_load(output)["model"]["init_args"].items()


def test_command_line_takes_every_other_configuration(lookups):
    _, printed = lookups
    files = {str(path) for path in CONFIGS.rglob("*.yaml") if path.parent.name not in {"benchmark", "ablation"}}
    assert printed.keys() == files
    assert [(config, output) for config, (code, output) in printed.items() if code != 0] == []
    stopping = yaml.safe_load(printed[str(CONFIGS / "trainer" / "early_stopping.yaml")][1])["trainer"]["callbacks"]
    assert [each["class_path"].rpartition(".")[2] for each in stopping] == ["EarlyStopping"]


def test_configurations_for_twenty_minutes_of_a_cpu_take_no_longer(lookups):
    _, printed = lookups
    recipes = sorted(CONFIGS.rglob("20_minutes_cpu.yaml"))
    assert recipes
    times = [yaml.safe_load(printed[str(path)][1])["trainer"]["max_time"] for path in recipes]
    assert times == ["00:00:20:00"] * len(recipes)


def test_its_configuration_builds_the_defaults(plugin):
    """What is written there for users to change says what happens if they do not."""
    model = plugin.load().from_config(CONFIGS / "model" / f"{snake(plugin)}.yaml")
    given = dict(model.hparams)
    defaults = dict(plugin.load()(seed=given["seed"]).hparams)
    assert given == defaults
