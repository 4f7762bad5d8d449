# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""``python -m anomalib_plugins`` makes ``--seed_everything`` seed."""

import pytest

SEEDS = """
import json, os
import torch
from anomalib.cli import AnomalibCLI
from anomalib_plugins.commands.cli import SeededCLI


def first_weights(cli, *seed):
    command = ["fit", "--model", "Slsg", "--data", "DemoParts", "--trainer.logger=false", *seed]
    built = cli(command, run=False)
    return built.model.model.state_dict(), built.config["fit"]["seed_everything"]


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


theirs, again = (first_weights(AnomalibCLI, "--seed_everything=42")[0] for _ in range(2))
first, seed = first_weights(SeededCLI, "--seed_everything=42")
second, _ = first_weights(SeededCLI, "--seed_everything=42")
other, _ = first_weights(SeededCLI, "--seed_everything=43")
del os.environ["PL_GLOBAL_SEED"]
drawn, drawn_seed = first_weights(SeededCLI)
del os.environ["PL_GLOBAL_SEED"]
redrawn, _ = first_weights(SeededCLI, f"--seed_everything={drawn_seed}")
rank, rank_seed = first_weights(SeededCLI)
os.environ.pop("PL_GLOBAL_SEED")
_, off = first_weights(SeededCLI, "--seed_everything=false")
print(json.dumps({
    "anomalib": same(theirs, again), "equal": same(first, second), "different": same(first, other), "seed": seed,
    "drawn again": same(drawn, redrawn), "is int": type(drawn_seed) is int, "rank": rank_seed == drawn_seed,
    "off": off, "untouched": "PL_GLOBAL_SEED" not in os.environ,
}))
"""


@pytest.fixture(scope="module")
def seeds(fresh):
    return fresh(SEEDS).json


def test_anomalib_itself_does_not_seed(seeds):
    assert not seeds["anomalib"], "anomalib seeds now: `anomalib_plugins.commands.cli` is no longer needed"


def test_same_seed_same_first_weights(seeds):
    assert seeds["equal"]
    assert seeds["seed"] == 42


def test_another_seed_other_weights(seeds):
    assert not seeds["different"]


def test_random_seed_is_kept_in_the_configuration_and_gives_the_run_again(seeds):
    assert seeds["is int"]
    assert seeds["drawn again"]


def test_process_of_a_distributed_run_takes_the_first_ones_seed(seeds):
    assert seeds["rank"]


def test_false_seeds_nothing(seeds):
    assert seeds["off"] is False
    assert seeds["untouched"]
