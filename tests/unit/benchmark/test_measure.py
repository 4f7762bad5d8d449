# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

import pytest
import torch
from torch import nn

from anomalib_plugins.benchmark import measure
from anomalib_plugins.benchmark.measure import PeakMemory, cpu_name, machine, seconds_per_call, speed_and_size, versions

CPU = torch.device("cpu")


class Slow(nn.Module):
    """A convolution that takes three milliseconds per image, by a clock of its own."""

    pre_processor = None

    def __init__(self):
        super().__init__()
        self.model = nn.Conv2d(3, 5, kernel_size=1, bias=False)
        self.calls: list[int] = []

    def forward(self, images):
        self.calls.append(len(images))
        return self.model(images)

    def perf_counter(self):
        """Seconds, the first call by far the slowest."""
        return 0.003 * sum(self.calls) + (100 if self.calls else 0)


@pytest.fixture
def slow(monkeypatch):
    """The model; time is what it makes of it."""
    model = Slow()
    monkeypatch.setattr(measure, "time", model)
    return model


def test_latency_is_of_one_image_throughput_of_batches_and_operations_of_the_network(slow):
    measured = speed_and_size(slow, torch.rand(1, 3, 8, 4), batch=4)
    assert measured == {
        "latency_ms": "3.00",
        "images_per_second": "333.33",
        "parameters": "15",
        "gmacs": f"{15 * 32 / 1e9:.3f}",
    }
    assert set(slow.calls) == {1, 4}


def test_the_first_call_is_not_counted(slow, monkeypatch):
    clock = iter([0, 100, 0, 1, 0, 2, 0, 3])
    monkeypatch.setattr(slow, "perf_counter", lambda: next(clock))
    assert seconds_per_call(slow, torch.rand(1, 3, 2, 2)) == 2
    assert len(slow.calls) == 1 + measure.MIN_CALLS == 4  # it took longer than all may


def test_fast_models_are_called_more_often(slow, monkeypatch):
    monkeypatch.setattr(measure, "MAX_SECONDS", 1e9)
    seconds_per_call(slow, torch.rand(1, 3, 2, 2))
    assert len(slow.calls) == 1 + measure.MAX_CALLS


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells")
def test_the_peak_is_that_since_the_construction():
    before = torch.ones(60_000_000)  # 240 MB
    del before
    memory = PeakMemory()
    quiet = int(memory.megabytes(CPU))
    block = torch.ones(30_000_000)  # 120 MB
    del block
    assert 110 < int(memory.megabytes(CPU)) - quiet < 180


@pytest.mark.parametrize(("initialized", "expected"), [(False, []), (True, [0, 1])])
def test_gpus_forget_their_peaks_once_they_are_in_use(initialized, expected, monkeypatch):
    reset: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: initialized)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7e6 * (device.index + 1))
    assert PeakMemory().megabytes(torch.device("cuda", 1)) == "14"
    assert reset == expected


def test_a_system_that_does_not_tell_leaves_the_column_empty(tmp_path):
    assert not PeakMemory(tmp_path).megabytes(CPU)


def test_machine_and_software_are_named(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("vendor_id : x\nmodel name\t: Fast CPU @ 3 GHz\nmodel name\t: Fast CPU @ 3 GHz\n")
    assert cpu_name(file) == "Fast CPU @ 3 GHz"
    assert isinstance(cpu_name(tmp_path / "none"), str)
    assert machine(CPU).endswith(("thread", "threads"))
    assert "anomalib 2.7" in versions()
