# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Photos spoilt in every way that was met, and what ``python -m anomalib_plugins check`` says of each."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from anomalib.data import MVTecAD
from PIL import Image

from anomalib_plugins.__main__ import main


class Fault(NamedTuple):
    """How to spoil a part, what is said of it, and whether training must wait."""

    spoil: Callable[[Path], object]
    says: str
    error: bool = True


def good(part, number=2):
    return part / f"train/good/{number:03}.png"


def mask(part, number=1):
    return part / f"ground_truth/hole/{number:03}_mask.png"


def pixels(path):
    return np.asarray(Image.open(path))


def deep(path, factor, channels=slice(None)):
    """Save with 16 bits a channel."""
    cv2.imwrite(str(path), pixels(path)[..., channels].astype(np.uint16) * factor)


def plain_folders(part):
    """From MVTec AD's layout to ``good`` and ``bad`` without masks."""
    (part / "train/good").rename(part / "good")
    for kind in ("hole", "notch"):
        shutil.move(part / "test" / kind, part / f"bad/{kind}/a")
    for name in ("train", "test", "ground_truth"):
        shutil.rmtree(part / name)
    return part


def turned(path):
    image = Image.open(path)
    exif = image.getexif()
    exif[0x0112] = 6  # orientation
    image.save(path, exif=exif)


def paged(path):
    page = grey((64, 64))
    page.save(path, save_all=True, append_images=[page.rotate(90)])


def transparent(path):
    image = Image.open(path).convert("RGBA")
    image.putalpha(90)
    image.save(path)


def only(folder, keep):
    for path in sorted(folder.iterdir())[keep:]:
        path.unlink()


def in_another_light(part):
    """Ten test photos of a kind, the good ones taken with more light."""
    for number in range(10):
        dark, light = pixels(part / "test/hole/000.png"), pixels(part / "test/good/000.png")
        Image.fromarray(dark - np.uint8(number)).save(part / f"test/hole/1{number:02}.png")
        shutil.copy(mask(part), mask(part, 100 + number))
        Image.fromarray(light + np.uint8(20 + number)).save(part / f"test/good/1{number:02}.png")


def number_without_zeros(part):
    for kind in ("hole", "notch"):
        for old, new in enumerate((1, 10, 2)):
            (part / f"test/{kind}/{old:03}.png").rename(part / f"test/{kind}/{new}.png")
            (part / f"ground_truth/{kind}/{old:03}_mask.png").rename(part / f"ground_truth/{kind}/{new}_mask.png")


def grey(size):
    """A picture of stripes."""
    return Image.fromarray((np.arange(size[0] * size[1]) % 251).astype(np.uint8).reshape(size[1], size[0]))


