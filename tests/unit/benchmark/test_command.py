# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from anomalib_plugins.benchmark import command, predictions, results, runner
from anomalib_plugins.benchmark.config import config_of
from anomalib_plugins.benchmark.jobs import Job
from anomalib_plugins.benchmark.setup import Setup
from anomalib_plugins.report.groups import groups_of
from anomalib_plugins.report.page import Gallery, collect

pytestmark = pytest.mark.usefixtures("few_calls")

SIDE = "32"


def run(root, *arguments):
    """Exit code and rows of a run on small images."""
    output = root.parent / "results.csv"
    what = () if "--config" in arguments else ("--root", str(root))
    code = command.main([
        *what,
        *("--image-size", SIDE, "--accelerator", "cpu", "--output", str(output)),
        *arguments,
    ])
    return code, results.read(output)


def config(root, model, seed=0):
    data = {"class_path": "MVTecAD", "init_args": {"root": str(root), "category": "bolt", "num_workers": 0}}
    path = root.parent / "benchmark.yaml"
    path.write_text(yaml.safe_dump({"accelerator": "cpu", "benchmark": {"seed": seed, "model": model, "data": data}}))
    return str(path)


def test_every_job_leaves_a_row_predictions_a_sheet_and_a_checkpoint(root, tmp_path):
    folders = ("--heatmaps", str(tmp_path / "maps"), "--checkpoints", str(tmp_path / "weights"))
    code, rows = run(root, "--models", "GreyIterative", "GreyOnePass", "--max-steps", "3", *folders)
    assert code == 0
    assert [(row["model"], row["schedule"], row["steps"], row["image_size"]) for row in rows] == [
        ("GreyIterative", "3 steps", "3", SIDE),
        ("GreyOnePass", "one pass", "1", SIDE),
    ]
    assert all(row[metric] == "1.0000" for row in rows for metric in results.METRICS)
    for row in rows:
        kept = predictions.load(predictions.path_of(tmp_path / "results.csv", row))
        assert [Path(path).parent.name for path in kept.paths] == ["good"] * 3 + ["spot"] * 3
        assert kept.labels.tolist() == [False] * 3 + [True] * 3
        assert kept.masks.sum() == 3 * 8 * 8
        np.testing.assert_allclose(kept.maps.max(axis=(1, 2)), kept.scores, rtol=1e-3)
    assert kept.scores.min() > 1  # raw
    for row in rows:
        name = f"{row['model']}-data-bolt-0-3_steps-{row['job']}"  # jobs with another schedule overwrite none
        assert Image.open(tmp_path / "maps" / f"{name}.png").width > 100
        assert torch.load(tmp_path / "weights" / f"{name}.ckpt", weights_only=True)["state_dict"]


def test_a_category_without_masks_is_benchmarked_with_image_metrics(root):
    shutil.copytree(root / "bolt", root / "nut")
    shutil.rmtree(root / "nut/ground_truth")
    code, rows = run(root, "--models", "GreyOnePass")
    assert code == 0
    assert [(row["category"], row["image_auroc"], row["pixel_auroc"]) for row in rows] == [
        ("bolt", "1.0000", "1.0000"),
        ("nut", "1.0000", "nan"),
    ]


def test_good_photos_alone_are_benchmarked_on_simulated_defects_and_the_row_says_so(root):
    shutil.rmtree(root / "bolt/ground_truth")
    shutil.rmtree(root / "bolt/test/spot")
    shutil.copytree(root / "bolt/train", root / "nut/train")
    code, rows = run(root, "--models", "GreyOnePass")
    assert code == 0
    assert [(row["dataset"], row["category"]) for row in rows] == [
        ("data, simulated defects", "bolt"),
        ("data, simulated defects", "nut"),
    ]
    assert all(float(row["pixel_auroc"]) > 0.5 for row in rows)
    collect(groups_of(rows), root.parent / "results.csv", gallery := Gallery())
    for images, scores in zip(gallery.images.values(), gallery.scores, strict=True):  # of grey photos
        shown = [Image.open(io.BytesIO(base64.b64decode(item["image"]))) for item in images["items"]]
        contrast, defective = np.array([np.ptp(image) for image in shown]), np.array(scores["labels"]) == 1
        assert contrast[~defective].max() < 3
        assert contrast[defective].max() > 50


def test_size_and_speed_are_measured(root):
    _, (row,) = run(root, "--models", "GreyOnePass", "--no-predictions")
    assert (row["parameters"], row["gmacs"]) == ("1", "0.000")
    assert min(float(row[name]) for name in ("latency_ms", "images_per_second", "peak_memory_mb")) > 0
    assert not list(root.parent.glob("*_predictions"))


