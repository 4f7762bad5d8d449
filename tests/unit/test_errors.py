# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import re
from pathlib import Path

import pytest

import anomalib_plugins
from anomalib_plugins import errors

SOURCE = Path(anomalib_plugins.__file__).parent


def test_the_package_raises_no_bare_built_in_errors():
    built_in = re.compile(r"raise (?:Value|Type|Runtime|FileNotFound|FloatingPoint)Error\b")
    found = {path.name for path in SOURCE.rglob("*.py") if built_in.search(path.read_text(encoding="utf-8"))}
    assert found <= {"registry.py"}, "use anomalib_plugins.errors: the command line shows these without a traceback"


@pytest.mark.parametrize(
    ("name", "built_in"),
    [
        ("UserTypeError", TypeError),
        ("MissingFileError", FileNotFoundError),
        ("UntrainedError", RuntimeError),
        ("DivergedError", FloatingPointError),
    ],
)
def test_each_kind_is_the_built_in_error_too(name, built_in):
    with pytest.raises(built_in, match="a reason"):
        raise getattr(errors, name)("a reason")  # noqa: EM101
    assert issubclass(getattr(errors, name), errors.UserError)
