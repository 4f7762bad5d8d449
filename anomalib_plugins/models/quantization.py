# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""8-bit OpenVINO models, calibrated on the images a model was trained on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from anomalib.data import AnomalibDataModule, AnomalibDataset
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from numpy import ndarray
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from anomalib_plugins.metrics.ranking import auroc

CALIBRATION_IMAGES = 300  # what NNCF recommends, and takes by itself
ALLOWED = 0.5  # points of image AUROC that an 8-bit model may lose


def quantize(network: Any, datamodule: AnomalibDataModule, size: Sequence[int], count: int = CALIBRATION_IMAGES) -> Any:
    """Quantise activations and weights after training (NNCF).

    anomalib 2.7 calibrates on validation images, which may be the test's, as large as the files are: a network with a
    fixed input size then fails.

    Args:
        network: An OpenVINO model that takes images ``(N, 3, H, W)``.
        datamodule: Its training images calibrate.
        size: Height and width to resize them to.
        count: How many images at most, evenly chosen.

    Returns:
        The quantised OpenVINO model.
    """
    import nncf

    datamodule.setup("fit")
    images = datamodule.train_dataloader().dataset
    target = taken_size(network, size)

    def prepared(number: int) -> ndarray:
        return resize(images[number].image, target, antialias=True)[None].numpy()

    numbers = spread(len(images), count)
    return nncf.quantize(
        network,
        nncf.Dataset(numbers, prepared),
        subset_size=len(numbers),
        ignored_scope=nncf.IgnoredScope(names=resizing(network)),
    )


def spread(images: int, count: int) -> list[int]:
    """At most ``count`` indices, evenly chosen: folders are sorted by what is wrong."""
    taken = min(count, images)
    return [each * images // taken for each in range(taken)]


def taken_size(network: Any, size: Sequence[int]) -> list[int]:
    """Height and width that an OpenVINO model is fixed to, or ``size`` if it takes any."""
    shape = network.input(0).partial_shape
    fixed = [shape[axis].get_length() for axis in (2, 3) if shape[axis].is_static]
    return fixed if len(fixed) == 2 else list(size)


def compiled(network: Any, precision: str = "f32") -> Callable[[ndarray], Any]:
    """An OpenVINO model, or its file, on the CPU, on as many threads as torch's."""
    import openvino

    hints = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": precision}
    source = str(network) if isinstance(network, Path) else network
    return openvino.Core().compile_model(source, "CPU", hints)


def image_auroc(network: Callable[[ndarray], Any], images: Sequence[Tensor], labels: Tensor) -> float:
    """Image AUROC in points.

    Args:
        network: A compiled model.
        images: ``(1, 3, H, W)`` each.
        labels: 1 where an image has a defect ``(N,)``.
    """
    scores = [torch.as_tensor(network(image.numpy())["pred_score"]).flatten() for image in images]
    return 100 * auroc(torch.cat(scores), labels).item()


def tell_loss(network: Any, small: Any, dataset: AnomalibDataset, size: Sequence[int]) -> None:
    """Say what image AUROC 8 bits cost on images with and without defects; warn if that is too much.

    Args:
        network: The OpenVINO model as it was.
        small: The same, quantised.
        dataset: Images to judge, with labels.
        size: Height and width to resize them to.
    """
    target = taken_size(network, size)
    items = [dataset[number] for number in spread(len(dataset), CALIBRATION_IMAGES)]
    labels = torch.tensor([int(item.gt_label) for item in items])
    if labels.unique().numel() < 2:
        rank_zero_warn("INT8: no validation images with and without defects, what 8 bits cost is not known.")
        return
    images = [resize(item.image, target, antialias=True)[None] for item in items]
    before, after = (image_auroc(compiled(each), images, labels) for each in (network, small))
    said = f"INT8: image AUROC of {len(items)} validation images is {after:.1f} points, in float32 {before:.1f}."
    if before - after < ALLOWED:
        rank_zero_info(said)
    else:
        rank_zero_warn(f"{said} Export without --compression_type, and let OpenVINO run that file in bfloat16.")


def resizing(network: Any) -> list[str]:
    """Names of the matrix products in front of the convolutions, which resize: of 8-bit shares none would be right.

    Args:
        network: An OpenVINO model.
    """
    names, seen, ahead = [], set(), [network.input(0).node]
    while ahead:
        node = ahead.pop()
        if node.friendly_name in seen or "Convolution" in node.get_type_name():
            continue
        seen.add(node.friendly_name)
        if node.get_type_name() == "MatMul":
            names.append(node.friendly_name)
        ahead += [target.get_node() for output in node.outputs() for target in output.get_target_inputs()]
    return names