FAULTS = {
    "truncated": Fault(
        lambda part: good(part).write_bytes(good(part).read_bytes()[:3000]), r"002.png is damaged \(.*truncated"
    ),
    "zero bytes": Fault(lambda part: good(part).write_bytes(b""), r"002.png is empty \(0 bytes\)"),
    "no image": Fault(lambda part: good(part).write_text("hello"), "002.png is not an image"),
    "damaged inside": Fault(
        lambda part: good(part).write_bytes(good(part).read_bytes()[:400] + b"?" * 9000), "002.png is damaged"
    ),
    "link to nothing": Fault(
        lambda part: (good(part).unlink(), good(part).symlink_to("gone.png")), r"002.png cannot be opened \(No such"
    ),
    "folder named like an image": Fault(lambda part: (mask(part).unlink(), mask(part).mkdir()), "1 defect has no mask"),
    "16-bit grey": Fault(lambda part: deep(good(part), 257, 0), "002.png has 16-bit or deeper pixels"),
    "12-bit colour": Fault(lambda part: deep(good(part), 16), "002.png has few of 16 bits in use"),
    "float": Fault(
        lambda part: tifffile.imwrite(plain_folders(part) / "good/x.tiff", np.full((64, 64), 0.5, np.float32)),
        "x.tiff has float pixels",
    ),
    "bomb": Fault(
        lambda part: Image.new("1", (20_000, 20_000)).save(good(part)), "002.png is too large: .*400000000 pixels"
    ),
    "huge": Fault(
        lambda part: Image.new("L", (20_000, 1_300)).save(good(part)),
        "1 image is so large.*\n.*is 20000 x 1300",
        error=False,
    ),
    "one pixel": Fault(
        lambda part: Image.new("L", (1, 1), 7).save(good(part)),
        "side of less than 32 pixels.*\n.*is 1 x 1",
        error=False,
    ),
    "other shape": Fault(
        lambda part: grey((64, 40)).save(good(part)), "images differ in shape(.|\n)*002.png is 64 x 40", error=False
    ),
    "transparent": Fault(lambda part: transparent(good(part)), "1 image is partly transparent", error=False),
    "camera turned": Fault(lambda part: turned(good(part)), "1 image was taken with the camera turned", error=False),
    "one colour": Fault(
        lambda part: Image.new("RGB", (64, 64), "white").save(good(part)),
        "1 of 6 training images has one single colour",
        error=False,
    ),
    "one training image": Fault(
        lambda part: only(part / "train/good", 1), "one training image, .*000.png", error=False
    ),
    "no training image": Fault(
        lambda part: only(part / "train/good", 0), r"no training images in .*train/good \(endings looked for: .png"
    ),
    "other ending": Fault(
        lambda part: good(part).rename(good(part).with_suffix(".jpg")),
        "1 image is not read .*\n.*002.jpg",
        error=False,
    ),
    "photo of a phone": Fault(
        lambda part: (plain_folders(part) / "good/002.png").rename(part / "good/002.HEIC"),
        "1 image is not read .*\n.*002.HEIC\nSave them as PNG",
        error=False,
    ),
    "more channels than three": Fault(
        lambda part: [
            tifffile.imwrite(plain_folders(part) / "good/a.tif", np.zeros((64, 64, 5), np.uint8), photometric="rgb"),
            tifffile.imwrite(
                part / "good/b.tif", np.zeros((64, 64, 4), np.uint8), photometric="minisblack", planarconfig="contig"
            ),
        ],
        "a.tif has 5 channels, of which anomalib reads one or three.*\n.*b.tif has 4 channels",
    ),
    "several pages": Fault(
        lambda part: [paged(plain_folders(part) / "good/x.tif"), paged(part / "good/x.webp")],
        "2 images have several pages or frames.*\n.*x.tif\n.*x.webp",
        error=False,
    ),
    "no test": Fault(
        lambda part: (shutil.rmtree(part / "test"), shutil.rmtree(part / "ground_truth")),
        "no photos of defects to test on: the datamodule SyntheticAnomaly",
        error=False,
    ),
    "no defects": Fault(
        lambda part: [shutil.rmtree(part / name) for name in ("test/hole", "test/notch", "ground_truth")],
        "There are no photos of defects to test on",
        error=False,
    ),
    "mask missing": Fault(
        lambda part: mask(part).unlink(), "1 defect has no mask, and anomalib fails .*\n.*test/hole/001.png"
    ),
    "all masks missing": Fault(
        lambda part: shutil.rmtree(part / "ground_truth"), "None of 6 defects has a mask, .*anomalib fails"
    ),
    "mask of nothing": Fault(
        lambda part: shutil.copy(mask(part), mask(part, 9)), "1 mask belongs to no defect.*\n.*009_mask.png"
    ),
    "masks out of order": Fault(
        number_without_zeros, "would get the mask of another: .*\n.*hole/1.png would get .*hole/10_mask.png"
    ),
    "mask damaged": Fault(lambda part: mask(part).write_bytes(mask(part).read_bytes()[:60]), "001_mask.png is damaged"),
    "mask of another size": Fault(
        lambda part: Image.open(mask(part)).resize((32, 32)).save(mask(part)),
        "is 64 x 64, its mask 32 x 32",
        error=False,
    ),
    "mask empty": Fault(
        lambda part: Image.new("L", (64, 64)).save(mask(part)),
        "1 defect has an empty mask.*\n.*hole/001.png",
        error=False,
    ),
    "mask inverted": Fault(
        lambda part: Image.new("L", (64, 64), 255).save(mask(part)), "1 mask marks the whole image", error=False
    ),
    "mask soft": Fault(
        lambda part: cv2.imwrite(str(mask(part)), cv2.GaussianBlur(pixels(mask(part)), (9, 9), 3)),
        r"values between black and white.*\n.*001.png [1-9]\S+% of its pixels",
        error=False,
    ),
    "test image in training": Fault(
        lambda part: shutil.copy(part / "test/good/000.png", good(part)),
        "was trained on.*\n.*test/good/000.png",
        error=False,
    ),
    "defect among the good": Fault(
        lambda part: shutil.copy(part / "test/hole/000.png", part / "test/good/009.png"),
        "the same picture as a good part.*\n.*hole/000.png is .*good/009.png",
        error=False,
    ),
    "good ones in another light": Fault(
        in_another_light, r"Mean brightness alone tells good test photos .*\(AUROC 1.00\)", error=False
    ),
    "same names": Fault(
        plain_folders,
        "shares? name and folder's name.*\n.*notch/a/000.png is named like .*hole/a/000.png",
        error=False,
    ),
    "names for a terminal": Fault(
        lambda part: (
            good(part)
            .rename(os.fsdecode(os.fsencode(part / "train/good") + b"/sp\xc3\xa4ne \x1b[31m\xe9.png"))
            .write_bytes(b"")
        ),
        r"späne \\x1b\[31m\\udce9.png is empty",
    ),
}


