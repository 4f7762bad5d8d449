# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What would spoil a training on photos, all of it at once and in words."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sklearn.metrics import roc_auc_score

from .image_files import ImageFile, read_files
from .photos import Photo

SHOWN = 20
HUGE = 25_000_000  # pixels: 300 MB as anomalib holds an image
TINY = 32  # pixels of a side
SOFT = 0.005  # share of a mask's pixels: a thin anti-aliased outline is no fault
ENOUGH, TELLING = 10, 0.95  # test photos of a kind, and AUROC, from which brightness is suspected
UNEQUAL = 1.1  # ratio of two aspect ratios that a resize makes alike
TO_8_BITS = (
    "To make 8 bits of 16 in another folder, whose images you then train on: "
    "cv2.imwrite(new_path, (cv2.imread(path, cv2.IMREAD_UNCHANGED) / 257).astype('uint8')); "
    "of a 12-bit camera's, divide by 16; of floats in [0, 1], multiply by 255."
)


class Finding(NamedTuple):
    """One thing that is wrong with a set of photos.

    Attributes:
        what: One line.
        files: What there is to say about each file it is about; may be empty.
        way_out: What to do; may be empty.
        refused: Whether training would fail or mean nothing.
    """

    what: str
    files: Mapping[str, str] = {}
    way_out: str = ""
    refused: bool = False

    def __str__(self) -> str:
        """The line, the first files, one a line, and what to do."""
        lines = [f"  {readable(path)} {readable(detail)}".rstrip() for path, detail in self.files.items()]
        rest = len(lines) - SHOWN
        more = [f"  ... and {rest} more"] if rest > 0 else []
        return "\n".join([self.what + ":" * bool(lines), *lines[:SHOWN], *more, *filter(None, [self.way_out])])


