# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""8-bit OpenVINO models, calibrated on the images a model was trained on."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from anomalib.data import AnomalibDataModule, AnomalibDataset, ImageBatch
from anomalib.metrics import F1Score
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from numpy import ndarray
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from anomalib_plugins.metrics.ranking import auroc

CALIBRATION_IMAGES = 300  # what NNCF recommends, and takes by itself
ALLOWED = 0.5  # points of image AUROC that an 8-bit model may lose
CHANGED = 0.05  # share of images that it may judge otherwise


def quantize(network: Any, datamodule: AnomalibDataModule, size: Sequence[int], count: int = CALIBRATION_IMAGES) -> Any:
    """Quantise convolutions but the first, and what lies between them, after training (NNCF).

    anomalib 2.7 quantises everything, on validation images, which may be the test's, as large as the files are: scores
    saturate, and a network with a fixed input size fails.

    Args:
        network: OpenVINO model that takes images ``(N, 3, H, W)``.
        datamodule: Datamodule whose training images calibrate.
        size: Height and width to resize them to.
        count: Largest number of images, evenly chosen.

    Returns:
        The quantised OpenVINO model.
    """
    import nncf

    return nncf.quantize(network, **_calibration(network, datamodule, size, count))


def quantize_within(
    network: Any, datamodule: AnomalibDataModule, size: Sequence[int], metric: Any = None, max_drop: float = 0.01
) -> Any:
    """Quantise as :func:`quantize` does, and give back to floats what a metric loses too much by.

    anomalib 2.7 asks the test images, as large as the files are, and fails where a batch has one.

    Args:
        network: OpenVINO model that takes images ``(N, 3, H, W)``.
        datamodule: Datamodule whose training images calibrate; its validation images are judged.
        size: Height and width to resize them to.
        metric: Metric of anomalib, of scores and labels; default image F1.
        max_drop: How much it may fall.

    Returns:
        The quantised OpenVINO model.
    """
    import nncf

    options = _calibration(network, datamodule, size, CALIBRATION_IMAGES)
    metric = metric or F1Score(fields=["pred_label", "gt_label"])
    target, judged = _input_size(network, size), datamodule.val_dataloader().dataset

    def value(small: Callable[[ndarray], Any], numbers: Iterable[int]) -> float:
        metric.reset()
        for number in numbers:
            image = resized(judged[number].image, target)
            found = small(image.numpy())
            score, label = (torch.as_tensor(found[name]).flatten() for name in ("pred_score", "pred_label"))
            metric.update(ImageBatch(image, judged[number].gt_label[None], pred_score=score, pred_label=label))
        return float(metric.compute())

    validation = nncf.Dataset(range(len(judged)))
    return nncf.quantize_with_accuracy_control(
        network, validation_dataset=validation, validation_fn=value, max_drop=max_drop, **options
    )


def _calibration(network: Any, datamodule: AnomalibDataModule, size: Sequence[int], count: int) -> dict[str, Any]:
    """Arguments of NNCF: the images that calibrate, and what stays in floats."""
    import nncf

    logging.getLogger("nncf").setLevel(logging.WARNING)  # it names each operation that is left in floats
    datamodule.setup("fit")
    images, target = datamodule.train_dataloader().dataset, _input_size(network, size)
    numbers = _spread(len(images), count)
    return {
        "calibration_dataset": nncf.Dataset(numbers, lambda number: resized(images[number].image, target).numpy()),
        "subset_size": len(numbers),
        "ignored_scope": nncf.IgnoredScope(names=unquantized_ops(network)),
    }


