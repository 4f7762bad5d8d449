# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path
from types import SimpleNamespace

import pytest
from anomalib.data import AnomalibDataModule, Avenue, BTech, Folder, MVTecAD, get_datamodule
from anomalib.data.datasets import AvenueDataset
from jsonargparse import ArgumentParser
from lightning.pytorch.trainer.states import TrainerFn
from omegaconf import DictConfig
from torchvision.transforms.v2 import Resize

from anomalib_plugins.data import FewShot, SyntheticAnomaly
from anomalib_plugins.data.synthetic_dataset import SyntheticDataset

from ...refusals import refusals


@pytest.fixture
def said(monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr("anomalib_plugins.data.few_shot.rank_zero_info", lines.append)
    return lines


def mvtec(root, **options):
    return MVTecAD(root=root, category="part", **{"num_workers": 0, **options})


def folder(root, **options):
    folders = {"normal_dir": "train/good", "abnormal_dir": "test/scratch", "normal_test_dir": "test/good"}
    return Folder(name="mine", root=root / "part", num_workers=0, **folders, **options)


def btech(root):
    for name, source in (("train/ok", "train/good"), ("test/ok", "test/good"), ("test/ko", "test/scratch")):
        (root / "01" / name).mkdir(parents=True, exist_ok=True)
        for photo in (root / "part" / source).iterdir():
            (root / "01" / name / photo.name).write_bytes(photo.read_bytes())
    return BTech(root=root, category="01", num_workers=0)


def ready(datamodule, k=4, seed=0):
    module = FewShot(datamodule, k, seed)
    module.setup()
    return module


def paths(data):
    return set(data.samples.image_path)


# The choice


@pytest.mark.parametrize("wrap", [mvtec, folder, btech])
@pytest.mark.parametrize("k", [1, 2, 8, 10])
def test_k_training_images_are_left_and_the_other_splits_stay(root, wrap, k):
    whole, module = wrap(root), ready(wrap(root), k)
    whole.seed = 0
    whole.setup()
    assert len(module.train_data) == len(paths(module.train_data)) == k
    assert paths(module.train_data) <= paths(whole.train_data)
    assert module.val_data.samples.equals(whole.val_data.samples)
    assert module.test_data.samples.equals(whole.test_data.samples)


def test_the_same_seed_chooses_the_same_and_others_do_not(root):
    first, again = ready(mvtec(root)), ready(mvtec(root))
    assert first.chosen_images == again.chosen_images
    choices = {tuple(ready(mvtec(root), seed=seed).chosen_images) for seed in range(10)}
    assert len(choices) > 5


def test_every_image_is_as_likely(root):
    drawn = [ready(mvtec(root), k=1, seed=seed).chosen_images[0] for seed in range(60)]
    counts = [drawn.count(path) for path in set(drawn)]
    assert len(counts) == 10
    assert max(counts) < 15


def test_a_smaller_k_chooses_among_those_of_a_larger(root):
    choices = [set(ready(mvtec(root), k).chosen_images) for k in (1, 2, 4, 8)]
    assert choices[0] < choices[1] < choices[2] < choices[3]


def test_a_random_test_split_is_the_same_for_every_choice(root):
    modules = [ready(folder(root), seed=seed) for seed in range(3)]
    assert len({tuple(module.test_data.samples.image_path) for module in modules}) == 1
    assert len({tuple(module.chosen_images) for module in modules}) == 3


def test_loaders_and_augmentations_are_the_wrapped_datamodules(root):
    loading = {"train_batch_size": 3, "eval_batch_size": 5, "num_workers": 2}
    changes = {f"{split}_augmentations": Resize((8, 8)) for split in ("train", "val", "test")}
    module = FewShot(mvtec(root, **loading, **changes))
    assert {name: getattr(module, name) for name in (*loading, *changes)} == {**loading, **changes}


# What is said


def test_the_log_names_the_images_once(root, said):
    module = FewShot(mvtec(root), k=2, seed=5)
    for stage in (TrainerFn.FITTING, TrainerFn.TESTING):
        module.setup(stage)
    (line,) = said
    first, second = (Path(path).name for path in module.chosen_images)
    where = root / "part/train/good"
    assert line == f"FewShot, seed 5: 2 of 10 training images of MVTecAD in {where}: {first}, {second}"


def test_results_are_named_by_k_and_seed(root):
    assert (FewShot(mvtec(root), 8, 3).name, FewShot(mvtec(root)).category) == ("MVTecAD_k8_s3", "part")
    assert SyntheticAnomaly(FewShot(folder(root))).name == "mine_k4_s0_synthetic"


# Ways in


def test_the_command_line_builds_it_from_short_names(root):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(AnomalibDataModule, "data")
    wrapped = ["--data.datamodule.datamodule", "MVTecAD", "--data.datamodule.datamodule.root", str(root)]
    arguments = ["--data", "SyntheticAnomaly", "--data.datamodule", "FewShot", *wrapped, "--data.datamodule.k", "6"]
    module = parser.instantiate_classes(parser.parse_args(arguments)).data
    assert (type(module.datamodule), module.datamodule.k, type(module.source)) == (FewShot, 6, MVTecAD)


@pytest.mark.parametrize("kind", [dict, DictConfig])
def test_the_benchmarks_configuration_builds_it(root, kind):
    wrapped = {"class_path": "MVTecAD", "init_args": {"root": str(root), "category": "part", "num_workers": 0}}
    few = {"class_path": "FewShot", "init_args": {"datamodule": wrapped, "k": 5, "seed": 1}}
    module = get_datamodule(kind(few))
    module.setup()
    assert module.chosen_images == ready(mvtec(root), 5, 1).chosen_images
    around = get_datamodule(kind({"class_path": "SyntheticAnomaly", "init_args": {"datamodule": few}}))
    around.setup()
    assert paths(around.train_data) < paths(module.train_data)


# Wrappers around each other


def test_synthetic_splits_around_it_are_made_of_the_chosen_images(root):
    module = SyntheticAnomaly(FewShot(Folder(name="mine", root=root / "part", normal_dir="train/good"), k=4))
    module.setup()
    chosen = set(module.datamodule.chosen_images)
    assert len(chosen) == 4
    assert paths(module.train_data) | paths(module.val_data) <= chosen
    assert isinstance(module.val_data, SyntheticDataset)
    assert module.state_dict() == {"chosen_images": module.datamodule.chosen_images}


def test_synthetic_splits_inside_are_made_of_other_images(root):
    module = ready(SyntheticAnomaly(mvtec(root), test=True), k=4)
    assert len(module.train_data) == 4
    assert isinstance(module.val_data, SyntheticDataset)
    assert not paths(module.train_data) & (paths(module.val_data) | paths(module.test_data))


def test_all_real_defects_are_tested_however_deep_they_are_wrapped(root):
    module = SyntheticAnomaly(FewShot(folder(root)))
    module.setup()
    assert sorted(module.test_data.samples.label_index) == [0] * 4 + [1] * 3


def test_anomalibs_own_synthetic_split_is_refused_however_deep_it_is_wrapped(root):
    with pytest.raises(ValueError, match="MVTecAD makes anomalib's own synthetic split"):
        SyntheticAnomaly(FewShot(mvtec(root, val_split_mode="synthetic")))


def test_the_models_resize_reaches_the_images(root):
    module, resize = FewShot(mvtec(root)), Resize((24, 24))
    module.trainer = SimpleNamespace(model=SimpleNamespace(pre_processor=SimpleNamespace(transform=resize)))
    module.setup("fit")
    for data in (module.train_data, module.val_data, module.test_data):
        assert data[0].image.shape == (3, 24, 24)


def test_no_validation_set_is_no_obstacle(root):
    assert ready(mvtec(root, val_split_mode="none")).val_dataloader() == []
    assert len(ready(mvtec(root)).val_dataloader().dataset) == 7


def test_the_wrapped_datamodule_is_prepared(root, monkeypatch):
    prepared, wrapped = [], mvtec(root)
    monkeypatch.setattr(wrapped, "prepare_data", lambda: prepared.append(True))
    SyntheticAnomaly(FewShot(wrapped)).prepare_data()
    assert prepared == [True]


# Refusals


test_wrong_options_are_refused = refusals(
    FewShot,
    ({"datamodule": MVTecAD(), "k": 0}, "must be at least 1, got 0"),
    ({"datamodule": MVTecAD(), "k": -2}, "must be at least 1, got -2"),
    ({}, "FewShot wraps a datamodule: give datamodule, e.g. --data.datamodule Folder"),
    ({"datamodule": "MVTecAD"}, TypeError, "expected a AnomalibDataModule or a mapping with .* got 'MVTecAD'"),
)


def test_more_images_than_there_are_is_refused(root):
    with pytest.raises(ValueError, match="k=11, but MVTecAD has 10 training images: choose a k of at most 10"):
        ready(mvtec(root), 11)


def test_defects_among_the_training_images_are_refused_by_name(root):
    wrapped = mvtec(root)
    wrapped.setup("fit")
    wrapped.train_data, wrapped.setup = wrapped.test_data, lambda _: None
    with pytest.raises(ValueError, match=r"3 of 7 training images of MVTecAD are defe.*\n  .*test/scratch/0.png\n"):
        ready(wrapped, 1)
    with pytest.raises(ValueError, match="SyntheticAnomaly with train=True goes around FewShot"):
        ready(SyntheticAnomaly(mvtec(root), train=True))


def test_videos_are_refused(monkeypatch):
    wrapped = Avenue()
    wrapped.train_data = AvenueDataset.__new__(AvenueDataset)
    monkeypatch.setattr(wrapped, "setup", lambda stage: None)
    with pytest.raises(TypeError, match="Avenue: the train data are AvenueDataset, not images of an AnomalibDataset"):
        ready(wrapped)
