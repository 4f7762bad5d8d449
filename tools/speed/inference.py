# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Inference of whole models beside anomalib's Padim, and beside a lower bound from the machine's convolution rate."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from anomalib_plugins.components.cost import count
from anomalib_plugins.models.pouta.torch_model import PoutaModel
from anomalib_plugins.models.quantization import compiled
from tools.latency import Inference, build, has_bf16, in_openvino, in_torch
from tools.speed import Options
from tools.timing import Measurement, side_by_side, summarise, times

# Others are compared with the last one. Random weights take the same time as trained ones.
MODELS: dict[str, dict[str, Any]] = {
    "Slsg": {"pretrain": "none"},
    "Pouta": {},
    "CutSwapPatchcore": {"pre_trained": False, "augmentation": "none", "backbone": "resnet18"},
    "SbmPfamPadim": {"pre_trained": False, "backbone": "resnet18", "shape_bias": False, "pfam": False},
    "Padim": {},
}
BANK_ROWS = 2_000
# Channels and sides of 3 x 3 convolutions with about 1 GMAC each, like those of the networks at 256 px.
CONVOLUTIONS = ((64, 166), (128, 82), (256, 42), (512, 20))


class Stack(nn.Module):
    """Two convolutions with a ReLU in between, as in typical networks.

    Args:
        channels: Channels of input and output.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        layers = [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Apply the layers to feature maps ``(N, C, H, W)`` and keep their shape."""
        return self.layers(features)


def convolution_rates(options: Options) -> dict[str, float]:
    """Measure OpenVINO's highest convolution rate by precision, in billions of multiply-accumulates per CPU second."""
    import openvino

    rates = {"f32": 0.0, "bf16": 0.0}
    for channels, side in CONVOLUTIONS[:1] if options.quick else CONVOLUTIONS:
        image = torch.rand(1, channels, side, side)
        network = Stack(channels).eval()
        macs = count(network, image).macs
        model = openvino.convert_model(network, example_input=image)
        for precision in rates if has_bf16() else ("f32",):
            run = partial(compiled(model, precision), image.numpy())
            seconds = times([run], options.rounds)[1].quantile(0.5).item()
            rates[precision] = max(rates[precision], macs / 1e9 / seconds)
    return rates


def inferences(name: str, size: int) -> tuple[list[Inference], float]:
    """Build a model for all engines and precisions, and count its multiply-accumulates in billions."""
    model = build(name, size, MODELS[name], BANK_ROWS)
    image = torch.rand(1, 3, size, size)
    with torch.inference_mode():
        gmacs = count(model.model, model.pre_processor(image) if model.pre_processor else image).macs / 1e9
    ways = [*in_torch(name, model), *in_openvino(name, model, size, torch.get_num_threads())]
    return ways, gmacs


def measure(options: Options) -> Iterator[Measurement]:
    """Yield rows of every model and precision, with operations and, in OpenVINO, the time over the bound."""
    size = 64 if options.quick else 256
    image = torch.rand(1, 3, size, size)
    rates = convolution_rates(options)
    for precision, rate in rates.items():
        yield {"work": f"convolutions, OpenVINO {precision}", "way": f"{2 * rate:.0f} GFLOP a CPU second"}
    models = {name: inferences(name, size) for name in MODELS}
    for index, way in enumerate(models["Slsg"][0]):
        what = f"batch 1, {size} px, {way.engine} {way.precision}"
        # The last model first, because others are compared with the first.
        names = [*list(MODELS)[-1:], *list(MODELS)[:-1]]
        works = [partial(models[name][0][index].call, image) for name in names]
        for row in summarise(what, names, times(works, options.rounds)):
            row["gmacs"] = round(models[row["way"]][1], 2)
            if way.engine == "openvino":
                rate = rates["bf16" if "bf16" in way.precision or "bfloat16" in way.precision else "f32"]
                row["times_floor"] = round(row["cpu_ms"] / 1000 / (row["gmacs"] / rate), 2)
            yield row
    yield from heads(options, size)


@torch.inference_mode()
def heads(options: Options, size: int) -> Iterator[Measurement]:
    """Yield rows of Pouta with and without what it skips at inference: MSS's heads and the decoder's last layer."""
    model = PoutaModel().eval().to(memory_format=torch.channels_last)
    image = torch.rand(1, 3, size, size)
    ways = {
        "what training runs": partial(model.segment_all, image),
        "what inference runs": partial(model.segment, image),
    }
    yield from side_by_side(f"Pouta, {size} px, torch float32", ways, options.rounds)
    if has_bf16():
        with torch.autocast("cpu", torch.bfloat16):
            yield from side_by_side(f"Pouta, {size} px, torch bfloat16", ways, options.rounds)
