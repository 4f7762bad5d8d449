# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The stopwatch, on calls of known length."""

import json
from pathlib import Path

import pytest
import torch

from anomalib_plugins.benchmark.machine import cpu_name, machine, versions
from anomalib_plugins.benchmark.options import Choice
from tools import latency
from tools.latency import Variant, summarise


def variants(calls: list[str], ways: int = 1) -> list[Variant]:
    """Models "a" and "b", each run in so many ways, that write down when they are called."""
    return [
        Variant(model, "torch", str(way), lambda _, name=f"{model}{way}": calls.append(name))
        for model in "ab"
        for way in range(ways)
    ]


def test_ratios_are_between_the_same_ways_of_the_same_round() -> None:
    """Model a takes twice and three times as long as b in its two ways, whatever the load of a round."""
    load = torch.tensor([1.0, 50.0, 2.0], dtype=torch.float64)
    seconds = torch.stack([2 * load, 30 * load, load, 10 * load]).expand(2, -1, -1)
    rows = summarise(variants([], ways=2), seconds, batch=4)
    assert [row["ratio_to_b"] for row in rows] == [2, 3, 1, 1]
    assert rows[0]["ms_per_image"] == pytest.approx(1000 * 4 / 4)  # median load is 2


def test_a_model_beside_itself_in_every_way(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = tmp_path / "latency.json"
    arguments = ["--models", "Padim", "--image-size", "64", "--batches", "2", "--rounds", "1", "--engines", "torch"]
    assert latency.main([*arguments, "--output", str(output)]) == 0
    rows = json.loads(output.read_text())["rows"]
    assert {row["precision"] for row in rows} >= {"fp32", "fp32 channels_last"}
    assert all(row["batch"] == 2 and row["ms_per_image"] > 0 and row["ratio_to_Padim"] == 1 for row in rows)
    # Lightning's log is in between where a test before this one has set it up so.
    assert "\n| model | engine |" in "\n" + capsys.readouterr().out


def test_exported_models_run_in_both_precisions() -> None:
    pytest.importorskip("openvino")
    model = latency.build(Choice("Padim", "Padim"), 64)
    images = torch.rand(2, 3, 64, 64)
    precise, default = latency.openvino_variants("Padim", model, 64, threads=1)
    assert precise.precision == "fp32"
    assert default.precision.startswith("default (")
    expected = model(images).pred_score.flatten()
    for variant, tolerance in ((precise, 1e-4), (default, 5e-2)):
        found = torch.as_tensor(variant.call(images)["pred_score"]).flatten()
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_banks_have_the_rows_asked_for_and_arguments_reach_the_model() -> None:
    arguments = {"backbone": "resnet18", "coreset_sampling_ratio": 0.01}
    bank = latency.build(Choice("PC", "Patchcore"), 64, arguments, bank_rows=37).model.memory_bank
    assert bank.shape == (37, 384)


def test_memories_of_models_that_train_in_phases_are_filled_too() -> None:
    arguments = {"backbone": "resnet18", "pre_trained": False, "augmentation": "none"}
    bank = latency.build(Choice("CS", "CutSwapPatchcore"), 64, arguments, bank_rows=37).model.bank
    assert bank.vectors.shape == (37, 384)


def test_the_processor_is_named(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("vendor_id : x\nmodel name\t: Fast CPU @ 3 GHz\nmodel name\t: Fast CPU @ 3 GHz\n")
    assert cpu_name(file) == "Fast CPU @ 3 GHz"
    assert isinstance(cpu_name(tmp_path / "none"), str)
    assert machine(torch.device("cpu")).endswith("threads")


def test_versions_name_the_host() -> None:
    assert "anomalib 2.7" in versions()