def test_finished_jobs_are_not_run_again(root, monkeypatch):
    arguments = ("--models", "GreyIterative", "GreyOnePass", "--max-steps", "1")
    run(root, *arguments)
    monkeypatch.setattr(Job, "run", lambda _: pytest.fail("ran again"))
    code, rows = run(root, *arguments)
    assert (code, len(rows)) == (0, 2)


def test_another_schedule_or_argument_is_another_row(root, tmp_path):
    run(root, "--models", "GreyIterative", "--max-steps", "1")
    run(root, "--models", "GreyIterative", "--max-minutes", "0.001")
    (tmp_path / "args.yaml").write_text("GreyIterative: {rate: 0.2}")
    _, rows = run(root, "--models", "GreyIterative", "--max-steps", "1", "--model-args", str(tmp_path / "args.yaml"))
    assert [row["schedule"] for row in rows] == ["1 steps", "0.001 min", "1 steps"]


def test_a_failed_job_is_named_with_its_reason_and_costs_no_other(root, capsys):
    (file := root.parent / "args.yaml").write_text("Broken: {backbone: no_such_network}")
    code, rows = run(root, "--models", "Broken=Padim", "GreyOnePass", "--model-args", str(file))
    assert code == 1
    assert [row["model"] for row in rows] == ["GreyOnePass"]
    said = capsys.readouterr().err
    assert "Broken data bolt, seed 0: FAILED, RuntimeError: Unknown model (no_such_network)" in said
    assert "1 of 2 jobs failed" in said.splitlines()[-1]
    assert "Traceback" in (root.parent / "results.log").read_text()


def test_variants_of_a_model_have_labels_and_arguments_without_paths(root, tmp_path):
    arguments = tmp_path / "arguments.yaml"
    arguments.write_text("fast: {rate: 0.5}")
    models = ("--models", "GreyIterative", "fast=GreyIterative")
    _, rows = run(root, *models, "--max-steps", "1", "--model-args", str(arguments))
    assert [row["model"] for row in rows] == ["GreyIterative", "fast"]
    assert [json.loads(row["options"]) for row in rows] == [{}, {"rate": 0.5}]
    assert str(tmp_path) not in (tmp_path / "results.csv").read_text()


def test_textures_are_for_draem_alone(root):
    args = command.parser().parse_args(["--root", str(root), "--models", "Draem", "Slsg", "--textures", "t"])
    models = config_of(args, command.read_models(args))["benchmark"]["model"]["grid"]
    assert [model["init_args"] for model in models] == [{"dtd_dir": "t"}, {}]


def test_a_configuration_of_anomalib_is_run_with_its_seeds(root):
    model = {"class_path": "GreyIterative", "init_args": {"rate": {"grid": [0.1, 0.2]}}}
    code, rows = run(root, "--config", config(root, model, {"grid": [3, 4]}), "--max-steps", "1")
    assert code == 0
    assert [(row["model"], row["dataset"], row["category"], row["seed"]) for row in rows] == [
        (f"GreyIterative rate={rate}", "MVTecAD", "bolt", seed) for seed in "34" for rate in (0.1, 0.2)
    ]


def test_chosen_seeds_replace_those_of_configuration_and_model(root):
    model = {"class_path": "GreySeeded", "init_args": {"seed": 7}}
    _, rows = run(root, "--config", config(root, model), "--seeds", "1", "2", "--max-steps", "1")
    assert [(row["seed"], json.loads(row["options"])) for row in rows] == [("1", {"seed": 1}), ("2", {"seed": 2})]


def test_the_seed_decides_the_initial_weights():
    def grey(seed):
        job = Job("m", "d", "c", seed, {"class_path": "GreyIterative"}, {"class_path": "MVTecAD"}, Setup())
        return job.build().model.grey.item()

    assert grey(1) == grey(1) != grey(2)


def test_models_that_learn_from_validation_see_it_once_trained(root):
    _, rows = run(root, "--models", "GreyCalibrated", "GreyOnePass", "GreyIterative", "--max-steps", "1")
    output = root.parent / "results.csv"
    calibrated, black, other = (predictions.load(predictions.path_of(output, row)).scores.tolist() for row in rows)
    assert calibrated == black != other


def test_efficient_ad_gets_the_batch_size_it_insists_on():
    data = {"class_path": "MVTecAD", "init_args": {"train_batch_size": 8}}
    sizes = [Job("m", "d", "c", 0, {"class_path": n}, data).build_data().train_batch_size for n in ("EfficientAd", "X")]
    assert sizes == [1, 8]


def test_normal_test_photos_that_are_taken_from_training_are_the_same_for_every_model(root):
    arguments = {"name": "bolt", "root": str(root / "bolt"), "normal_dir": "train/good", "abnormal_dir": "test/spot"}
    job = Job("m", "d", "c", 0, {"class_path": "X"}, {"class_path": "Folder", "init_args": arguments})
    splits = [job.build_data() for _ in range(8)]
    for split in splits:
        split.setup()
    assert len({tuple(split.test_data.samples.image_path) for split in splits}) == 1


