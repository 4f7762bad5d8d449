# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Where torch's autoload is switched off, an import of this package does what it would have done."""

import pytest

OFF = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}


@pytest.mark.parametrize(
    "first",
    ["import anomalib_plugins", "import anomalib.cli, anomalib.callbacks\nimport anomalib_plugins"],
    ids=["before anomalib", "after anomalib"],
)
def test_importing_by_hand_opens_every_door(closed_doors, first):
    assert closed_doors(first, **OFF) == []


def test_full_name_on_the_command_line_imports_it(fresh):
    code = "from anomalib.cli.cli import main; main()"
    done = fresh(code, "train", "--model", "anomalib_plugins.Slsg", "--print_config", **OFF)
    assert "class_path: anomalib_plugins.Slsg" in done.stdout


def test_our_command_line_knows_the_short_name(fresh):
    done = fresh("", "train", "--model", "Slsg", "--print_config", module="anomalib_plugins", **OFF)
    assert "class_path: anomalib_plugins.Slsg" in done.stdout


def test_doctor_says_that_the_hook_did_not_run(fresh):
    done = fresh("", "doctor", module="anomalib_plugins", **OFF)
    assert done.returncode == 1
    assert "unset TORCH_DEVICE_BACKEND_AUTOLOAD" in done.stdout
    assert "Slsg: get_model, list_models" in done.stdout
