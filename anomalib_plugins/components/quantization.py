# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""8-bit OpenVINO models, calibrated on the images a model was trained on."""

from collections.abc import Sequence
from typing import Any

from anomalib.data import AnomalibDataModule
from numpy import ndarray
from torchvision.transforms.v2.functional import resize

CALIBRATION_IMAGES = 300  # what NNCF recommends, and takes by itself


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
    shape = network.input(0).partial_shape
    fixed = [shape[axis].get_length() for axis in (2, 3) if shape[axis].is_static]
    target = fixed if len(fixed) == 2 else list(size)

    def prepared(number: int) -> ndarray:
        return resize(images[number].image, target, antialias=True)[None].numpy()

    taken = min(count, len(images))
    numbers = [each * len(images) // taken for each in range(taken)]
    return nncf.quantize(
        network,
        nncf.Dataset(numbers, prepared),
        subset_size=len(numbers),
        ignored_scope=nncf.IgnoredScope(names=resizing(network)),
    )


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
