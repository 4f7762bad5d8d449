# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What an 8-bit model is measured to lose."""

import sys
from pathlib import Path
from types import SimpleNamespace

import anomalib.models
import pytest
import torch

from tools.speed import int8
from tools.speed.side_by_side import Options


def scoring(scores):
    """A network that gives these scores one by one."""
    remaining = iter(scores)
    return lambda _: {"pred_score": [next(remaining)]}


def test_a_model_that_has_not_learned_has_nothing_to_lose():
    verdicts = [int8.verdict(before=before, lost=lost) for before, lost in ((74, 0), (90, 0.4), (90, 0.5))]
    assert verdicts == ["cannot tell", "yes", "no"]


def test_scores_that_saturate_have_changed_by_all_they_said():
    before = torch.tensor([1.0, 2.0, 3.0])
    assert int8.change(before, before) == pytest.approx(0)
    assert int8.change(before, before + 0.5) == pytest.approx(0.5)
    assert int8.change(before, torch.full((3,), 2.0)) == pytest.approx((2 / 3) ** 0.5, abs=1e-3)


class Model(torch.nn.Module):
    """Writes empty files where it exports to."""

    input_size = (8, 8)

    @classmethod
    def load_from_checkpoint(cls, path, map_location):
        return cls()

    def to_openvino(self, folder, input_size):
        file = Path(folder) / "model.xml"
        write(None, file, size=400_000)
        return file


def write(network, file, size=100_000):
    """Write an empty model."""
    for ending in (".bin", ".xml"):
        file.with_suffix(ending).write_bytes(b"1" * size)


class Core:
    """Reads what is not there."""

    def read_model(self, file):
        return file


class Data:
    """Two good images and two with a defect."""

    category = "bolt"

    def __init__(self, root, category, **_):
        items = [SimpleNamespace(image=torch.rand(3, 8, 8), gt_label=torch.tensor(number > 1)) for number in range(4)]
        self.test_dataloader = lambda: SimpleNamespace(dataset=items)

    def setup(self):
        """Nothing to do."""


@pytest.mark.parametrize(
    ("scores", "lost", "ship"), [([1.0, 2.0, 3.0, 4.0], 0.0, "yes"), ([1.0, 3.0, 2.0, 4.0], 25.0, "no")]
)
def test_it_is_shipped_where_it_loses_little(tmp_path, monkeypatch, scores, lost, ship):
    monkeypatch.setattr(anomalib.models, "Model", Model, raising=False)
    monkeypatch.setattr(int8, "MVTecAD", Data)
    monkeypatch.setattr(int8, "quantize", lambda network, data, size: network)
    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=Core, save_model=write))
    networks = {"model": scoring([1.0, 2.0, 3.0, 4.0]), "int8": scoring(scores)}

    def compiled(file: Path, precision):
        return scoring([1.0, 2.0, 3.0, 4.0]) if precision == "bf16" else networks[file.stem]

    def compare(what, calls, rounds, **extras):
        return [{"way": way, **{column: values[way] for column, values in extras.items()}} for way in calls]

    monkeypatch.setattr(int8, "compiled", compiled)
    monkeypatch.setattr(int8, "compare", compare)
    (tmp_path / "bolt").mkdir()
    (tmp_path / "bolt" / "Model.ckpt").touch()
    plain, _, small = int8.measure(Options(data=tmp_path, trained=tmp_path))
    assert (plain["points_lost"], plain["image_auroc"], plain["file_mb"]) == (0.0, 100.0, 0.4)
    assert (small["points_lost"], small["ship"], small["file_mb"]) == (lost, ship, 0.1)
