# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Options, keys and names that are written wrongly."""

import json

import pytest

from anomalib_plugins.commands.cli import main

GOOD = {"model": {"class_path": "Slsg"}, "data": {"class_path": "DemoParts"}}


def config(**changes):
    """A configuration with changes."""
    return {name: {**GOOD.get(name, {}), **changes.get(name, {})} for name in {**GOOD, **changes}}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (
            config(model={"init_args": {"pretrain_epoch": 3}}),
            "'pretrain_epoch' is unknown; did you mean 'pretrain_epochs'?",
        ),
        (config(data={"init_args": {"imagesize": 3}}), "'imagesize' is unknown; did you mean 'image_size'?"),
        (config(trainer={"max_epoch": 3}), "'trainer.max_epoch' is unknown; did you mean 'trainer.max_epochs'?"),
        (config(model={"class_path": "Slgs"}), "'Slgs' is unknown; did you mean 'Slsg'?"),
        (["--model", "Poutta", "--data", "DemoParts"], "'Poutta' is unknown; did you mean 'Pouta'?"),
        (["--model", "Slsg", "--model.pretrain_epoch", "3"], "did you mean 'pretrain_epochs'?"),
        (["--model", "Slsg", "--trainer.max_epochz", "3"], "did you mean '--trainer.max_epochs'?"),
    ],
)
def test_a_wrong_option_names_the_nearest_right_one(given, meant, tmp_path, capsys):
    if isinstance(given, dict):
        (tmp_path / "x.yaml").write_text(json.dumps(given))  # which is YAML
        given = ["--config", str(tmp_path / "x.yaml")]
    with pytest.raises(SystemExit) as exit_:
        main(["train", *given])
    assert exit_.value.code == 2
    assert meant in capsys.readouterr().err