def check(capsys, *arguments):
    code = main(["check", *map(str, arguments)])
    return code, capsys.readouterr().out


def found(printed):
    return [block for block in printed.split("\n\n") if block.startswith(("ERROR", "note"))]


@pytest.mark.parametrize("name", FAULTS)
def test_check_names(part, capsys, name):
    fault = FAULTS[name]
    fault.spoil(part)
    code, printed = check(capsys, part)
    (said,) = [block for block in found(printed) if re.search(fault.says, block)] or pytest.fail(printed)
    assert said.startswith("ERROR" if fault.error else "note")
    assert code == int(fault.error)


def test_all_that_is_wrong_is_said_at_once_and_what_waits_first(part, capsys):
    good(part, 0).write_bytes(b"")
    deep(good(part, 1), 257, 0)
    turned(good(part, 3))
    mask(part, 0).unlink()
    code, printed = check(capsys, part)
    assert [block.split()[0] for block in found(printed)] == ["ERROR", "ERROR", "note"]
    assert all(name in printed for name in ("000.png is empty", "001.png has 16-bit", "good/003.png", "hole/000.png"))
    assert "2 errors, 1 note" in printed
    assert code == 1


def test_colours_that_anomalib_reads_well_are_not_complained_about(part, capsys):
    root = plain_folders(part)
    for number, (mode, ending) in enumerate((("L", "png"), ("CMYK", "jpg"), ("P", "png"), ("RGBA", "png"))):
        Image.open(root / f"good/{number:03}.png").convert(mode).save(root / f"good/mode{number}.{ending}")
    deep(root / "good/005.png", 257)
    code, printed = check(capsys, root / "good")
    assert found(printed) == []
    assert "10 images to train on" in printed
    assert code == 0


FOLDER = """
class_path: Folder
init_args: {{name: disc, root: {root}, normal_dir: train/good, normal_test_dir: test/good, num_workers: 0, seed: 0,
  abnormal_dir: [test/hole, test/notch], mask_dir: [{masks}]}}
"""


@pytest.mark.parametrize("nested", [False, True])
def test_any_datamodule_of_a_configuration_is_checked(part, tmp_path, capsys, nested):
    masks = ["ground_truth/hole", "ground_truth/notch"][:: -1 if nested else 1]  # found by name in either order
    text = FOLDER.format(root=part, masks=", ".join(masks)).strip()
    config = tmp_path / "data.yaml"
    config.write_text("model: {class_path: Pouta}\ndata:\n  " + text.replace("\n", "\n  ") if nested else text)
    code, printed = check(capsys, "--data", config)
    assert (code, found(printed)) == (0, [])
    assert "disc: 6 images to train on" in printed
    mask(part).unlink()
    code, printed = check(capsys, "--data", config)
    assert "ERROR  disc cannot be set up: ValueError" in printed
    assert re.search(r"ERROR  1 defect has no mask.*\n.*test/hole/001.png", printed)
    assert code == 1


