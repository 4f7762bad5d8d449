# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Whole runs on folders, machines and networks as they are."""

import ctypes
import os
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import anomalib.engine.engine
import pytest
import torch
from anomalib.data import Folder
from anomalib.engine import Engine
from lightning.pytorch import Callback
from PIL import Image
from torch.testing import assert_close
from torchvision import tv_tensors
from torchvision.transforms.v2 import Lambda

from anomalib_plugins import CutSwapPatchcore, Slsg
from anomalib_plugins.__main__ import main
from anomalib_plugins.callbacks.data_check import DataCheckError
from anomalib_plugins.components import weights

from .conftest import SIZE, datamodule, engine, mounted, small

NEW_NETWORK = 0x40000000  # CLONE_NEWNET of Linux
NOBODY = 65534


class Do(Callback):
    """Does something at the beginning of a training batch."""

    def __init__(self, action, batch=1):
        self.action, self.batch = action, batch

    def on_train_batch_start(self, trainer, *_):
        if trainer.fit_loop.total_batch_idx == self.batch:
            self.action()


def model(**options):
    """Slsg without its first phase."""
    return small(Slsg, pretrain="none", **options)


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def awkward(original, tmp_path_factory):
    """Photos of every kind that has to work, in a folder with a difficult name; what was in it, and a run on them."""
    root = tmp_path_factory.mktemp("my parts #1 %20 [x]")
    part = shutil.copytree(original, root / "part a")
    good = part / "train/good"
    for number, mode in enumerate(("L", "RGBA", "P")):
        Image.open(good / f"{number:03}.png").convert(mode).save(good / f"{number:03}.png")
    Image.open(good / "003.png").resize((80, 80)).save(good / "003.png")
    Image.open(good / "004.png").resize((40, 40)).save(good / "004.png")
    (part / "test/hole/000.png").rename(part / "test/hole/..%2e%2e #ü 検査.png")
    (part / "ground_truth/hole/000_mask.png").rename(part / "ground_truth/hole/..%2e%2e #ü 検査.png")
    before, results = listing(part), root / "ergebnisse ö 検査"
    folders = {"normal_dir": "train/good", "normal_test_dir": "test/good", "abnormal_dir": "test/hole"}
    data = Folder(name="teil ä", root=part, mask_dir="ground_truth/hole", **folders, num_workers=0, seed=0)
    running, trained = engine(results, max_steps=4), model()
    running.fit(trained, datamodule=data)
    metrics = running.test(trained, datamodule=data, ckpt_path=results / "weights/model.ckpt", verbose=False)
    return part, before, results, metrics[0]


def test_grey_transparent_palette_and_mixed_sizes_train_and_test(awkward):
    *_, metrics = awkward
    assert 0 <= metrics["image_AUROC"] <= 1


def test_nothing_is_written_to_the_photos(awkward):
    part, before, *_ = awkward
    assert listing(part) == before


def test_photos_on_a_disk_that_cannot_be_written_train(original, tmp_path):
    with mounted(tmp_path / "part", "--bind", "-o", "ro", original) as part:
        with pytest.raises(OSError, match="Read-only file system"):
            (part / "x").touch()
        engine(tmp_path, saves=False, max_steps=2).fit(model(), datamodule=datamodule(part))


def test_a_photo_that_may_not_be_read_is_named(original, fork):
    def run():
        os.setuid(NOBODY)
        sys.exit(main(["check", str(part)]))

    if os.getuid():
        pytest.skip(reason="only root may become a user who may not read a photo")
    with TemporaryDirectory() as folder:  # pytest's own are root's alone
        Path(folder).chmod(0o755)
        part = shutil.copytree(original, Path(folder) / "part")
        path = part / "train/good/003.png"
        path.chmod(0)
        child = fork(run)
        assert child.wait() == 1
    assert f"{path} cannot be opened (Permission denied)" in child.said


