# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from anomalib_plugins.commands.doctor import PROBE
from anomalib_plugins.registry import PLUGINS

REPOSITORY = Path(__file__).parents[3]


class Finished(NamedTuple):
    """What a program in a fresh interpreter left behind."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Last line it printed, from JSON."""
        assert self.returncode == 0, self.stderr
        return json.loads(self.stdout.strip().splitlines()[-1])

    @property
    def warnings(self) -> list[str]:
        """Lines of standard error about this package's plugins."""
        return [line for line in self.stderr.splitlines() if "not available" in line or "not registered" in line]


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """Run Python code in a new interpreter, in an empty folder, so that only what is installed is found."""
    folder = tmp_path_factory.mktemp("fresh")

    def run(code: str, *arguments: str, module: str = "", **environment: str) -> Finished:
        what = ["-m", module] if module else ["-c", code]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", *what, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env={**os.environ, "TORCH_DEVICE_BACKEND_AUTOLOAD": "1", **environment},
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def closed_doors(fresh):
    """Try every lookup for every plugin, after running some code, and name those that failed."""

    def probe(first: str, **environment: str) -> list[str]:
        code = f"import runpy, sys\n{first}\nrunpy.run_path(sys.argv.pop(1), run_name='__main__')"
        table = json.dumps([(plugin.kind, plugin.name) for plugin in PLUGINS])
        found = fresh(code, str(PROBE), table, **environment).json
        assert set(found["doors"]) == {plugin.name for plugin in PLUGINS}
        return [
            f"{name}: {door}: {error}"
            for name, doors in found["doors"].items()
            for door, error in doors.items()
            if error
        ]

    return probe


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Folder that holds what a wheel of this checkout installs."""
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md", "anomalib_plugins"):
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.exists():
            shutil.copy(path, source)
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(source)],
        check=True,
        capture_output=True,
    )
    (archive,) = target.glob("*.whl")
    site = target / "site"
    zipfile.ZipFile(archive).extractall(site)
    return site
