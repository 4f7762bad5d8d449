# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""When image files are checked, and what becomes of findings; each finding is in ``tests/faults/test_check.py``."""

import re
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from anomalib import LearningType
from anomalib.data import MVTecAD, PredictDataset
from jsonargparse import ArgumentParser
from lightning.pytorch import Callback
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from anomalib_plugins.callbacks.data_check import DataCheck, DataCheckError
from anomalib_plugins.inspection import image_files

ONE_CLASS = SimpleNamespace(learning_type=LearningType.ONE_CLASS)
RNG = np.random.default_rng(0)


def photo(path, shape=(48, 64, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def root(tmp_path):
    """Four good photos for training, one good and one scratched for testing."""
    for i in range(4):
        photo(tmp_path / f"part/train/good/{i}.png")
    photo(tmp_path / "part/test/good/0.png")
    photo(tmp_path / "part/test/scratch/1.png")
    (tmp_path / "part/ground_truth/scratch").mkdir(parents=True)
    Image.fromarray(np.eye(48, 64, dtype=np.uint8) * 255).save(tmp_path / "part/ground_truth/scratch/1_mask.png")
    return tmp_path


def datamodule(root):
    data = MVTecAD(root=root, category="part", num_workers=0)
    data.setup()
    return data


def run(data, check=None, module=ONE_CLASS, stage="fit"):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (check or DataCheck()).setup(SimpleNamespace(datamodule=data), module, stage)
    return [str(warning.message) for warning in caught]


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def deep_png(path):
    Image.fromarray(RNG.integers(0, 4096, (48, 64), dtype=np.uint16)).save(path)


def test_a_clean_folder_passes_without_a_warning(root):
    assert run(datamodule(root)) == []


def test_one_report_lists_twenty_paths_and_the_count(root):
    for i in range(30):
        (root / f"part/train/good/x{i:02d}.png").write_bytes(b"")
    with pytest.raises(DataCheckError, match="30 of 37 image files") as caught:
        run(datamodule(root))
    report = str(caught.value)
    assert report.count("is empty") == 20
    assert "... and 10 more" in report


def test_skipping_removes_bad_images_and_counts_them(root):
    cut_in_half(root / "part/train/good/0.png")
    cut_in_half(root / "part/ground_truth/scratch/1_mask.png")
    data = datamodule(root)
    (message,) = run(data, DataCheck(on_bad_image="skip"))
    assert "3 images were left out" in message  # one for training, the scratched one in val and in test
    assert [Path(path).name for path in data.train_data.samples.image_path] == ["1.png", "2.png", "3.png"]
    assert data.test_data.samples.label_index.tolist() == [0]
    assert data.test_data.task == "segmentation"
    assert len(next(iter(data.train_dataloader())).image) == 3


@pytest.mark.parametrize("on_bad_image", ["raise", "skip"])
def test_a_defect_without_the_mask_that_others_have_is_refused(root, on_bad_image):
    data = datamodule(root)
    rows = data.test_data.samples
    data.test_data._samples = pd.concat([rows, rows[rows.label_index == 1].assign(mask_path=None)], ignore_index=True)
    with pytest.raises(DataCheckError, match=r"1 defect has no mask, and anomalib fails .*\n.*scratch/1.png"):
        run(data, DataCheck(on_bad_image=on_bad_image))


def test_skipping_every_training_image_is_refused(root):
    for path in (root / "part/train/good").iterdir():
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="4 images were left out"), pytest.raises(DataCheckError, match="no training"):
        DataCheck(on_bad_image="skip").setup(SimpleNamespace(datamodule=datamodule(root)), ONE_CLASS, "fit")


def test_the_way_out_overwrites_no_original_and_names_the_command_line(root):
    deep_png(root / "part/train/good/1.png")
    with pytest.raises(DataCheckError, match="another folder") as error:
        run(datamodule(root))
    assert "cv2.imwrite(new_path," in str(error.value)
    options = re.findall(r"--trainer\.callbacks\S*(?: [^-\s.]+)+", str(error.value))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--trainer.callbacks", type=list[Callback] | Callback)
    words = " ".join(options).rstrip(".").split()
    check = parser.instantiate_classes(parser.parse_args(words)).trainer.callbacks
    check = check[0] if isinstance(check, list) else check
    assert check.on_bad_image == "skip"


def test_models_that_learn_from_defects_may_have_them(root):
    data = datamodule(root)
    data.train_data, data.test_data, data.val_data = data.test_data, data.train_data, data.train_data
    assert run(data, module=SimpleNamespace(learning_type=LearningType.ZERO_SHOT)) == []


def test_testing_does_not_look_at_training_images(root):
    (root / "part/train/good/0.png").write_bytes(b"")
    assert run(datamodule(root), stage="test") == []


@pytest.mark.parametrize(
    ("hook", "loaders"),
    [
        ("on_train_start", "train_dataloader"),
        ("on_test_start", "test_dataloaders"),
        ("on_predict_start", "predict_dataloaders"),
    ],
)
def test_loaders_without_a_datamodule_are_checked(root, hook, loaders):
    bad = root / "part/train/good/1.png"
    bad.write_bytes(b"")
    data = PredictDataset(root / "part/train/good")
    loop = SimpleNamespace(setup_data=lambda: None, reset=lambda: None)
    trainer = SimpleNamespace(datamodule=None, predict_loop=loop, **{loaders: [DataLoader(data)]})
    DataCheck().setup(trainer, ONE_CLASS, "fit")
    with pytest.raises(DataCheckError, match=r"1.png is empty"):
        getattr(DataCheck(), hook)(trainer, ONE_CLASS)
    with pytest.warns(UserWarning, match="1 images were left out"):
        getattr(DataCheck(on_bad_image="skip"), hook)(trainer, ONE_CLASS)
    assert [path.name for path in data.image_filenames] == ["0.png", "2.png", "3.png"]


@pytest.mark.parametrize("loaders", [None, [], {"a": DataLoader(TensorDataset())}])
def test_what_is_no_image_dataset_passes_silently(loaders):
    trainer = SimpleNamespace(datamodule=None, train_dataloader=loaders)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DataCheck().on_train_start(trainer, ONE_CLASS)


def test_a_file_is_decoded_once_until_it_changes(root, monkeypatch):
    decoded: list[str] = []
    decode = image_files._decode
    monkeypatch.setattr(image_files, "_decode", lambda data, **kinds: decoded.append(data) or decode(data, **kinds))
    run(datamodule(root))
    assert len(decoded) == 7
    run(datamodule(root))
    assert len(decoded) == 7
    changed = photo(root / "part/train/good/3.png", (30, 30, 3))
    run(datamodule(root))
    assert decoded[7:] == [changed.read_bytes()]


def test_a_thousand_images_take_less_than_five_seconds(root):
    data = photo(root / "source.png", (256, 256, 3)).read_bytes()
    for i in range(1000):
        (root / f"part/train/good/x{i}.png").write_bytes(data)
    module = datamodule(root)
    start = time.process_time()
    run(module)
    assert time.process_time() - start < 5


def test_unknown_choices_are_refused():
    with pytest.raises(ValueError, match="on_bad_image must be 'raise' or 'skip', got 'ignore'"):
        DataCheck(on_bad_image="ignore")
