# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The published numbers against themselves, and against the names that anomalib has for data and models."""

import inspect
import json
import re
from pathlib import Path
from statistics import fmean

import anomalib.data
import anomalib.models
import pytest

from anomalib_plugins.registry import PLUGINS
from anomalib_plugins.report.published import Published, conditions, is_model, published, read

SCREW = ("MVTecAD", "screw")
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
        ("CutSwapPatchcore", {"k": 4, "steps": 64, "image_size": [128, 128], "saliency_weights": "vgg16.pth"}, 0.01),
        ("CutSwapPatchcore", {"k": 1}, None),
        ("CutSwapPatchcore", {"swap": {"overlap": "allow"}}, None),
        ("CutSwapPatchcore", {"coreset_sampling_ratio": 0.001, "backbone": "wide_resnet50_2"}, None),
        ("CutSwapPatchcore2", {}, None),
        ("Patchcore", {}, None),
    ],
)
def test_a_result_is_compared_with_the_same_setting(model: str, options: dict, ratio: float | None) -> None:
    ours = [each for each in published() if each.method == "CutSwapPatchcore"]
    found = [each for each in ours if each.is_about(row(model, **options), ("MVTecAD", "screw"))]
    settings = [{**each.defaults, **each.arguments}["coreset_sampling_ratio"] for each in found]
    assert settings == ([] if ratio is None else [ratio])


def test_plain_patchcore_of_ours_is_compared_with_the_papers_patchcore() -> None:
    fitting = [each for each in published() if each.is_about(row("CutSwapPatchcore", augmentation="none"), SCREW)]
    assert [each.values for each in fitting] == [find("Patchcore", "MVTecAD", coreset_sampling_ratio=0.01).values]


@pytest.mark.parametrize("category", ["screw", "carpet"])
@pytest.mark.parametrize("shape_bias", [None, True, False])
def test_the_jigsaw_is_that_of_objects_and_not_of_textures(category: str, shape_bias: bool | None) -> None:
    options = {} if shape_bias is None else {"shape_bias": shape_bias}
    if shape_bias is False:
        options["pfam_training"] = "jigsaw"  # without it nothing trains the attention: the plain detector
    found = [each for each in published() if each.is_about(row("SbmPfamPadim", **options), ("MVTecAD", category))]
    assert bool(found) is (shape_bias is False if category == "carpet" else shape_bias is not False)


@pytest.mark.parametrize("each", published(), ids=lambda each: f"{each.method}-{each.dataset}-{each.setting}")
def test_what_a_paper_leaves_to_the_model_is_its_default(each: Published) -> None:
    parameters = inspect.signature(getattr(anomalib.models, each.method)).parameters
    defaults = {name: parameters[name].default for name in each.defaults | each.ablated}
    assert defaults == each.defaults | each.ablated
    assert each.arguments.keys() <= parameters.keys()


def test_how_a_result_was_trained_is_said() -> None:
    ours = {**row("Slsg", steps=64, seed=0, epochs=None), "image_size": "128", "schedule": "3 min"}
    assert conditions(ours) == "128 px, 3 min, steps 64"


@pytest.mark.parametrize(("dataset", "expected"), [("MVTecAD", True), ("", True), ("dev", False)])
def test_a_category_is_that_of_its_data_set(dataset: str, expected: bool) -> None:
    assert find("Pouta", "MVTecAD").is_about(row("Pouta"), (dataset, "screw")) is expected
    assert not find("Pouta", "MVTecAD").is_about(row("Pouta"), (dataset, "candle"))


@pytest.mark.parametrize(
    ("label", "name", "expected"),
    [("Plain-1%", "CutSwapPatchcore", True), ("Patchcore-jigsaw", "SbmPfamPatchcore", True), ("Slsg", "Pouta", False)],
)
def test_the_class_decides_and_not_the_label(label: str, name: str, expected: bool) -> None:
    assert is_model({"model": label, "class": name if expected else label}, name) is expected


def test_results_without_a_class_are_of_the_model_their_label_starts_with() -> None:
    assert is_model({"model": "Patchcore, 1 %"}, "Patchcore")
    assert not is_model({"model": "Patchcore, 1 %"}, "Patch")
    assert not is_model({"model": "Patchcores", "class": ""}, "Patchcore")


@pytest.mark.parametrize("values", ["[50]", "[50, 101]", "[-1, 50]"])
def test_wrong_values_are_refused(tmp_path: Path, values: str) -> None:
    path = tmp_path / "paper.yaml"
    table = "{dataset: d, method: m, metrics: [image_auroc, pixel_auroc], values: {c: VALUES}}"
    path.write_text(f"paper: p\nscale: 100\ntables: [{table.replace('VALUES', values)}]")
    with pytest.raises(ValueError, match=rf"c must have .*'pixel_auroc'\] between 0 and 100, got {re.escape(values)}"):
        read(path)
