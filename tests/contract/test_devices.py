# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""What every registered model must do with tensors of a GPU, on machines without one."""

import operator
from collections import defaultdict
from functools import wraps
from typing import NamedTuple

import pytest
import torch
from anomalib.engine import Engine

from anomalib_plugins.models.cutswap_patchcore.anchors import clusters, salient, topk
from anomalib_plugins.models.cutswap_patchcore.task import CutSwapTask
from anomalib_plugins.models.sbm_pfam.jigsaw import Jigsaw
from anomalib_plugins.models.slsg.masking import InpaintingMask
from anomalib_plugins.synthesis import CutPaste, CutSwap, MergedTexture, SimulatedAnomaly
from anomalib_plugins.synthesis.presets import PRESETS

from ..devices import GPU, GpuTensor, MixedDevicesError, PretendGpu, counted, trainer_arguments
from .conftest import SIZE

# Most waits for the GPU and uploads to it in an optimizer step of each phase, the first one included, which also makes
# what is kept: bases of Perlin noise, the log's sums. One wait guards the weights against a loss that is no number.
ANY = (10, 26)
MOST = {
    "Slsg": {"pretext": (2, 9), "segmentation": (8, 26)},
    "CutSwapPatchcore": {"pretext": (1, 8), "memory": (0, 1)},
    "Pouta": {"training": (4, 17)},
    "SbmPfamPatchcore": {"jigsaw": (9, 26), "memory": (0, 1)},
    "SbmPfamPadim": {"jigsaw": (9, 26), "memory": (0, 1)},
    "SbmPfamCfa": {"jigsaw": (9, 26), "memory": (1, 1), "adaptation": (1, 3)},
}


class Run(NamedTuple):
    """A training on the pretended GPU.

    Attributes:
        model: Trained.
        traffic: Waits and uploads an optimizer step, of each call of ``training_step`` by phase.
        predictions: Of the test photos.
    """

    model: torch.nn.Module
    traffic: dict
    predictions: list


def record_traffic(model):
    """Count what each call of ``training_step`` moves, but for the last of a memory, which fills it."""
    step, traffic = model.training_step, defaultdict(list)

    @wraps(step)
    def counting(batch, batch_idx):
        before = list(model.schedule.taken)
        with counted() as moved:
            step(batch, batch_idx)
        taken = [after - each for after, each in zip(model.schedule.taken, before, strict=True)]
        if sum(taken) and not (model.schedule.finished and model.schedule.phase.full_pass):
            (phase,) = [each.name for each, count in zip(model.schedule.phases, taken, strict=True) if count]
            traffic[phase].append((moved["waits"] / sum(taken), moved["uploads"] / sum(taken)))

    model.training_step = counting
    return traffic


@pytest.fixture(scope="module")
def run(build, datamodule, tmp_path_factory):
    """A fit with validation, and a prediction, through anomalib's engine."""
    folder = tmp_path_factory.mktemp("gpu")
    with PretendGpu(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "mem_get_info", lambda device: (2**40, 2**40))
        model = build(evaluator=False, visualizer=False)
        traffic = record_traffic(model)
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        engine = Engine(default_root_dir=folder, max_steps=4, **quiet, **trainer_arguments())
        engine.fit(model, datamodule=datamodule())
        predictions = engine.predict(model, datamodule=datamodule())
    return Run(model, traffic, predictions)


def test_trains_validates_and_predicts_without_mixing_devices(run):
    assert run.model.schedule.finished
    assert torch.cat([batch.pred_score for batch in run.predictions]).isfinite().all()
    assert run.model.post_processor.image_min.isfinite()


def test_few_transfers_in_a_training_step(plugin, run):
    assert run.traffic.keys() == {phase.name for phase in run.model.schedule.phases}
    for phase, each in run.traffic.items():
        waits, uploads = map(max, zip(*each, strict=True))
        most_waits, most_uploads = MOST.get(plugin.name, {}).get(phase, ANY)
        assert waits <= most_waits, phase
        assert uploads <= most_uploads, phase


def test_preview_is_made_where_the_images_are(build):
    with PretendGpu():
        made = build().preview_anomalies(torch.rand(3, 3, *SIZE, device=GPU))
    assert all(isinstance(each, GpuTensor) for each in made)


# Synthesis

