# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The published numbers against themselves, and against the names that anomalib has for data and models."""

import json
import re
from pathlib import Path
from statistics import fmean

import anomalib.data
import anomalib.models
import pytest

from anomalib_plugins.registry import PLUGINS
from anomalib_plugins.report.published import Published, model_of, published, read

# Printed means that are not those of the printed categories, beyond rounding.
SLIPS = {("CutSwapPatchcore", "MVTecAD", "pixel_auroc", 0.01)}


def find(method: str, dataset: str, **arguments) -> Published:
    [only] = [
        each
        for each in published()
        if (each.method, each.dataset) == (method, dataset)
        and arguments.items() <= {**each.defaults, **each.arguments}.items()
    ]
    return only


def row(model: str, **options) -> dict[str, str]:
    return {"model": model, "options": json.dumps(options)}


@pytest.mark.parametrize("each", published(), ids=lambda each: f"{each.method}-{each.dataset}-{each.setting}")
def test_means_are_those_of_the_categories(each: Published) -> None:
    for metric, printed in each.mean.items():
        ratio = {**each.defaults, **each.arguments}.get("coreset_sampling_ratio")
        slip = 8e-4 if (each.method, each.dataset, metric, ratio) in SLIPS else 5.1e-4
        assert fmean(values[metric] for values in each.values.values()) == pytest.approx(printed, abs=slip)


@pytest.mark.parametrize(
    ("dataset", "count"), [("MVTecAD", 15), ("Visa", 12), ("MVTecLOCO", 5), ("BTech", 3), ("Dagm", 10)]
)
def test_every_category_is_there(dataset: str, count: int) -> None:
    tables = [each for each in published() if each.dataset == dataset]
    assert {frozenset(each.values) for each in tables} == {frozenset(tables[0].values)}
    assert len(tables[0].values) == count


def test_names_are_those_of_anomalib() -> None:
    ours = {plugin.name for plugin in PLUGINS}
    for each in published():
        assert each.method in ours or hasattr(anomalib.models, each.method)
        assert each.dataset in ours | {"MTL"} or hasattr(anomalib.data, each.dataset)  # MTL is not public


def test_known_numbers() -> None:
    """As printed: SLSG on MVTec LOCO's screw bag, CutSwap's small coreset on the screw, POUTA's carpet."""
    assert find("Slsg", "MVTecLOCO").values["screw_bag"] == pytest.approx({"image_auroc": 0.794, "spro": 0.472})
    small = find("CutSwapPatchcore", "MVTecAD", coreset_sampling_ratio=0.001, augmentation="cutswap")
    assert small.values["screw"] == {"image_auroc": 0.732, "pixel_auroc": 0.832}
    carpet = {"image_auroc": 0.991, "pixel_auroc": 0.98, "pixel_ap": 0.772}
    assert find("Pouta", "MVTecAD").values["carpet"] == pytest.approx(carpet)


@pytest.mark.parametrize(
    ("model", "options", "ratio"),
    [
        ("CutSwapPatchcore", {}, 0.01),
        ("CutSwapPatchcore coreset_sampling_ratio=0.001", {"coreset_sampling_ratio": 0.001}, 0.001),
        ("CutSwapPatchcore-1%", {"coreset_sampling_ratio": 0.01, "seed": 3}, 0.01),
        ("CutSwapPatchcore", {"coreset_sampling_ratio": 0.1}, None),
        ("CutSwapPatchcore", {"augmentation": "none"}, None),
        ("CutSwapPatchcore2", {}, None),
        ("Patchcore", {}, None),
    ],
)
def test_a_result_is_compared_with_the_same_setting(model: str, options: dict, ratio: float | None) -> None:
    ours = [each for each in published() if each.method == "CutSwapPatchcore"]
    found = [each for each in ours if each.is_about(row(model, **options), ("MVTecAD", "screw"))]
    settings = [{**each.defaults, **each.arguments}["coreset_sampling_ratio"] for each in found]
    assert settings == ([] if ratio is None else [ratio])


@pytest.mark.parametrize(("dataset", "expected"), [("MVTecAD", True), ("", True), ("dev", False)])
def test_a_category_is_that_of_its_data_set(dataset: str, expected: bool) -> None:
    assert find("Pouta", "MVTecAD").is_about(row("Pouta"), (dataset, "screw")) is expected
    assert not find("Pouta", "MVTecAD").is_about(row("Pouta"), (dataset, "candle"))


def test_the_longest_name_is_the_model() -> None:
    assert model_of("Patchcore, 1 %", ["Patch", "Patchcore", "Padim"]) == "Patchcore"
    assert model_of("Patchcores", ["Patchcore"]) is None


@pytest.mark.parametrize("values", ["[50]", "[50, 101]", "[-1, 50]"])
def test_wrong_values_are_refused(tmp_path: Path, values: str) -> None:
    path = tmp_path / "paper.yaml"
    table = "{dataset: d, method: m, metrics: [image_auroc, pixel_auroc], values: {c: VALUES}}"
    path.write_text(f"paper: p\nscale: 100\ntables: [{table.replace('VALUES', values)}]")
    with pytest.raises(ValueError, match=rf"c must have .*'pixel_auroc'\] between 0 and 100, got {re.escape(values)}"):
        read(path)
