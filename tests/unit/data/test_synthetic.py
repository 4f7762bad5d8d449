# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import copy
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from anomalib.data import Folder, MVTecAD, get_datamodule
from anomalib.data.utils import read_image
from anomalib.loggers.base import ImageLoggerBase
from anomalib.visualization import ImageVisualizer
from omegaconf import DictConfig
from PIL import Image
from torchvision.transforms.v2 import RandomHorizontalFlip, Resize

from anomalib_plugins.callbacks.logged_heatmaps import LoggedHeatmaps
from anomalib_plugins.data import SyntheticAnomaly
from anomalib_plugins.data.synthetic_dataset import SyntheticDataset, SyntheticVisualizer, show_synthetic_images
from anomalib_plugins.synthesis import SimulatedAnomaly

from ...refusals import refusals


def mvtec(root, **options):
    return MVTecAD(root=root, category="part", **{"num_workers": 0, "eval_batch_size": 4, **options})


def good_only(root, **options):
    return Folder(name="mine", root=root / "part", normal_dir="train/good", num_workers=0, **options)


def good_photos(root, count, size=(64, 48)):
    (root / "good").mkdir()
    for i in range(count):
        Image.effect_noise(size, 50).convert("RGB").save(root / "good" / f"{i}.png")
    return root


def ready(datamodule, **options):
    module = SyntheticAnomaly(datamodule, **{"generator": SimulatedAnomaly(foreground="none"), **options})
    module.setup()
    return module


def items(data, epoch=0):
    return [data[row, epoch] for row in range(len(data))]


def same(first, second):
    return all(
        a.image_path == b.image_path and torch.equal(a.image, b.image) and torch.equal(a.gt_mask, b.gt_mask)
        for a, b in zip(first, second, strict=True)
    )


def paths(data):
    return set(data.samples.image_path)


# Splits


def test_by_default_only_validation_is_synthetic_and_the_test_set_stays_real(root):
    plain, module = mvtec(root), ready(mvtec(root))
    plain.setup()
    assert type(module.train_data) is type(plain.train_data)
    assert isinstance(module.val_data, SyntheticDataset)
    assert module.test_data.samples.equals(plain.test_data.samples)


def test_without_defects_the_test_set_is_synthetic_too(root):
    module = ready(good_only(root, val_split_mode="none"))
    assert isinstance(module.test_data, SyntheticDataset)
    assert set(module.test_data.samples.label_index) == {0, 1}


@pytest.mark.parametrize("count", [2, 3, 5, 19, 30])
@pytest.mark.parametrize("mode", ["from_test", "none", "from_train", "same_as_test"])
def test_a_few_good_photos_are_enough(tmp_path, count, mode, caplog):
    wrapped = Folder(name="few", root=good_photos(tmp_path, count), normal_dir="good", val_split_mode=mode)
    module = ready(wrapped)
    for data in (module.val_data, module.test_data):
        anomalous = int(data.samples.label_index.sum())
        assert len(data) - anomalous == anomalous >= 10
        assert len(data) % len(paths(data)) == 0
        assert not paths(data) & paths(module.train_data)
    assert len(module.train_data) > 0
    shared = paths(module.val_data) & paths(module.test_data)
    assert bool(shared) == (count == 2)
    assert ("too few photos for validation and test" in caplog.text) == bool(shared)


def test_repeated_photos_get_different_anomalies(tmp_path):
    wrapped = Folder(name="few", root=good_photos(tmp_path, 2), normal_dir="good")
    made = items(ready(wrapped).test_data)
    masks = [item.gt_mask.numpy().tobytes() for item in made if item.gt_label]
    assert len(set(masks)) == len(masks) == 10
    assert all(torch.equal(item.gt_mask.any(), item.gt_label.bool()) for item in made)