def test_difficult_paths_work_and_every_result_lies_in_the_results(awkward):
    part, _, results, _ = awkward
    assert "..%2e%2e #ü 検査.png" in {path.name for path in results.rglob("*.png")}
    assert (results / "weights/model.ckpt").is_file()
    assert {path.name for path in part.parent.iterdir()} == {part.name, results.name}


def test_a_file_spoilt_during_training_is_named(part, tmp_path):
    path = part / "train/good/003.png"
    spoil = Do(lambda: path.write_bytes(b""))
    with pytest.raises(OSError, match="cannot identify") as error:
        engine(tmp_path, spoil).fit(model(), datamodule=datamodule(part))
    (note,) = error.value.__notes__
    assert f"1 image files have changed since they were checked:\n  {path} is empty" in note
    assert (tmp_path / "weights/interrupted.ckpt").exists()


def test_a_file_deleted_during_training_is_named(part, tmp_path):
    path = part / "train/good/003.png"
    with pytest.raises(FileNotFoundError, match=str(path)):
        engine(tmp_path, Do(path.unlink), saves=False).fit(model(), datamodule=datamodule(part))


def test_what_stops_the_datamodule_is_named(part, tmp_path):
    mask = part / "ground_truth/hole/001_mask.png"
    mask.unlink()
    with pytest.raises(ValueError, match="Must have equal len") as error:
        engine(tmp_path).fit(model(), datamodule=datamodule(part))
    assert any("test/hole/001.png" in note for note in error.value.__notes__)
    with pytest.raises(ValueError, match="non-printable") as error:
        engine(tmp_path).fit(model(), datamodule=datamodule(part.rename(tmp_path / "Späne")))
    assert any("ASCII letters" in note for note in error.value.__notes__)


def test_nan_in_a_training_batch_is_refused_with_its_image(part, tmp_path):
    spoil = Lambda(lambda image: image.masked_fill(image > 0.6, torch.nan), tv_tensors.Image)
    trained = model()
    before = {name: each.clone() for name, each in trained.model.state_dict().items()}
    with pytest.raises(DataCheckError, match=r"2 of 2 images of training batch 0 hold NaN(.|\n)*train/good/00\d.png"):
        engine(tmp_path, saves=False).fit(trained, datamodule=datamodule(part, train_augmentations=spoil))
    assert_close(trained.model.state_dict(), before, rtol=0, atol=0)


def test_pixels_of_another_scale_in_a_training_batch_are_refused(part, tmp_path):
    forgotten = Lambda(lambda image: image * 255, tv_tensors.Image)
    with pytest.raises(DataCheckError, match=r"images of training batch 0 hold pixels from .* in place of 0 to 1"):
        engine(tmp_path, saves=False).fit(model(), datamodule=datamodule(part, train_augmentations=forgotten))


@pytest.mark.parametrize("without", ["val_split_mode", "limit_val_batches"])
def test_without_validation_images_the_highest_training_scores_are_thresholds(part, tmp_path, without):
    trained = model()
    data = datamodule(part, **({"val_split_mode": "none"} if without == "val_split_mode" else {}))
    limits = {"limit_val_batches": 0} if without == "limit_val_batches" else {}
    with pytest.warns(UserWarning, match="thresholds are the highest scores of the 6 training photos"):
        engine(tmp_path, max_steps=3, **limits).fit(trained, datamodule=data)
    saved = torch.load(tmp_path / "weights/model.ckpt", weights_only=True)["state_dict"]
    with torch.no_grad():
        network, resize = trained.eval().model, trained.pre_processor.transform
        batches = [network(resize(each.image)) for each in data.train_dataloader()]
    for kind, name in (("image", "pred_score"), ("pixel", "anomaly_map")):
        scores = torch.cat([getattr(batch, name).flatten() for batch in batches])
        assert_close(saved[f"post_processor._{kind}_threshold"], scores.max())
        assert_close(saved[f"post_processor.{kind}_min"], scores.min())


