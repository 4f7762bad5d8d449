# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import logging
import time

import numpy as np
import pytest
import torch
from PIL import Image

from anomalib_plugins.synthesis import ProceduralTextures, TextureFolder, texture_source
from anomalib_plugins.synthesis.textures import random_textures


def test_folder_finds_images_in_subfolders_whatever_their_extensions_case(texture_root):
    assert [path.name for path in TextureFolder(texture_root).paths] == ["a.png", "b.JPG", "grey.bmp"]


def test_textures_are_resized_rgb(texture_root):
    textures = TextureFolder(texture_root)
    for number in range(len(textures)):
        assert textures.get(number, (40, 30)).shape == (40, 30, 3)
    grey = textures.get(2, (64, 64))
    assert np.array_equal(grey, np.repeat(np.asarray(Image.open(texture_root / "grey.bmp"))[..., None], 3, axis=2))
    assert np.array_equal(textures.get(0, (50, 70)), np.asarray(Image.open(texture_root / "a.png")))


def test_no_more_is_kept_than_fits(texture_root):
    textures = TextureFolder(texture_root, cache_bytes=40 * 40 * 3)
    first, second = textures.get(0, (40, 40)), textures.get(1, (40, 40))
    assert textures.get(0, (40, 40)) is first
    assert textures.get(1, (40, 40)) is not second


def test_procedural_textures_differ_but_stay_the_same():
    first, again = ProceduralTextures(), ProceduralTextures()
    assert len(first) == 256
    assert first.get(3, (50, 70)).shape == (50, 70, 3)
    assert np.array_equal(first.get(3, (50, 70)), again.get(3, (50, 70)))
    assert not np.array_equal(first.get(3, (50, 70)), first.get(4, (50, 70)))
    assert first.get(3, (50, 70)).std() > 5


def test_procedural_textures_have_details_contrast_and_few_hues_as_photos_have():
    textures = ProceduralTextures()
    made = np.stack([textures.get(number, (128, 128)) for number in range(64)]) / 255
    details = np.abs(np.diff(made.mean(axis=3), axis=2)).mean(axis=(1, 2))  # of photos of textures 0.01 to 0.15
    assert np.median(details) > 0.03
    assert 0.005 < details.min() < 0.03
    assert np.median(made.mean(axis=3).std(axis=(1, 2))) > 0.1
    grey = made.mean(axis=3)[..., None]
    hues = np.abs(made - grey - (made - grey).mean(axis=(1, 2), keepdims=True)).mean()
    assert hues < 0.05


def test_folder_without_images_is_refused_with_the_extensions_looked_for(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(FileNotFoundError, match=r"holds no image \(\.bmp, \.jpeg, \.jpg, \.png.*subfolders included\)"):
        texture_source(tmp_path)


def test_files_that_cannot_be_decoded_are_refused_together_at_construction(texture_root):
    (texture_root / "broken.jpg").write_bytes(b"no image")
    (texture_root / "empty.png").write_bytes(b"")
    for name in ("cut.jpg", "cut.png", "cut.webp"):
        Image.effect_noise((128, 128), 50).convert("RGB").save(texture_root / name)
        whole = (texture_root / name).read_bytes()
        (texture_root / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="5 of 8 textures are not readable images; remove or replace them") as error:
        texture_source(texture_root)
    for name in ("broken.jpg", "empty.png", "cut.jpg", "cut.png", "cut.webp"):
        assert f"{texture_root / name} (" in str(error.value)


def test_eight_hundred_textures_are_decoded_in_less_than_three_seconds(tmp_path):
    Image.effect_noise((256, 256), 50).convert("RGB").save(tmp_path / "0.jpg")
    for i in range(1, 800):
        (tmp_path / f"{i}.jpg").write_bytes((tmp_path / "0.jpg").read_bytes())
    start = time.process_time()  # of all threads, whatever else runs
    assert len(TextureFolder(tmp_path)) == 800
    assert time.process_time() - start < 3


def test_file_that_is_emptied_later_is_refused_when_read(texture_root):
    textures = TextureFolder(texture_root)
    (texture_root / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"texture .*a\.png cannot be read"):
        textures.get(0, (32, 32))


def test_the_log_says_which_textures_are_used(texture_root, caplog):
    with caplog.at_level(logging.INFO, logger="anomalib_plugins"):
        texture_source()
        texture_source(texture_root)
    assert "No texture folder given: structural anomalies use procedural textures" in caplog.text
    assert "use the 3 textures in" in caplog.text


def test_random_textures_are_drawn_from_the_whole_folder_and_changed(texture_root):
    textures = TextureFolder(texture_root)
    made = random_textures(textures, 16, (40, 50), torch.Generator().manual_seed(0))
    assert made.shape == (16, 40, 50, 3)
    assert len({image.tobytes() for image in made}) == 16
    originals = {textures.get(number, (40, 50)).tobytes() for number in range(3)}
    assert not originals & {image.tobytes() for image in made}