def test_anomalies_of_repeated_photos_are_copied_from_another(root, monkeypatch):
    data, read = ready(mvtec(root), anomaly_ratio=0.9).val_data, []
    plain = data._read
    monkeypatch.setattr(data, "_read", lambda path: (read.append(path), plain(path))[1])
    for row in np.flatnonzero(data.samples.label_index):
        read.clear()
        data[int(row)]
        assert len(set(read)) == len(read) == 2


@pytest.mark.parametrize(("ratio", "images"), [(0.2, 50), (0.3, 40), (0.001, 200), (0, 1), (1, 1)])
def test_the_ratio_stays_exact_where_photos_are_repeated(tmp_path, ratio, images):
    wrapped = Folder(name="few", root=good_photos(tmp_path, 2), normal_dir="good")
    data = ready(wrapped, anomaly_ratio=ratio).val_data
    assert len(data) == images
    assert data.samples.label_index.sum() == max(round(ratio * images), ratio > 0)


def test_a_synthetic_training_set_of_one_photo_has_both_labels(tmp_path):
    wrapped = Folder(name="few", root=good_photos(tmp_path, 2), normal_dir="good")
    data = ready(wrapped, train=True).train_data
    assert (len(paths(data)), int(data.samples.label_index.sum())) == (1, 10)


@pytest.mark.parametrize("wrap", [mvtec, good_only])
@pytest.mark.parametrize("mode", ["none", "same_as_test", "from_test", "from_train"])
@pytest.mark.parametrize("test", [None, True])
def test_no_photo_is_in_two_splits(root, wrap, mode, test):
    module = ready(wrap(root, val_split_mode=mode), test=test)
    train, val, tested = (paths(data) for data in (module.train_data, module.val_data, module.test_data))
    assert train
    assert val
    assert tested
    assert not train & val
    assert not train & tested
    assert not val & tested


def test_photos_held_out_of_training_are_logged(root, caplog):
    with caplog.at_level("INFO", logger="anomalib_plugins"):
        module = ready(mvtec(root), holdout_ratio=0.3)
    assert "3 of its 10 training images are held out" in caplog.text
    assert (len(module.train_data), len(paths(module.val_data))) == (7, 3)


def test_normal_photos_of_the_wrapped_validation_set_are_used_first(root):
    wrapped = mvtec(root, val_split_mode="from_train")
    module = ready(wrapped)
    assert len(module.train_data) == 5
    normal = wrapped.val_data.samples[wrapped.val_data.samples.label_index == 0]
    assert paths(module.val_data) == set(normal.image_path)


def test_splits_are_the_same_in_every_run(root):
    first, again = (ready(good_only(root, val_split_mode="from_train")) for _ in range(2))
    assert paths(first.test_data) == paths(again.test_data)
    assert paths(first.val_data) == paths(again.val_data)
    assert paths(first.train_data) == paths(again.train_data)
    assert SyntheticAnomaly(good_only(root, seed=5)).datamodule.seed == 5


def test_all_real_defects_are_tested(root, caplog):
    folders = {"normal_test_dir": "test/good", "abnormal_dir": "test/scratch"}
    wrapped = Folder(name="mine", root=root / "part", normal_dir="train/good", num_workers=0, **folders)
    with caplog.at_level("INFO", logger="anomalib_plugins"):
        module = ready(wrapped)
    assert sorted(module.test_data.samples.label_index) == [0] * 4 + [1] * 3
    assert paths(module.val_data) < {str(path) for path in (root / "part/train/good").iterdir()}
    assert caplog.text.count("no test images are taken for validation") == 1


# Anomalies


@pytest.mark.parametrize(("ratio", "expected"), [(0, 0), (0.01, 1), (0.5, 5), (0.99, 9), (1, 10)])
def test_the_asked_share_of_images_gets_an_anomaly(root, ratio, expected):
    data = ready(mvtec(root), train=True, val=False, anomaly_ratio=ratio).train_data
    assert sum(int(item.gt_label) for item in items(data)) == expected
    assert data.samples.label_index.sum() == expected