def test_what_computes_its_centroids_anew_is_not_resumed(tmp_path):
    setup = Setup(unfinished=tmp_path)
    jobs = [Job("m", "d", "c", 0, {"class_path": name}, {"class_path": "MVTecAD"}, setup) for name in ("Cfa", "Draem")]
    assert [job.unfinished is None for job in jobs] == [True, False]


def test_limits_shorten_the_schedules_that_models_do_not_have_themselves():
    assert Setup().limits("Slsg") == {}
    assert Setup().limits("Draem") == {"max_epochs": 700}
    assert Setup(max_steps=5).limits("Draem") == {"max_epochs": 700, "max_steps": 5}
    assert Setup(max_epochs=2).limits("Cfa") == {"max_epochs": 2}
    assert Setup(max_epochs=2, max_steps=5).schedule == "2 epochs or 5 steps"
    assert Setup(max_steps=5).limits("EfficientAd") == {"max_steps": 5}


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("none", "--root must be a folder of categories, got"),
        ("data/bolt/train", "but no folder in .* has a folder train$"),
        ("data/bolt", "has a folder train: give the folder above it, .*data$"),
    ],
)
def test_a_root_that_is_no_folder_of_categories_is_refused(folder, message, root, capsys):
    with pytest.raises(SystemExit):
        command.main(["--root", str(root.parent / folder), "--output", str(root.parent / "results.csv")])
    assert re.search(message, capsys.readouterr().err.strip())


def test_a_missing_ray_is_said_before_anything_is_imported(root, monkeypatch, capsys):
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    with pytest.raises(SystemExit):
        command.main(["--root", str(root), "--ray"])
    assert "pip install 'anomalib_plugins[ray]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), {"address": None, "cpus": 1, "gpus": None}),
        (
            ("auto", "--cpus-per-job", "4", "--gpus-per-job", "0.5"),
            {"address": "auto", "cpus": 4, "gpus": 0.5},
        ),
    ],
)
def test_the_cluster_and_what_a_job_takes_of_it_are_chosen(arguments, expected, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    chosen = []
    monkeypatch.setattr(runner, "run", lambda jobs, output, outcomes: chosen.append(outcomes.keywords) or [])
    args = command.parser().parse_args(["--output", str(tmp_path / "none.csv"), "--ray", *arguments])
    assert command.run([], args) == 0
    assert chosen == [expected]


def test_the_table_is_printed_and_put_into_a_document(root, capsys):
    run(root, "--models", "GreyOnePass")
    document = root.parent / "README.md"
    document.write_text(f"{results.START.format('')}\n{results.END.format('')}")
    capsys.readouterr()
    assert command.main(["--table", str(root.parent / "results.csv"), "--update", str(document)]) == 0
    table = capsys.readouterr().out.strip()
    assert "| bolt | 1.000 / 1.000 / 1.000 / 1.000 |" in table
    assert table in document.read_text()


def test_mvtec_loco_is_also_split_by_kind_and_has_its_own_localisation_metric(tmp_path):
    root, size = tmp_path / "loco", (32, 32)
    for split in ("train/good", "validation/good", "test/good", "test/structural_anomalies", "test/logical_anomalies"):
        folder = root / "pushpins" / split
        folder.mkdir(parents=True)
        for number in range(2):
            grey = 220 if "structural" in split else 100  # logical anomalies are as the good ones
            Image.new("RGB", size, (grey,) * 3).save(folder / f"{number:03}.png")
            if "anomalies" in split:
                masks = root / "pushpins" / "ground_truth" / folder.name / f"{number:03}"
                masks.mkdir(parents=True)
                Image.new("L", size, 255).save(masks / "000.png")
    defect = {"defect_name": "d", "pixel_value": 255, "saturation_threshold": 1.0, "relative_saturation": True}
    (root / "pushpins" / "defects_config.json").write_text(json.dumps([defect]))
    data = {"class_path": "MVTecLOCO", "init_args": {"root": str(root), "category": "pushpins", "num_workers": 0}}
    section = {"seed": 0, "model": {"class_path": "GreyOnePass"}, "data": data}
    (tmp_path / "loco.yaml").write_text(yaml.safe_dump({"benchmark": section}))
    _, (row,) = run(root, "--config", str(tmp_path / "loco.yaml"))
    assert (row["structural_auroc"], row["logical_auroc"], row["image_auroc"]) == ("1.0000", "0.5000", "0.7500")
    assert row["structural_spro"] == "1.0000"
    assert 0 < float(row["logical_spro"]) < float(row["spro"]) < 1
