# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Faults of photos and masks, each with its files and a remedy."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sklearn.metrics import roc_auc_score

from anomalib_plugins.components.names import counted

from .image_files import ImageFile, read_files
from .photos import Photo

SHOWN = 20
HUGE = 25_000_000  # pixels: 300 MB as anomalib holds an image
TINY = 32  # pixels of a side
SOFT = 0.005  # share of a mask's pixels: a thin anti-aliased outline is no fault
ENOUGH, TELLING = 10, 0.95  # test photos of a kind, and AUROC, from which brightness is suspected
UNEQUAL = 1.1  # ratio of two aspect ratios that a resize makes alike
TO_8_BITS = (
    "To convert 16 bits to 8, write the images to another folder and train on that: "
    "cv2.imwrite(new_path, (cv2.imread(path, cv2.IMREAD_UNCHANGED) / 257).astype('uint8')); "
    "divide by 16 for a 12-bit camera; multiply floats in [0, 1] by 255."
)
# Attribute of an image file, what it means, and the remedy.
FLAGS = (
    ("paged", "image/images has/have several pages or frames; anomalib reads the first", "Save each page as a file."),
    (
        "transparent",
        "image/images is/are partly transparent; anomalib sees the colours below",
        "",
    ),
    (
        "rotated",
        "image/images was/were taken with the camera turned, which anomalib ignores: it/they lies/lie on the side",
        "Turn all files alike, e.g. PIL.ImageOps.exif_transpose(image), and their masks.",
    ),
)


