# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest
import yaml
from anomalib.data import AnomalibDataModule
from jsonargparse import ArgumentParser

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("config", sorted((CONFIGS / "data").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_command_line_builds_each_datamodule(config):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(AnomalibDataModule, "data")
    module = parser.instantiate_classes(parser.parse_args(["--data", str(config)])).data
    class_path = yaml.safe_load(config.read_text(encoding="utf-8"))["class_path"]
    assert type(module).__name__ == class_path.rpartition(".")[2]
