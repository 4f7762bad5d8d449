# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Training steps in turns, on made-up times; one real step is in the tests of ``step_time``."""

import torch

from tools.speed import training
from tools.speed.side_by_side import Options
from tools.step_time import Times


def test_ways_take_turns_and_shares_are_of_cpu_time(monkeypatch, tmp_path):
    trained = []

    def timed(model, data, device, precision, steps, clocks, warm_up):
        trained.append(model)
        seconds = 2.0 if model.precision == "32-true" else 1.0
        return [[Times(0, 0, 3 * seconds)], [Times(0.25 * seconds, 0.1 * seconds, 0.65 * seconds)]]

    monkeypatch.setattr(training, "made", lambda name, side, way: way)
    monkeypatch.setattr(training, "timed", timed)
    ways = {label: training.WAYS[label] for label in ("float32", "bfloat16")}
    plain, half = training.rows("Slsg", 64, ways, 2, data=None)
    assert trained == [*ways.values()] * 2
    assert (plain["cpu_ms"], plain["wall_ms"], half["times_faster"]) == (2000, 6000, 2)
    assert (half["loading"], half["synthesis"]) == ("25.0 %", "10.0 %")


def test_models_are_of_the_layout_and_compiled_if_wanted(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    for layout in training.LAYOUTS:
        model = training.made("Pouta", 32, training.Way("32-true", layout, compiled=layout == "channels_last"))
        weight = model.model.autoencoder.encoder[0][1][0].weight
        assert weight.is_contiguous(memory_format=training.LAYOUTS[layout])
    assert compiled == ["PoutaModel"]


def test_quick_ones_are_small_and_only_slsg_is_compiled(monkeypatch):
    seen = []
    monkeypatch.setattr(training, "rows", lambda *arguments: seen.append(arguments) or [])
    assert list(training.measure(Options(quick=True, rounds=1))) == []
    assert list(training.measure(Options())) == []
    name, side, _, turns, data = seen[0]
    assert (name, side, turns, data.train_batch_size) == ("Slsg", 64, 1, training.BATCH)
    assert [[way.compiled for way in ways.values()] for _, _, ways, *_ in seen] == [
        [False] * 4,
        [False] * 4,
        [False] * 4 + [True],
        [False] * 4,
    ]
