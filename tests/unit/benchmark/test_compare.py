# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The comparison from its command line, on photos of eight pixels."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib import LearningType
from anomalib.data import ImageBatch, InferenceBatch
from anomalib.models import AnomalibModule
from anomalib.models.components import MemoryBankMixin
from PIL import Image
from torch import Tensor, nn

from anomalib_plugins.benchmark import compare, heatmaps, results
from anomalib_plugins.benchmark.jobs import Job, Setup, build

SIDE = 32


class Scale(nn.Module):
    """Distance of each pixel to a learned grey, scaled far out of [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.grey = nn.Parameter(torch.rand(1))

    def forward(self, image: Tensor) -> InferenceBatch:
        distance = 1000 * (image - self.grey).abs().amax(dim=1, keepdim=True)
        return InferenceBatch(pred_score=distance.amax(dim=(1, 2, 3)), anomaly_map=distance)


class GreyIterative(AnomalibModule):
    """Learns the mean grey step by step."""

    def __init__(self, rate: float = 0.1, evaluator: Any = True, visualizer: bool = True) -> None:
        super().__init__(evaluator=evaluator, visualizer=visualizer)
        self.model = Scale()
        self.rate = rate

    def training_step(self, batch: ImageBatch) -> Tensor:
        return (batch.image - self.model.grey).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.rate)

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        return {}

    @property
    def learning_type(self) -> LearningType:
        return LearningType.ONE_CLASS


class GreyOnePass(MemoryBankMixin, GreyIterative, AnomalibModule):
    """Sees its images once."""

    def fit(self) -> None:
        self.model.grey.data.fill_(0.0)

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        return {"max_epochs": 1}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A category of grey images with white spots, and masks."""
    folder = tmp_path / "data" / "bolt"
    for number, part in enumerate(["train/good"] * 4 + ["test/good"] * 3 + ["test/spot"] * 3):
        image = Image.new("RGB", (SIDE, SIDE), (100 + number,) * 3)
        (folder / part).mkdir(parents=True, exist_ok=True)
        if part == "test/spot":
            image.paste((255, 255, 255), (4, 4, 12, 12))
            mask = Image.new("L", (SIDE, SIDE))
            mask.paste(255, (4, 4, 12, 12))
            (folder / "ground_truth/spot").mkdir(parents=True, exist_ok=True)
            mask.save(folder / f"ground_truth/spot/{number:03}_mask.png")
        image.save(folder / part / f"{number:03}.png")
    return tmp_path / "data"


def run(root: Path, *arguments: str) -> tuple[int, list[results.Row]]:
    """Exit code and rows of a run on small images."""
    output = root.parent / "results.csv"
    code = compare.main([
        "--root",
        str(root),
        "--image-size",
        str(SIDE),
        "--accelerator",
        "cpu",
        "--output",
        str(output),
        *arguments,
    ])
    return code, results.read(output)


def test_rows_sheets_and_checkpoints_of_every_job(root: Path, tmp_path: Path) -> None:
    folders = ("--heatmaps", str(tmp_path / "maps"), "--checkpoints", str(tmp_path / "weights"))
    code, rows = run(root, "--models", "GreyIterative", "GreyOnePass", "--max-steps", "3", *folders)
    assert code == 0
    assert [(row["model"], row["schedule"], row["steps"]) for row in rows] == [
        ("GreyIterative", "3 steps", "3"),
        ("GreyOnePass", "one pass", "1"),
    ]
    assert all(row[metric] == "1.0000" for row in rows for metric in results.METRICS)
    for name in ("GreyIterative-bolt-0", "GreyOnePass-bolt-0"):
        assert Image.open(tmp_path / "maps" / f"{name}.png").width > 100
        assert torch.load(tmp_path / "weights" / f"{name}.ckpt", weights_only=True)["state_dict"]


def test_finished_rows_are_not_run_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(root, "--models", "GreyOnePass")
    monkeypatch.setattr("anomalib_plugins.benchmark.jobs.run", lambda *_: pytest.fail("ran again"))
    code, rows = run(root, "--models", "GreyOnePass")
    assert (code, len(rows)) == (0, 1)


def test_another_schedule_is_another_row(root: Path) -> None:
    run(root, "--models", "GreyIterative", "--max-steps", "1")
    _, rows = run(root, "--models", "GreyIterative", "--max-minutes", "0.001")
    assert [row["schedule"] for row in rows] == ["1 steps", "0.001 min"]


def test_a_failed_job_is_named_and_costs_no_other(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    code, rows = run(root, "--models", "NoSuchModel", "GreyOnePass")
    assert code == 1
    assert [row["model"] for row in rows] == ["GreyOnePass"]
    assert "failed: NoSuchModel bolt seed 0" in caplog.text


def test_variants_of_a_model_have_labels_and_arguments_without_paths(root: Path, tmp_path: Path) -> None:
    arguments = tmp_path / "arguments.yaml"
    arguments.write_text("fast: {rate: 0.5}")
    _, rows = run(
        root, "--models", "GreyIterative", "fast=GreyIterative", "--max-steps", "1", "--model-args", str(arguments)
    )
    assert [json.loads(row["options"]) for row in rows] == [{}, {"rate": 0.5}]
    setup = Setup(root, textures=tmp_path / "secret" / "textures")
    assert json.loads(setup.identity(Job("Draem", "Draem", "bolt", 0))["options"]) == {"dtd_dir": "textures"}


def test_arguments_of_a_model_that_is_not_run_are_refused(root: Path, tmp_path: Path) -> None:
    arguments = tmp_path / "arguments.yaml"
    arguments.write_text("fats: {rate: 0.5}")
    with pytest.raises(ValueError, match=r"arguments for \['fats'\], but the models are called \['fast'\]"):
        run(root, "--models", "fast=GreyIterative", "--model-args", str(arguments))


def test_the_seed_decides_the_initial_weights(root: Path) -> None:
    first, again, other = (
        build(Job("m", "GreyIterative", "bolt", seed), Setup(root)).model.grey.item() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_own_schedules_are_those_of_the_models(root: Path) -> None:
    assert Setup(root).limits(Job("Slsg", "Slsg", "bolt", 0)) == {}
    assert Setup(root).limits(Job("Draem", "Draem", "bolt", 0)) == {"max_epochs": 700}
    assert Setup(root, max_steps=5).limits(Job("Draem", "Draem", "bolt", 0)) == {"max_steps": 5}


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        compare.main(["--root", str(tmp_path / "none")])
    assert "--root must be a folder of categories" in capsys.readouterr().err


def test_the_table_is_printed_and_put_into_a_document(root: Path, capsys: pytest.CaptureFixture) -> None:
    run(root, "--models", "GreyOnePass")
    document = root.parent / "README.md"
    document.write_text("\n".join(results.MARKERS))
    assert compare.main(["--table", str(root.parent / "results.csv"), "--update", str(document)]) == 0
    table = capsys.readouterr().out.strip()
    assert "| bolt | 1.000 / 1.000 / 1.000 / 1.000 |" in table
    assert table in document.read_text()


def test_sheets_show_images_from_the_whole_test_set() -> None:
    assert heatmaps.choose([0] * 5 + [1] * 9, good=2, anomalous=3) == [0, 4, 5, 9, 13]
    assert heatmaps.choose([1, 0], good=3, anomalous=3) == [1, 0]
