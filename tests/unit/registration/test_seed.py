# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

SEEDS = """
import json, os
import torch
from anomalib.cli import AnomalibCLI
from anomalib_plugins.commands.cli import SeededCLI


def first_weights(cli, *seed):
    small = ["--model.encoder=test_resnet", "--model.width=0.1", "--trainer.logger=false"]
    command = ["fit", "--model", "Slsg", "--data", "DemoParts", *small, *seed]
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
    "anomalib seeds": same(theirs, again),
    "equal seeds, equal weights": same(first, second),
    "other seeds, equal weights": same(first, other),
    "kept in the configuration": seed,
    "a random seed is an integer": type(drawn_seed) is int,
    "a random seed gives the run again": same(drawn, redrawn),
    "processes share a random seed": rank_seed == drawn_seed,
    "false": off,
    "false seeds": "PL_GLOBAL_SEED" in os.environ,
}))
"""


def test_the_seed_decides_the_first_weights(fresh):
    assert fresh(SEEDS).json == {
        "anomalib seeds": False,  # if it does, `anomalib_plugins.commands.cli` is no longer needed
        "equal seeds, equal weights": True,
        "other seeds, equal weights": False,
        "kept in the configuration": 42,
        "a random seed is an integer": True,
        "a random seed gives the run again": True,
        "processes share a random seed": True,
        "false": False,
        "false seeds": False,
    }
