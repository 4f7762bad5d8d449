# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""The stopwatch, on a clock of its own, and one real step."""

from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from anomalib_plugins.data import DemoParts
from tools import step_time
from tools.step_time import Stopwatch, Times, row


class Clock:
    """Tells the time it is set to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_between_steps_is_loading_and_within_them_anomalies_or_learning() -> None:
    clock = Clock()
    watch = Stopwatch(clock)

    def take(seconds: float) -> None:
        clock.now += seconds

    simulate = watch.watch(take)
    watch.on_train_start()
    for factor in (1, 10):
        take(3 * factor)
        watch.on_train_batch_start()
        take(5 * factor)
        simulate(1 * factor)
        simulate(1 * factor)
        watch.on_train_batch_end()
    assert watch.times == [Times(3, 2, 5), Times(30, 20, 50)]


def test_a_watched_simulator_gives_what_it_gave() -> None:
    simulate = Stopwatch(Clock()).watch(lambda images, generator: (images, generator))
    assert simulate(1, generator=2) == (1, 2)


def test_a_row_has_the_shares_of_the_step_and_the_gain_over_the_first_way() -> None:
    line = row(("Pouta", "32-true", "contiguous"), Times(0.1, 0.3, 1.6), base=Times(0, 0, 5.0))
    assert line == "| Pouta | 32-true | contiguous | 2000 | 5.0 % | 15.0 % | 2.50 |"


def test_the_clock_of_the_cpu_is_the_time_of_this_process() -> None:
    assert step_time.clock_of("cpu") is step_time.time.process_time


def test_data_without_a_category_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        step_time.main(["--root", str(tmp_path)])
    assert "--root and --category must be given together" in capsys.readouterr().err


def test_steps_of_a_model_in_both_layouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    layouts = []
    timed = step_time.timed

    def recorded(model, *args):
        weight = model.model.autoencoder.encoder[0][1][0].weight
        layouts.append(weight.is_contiguous(memory_format=torch.channels_last))
        assert model.learning_rate == pytest.approx(1e-3)
        return timed(model, *args)

    monkeypatch.setattr(step_time, "timed", recorded)
    monkeypatch.setattr(
        step_time, "DemoParts", partial(DemoParts, num_train=6, num_test_good=1, num_per_defect=1, image_size=64)
    )
    options = tmp_path / "options.yaml"
    options.write_text(yaml.dump({"Pouta": {"learning_rate": 1e-3}}))
    sizes = ["--image-size", "32", "--batch-size", "2", "--steps", "1", "--threads", str(torch.get_num_threads())]
    assert step_time.main(["--models", "Pouta", "--model-args", str(options), "--precisions", "32-true", *sizes]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[:3] for line in lines if line.startswith("| Pouta")] == [
        ["| Pouta", "32-true", "contiguous"],
        ["| Pouta", "32-true", "channels_last"],
    ]
    assert layouts == [False, True]