def test_mask_and_label_say_what_changed(root):
    for item in items(ready(mvtec(root), train=True, val=False).train_data):
        photo = read_image(item.image_path, as_tensor=True)
        assert torch.equal((item.image != photo).any(dim=0), item.gt_mask.bool())
        assert bool(item.gt_mask.any()) == bool(item.gt_label)


def test_the_order_of_reading_changes_nothing(root):
    data = ready(mvtec(root), test=True).test_data
    backwards = [data[row] for row in reversed(range(len(data)))]
    assert same(items(data), backwards[::-1])


def test_nothing_of_the_global_random_state_is_used(root):
    data = ready(mvtec(root)).val_data
    torch.manual_seed(0)
    before, state = items(data), torch.get_rng_state()
    torch.manual_seed(1)
    assert same(before, items(data))
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)


def test_workers_and_batch_size_change_nothing(root):
    one = ready(mvtec(root, eval_batch_size=1), test=True, generator=SimulatedAnomaly())
    many = ready(mvtec(root, eval_batch_size=2, num_workers=2), test=True, generator=SimulatedAnomaly())
    singles = [batch.image[0] for batch in one.test_dataloader()]
    pairs = [image for batch in many.test_dataloader() for image in batch.image]
    equal = [torch.equal(a, b) for a, b in zip(singles, pairs, strict=True) if a.shape[1] == 64]
    assert len(equal) == 10
    assert all(equal)


def test_every_epoch_is_new_and_seeded(root):
    data, again = (ready(mvtec(root), train=True, val=False, anomaly_ratio=0.6).train_data for _ in range(2))
    first, second = items(data, 0), items(data, 1)
    assert [int(item.gt_label) for item in first] != [int(item.gt_label) for item in second]
    twice = [torch.equal(a.gt_mask, b.gt_mask) for a, b in zip(first, second, strict=True) if a.gt_label and b.gt_label]
    assert twice
    assert not any(twice)
    assert same(second, items(again, 1))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_train_loader_reads_for_the_trainers_epoch(root, workers):
    wrapped = mvtec(root, num_workers=workers, train_batch_size=1)
    module = ready(wrapped, train=True, val=False)
    module.trainer = SimpleNamespace(current_epoch=0)
    loader, orders = module.train_dataloader(), []
    for epoch in (0, 3):
        module.trainer.current_epoch = epoch
        batches = list(loader)
        orders.append([batch.image_path[0] for batch in batches])
        expected = {item.image_path: item.image for item in items(module.train_data, epoch)}
        assert len(batches) == len(expected) == 10
        assert all(torch.equal(batch.image[0], expected[batch.image_path[0]]) for batch in batches)
    assert orders[0] != orders[1]


def test_without_a_trainer_every_pass_is_an_epoch(root):
    module = ready(mvtec(root, train_batch_size=1), train=True, val=False)
    loader = module.train_dataloader()
    first, second = ({b.image_path[0]: b.image for b in loader} for _ in range(2))
    assert any(not torch.equal(first[path], second[path]) for path in first)


def test_defects_of_the_wrapped_training_set_are_not_used(root):
    wrapped = mvtec(root)
    wrapped.setup("fit")
    wrapped.train_data, wrapped.setup = wrapped.test_data, lambda _: None
    assert len(ready(wrapped, train=True, val=False).train_data) == 4


def test_large_photos_are_reduced_first(root, tmp_path):
    wrapped = Folder(name="large", root=good_photos(tmp_path, 5, (300, 200)), normal_dir="good", num_workers=0)
    data = ready(wrapped, max_size=96).val_data
    assert {tuple(item.image.shape) for item in items(data)} == {(3, 64, 96)}