def readable(text: str | Path) -> str:
    """A file's name for a terminal: with no line break, escape sequence or bytes that are no text.

    Args:
        text: The name, or what contains it.
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(text))


class Files(NamedTuple):
    """Photos, and what decoding them and their masks showed, by path."""

    photos: Sequence[Photo]
    images: Mapping[str, ImageFile]
    masks: Mapping[str, ImageFile]

    @property
    def bad(self) -> dict[str, str]:
        """What is wrong with the files that cannot be used."""
        return {path: file.problem for path, file in {**self.images, **self.masks}.items() if file.problem}

    def usable(self) -> list[tuple[Photo, ImageFile]]:
        """Every usable photo once for each part it plays, and what decoding it showed."""
        pairs = [(photo, self.images[photo.path]) for photo in dict.fromkeys(self.photos)]
        return [(photo, file) for photo, file in pairs if not file.problem]

    def masked(self) -> dict[str, tuple[ImageFile, ImageFile]]:
        """Each usable photo with a usable mask, and what decoding the two showed."""
        pairs = {photo.path: (file, self.masks[photo.mask]) for photo, file in self.usable() if photo.mask}
        return {path: pair for path, pair in pairs.items() if not pair[1].problem}


def look_at(photos: Sequence[Photo]) -> Files:
    """Decode the files of photos; a file that has not changed since it was last looked at is not read again."""
    masks = (photo.mask for photo in photos if photo.mask)
    return Files(photos, read_files(photo.path for photo in photos), read_files(masks, mask=True))


def findings(files: Files) -> list[Finding]:
    """Everything that is wrong with photos."""
    return [finding for rule in RULES for finding in rule(files)]


def unusable(files: Files) -> Iterable[Finding]:
    """Files that cannot be decoded, or that anomalib would read wrongly."""
    if files.bad:
        what = f"{len(files.bad)} of {len(files.images) + len(files.masks)} image files cannot be used"
        deep = any("bit" in problem or "float" in problem for problem in files.bad.values())
        way_out = "Repair, replace or remove these files." + f" {TO_8_BITS}" * deep
        yield Finding(what, files.bad, way_out, refused=True)


def too_few(files: Files) -> Iterable[Finding]:
    """One training image, or training images that show nothing."""
    train = {photo.path: file for photo, file in files.usable() if photo.split == "train"}
    if len(train) == 1:
        only = readable(next(iter(train)))
        yield Finding(f"There is one training image, {only}: the model cannot learn what varies normally")
    constant = [path for path, file in train.items() if file.constant]
    yield from _about(constant, f"of {len(train)} training images have one single colour")


def colours(files: Files) -> Iterable[Finding]:
    """Pages, transparency and rotation, which anomalib drops."""
    seen = {photo.path: file for photo, file in files.usable()}
    what = "images have several pages or frames, of which anomalib reads the first"
    yield from _about([path for path, file in seen.items() if file.paged], what, "Save each page as a file.")
    what = "images are partly transparent; anomalib drops the transparency and sees the colour below it"
    yield from _about([path for path, file in seen.items() if file.transparent], what)
    what = "images were taken with the camera turned, which anomalib does not see: they lie on their side"
    rotated = [path for path, file in seen.items() if file.rotated]
    yield from _about(rotated, what, "Turn all files alike, e.g. PIL.ImageOps.exif_transpose(image), and their masks.")


def brightness(files: Files) -> Iterable[Finding]:
    """Good and defective test photos that were taken differently."""
    test = [(photo.label == 1, file.brightness) for photo, file in files.usable() if photo.split == "test"]
    defective = [label for label, _ in test]
    if min(sum(defective), len(test) - sum(defective)) >= ENOUGH:
        area = roc_auc_score(defective, [mean for _, mean in test])
        area = max(area, 1 - area)
        if area >= TELLING:
            yield Finding(
                f"Mean brightness alone tells good test photos from defective ones (AUROC {area:.2f}): if they were "
                "taken differently, image scores measure that, of any model, for better or worse",
                way_out="Take both in one session; until then trust pixel metrics more than image AUROC.",
            )


def sizes(files: Files) -> Iterable[Finding]:
    """Images too large or too small to train on, or of different shapes."""
    sides = {photo.path: file.size for photo, file in files.usable()}
    shown = {path: f"is {width} x {height}" for path, (width, height) in sides.items()}
    huge = {path: shown[path] for path, (width, height) in sides.items() if width * height > HUGE}
    what = "images are so large that each takes seconds and hundreds of megabytes whenever it is read"
    yield from _about(huge, what, "Reduce or tile them once, into another folder, and train on that.")
    tiny = {path: shown[path] for path, size in sides.items() if min(size) < TINY}
    yield from _about(tiny, f"images have a side of less than {TINY} pixels, blown up to the model's size")
    shapes = {path: width / height for path, (width, height) in sides.items() if path not in tiny}
    if shapes and max(shapes.values()) > UNEQUAL * min(shapes.values()):
        extremes = [min(shapes, key=lambda path: shapes[path]), max(shapes, key=lambda path: shapes[path])]
        what = f"{len(shapes)} images differ in shape, and all are squeezed into the model's: parts look distorted"
        yield Finding(what, {path: shown[path] for path in extremes}, "Crop them alike.")


def masks(files: Files) -> Iterable[Finding]:
    """Masks that pixel metrics would misunderstand."""
    pairs = files.masked()
    unequal = {
        path: f"is {i.size[0]} x {i.size[1]}, its mask {m.size[0]} x {m.size[1]}"
        for path, (i, m) in pairs.items()
        if i.size != m.size
    }
    yield from _about(unequal, "masks have another size than their image", "Resize them without interpolation.")
    empty = [path for path, (_, mask) in pairs.items() if mask.marked == 0]
    yield from _about(
        empty, "defects have an empty mask, so pixel metrics take them for good", "Draw it, or move them."
    )
    whole = [path for path, (_, mask) in pairs.items() if mask.marked == 1]
    yield from _about(whole, "masks mark the whole image", "Defects are white on black; are these the other way round?")
    soft = {path: f"{mask.soft:.1%} of its pixels" for path, (_, mask) in pairs.items() if mask.soft > SOFT}
    what = "masks have values between black and white, all of which anomalib takes for the defect"
    yield from _about(soft, what, "Save them as PNG with the values 0 and 255.")
    yield from missing_masks(files.photos)


def missing_masks(photos: Sequence[Photo]) -> Iterable[Finding]:
    """Defects without a mask where others have one.

    Args:
        photos: The photos of all splits.
    """
    defects = dict.fromkeys(photo for photo in photos if photo.label == 1 and photo.split != "train")
    missing = [photo.path for photo in defects if not photo.mask]
    if len(missing) < len(defects):
        what = "defects have no mask, and anomalib fails where only some have one"
        way_out = "Draw it, or move them out, or train without masks: datamodule Folder without mask_dir."
        yield from (each._replace(refused=True) for each in _about(missing, what, way_out))


def copies(files: Files) -> Iterable[Finding]:
    """Photos that are in training and test, or that are called good and defect."""
    same: dict[bytes, list[Photo]] = defaultdict(list)
    for photo, file in files.usable():
        same[file.digest].append(photo)
    trained, labels = {}, {}
    for group in same.values():
        train = next((photo.path for photo in group if photo.split == "train"), None)
        good = next((photo.path for photo in group if photo.label == 0), None)
        trained.update({photo.path: f"is {train}" for photo in group if train and photo.split in {"val", "test"}})
        labels.update({photo.path: f"is {good}" for photo in group if good and photo.label == 1})
    yield from _about(trained, "images of validation or test were trained on, so scores look better than they are")
    yield from _about(labels, "defects are the same picture as a good part", "Keep one of each.")


def names(files: Files) -> Iterable[Finding]:
    """Photos whose results would be written over each other."""
    first: dict[tuple[str, str], str] = {}
    clashes = {}
    for path in dict.fromkeys(photo.path for photo in files.photos if photo.split in {"test", "predict"}):
        other = first.setdefault(_result(path), path)
        if other != path:
            clashes[path] = f"is named like {other}"
    what = "images share their name and folder's name with another, so their heatmaps overwrite each other"
    yield from _about(clashes, what, "Rename them.")


def _result(path: str) -> tuple[str, str]:
    """Where anomalib saves the heatmap of a photo, at worst."""
    return (Path(path).parent.name, Path(path).name)


def _about(files: Iterable[str] | Mapping[str, str], what: str, way_out: str = "") -> Iterable[Finding]:
    """A finding, if there are files it is about."""
    details = dict(files) if isinstance(files, Mapping) else dict.fromkeys(files, "")
    if details:
        yield Finding(f"{len(details)} {what}", details, way_out)


RULES: tuple[Callable[[Files], Iterable[Finding]], ...] = (
    unusable,
    too_few,
    masks,
    colours,
    brightness,
    sizes,
    copies,
    names,
)