def test_a_model_without_thresholds_says_so_when_it_predicts_and_exports(part, tmp_path):
    untrained = model()
    with pytest.warns(UserWarning, match="This Slsg has no threshold: its scores are raw"):
        engine(tmp_path, saves=False).predict(untrained, datamodule=datamodule(part))
    with pytest.warns(UserWarning, match="This Slsg has no threshold"), pytest.raises(TypeError, match="bool"):
        untrained.to_onnx(tmp_path, dynamo="no export")


def test_constant_images_train_to_finite_weights(part, tmp_path):
    for path in (part / "train/good").iterdir():
        Image.new("RGB", (64, 64), "white").save(path)
    trained = model()
    with pytest.warns(UserWarning, match="6 of 6 training images have one single colour"):
        engine(tmp_path, saves=False, max_steps=3).fit(trained, datamodule=datamodule(part))
    assert all(each.isfinite().all() for each in trained.parameters())


def test_a_clock_that_jumps_changes_nothing(original, tmp_path, monkeypatch):
    def train(folder, *callbacks):
        trained = model()
        engine(folder, *callbacks, saves=False, max_steps=4, max_time={"minutes": 30}).fit(
            trained, datamodule=datamodule(original)
        )
        return trained

    def jump(seconds):
        return lambda: monkeypatch.setattr(time, "time", lambda: now() + seconds)

    expected, now = train(tmp_path / "a"), time.time
    jumps = [Do(jump(seconds), batch) for seconds, batch in ((-86_400, 1), (31_536_000, 3))]
    assert_close(train(tmp_path / "b", *jumps).model.state_dict(), expected.model.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("obstacle", ["a folder", "no links"])
def test_training_goes_on_where_latest_cannot_be_a_link(tmp_path, monkeypatch, caplog, obstacle):
    if obstacle == "a folder":
        (tmp_path / "latest").mkdir()
    else:

        def refuse(*_, **__):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(Path, "symlink_to", refuse)  # as on FAT
    assert anomalib.engine.engine.create_versioned_dir(tmp_path) == tmp_path / "v0"
    assert anomalib.engine.engine.create_versioned_dir(tmp_path) == tmp_path / "v1"
    assert f"{tmp_path / 'latest'} is no link to this run" in caplog.text
    assert f"look in {tmp_path / 'v1'}" in caplog.text


def test_a_results_folder_that_cannot_be_made_is_still_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        anomalib.engine.engine.create_versioned_dir(tmp_path / "file")


def test_two_runs_into_one_folder_do_not_touch_each_other(original, tmp_path, fork):
    def run(seed):
        running = Engine(
            default_root_dir=tmp_path, accelerator="cpu", max_steps=2, logger=False, enable_progress_bar=False
        )
        running.fit(model(seed=seed), datamodule=datamodule(original))

    children = [fork(lambda seed=seed: run(seed)) for seed in (1, 2)]
    assert [child.wait(120) for child in children] == [0, 0], [child.said for child in children]
    saved = sorted(path for path in tmp_path.rglob("model.ckpt") if "latest" not in path.parts)
    seeds = [torch.load(path, weights_only=True)["hyper_parameters"]["seed"] for path in saved]
    assert sorted(seeds) == [1, 2]


def test_without_internet_missing_weights_are_one_error_and_models_without_weights_work(original, tmp_path, fork):
    def run():
        if ctypes.CDLL(None).unshare(NEW_NETWORK):
            os._exit(77)
        torch.hub.set_dir(tmp_path)
        weights.try_to_load_from_cache = lambda *_: None
        engine(tmp_path, saves=False, max_steps=1).fit(model(), datamodule=datamodule(original))
        print("trained without internet", flush=True)
        patchcore = CutSwapPatchcore(image_size=SIZE, pre_trained=True, saliency="backbone", steps=2, freeze_steps=1)
        engine(tmp_path, saves=False).fit(patchcore, datamodule=datamodule(original))

    child = fork(run)
    code = child.wait()
    if code == 77:
        pytest.skip(reason="only root may give a process a namespace without a network")
    assert code == 1
    assert "trained without internet" in child.said
    assert "MissingFileError: no ImageNet weights for" in child.said
    assert "`pre_trained=False`" in child.said
