# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Time inference of models side by side on the CPU: resize, network and post-processing, in torch and OpenVINO.

``python -m tools.latency --models Slsg Padim --output latency.json`` compares all models with the last one.
"""

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from anomalib_plugins.benchmark.command import add_model_options, read_models
from tools.timing import Measurement, report, times

if TYPE_CHECKING:
    from anomalib.models import AnomalibModule

# Random weights take the same time as trained ones. Padim's backbone is the default, named explicitly.
MODEL_ARGS: dict[str, dict[str, Any]] = {
    "Padim": {"backbone": "resnet18", "pre_trained": False},
    "Patchcore": {"pre_trained": False},
}


@dataclass(frozen=True)
class Inference:
    """Model in one engine and precision.

    Args:
        model: Label of the model.
        engine: Engine, ``torch`` or ``openvino``.
        precision: Precision, e.g. ``fp32``.
        call: Function that predicts images ``(N, 3, H, W)``.
    """

    model: str
    engine: str
    precision: str
    call: Callable[[Tensor], Any]


def build(name: str, size: int, arguments: dict[str, Any] | None = None, bank_rows: int = 0) -> "AnomalibModule":
    """Build a model with random weights that is ready to predict. Memory banks are fitted on a few random images.

    Args:
        name: Name of the model in anomalib.
        size: Side of the images, in pixels.
        arguments: Constructor arguments of the model.
        bank_rows: Number of random rows in the first memory bank of patches, and in others in proportion; 0 keeps those
            of the random images.
    """
    from anomalib.models import get_model
    from anomalib.models.components import DynamicBufferMixin
    from anomalib.models.image.patchcore import Patchcore

    torch.manual_seed(0)
    options = {**MODEL_ARGS.get(name, {}), **(arguments or {})}
    model = get_model(name, visualizer=False, evaluator=False, **options)
    model.pre_processor = model.configure_pre_processor((size, size))
    if any(isinstance(part, DynamicBufferMixin) for part in model.modules()):
        _fill_memory(model, size)
    banks: Any = getattr(model.model, "banks", ())
    if bank_rows and len(banks):
        patches = len(banks[0].vectors)
        for bank in banks:
            rows = -(-bank_rows * len(bank.vectors) // patches)
            bank.keep(torch.randn(rows, bank.vectors.shape[1]))
    elif bank_rows and isinstance(model, Patchcore):
        model.model.memory_bank = torch.randn(bank_rows, model.model.memory_bank.shape[1])
    return model.eval()


def _fill_memory(model: "AnomalibModule", size: int) -> None:
    """Train on a few random images, at most one optimizer step."""
    from anomalib.data import Folder
    from anomalib.engine import Engine

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "good").mkdir()
        for number, image in enumerate(torch.rand(8, 3, size, size)):
            to_pil_image(image).save(Path(folder) / f"good/{number}.png")
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "limit_val_batches": 0}
        data = Folder(
            "noise", folder, "good", test_split_mode="none", val_split_mode="none", train_batch_size=8, num_workers=0
        )
        Engine(default_root_dir=folder, accelerator="cpu", devices=1, max_steps=1, **quiet).fit(model, datamodule=data)
    for part in model.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor):
                setattr(part, name, value.detach())  # anomalib's Cfa keeps the graph of its radius: deepcopy would fail


def in_torch(name: str, model: "AnomalibModule") -> Iterator[Inference]:
    """Yield a model in eager torch: float32, channels last and, if the processor supports it, bfloat16 autocast.

    Args:
        name: Label of the model.
        model: Model to run; not modified.
    """
    yield Inference(name, "torch", "fp32", partial(_eager, model))
    channels_last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    yield Inference(name, "torch", "fp32 channels_last", partial(_eager, channels_last))
    if has_bf16():
        yield Inference(name, "torch", "bf16 channels_last", partial(_eager, channels_last, bf16=True))


@torch.inference_mode()
def _eager(model: "AnomalibModule", images: Tensor, bf16: bool = False) -> Any:
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return model(images)


def in_openvino(name: str, model: "AnomalibModule", size: int, threads: int) -> Iterator[Inference]:
    """Yield an exported model in OpenVINO: float32 and OpenVINO's default precision.

    Args:
        name: Label of the model.
        model: Model to export.
        size: Side of the images, in pixels.
        threads: Number of CPU threads.
    """
    import openvino

    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        network = core.read_model(model.to_openvino(folder, input_size=(size, size)))
        for precision, hint in (("fp32", {"INFERENCE_PRECISION_HINT": "f32"}), ("default", {})):
            compiled = core.compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": threads, **hint})
            chosen = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
            yield Inference(
                name, "openvino", precision if hint else f"default ({chosen})", partial(_compiled, compiled)
            )


def _compiled(network: Callable[[Any], Any], images: Tensor) -> Any:
    return network(images.numpy())


def has_bf16() -> bool:
    """Whether the processor supports bfloat16 according to OpenVINO."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def summarise(inferences: list[Inference], seconds: Tensor, batch: int) -> list[Measurement]:
    """Summarise times as rows of medians, with ratios to the last model in the same engine and precision.

    Ratios are medians over the ratios of each round.

    Args:
        inferences: What was timed, model by model, with the same engines and precisions for each.
        seconds: Wall and CPU time ``(2, inferences, rounds)``.
        batch: Number of images per call.
    """
    ways = len({(each.engine, each.precision) for each in inferences})
    models = seconds.unflatten(1, (-1, ways))  # (2, models, ways, rounds)
    ratio = (models / models[:, -1:]).flatten(1, 2).quantile(0.5, dim=-1)
    milliseconds = 1000 / batch * seconds.quantile(0.5, dim=-1)
    return [
        {
            "model": each.model,
            "engine": each.engine,
            "precision": each.precision,
            "batch": batch,
            "ms_per_image": round(milliseconds[0, index].item(), 2),
            "cpu_ms_per_image": round(milliseconds[1, index].item(), 2),
            f"ratio_to_{inferences[-1].model}": round(ratio[0, index].item(), 3),
            "cpu_ratio": round(ratio[1, index].item(), 3),
        }
        for index, each in enumerate(inferences)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: Command-line arguments. ``None`` uses ``sys.argv``.

    Returns:
        0.

    Raises:
        ValueError: If labels and arguments of the models do not match.
    """
    cli = argparse.ArgumentParser(prog="python -m tools.latency", description=__doc__)
    add_model_options(cli, default=["Slsg", "Padim"])  # others are compared with the last one
    cli.add_argument("--bank-rows", type=int, default=0, metavar="N", help="rows of Patchcore's memory banks")
    cli.add_argument("--image-size", type=int, default=256, metavar="PIXELS")
    cli.add_argument("--batches", nargs="+", type=int, default=[1, 16], metavar="N")
    cli.add_argument("--rounds", type=int, default=7, metavar="N")
    cli.add_argument("--threads", type=int, default=torch.get_num_threads(), metavar="N")
    cli.add_argument("--engines", nargs="+", default=["torch", "openvino"], choices=["torch", "openvino"])
    cli.add_argument("--output", type=Path, metavar="JSON")
    args = cli.parse_args(arguments)
    torch.set_num_threads(args.threads)
    inferences: list[Inference] = []
    models = read_models(args)
    for label, (name, own) in models.items():
        model = build(name, args.image_size, own, args.bank_rows)
        if "torch" in args.engines:
            inferences.extend(in_torch(label, model))
        if "openvino" in args.engines:
            inferences.extend(in_openvino(label, model, args.image_size, args.threads))
    rows = []
    for batch in args.batches:
        images = torch.rand(batch, 3, args.image_size, args.image_size)
        rows += summarise(inferences, times([partial(each.call, images) for each in inferences], args.rounds), batch)
    how = {"image_size": args.image_size, "bank_rows": args.bank_rows, "rounds": args.rounds}
    report(rows, args.output, **how, model_args={label: own for label, (_, own) in models.items() if own})
    return 0


if __name__ == "__main__":
    sys.exit(main())
