# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import re
from pathlib import Path

import pytest

from anomalib_plugins.__main__ import COMMANDS
from anomalib_plugins.registry import PLUGINS

ROOT = Path(__file__).parents[2]
WRITTEN = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "anomalib_plugins").rglob("*.md")]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        assert (path.parent / target).exists(), target


def test_every_plugin_is_in_a_readme_and_the_api():
    """Models are in that of their folder, which is a page of the documentation."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    packages = re.findall(r"^   (anomalib_plugins\.\w+)$", page, re.MULTILINE)
    for plugin in PLUGINS:
        own = ROOT.joinpath(*plugin.module.split("."), "README.md")
        assert plugin.name in (own.read_text(encoding="utf-8") if plugin.kind == "model" else readme), plugin.name
        assert any(plugin.module.startswith(package) for package in packages), plugin.path


def test_every_command_is_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [
        name for name in COMMANDS if f"anomalib-plugins {name}" not in readme and f"make {name}" not in readme
    ] == []


def test_the_readme_is_short_and_its_tables_narrow():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.partition("## Reference")[0].split()) <= 900
    assert max(len(line) for line in readme.splitlines() if line.startswith("|")) <= 200