class Finding(NamedTuple):
    """Fault of a set of photos.

    Attributes:
        what: Fault, in one line.
        files: Detail of each file that has it, by path; may be empty.
        way_out: Remedy; may be empty.
        refused: Whether training would fail or be meaningless.
    """

    what: str
    files: Mapping[str, str] = {}
    way_out: str = ""
    refused: bool = False

    def __str__(self) -> str:
        """Fault, first files and remedy, each on a line."""
        lines = [f"  {readable(path)} {readable(detail)}".rstrip() for path, detail in self.files.items()]
        more = [f"  ... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        return "\n".join([self.what + ":" * bool(lines), *lines[:SHOWN], *more, *filter(None, [self.way_out])])


def about(
    files: Iterable[str] | Mapping[str, str], what: str, way_out: str = "", *, refused: bool = False
) -> list[Finding]:
    """Create a finding whose first word is the number of files; none if there are no files.

    Args:
        files: Paths, or details by path.
        what: Fault, as in `counted`.
        way_out: Remedy.
        refused: Whether training would fail or be meaningless.
    """
    details = dict(files) if isinstance(files, Mapping) else dict.fromkeys(files, "")
    return [Finding(counted(len(details), what), details, way_out, refused)] if details else []


def readable(text: str | Path) -> str:
    """Escape line breaks, control sequences and undecodable bytes, so that a terminal can show a file name."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(text))


class Files(NamedTuple):
    """Photos, and their decoded images and masks by path."""

    photos: Sequence[Photo]
    images: Mapping[str, ImageFile]
    masks: Mapping[str, ImageFile]

    @property
    def bad(self) -> dict[str, str]:
        """Problem of each file that cannot be used."""
        return {path: file.problem for path, file in {**self.images, **self.masks}.items() if file.problem}

    def usable(self) -> list[tuple[Photo, ImageFile]]:
        """Usable photos, each once for every split and label it has."""
        pairs = [(photo, self.images[photo.path]) for photo in dict.fromkeys(self.photos)]
        return [(photo, file) for photo, file in pairs if not file.problem]

    def masked(self) -> dict[str, tuple[ImageFile, ImageFile]]:
        """Image and mask of each usable photo with a usable mask."""
        pairs = {photo.path: (file, self.masks[photo.mask]) for photo, file in self.usable() if photo.mask}
        return {path: pair for path, pair in pairs.items() if not pair[1].problem}


def look_at(photos: Sequence[Photo]) -> Files:
    """Decode the files of photos; a file that has not changed since the last time is not read again."""
    masks = (photo.mask for photo in photos if photo.mask)
    return Files(photos, read_files(photo.path for photo in photos), read_files(masks, mask=True))


def findings(files: Files) -> list[Finding]:
    """Find every fault of photos."""
    return [finding for rule in RULES for finding in rule(files)]


def unusable(files: Files) -> Iterable[Finding]:
    """Files that cannot be decoded, or that anomalib would read wrongly."""
    if files.bad:
        total = len(files.images) + len(files.masks)
        what = f"{len(files.bad)} of {counted(total, 'image file/files')} cannot be used"
        deep = any("bit" in problem or "float" in problem for problem in files.bad.values())
        way_out = "Repair, replace or remove these files." + f" {TO_8_BITS}" * deep
        yield Finding(what, files.bad, way_out, refused=True)


def training(files: Files) -> Iterable[Finding]:
    """A single training image, and training images that show nothing."""
    train = {photo.path: file for photo, file in files.usable() if photo.split == "train"}
    if len(train) == 1:
        only = readable(next(iter(train)))
        yield Finding(f"There is one training image, {only}: the model cannot learn what varies normally")
    constant = [path for path, file in train.items() if file.constant]
    yield from about(constant, f"of {len(train)} training images has/have one single colour")


def ignored(files: Files) -> Iterable[Finding]:
    """Pages, transparency and rotation, which anomalib drops."""
    seen = {photo.path: file for photo, file in files.usable()}
    for flag, what, way_out in FLAGS:
        yield from about([path for path, file in seen.items() if getattr(file, flag)], what, way_out)


def brightness(files: Files) -> Iterable[Finding]:
    """Good and defective test photos that were taken in different light."""
    test = [(photo.label == 1, file.brightness) for photo, file in files.usable() if photo.split == "test"]
    defective = [label for label, _ in test]
    if min(sum(defective), len(test) - sum(defective)) < ENOUGH:
        return
    area = roc_auc_score(defective, [mean for _, mean in test])
    area = max(area, 1 - area)
    if area >= TELLING:
        yield Finding(
            f"Mean brightness alone tells good test photos from defective ones (AUROC {area:.2f}): if they were "
            "taken differently, image scores measure the light, whatever the model",
            way_out="Take both in one session; until then trust pixel metrics more than image AUROC.",
        )


def sizes(files: Files) -> Iterable[Finding]:
    """Images too large or too small to train on, or of different shapes."""
    sides = {photo.path: file.size for photo, file in files.usable()}
    shown = {path: f"is {width} x {height}" for path, (width, height) in sides.items()}
    huge = {path: shown[path] for path, (width, height) in sides.items() if width * height > HUGE}
    what = "image/images is/are so large that reading one takes seconds and hundreds of megabytes"
    yield from about(huge, what, "Reduce or tile them once, into another folder, and train on that.")
    tiny = {path: shown[path] for path, size in sides.items() if min(size) < TINY}
    yield from about(tiny, f"image/images has/have a side of less than {TINY} pixels, enlarged to the model's size")
    shapes = {path: width / height for path, (width, height) in sides.items() if path not in tiny}
    if shapes and max(shapes.values()) > UNEQUAL * min(shapes.values()):
        extremes = [min(shapes, key=lambda path: shapes[path]), max(shapes, key=lambda path: shapes[path])]
        what = f"{len(shapes)} images differ in shape, and all are resized to that of the model: parts look distorted"
        yield Finding(what, {path: shown[path] for path in extremes}, "Crop them alike.")


def masks(files: Files) -> Iterable[Finding]:
    """Masks that pixel metrics would misunderstand."""
    pairs = files.masked()
    unequal = {
        path: f"is {i.size[0]} x {i.size[1]}, its mask {m.size[0]} x {m.size[1]}"
        for path, (i, m) in pairs.items()
        if i.size != m.size
    }
    yield from about(unequal, "mask/masks differs/differ in size from its/their image", "Resize without interpolation.")
    what = "defect/defects has/have an empty mask: pixel metrics count it/them as good"
    yield from about(
        [path for path, (_, mask) in pairs.items() if mask.marked == 0], what, "Draw the defects, or move the photos."
    )
    what = "mask/masks marks/mark the whole image"
    inverted = [path for path, (_, mask) in pairs.items() if mask.marked == 1]
    yield from about(inverted, what, "Defects are white on black: are these the other way round?")
    soft = {path: f"{mask.soft:.1%} of its pixels" for path, (_, mask) in pairs.items() if mask.soft > SOFT}
    what = "mask/masks has/have values between black and white, which anomalib takes for the defect"
    yield from about(soft, what, "Save them as PNG with the values 0 and 255.")
    yield from missing_masks(files.photos)


def missing_masks(photos: Sequence[Photo]) -> list[Finding]:
    """Defects without a mask where others have one."""
    defects = dict.fromkeys(photo for photo in photos if photo.label == 1 and photo.split != "train")
    missing = [photo.path for photo in defects if not photo.mask]
    what = "defect/defects has/have no mask, and anomalib fails where only some have one"
    way_out = "Draw the masks, or move the defects out, or train without masks: datamodule Folder without mask_dir."
    return about(missing, what, way_out, refused=True) if len(missing) < len(defects) else []


def copies(files: Files) -> Iterable[Finding]:
    """Photos that are in training and test, or both good and defective."""
    same: dict[bytes, list[Photo]] = defaultdict(list)
    for photo, file in files.usable():
        same[file.digest].append(photo)
    trained, labels = {}, {}
    for group in same.values():
        train = next((photo.path for photo in group if photo.split == "train"), None)
        good = next((photo.path for photo in group if photo.label == 0), None)
        trained.update({photo.path: f"is {train}" for photo in group if train and photo.split in {"val", "test"}})
        labels.update({photo.path: f"is {good}" for photo in group if good and photo.label == 1})
    what = "image/images of validation or test was/were trained on: scores look better than they are"
    yield from about(trained, what)
    yield from about(labels, "defect/defects is/are the same picture as a good part", "Keep one of each.")


def names(files: Files) -> Iterable[Finding]:
    """Photos whose heatmaps anomalib saves under one name."""
    first: dict[tuple[str, ...], str] = {}
    clashes = {}
    for path in dict.fromkeys(photo.path for photo in files.photos if photo.split in {"test", "predict"}):
        other = first.setdefault(Path(path).parts[-2:], path)
        if other != path:
            clashes[path] = f"is named like {other}"
    what = "image/images shares/share name and folder's name with another, so heatmaps overwrite each other"
    yield from about(clashes, what, "Rename them.")


RULES: tuple[Callable[[Files], Iterable[Finding]], ...] = (
    unusable,
    training,
    masks,
    ignored,
    brightness,
    sizes,
    copies,
    names,
)