@pytest.mark.parametrize(("size", "shape"), [((1500, 40), (32, 1200)), ((32, 600), (600, 32)), ((90, 33), (33, 90))])
def test_long_photos_keep_a_side_that_an_anomaly_fits_in(tmp_path, size, shape):
    wrapped = Folder(name="long", root=good_photos(tmp_path, 2, size), normal_dir="good", num_workers=0)
    data = ready(wrapped).val_data
    assert {tuple(data[row].image.shape[-2:]) for row in (0, int(data.samples.label_index.argmax()))} == {shape}


def test_photos_too_small_for_an_anomaly_are_refused_by_name(tmp_path):
    wrapped = Folder(name="small", root=good_photos(tmp_path, 30, (40, 31)), normal_dir="good", num_workers=0)
    message = r"6 photos have a side below 32 pixels.*\n  .*good/\d+.png is 40 x 31"
    with pytest.raises(ValueError, match=message):
        ready(wrapped, test=True)


def test_photos_that_are_damaged_are_left_to_the_check_of_files(tmp_path):
    for path in (good_photos(tmp_path, 4) / "good").iterdir():
        path.write_bytes(b"")
    assert len(paths(ready(Folder(name="bad", root=tmp_path, normal_dir="good")).val_data)) == 1


def test_augmentations_of_the_wrapped_datamodule_turn_image_and_mask_together(root):
    plain = items(ready(mvtec(root), anomaly_ratio=1.0).val_data)
    flipped = items(ready(mvtec(root, augmentations=RandomHorizontalFlip(p=1.0)), anomaly_ratio=1.0).val_data)
    for a, b in zip(plain, flipped, strict=True):
        assert torch.equal(a.image.flip(-1), b.image)
        assert torch.equal(a.gt_mask.flip(-1), b.gt_mask)


