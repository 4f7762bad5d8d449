# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import inspect
import json
import re
from statistics import fmean

import anomalib.data
import anomalib.models
import pytest

from anomalib_plugins.models.sbm_pfam.jigsaw import Jigsaw
from anomalib_plugins.models.slsg.loss import SegmentationLoss
from anomalib_plugins.models.slsg.masking import InpaintingMask
from anomalib_plugins.models.slsg.torch_model import SlsgModel
from anomalib_plugins.registry import PLUGINS
from anomalib_plugins.report.published import conditions, flat, is_model, published, read
from anomalib_plugins.synthesis import SimulatedAnomaly

SCREW = ("MVTecAD", "screw")
# What takes nested arguments.
PARTS = {
    "network": SlsgModel,
    "masking": InpaintingMask,
    "simulation": SimulatedAnomaly,
    "loss": SegmentationLoss,
    "jigsaw": Jigsaw,
}
# Printed means that are not those of the printed categories, beyond rounding.
SLIPS = {("CutSwapPatchcore", "MVTecAD", "pixel_auroc", 0.01)}


def find(method, dataset, **arguments):
    [only] = [
        each
        for each in published()
        if each.values
        and (each.method, each.dataset) == (method, dataset)
        and arguments.items() <= {**each.defaults, **each.arguments}.items()
    ]
    return only


def row(model, **options):
    return {"model": model, "options": json.dumps(options)}


@pytest.mark.parametrize(
    "each",
    [each for each in published() if each.values],
    ids=lambda each: f"{each.method}-{each.dataset}-{each.setting}",
)
def test_means_are_those_of_the_categories(each):
    for metric, printed in each.mean.items():
        ratio = {**each.defaults, **each.arguments}.get("coreset_sampling_ratio")
        slip = 8e-4 if (each.method, each.dataset, metric, ratio) in SLIPS else 5.1e-4
        assert fmean(values[metric] for values in each.values.values()) == pytest.approx(printed, abs=slip)


@pytest.mark.parametrize(
    ("dataset", "count"), [("MVTecAD", 15), ("Visa", 12), ("MVTecLOCO", 5), ("BTech", 3), ("Dagm", 10)]
)
def test_every_category_is_there(dataset, count):
    tables = [each for each in published() if each.dataset == dataset and each.mean]
    assert {frozenset(each.values or each.categories) for each in tables} == {frozenset(tables[0].values)}
    assert len(tables[0].values) == count


def test_names_are_those_of_anomalib():
    ours = {plugin.name for plugin in PLUGINS}
    for each in published():
        assert each.method in ours or hasattr(anomalib.models, each.method)
        name = each.dataset.removeprefix("FewShot ").partition(" ")[0]
        assert name in ours | {"MTL"} or hasattr(anomalib.data, name)  # MTL is not public


def test_known_numbers():
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
def test_a_result_is_compared_with_the_same_setting(model, options, ratio):
    ours = [each for each in published() if each.method == "CutSwapPatchcore"]
    found = [each for each in ours if each.is_about(row(model, **options), ("MVTecAD", "screw"))]
    settings = [{**each.defaults, **each.arguments}["coreset_sampling_ratio"] for each in found]
    assert settings == ([] if ratio is None else [ratio])


def test_plain_patchcore_of_ours_is_compared_with_the_papers_patchcore():
    fitting = [each for each in published() if each.is_about(row("CutSwapPatchcore", augmentation="none"), SCREW)]
    assert [each.values for each in fitting] == [find("Patchcore", "MVTecAD", coreset_sampling_ratio=0.01).values]


@pytest.mark.parametrize("category", ["screw", "carpet"])
@pytest.mark.parametrize("shape_bias", [None, True, False])
def test_the_jigsaw_is_that_of_objects_and_not_of_textures(category, shape_bias):
    options = {} if shape_bias is None else {"shape_bias": shape_bias}
    if shape_bias is False:
        options["pfam_training"] = "jigsaw"  # without it nothing trains the attention: the plain detector
    found = [each for each in published() if each.is_about(row("SbmPfamPadim", **options), ("MVTecAD", category))]
    assert bool(found) is (shape_bias is False if category == "carpet" else shape_bias is not False)


@pytest.mark.parametrize("each", published(), ids=lambda each: f"{each.method}-{each.dataset}-{each.setting}")
def test_what_a_paper_leaves_to_the_model_is_its_default(each):
    parameters = inspect.signature(getattr(anomalib.models, each.method)).parameters
    for name, value in flat(each.defaults | each.ablated).items():
        group, _, inner = name.rpartition(".")
        owner = inspect.signature(PARTS[group]).parameters if group else parameters
        default = owner[inner].default
        assert (list(default) if isinstance(default, tuple) else default) == value, name
    assert each.arguments.keys() <= parameters.keys()


@pytest.mark.parametrize(
    ("options", "image_auroc"),
    [
        ({"network": {"use_gcn": False}}, 0.875),
        ({"network": {"use_gcn": False, "use_attention": True, "k": 9}, "steps": 10}, 0.875),
        ({"network": {"use_gcn": False, "k": 7}}, None),
        ({"network": {"use_gcn": False, "skip_refine": False}}, None),
        ({"masking": {"num_large_masks": [0, 0]}}, 0.877),
        ({"pretrain": "imagenet"}, None),  # without inpainting its stem is the standard one, which the paper's is not
        ({"loss": {"use_aux": True}}, 0.903),
    ],
)
def test_a_nested_argument_is_compared_by_itself(options, image_auroc):
    result = row("Slsg", **options)
    found = [each for each in published() if each.categories and each.is_about(result, ("MVTecLOCO", "pushpins"))]
    assert [each.mean["image_auroc"] for each in found] == ([] if image_auroc is None else [image_auroc])


def test_how_a_result_was_trained_is_said():
    ours = {**row("Slsg", steps=64, seed=0, epochs=None), "image_size": "128", "schedule": "3 min"}
    assert conditions(ours) == "128 px, 3 min, steps 64"


@pytest.mark.parametrize(("dataset", "expected"), [("MVTecAD", True), ("", True), ("dev", False)])
def test_a_category_is_that_of_its_data_set(dataset, expected):
    assert find("Pouta", "MVTecAD").is_about(row("Pouta"), (dataset, "screw")) is expected
    assert not find("Pouta", "MVTecAD").is_about(row("Pouta"), (dataset, "candle"))


@pytest.mark.parametrize(
    ("label", "name", "expected"),
    [("Plain-1%", "CutSwapPatchcore", True), ("Patchcore-jigsaw", "SbmPfamPatchcore", True), ("Slsg", "Pouta", False)],
)
def test_the_class_decides_and_not_the_label(label, name, expected):
    assert is_model({"model": label, "class": name if expected else label}, name) is expected


def test_results_without_a_class_are_of_the_model_their_label_starts_with():
    assert is_model({"model": "Patchcore, 1 %"}, "Patchcore")
    assert not is_model({"model": "Patchcore, 1 %"}, "Patch")
    assert not is_model({"model": "Patchcores", "class": ""}, "Patchcore")


@pytest.mark.parametrize("values", ["[50]", "[50, 101]", "[-1, 50]"])
def test_wrong_values_are_refused(tmp_path, values):
    path = tmp_path / "paper.yaml"
    table = "{dataset: d, method: m, metrics: [image_auroc, pixel_auroc], values: {c: VALUES}}"
    path.write_text(f"paper: p\nscale: 100\ntables: [{table.replace('VALUES', values)}]")
    with pytest.raises(ValueError, match=rf"c must have .*'pixel_auroc'\] between 0 and 100, got {re.escape(values)}"):
        read(path)
