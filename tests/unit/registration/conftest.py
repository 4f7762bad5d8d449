# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).parents[3]


class Finished(NamedTuple):
    """What a program in a fresh interpreter left behind."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def json(self):
        assert self.returncode == 0, self.stderr
        return json.loads(self.stdout.strip().splitlines()[-1])

    @property
    def warnings(self):
        return [line for line in self.stderr.splitlines() if "not available" in line or "not registered" in line]


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """Run Python code in a new interpreter, in an empty folder, so that only what is installed is found."""
    folder = tmp_path_factory.mktemp("fresh")

    def run(code, *arguments, **environment):
        script = folder / "script.py"  # a file: spawned processes import it
        script.write_text(code)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", script, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env={**os.environ, "TORCH_DEVICE_BACKEND_AUTOLOAD": "1", **environment},
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Folder that holds what a wheel of this checkout installs."""
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(REPOSITORY / name, source)
    shutil.copytree(
        REPOSITORY / "anomalib_plugins", source / "anomalib_plugins", ignore=shutil.ignore_patterns("__pycache__")
    )
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (archive,) = target.glob("*.whl")
    zipfile.ZipFile(archive).extractall(target / "site")
    return target / "site"