def test_nothing_is_written_to_disk(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = sorted(root.rglob("*"))
    items(ready(mvtec(root), train=True, test=True).val_data)
    assert sorted(root.rglob("*")) == before
    assert not list(tmp_path.iterdir())


def test_a_subset_keeps_its_anomalies(root):
    data = ready(mvtec(root), train=True, val=False).train_data
    rows = [1, 4, 7]
    subset = data.subsample(rows)
    assert subset.samples.label_index.tolist() == data.samples.label_index.iloc[rows].tolist()
    assert [int(item.gt_label) for item in items(subset)] == [int(data[row].gt_label) for row in rows]


# Ways in


def test_the_benchmarks_configuration_builds_it(root):
    wrapped = {"class_path": "MVTecAD", "init_args": {"root": str(root), "category": "part", "num_workers": 0}}
    generator = {"class_path": "SimulatedAnomaly", "init_args": {"structural_delta": [0.5, 1.0]}}
    arguments = {"datamodule": wrapped, "generator": generator, "seed": 3}
    module = get_datamodule(DictConfig({"class_path": "SyntheticAnomaly", "init_args": arguments}))
    module.setup()
    assert module.category == "part"
    assert isinstance(module.val_data, SyntheticDataset)


# Pictures


def shown_in(picture):
    return np.asarray(Image.open(picture))[:64, -64:].astype(int)


class Logger(dict, ImageLoggerBase):
    def add_image(self, image, name, **_):
        self[name] = image


def pictures(module, folder):
    """Let the visualizer save each test image below ``folder``; returns the images, their photos and labels."""
    visualizer = ImageVisualizer(fields=["image"], overlay_fields=[("image", [])], field_size=(64, 64),
                                 text_config={"enable": False})  # fmt: skip
    trainer = SimpleNamespace(callbacks=[visualizer], default_root_dir=folder, datamodule=module)
    trainer.world_size, trainer.global_rank = 1, 0
    show_synthetic_images(trainer, module.test_data)
    show_synthetic_images(trainer, module.test_data)
    (shown,) = trainer.callbacks
    trainer.loggers, trainer.global_step, logged = [Logger()], 0, LoggedHeatmaps()
    made = []
    for number, batch in enumerate(module.test_dataloader()):
        logged.on_test_batch_end(trainer, SimpleNamespace(visualizer=visualizer), None, copy.copy(batch), number)
        before = set((folder / "images").rglob("*.png"))
        shown.on_test_batch_end(trainer, None, None, copy.copy(batch), number)
        new = set((folder / "images").rglob("*.png")) - before
        made += [(batch.image[i], batch.image_path[i], bool(batch.gt_label[i])) for i in range(len(batch.image))]
        assert len(new) == len(batch.image)
        for picture in new:
            logs = trainer.loggers[0]["/".join(picture.parts[-2:])]
            assert np.array_equal(logs, Image.open(picture)), "a logger got another picture"
    return made


def test_pictures_show_the_synthetic_image_instead_of_the_photo(root, tmp_path):
    module = ready(mvtec(root, test_augmentations=Resize((64, 64))), test=True, anomaly_ratio=1.0)
    for image, path, _ in pictures(module, tmp_path):
        pixels = shown_in(tmp_path / "images" / "synthetic" / Path(path).name)
        assert np.abs(pixels - image.permute(1, 2, 0).numpy() * 255).max() <= 1
        assert np.abs(pixels - np.asarray(Image.open(path).resize((64, 64)))).max() > 20


def test_pictures_of_repeated_photos_are_told_apart(root, tmp_path):
    module = ready(mvtec(root, test_augmentations=Resize((64, 64))), test=True)
    seen: Counter[tuple[str, bool]] = Counter()
    made = pictures(module, tmp_path)
    assert len(made) == 20
    for image, path, anomalous in made:
        name = f"{Path(path).stem}_{seen[path, anomalous]}.png"
        seen[path, anomalous] += 1
        pixels = shown_in(tmp_path / "images" / ("synthetic" if anomalous else "good") / name)
        assert np.abs(pixels - image.permute(1, 2, 0).numpy() * 255).max() <= 1


def test_only_synthetic_test_images_replace_the_visualizer(root):
    for test, expected in ((True, SyntheticVisualizer), (False, ImageVisualizer)):
        module = ready(mvtec(root), test=test)
        module.trainer = SimpleNamespace(callbacks=[ImageVisualizer()], model=None)
        module.setup("test")
        assert [type(callback) for callback in module.trainer.callbacks] == [expected]


# Refusals


RATIO, HOLDOUT = r"anomaly_ratio must be in \[0, 1\]", "holdout_ratio must be between 0 and 1"
OUT_OF_RANGE = (-0.1, 1.1, float("nan"))

test_wrong_options_are_refused = refusals(
    lambda datamodule=None, **options: SyntheticAnomaly(datamodule or MVTecAD(), **options),
    *(({"anomaly_ratio": ratio}, RATIO) for ratio in OUT_OF_RANGE),
    *(({"holdout_ratio": ratio}, HOLDOUT) for ratio in OUT_OF_RANGE),
    ({"max_size": 16}, "max_size must be at least 64, got 16"),
    ({"datamodule": MVTecAD(val_split_mode="synthetic")}, "anomalib's own synthetic split"),
    ({"datamodule": MVTecAD(test_split_mode="synthetic")}, "anomalib's own synthetic split"),
    (
        {"datamodule": {"class_path": "MVTecAD", "init_args": {"colour": "red"}}},
        r"(?s)cannot make a AnomalibDataModule from .*colour",
    ),
    ({"generator": "perlin"}, TypeError, "expected a AnomalyGenerator or a mapping .* got 'perlin'"),
)


def test_too_few_training_images_to_hold_some_out_are_refused(root, tmp_path):
    (tmp_path / "part/train/good").mkdir(parents=True)
    (tmp_path / "part/train/good/0.png").write_bytes((root / "part/train/good/0.png").read_bytes())
    with pytest.raises(ValueError, match=r"MVTecAD has 1 normal training images in .*part/train/good, too few to"):
        ready(mvtec(tmp_path, test_split_mode="none", val_split_mode="none"))