def _spread(images: int, count: int) -> list[int]:
    """At most ``count`` indices, evenly chosen: folders are sorted by what is wrong."""
    taken = min(count, images)
    return [each * images // taken for each in range(taken)]


def _input_size(network: Any, size: Sequence[int]) -> list[int]:
    """Height and width that an OpenVINO model is fixed to, or ``size`` if it takes any."""
    shape = network.input(0).partial_shape
    fixed = [shape[axis].get_length() for axis in (2, 3) if shape[axis].is_static]
    return fixed if len(fixed) == 2 else list(size)


def resized(image: Tensor, size: Sequence[int]) -> Tensor:
    """Image ``(3, H, W)`` as a batch of one of another height and width."""
    return resize(image, list(size), antialias=True)[None]


def compiled(network: Any, precision: str = "f32") -> Callable[[ndarray], Any]:
    """OpenVINO model, or its file, on the CPU, on as many threads as torch's."""
    import openvino

    hints = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": precision}
    return openvino.Core().compile_model(network, "CPU", hints)


def scores_of(network: Callable[[ndarray], Any], images: Sequence[Tensor]) -> Tensor:
    """Scores ``(N,)`` of a compiled model for images ``(1, 3, H, W)``."""
    return torch.cat([torch.as_tensor(network(image.numpy())["pred_score"]).flatten() for image in images])


def report_quantization_loss(network: Any, small: Any, dataset: AnomalibDataset, size: Sequence[int]) -> None:
    """Say what 8 bits cost on images with and without defects; warn if that is too much.

    Args:
        network: OpenVINO model before.
        small: The same, quantised.
        dataset: Images to judge, with labels.
        size: Height and width to resize them to.
    """
    target = _input_size(network, size)
    items = (dataset[number] for number in _spread(len(dataset), CALIBRATION_IMAGES))  # photos are large: one at a time
    images, found = zip(*((resized(item.image, target), int(item.gt_label)) for item in items), strict=True)
    labels = torch.tensor(found)
    if labels.unique().numel() < 2:
        rank_zero_warn("INT8: no validation images with and without defects, what 8 bits cost is not known.")
        return
    scores = [scores_of(compiled(each), images) for each in (network, small)]
    before, after = (100 * auroc(each, labels).item() for each in scores)
    changed = int(((scores[0] > 0.5) != (scores[1] > 0.5)).sum())
    said = (
        f"INT8: image AUROC of {len(labels)} validation images is {after:.1f} points, in float32 {before:.1f}; "
        f"verdicts that changed: {changed}."
    )
    defects = int(labels.sum())
    pair = 100 / (defects * (len(labels) - defects))  # what one pair of images in the wrong order costs
    if before - after >= max(ALLOWED, 3 * pair):
        rank_zero_warn(f"{said} Export without --compression_type, and let OpenVINO run that file in bfloat16.")
    elif changed > CHANGED * len(labels):
        rank_zero_warn(f"{said} The order of images is kept, but scores have moved: choose the threshold anew.")
    else:
        rank_zero_info(said)


def unquantized_ops(network: Any) -> list[str]:
    """Names of all operations up to the first learned convolution, it included, and behind the last one.

    8 bits would save little time there, and cost much: shares of pixels are no longer right, small differences of a
    photo are rounded away, distances to a memory are small differences of large numbers, and a score saturates at what
    the calibrating images had.
    """
    nodes = {node.friendly_name: node for node in network.get_ops()}
    convolutions = [node for node in nodes.values() if _is_learned_convolution(node)]
    followers = [target for node in convolutions for target in _targets(node)]
    between = _reached(followers, _targets) & _reached(convolutions, _sources)
    skipped = {"Constant", "Parameter", "Result"}
    return [name for name, node in nodes.items() if name not in between and node.get_type_name() not in skipped]


def _is_learned_convolution(node: Any) -> bool:
    """Whether an operation is a convolution of several channels: one that smooths a heatmap has one."""
    if "Convolution" not in node.get_type_name():
        return False
    channels = node.get_input_partial_shape(0)[1]
    return channels.is_dynamic or channels.get_length() > 1


def _reached(starts: Sequence[Any], following: Callable[[Any], list[Any]]) -> set[str]:
    """Names of operations and of all that follow them, and these, and so on."""
    names: set[str] = set()
    ahead = list(starts)
    while ahead:
        node = ahead.pop()
        if node.friendly_name not in names:
            names.add(node.friendly_name)
            ahead += following(node)
    return names


def _targets(node: Any) -> list[Any]:
    return [target.get_node() for output in node.outputs() for target in output.get_target_inputs()]


def _sources(node: Any) -> list[Any]:
    return [value.get_source_output().get_node() for value in node.inputs()]