def test_what_a_table_names_and_is_not_there_is_named(part, tmp_path, capsys):
    config, paths = tmp_path / "data.yaml", ["train/good/000.png", "train/good/gone.png", r"test\hole\000.png"]
    table = {"image_path": paths, "label_index": [0, 0, 1], "split": ["train", "train", "test"]}
    arguments = {"name": "table", "root": str(part), "samples": table, "num_workers": 0}
    config.write_text(json.dumps({"class_path": "Tabular", "init_args": arguments}))
    code, printed = check(capsys, "--data", config)
    assert f"ERROR  2 files of the table are not in {part}" in printed
    assert "  train/good/gone.png\n  test\\hole\\000.png\nWrite / in place of the backslashes" in printed
    assert code == 1


def test_a_file_that_describes_no_datamodule_is_refused(tmp_path, capsys):
    config = tmp_path / "data.yaml"
    for text in ("hello", "class_path: Foldr", "{", ""):
        config.write_text(text)
        with pytest.raises(SystemExit):
            main(["check", "--data", str(config)])
        assert "data.yaml is no configuration of a datamodule" in capsys.readouterr().err


def test_masks_of_a_table_work_or_it_is_said_with_which_pandas(part, tmp_path, capsys):
    config, photos = tmp_path / "data.yaml", [good(part, 0), good(part, 1), *(part / "test/hole").iterdir()]
    masks = ["", "", *(str(part / f"ground_truth/hole/{path.stem}_mask.png") for path in photos[2:])]
    table = {"image_path": [str(path) for path in photos], "label_index": [0, 0, 1, 1, 1], "mask_path": masks}
    arguments = {"name": "table", "samples": table, "num_workers": 0}
    config.write_text(json.dumps({"class_path": "Tabular", "init_args": arguments}))
    code, printed = check(capsys, "--data", config)
    assert code == 0, printed
    config.write_text(json.dumps({"class_path": "Tabular", "init_args": {**arguments, "root": str(part)}}))
    code, printed = check(capsys, "--data", config)
    assert code == int("pip install 'pandas<3'" in printed) == int(pd.__version__ >= "3")


def test_masks_that_anomalib_would_give_to_other_defects_without_a_word_are_found(part, tmp_path, capsys):
    (part / "ground_truth/hole").rename(part / "ground_truth/z_hole")
    config = tmp_path / "data.yaml"
    config.write_text(FOLDER.format(root=part, masks="ground_truth/z_hole, ground_truth/notch"))
    code, printed = check(capsys, "--data", config)
    assert re.search(
        r"ERROR  6 defects would get the mask of another.*\n.*hole/000.png would get .*notch/000_mask", printed
    )
    assert "cannot be set up" not in printed
    assert code == 1


def test_a_folder_with_an_umlaut_is_refused_and_the_link_proposed_works(part, tmp_path, capsys):
    code, printed = check(capsys, part.rename(tmp_path / "Späne 検査"))
    assert "ERROR  4 folders have other than ASCII letters" in printed
    assert f"ln -s '{tmp_path}/Späne 検査' /tmp/photos" in printed
    assert code == 1
    (tmp_path / "link").symlink_to("Späne 検査")
    assert check(capsys, tmp_path / "link")[0] == 0
    data = MVTecAD(root=tmp_path, category="link", num_workers=0, train_batch_size=2)
    data.setup()
    assert len(next(iter(data.train_dataloader())).image) == 2
    with pytest.raises(ValueError, match="non-printable"):
        MVTecAD(root=tmp_path, category="Späne 検査").setup()


def test_the_datamodule_folder_takes_a_link_in_absolute_paths_and_not_in_root(part, tmp_path, capsys):
    part.rename(tmp_path / "Späne")
    (tmp_path / "link").symlink_to("Späne")
    config = tmp_path / "data.yaml"
    for root, folder, refused in ((tmp_path / "link", "train/good", 1), (None, tmp_path / "link/train/good", 0)):
        arguments = {"name": "disc", "root": root and str(root), "normal_dir": str(folder), "num_workers": 0}
        config.write_text(json.dumps({"class_path": "Folder", "init_args": arguments}))
        code, printed = check(capsys, "--data", config)
        assert code == int("give it absolute paths" in printed) == int("cannot be set up" in printed) == refused