GENERATORS = {
    **{f"loco {name}": lambda name=name: SimulatedAnomaly(preset=name) for name in PRESETS},
    "simulated": SimulatedAnomaly,
    "own tiles": lambda: SimulatedAnomaly(structural_source="self", use_logical=False),
    "rectangles": lambda: SimulatedAnomaly(mask_shape="rect", foreground="bottle"),
    "merged": MergedTexture,
    "merged pool": lambda: MergedTexture(source="pool", foreground="auto"),
    "patches swapped": lambda: CutSwap("patch", "require_disjoint"),
    "scars swapped": lambda: CutSwap("scar", patch_jitter=0.2),
    "scars pasted": lambda: CutPaste("scar"),
}


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_same_anomalies_on_every_device(make):
    generator, images = make(), torch.rand(8, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    images[1] = 0.5
    expected = generator(images, torch.Generator().manual_seed(0))
    with PretendGpu():
        generator(images.to(GPU), torch.Generator().manual_seed(0))  # makes what is kept, such as bases of Perlin noise
        with counted() as moved:
            made = generator(images.to(GPU), torch.Generator().manual_seed(0))
        made = [each.cpu() for each in made]
    for one, other in zip(made, expected, strict=True):
        # Rotated by other code: a pixel at the edge of a mask may fall on the other side.
        assert ((one - other).abs() > 1e-3).float().mean() < 1e-3
    # Not some for each of the eight images.
    assert moved["waits"] <= 15
    assert moved["uploads"] <= 35


def images_on_gpu():
    return torch.rand(4, 3, *SIZE, device=GPU)


TASKS = {
    "swaps": lambda seed: CutSwapTask()(images_on_gpu(), seed, salient(clusters(torch.rand(4, 1, *SIZE)))[:, 0]),
    "jigsaw": lambda seed: Jigsaw(orders=5).to(GPU)(images_on_gpu(), seed),
    "inpainting": lambda seed: [InpaintingMask()(images_on_gpu(), seed)],
    "a random cluster": lambda seed: [salient(clusters(images_on_gpu()), "random", seed)],
    "most salient pixels": lambda seed: [topk(images_on_gpu())],
}


@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_tasks_are_made_where_the_images_are(make):
    with PretendGpu():
        assert all(isinstance(each, GpuTensor) for each in make(torch.Generator().manual_seed(0)))


# What the pretended GPU knows of CUDA


REFUSED = {
    "sum": operator.add,
    "in place": lambda gpu, cpu: gpu.mul_(cpu),
    "concatenation": lambda gpu, cpu: torch.cat([gpu, cpu]),
    "stack of numbers": lambda gpu, cpu: torch.stack([gpu[0, 0], cpu[0, 0]]),
    "matrix product": operator.matmul,
    "index of the GPU": lambda gpu, cpu: cpu[gpu.argmax(dim=0)],
    "values to write": lambda gpu, cpu: gpu.__setitem__(torch.tensor([0, 1]), cpu[:2]),
    "generator": lambda gpu, cpu: torch.rand(2, device=gpu.device, generator=torch.Generator()),
    "generator in place": lambda gpu, cpu: gpu.uniform_(generator=torch.Generator()),
    "network": lambda gpu, cpu: torch.nn.Linear(4, 4)(gpu),
}
ALLOWED = {
    "number": lambda gpu, cpu: gpu * cpu[0, 0],
    "index of the CPU": lambda gpu, cpu: gpu[cpu.argmax(dim=0)],
    "copy": lambda gpu, cpu: gpu.copy_(cpu),
    "moved": lambda gpu, cpu: gpu + cpu.to(gpu),
    "made there": lambda gpu, cpu: gpu + torch.ones(4, device=gpu.device) + gpu.new_tensor([1, 2, 3, 4]),
    "network": lambda gpu, cpu: torch.nn.Linear(4, 4).to(gpu.device)(gpu),
}


@pytest.mark.parametrize("mix", REFUSED.values(), ids=REFUSED)
def test_what_cuda_refuses_is_refused(mix):
    with PretendGpu(), pytest.raises(MixedDevicesError):
        mix(torch.rand(4, 4, device=GPU), torch.rand(4, 4))


@pytest.mark.parametrize("mix", ALLOWED.values(), ids=ALLOWED)
def test_what_cuda_allows_is_allowed(mix):
    with PretendGpu():
        assert isinstance(mix(torch.rand(4, 4, device=GPU), torch.rand(4, 4)), GpuTensor)


def test_pixels_of_the_gpu_are_not_read_by_numpy():
    with PretendGpu(), pytest.raises((RuntimeError, TypeError), match="numpy"):
        torch.rand(2, device=GPU).numpy()


def test_a_model_that_mixes_is_found(plugin, build, monkeypatch):
    model = build()
    forward = model.model.forward
    monkeypatch.setattr(model.model, "forward", lambda images: forward(images - torch.zeros(3, 1, 1)))
    with PretendGpu(), pytest.raises(MixedDevicesError):
        model.to(GPU).model(torch.rand(1, 3, *SIZE, device=GPU))
