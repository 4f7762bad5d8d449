# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""LayerCAM: which pixels a convolutional network looks at, layer by layer."""

from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import vgg16

from anomalib_plugins.components.backbone import Normalize
from anomalib_plugins.components.checks import check_choice, check_distinct, check_least
from anomalib_plugins.components.weights import classifier_of, imagenet_state_dict, load_backbone, load_state_dict
from anomalib_plugins.errors import UserError

Target = Literal["class", "feature-energy"]
VGG16_POOLS = (4, 9, 16, 23, 30)
FLAT = 1e-6  # a map whose range is this share of its maximum is constant but for rounding


class LayerCam:
    """Saliency maps of several layers of a network from one forward and one backward pass (Jiang et al., 2021).

    The map of a layer with activation A and gradient G of the target is the sum over channels of ``A * relu(G)``,
    enlarged to the image bilinearly and stretched to ``[0, 1]`` (https://doi.org/10.1109/TIP.2021.3089943).

    The network runs in evaluation mode and without gradients of its parameters; afterwards the modes and
    ``requires_grad`` of its modules are restored. Under autocast the network computes in that precision, the maps in
    float32.

    Args:
        network: Convolutional network for normalised images ``(N, 3, H, W)``.
        layers: Names of the layers, as in ``network.named_modules()``. Each must run exactly once in a forward pass
            and return one tensor ``(N, C, h, w)``.
        target: Function to differentiate. ``"class"``: the largest logit of each image; the network must return
            logits ``(N, K)``. ``"feature-energy"``, for networks without a classifier: half the squared length of the
            mean feature vector (of the last features if the network returns several), as if that vector itself were
            the weights of a class. Of the targets without classes that were tried, its maps are the most similar to
            those of the class.
        margin: Number of pixels by which images are continued on every side by reflection before the network sees
            them, less than the images' sides. Zeros around an image look like an edge to many networks, the more so
            the deeper they are: without a margin of 32 the maps of a ResNet-18 are all border. Published is 0.
        normalize: Normalisation of the images; ImageNet's by default.

    Raises:
        ValueError: If the layers are not different layers of the network, the target is unknown or the margin negative.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[str],
        target: Target = "class",
        margin: int = 0,
        normalize: Normalize | None = None,
    ) -> None:
        check_distinct("layers", layers, [name for name, _ in network.named_modules()])
        check_choice("target", target, Target)
        check_least("margin", margin, 0)
        self.network, self.layers, self.target, self.margin = network, tuple(layers), target, margin
        self.normalize = normalize or Normalize()

    def to(self, device: torch.device) -> "LayerCam":
        """Move the network to a device."""
        self.network.to(device)
        self.normalize.to(device)
        return self

    def __call__(self, images: Tensor) -> Tensor:
        """Compute the maps of RGB images ``(N, 3, H, W)`` in ``[0, 1]``.

        Returns:
            ``(N, L, H, W)`` in ``[0, 1]``, in the order of ``layers``, float32. The map of a layer without positive
            gradients, or of equal values everywhere, is 0.

        Raises:
            ValueError: If a layer does not run once or returns no feature maps, the network returns no logits where a
                class is the target or nothing that depends on the layers.
        """
        height, width = images.shape[-2:]
        margin = min(self.margin, height - 1, width - 1)
        images = F.pad(images, (margin,) * 4, mode="reflect")
        with torch.inference_mode(mode=False), _frozen(self.network):  # which switches gradients on
            activations, output = self._forward(images)
            target = _largest_logits(output) if self.target == "class" else _feature_energy(output)
            if not target.requires_grad:
                msg = f"the output of {type(self.network).__name__} does not depend on {', '.join(self.layers)}"
                raise UserError(msg)
            gradients = torch.autograd.grad(target, list(activations.values()), materialize_grads=True)
        cams = {}
        for (name, activation), gradient in zip(activations.items(), gradients, strict=True):
            weighted = activation.detach().float() * gradient.float().clamp(min=0)
            cam = weighted.sum(dim=1, keepdim=True).clamp_(min=0)  # (N, 1, h, w)
            cams[name] = F.interpolate(cam, size=images.shape[-2:], mode="bilinear", align_corners=False)
        maps = torch.cat([cams[name] for name in self.layers], dim=1)
        return _stretch(maps[..., margin : margin + height, margin : margin + width])

    def _forward(self, images: Tensor) -> tuple[dict[str, Tensor], Any]:
        """Compute the activations of the layers and the output of the network."""
        activations: dict[str, Tensor] = {}

        def tap(name: str, output: Tensor) -> Tensor:
            if name in activations:
                msg = f"layer {name} runs more than once in a forward pass: name the block that holds it"
                raise UserError(msg)
            if not isinstance(output, Tensor) or output.ndim != 4:
                msg = f"layer {name} returns {_describe(output)} instead of feature maps (N, C, h, w)"
                raise UserError(msg)
            # Nothing before the first layer needs gradients.
            activations[name] = output if output.requires_grad else output.detach().requires_grad_()
            return activations[name].clone()  # what follows may overwrite it

        modules = dict(self.network.named_modules())
        hooks = [
            modules[name].register_forward_hook(lambda _module, _inputs, output, name=name: tap(name, output))
            for name in self.layers
        ]
        try:
            # Convolutions are faster with the channels of a pixel side by side.
            output = self.network(self.normalize(images).contiguous(memory_format=torch.channels_last))
        finally:
            for hook in hooks:
                hook.remove()
        if missing := [name for name in self.layers if name not in activations]:
            msg = f"layers {', '.join(missing)} do not run in a forward pass of {type(self.network).__name__}"
            raise UserError(msg)
        return activations, output


def vgg16_saliency(
    weights: str | Path | None = None,
    layers: Sequence[int] = VGG16_POOLS,
    target: Target | None = None,
    pre_trained: bool = True,
    margin: int = 0,
) -> LayerCam:
    """LayerCAM on torchvision's VGG-16; by default on its five max-pooling layers, whose indices CutSwap lists.

    Args:
        weights: File to read; ``None`` takes ImageNet weights from the caches or the internet.
        layers: Indices in ``features``.
        target: Target of :class:`LayerCam`; ``None`` takes ``"class"`` if the file has a trained classifier, else
            ``"feature-energy"``.
        pre_trained: Whether to load weights. Tests do without.
        margin: Margin of :class:`LayerCam`.

    Returns:
        LayerCAM on a frozen network in evaluation mode.

    Raises:
        FileNotFoundError: If the file, or any ImageNet weights, cannot be found.
        ValueError: If the file lacks tensors that the target needs, or is of another architecture, or a layer does not
            exist.
    """
    classifier = False
    if pre_trained:
        given = imagenet_state_dict("vgg16") if weights is None else load_state_dict(weights)
        classifier = bool(classifier_of(given, "classifier.6"))
    if target is None:
        target = "class" if classifier else "feature-energy"
    elif target == "class" and pre_trained and not classifier:
        msg = f'{weights or "the cached file"} has no trained classifier of VGG-16: use target="feature-energy"'
        raise UserError(msg)
    with torch.device("meta"):  # the random start of 138 million parameters takes seconds
        network: nn.Module = vgg16(weights=None)
    if target != "class":
        network = nn.Sequential(OrderedDict(features=network.features))
    network.to_empty(device="cpu")
    if not pre_trained:
        network.apply(_reset)
    elif missing := load_backbone(network, "vgg16", weights):
        msg = f"{weights or 'the cached file'} lacks tensors of VGG-16: {', '.join(missing)}"
        raise UserError(msg)
    names = [f"features.{index}" for index in layers]
    return LayerCam(network.requires_grad_(requires_grad=False).eval(), names, target, margin)


def _largest_logits(output: Any) -> Tensor:
    """Sum of the largest logit of each image."""
    if not isinstance(output, Tensor) or output.ndim != 2:
        msg = f'the network returns {_describe(output)} instead of logits (N, K): use target="feature-energy"'
        raise UserError(msg)
    return output.amax(dim=1).sum()


def _feature_energy(output: Any) -> Tensor:
    """Sum over images of half the squared length of their mean feature vectors."""
    while not isinstance(output, Tensor):
        output = list(output.values() if isinstance(output, dict) else output)[-1]
    return output.float().flatten(2).mean(dim=2).square().sum() / 2 if output.ndim > 2 else output.square().sum() / 2


def _describe(output: Any) -> str:
    return str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__


def _reset(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        module.reset_parameters()


@contextmanager
def _frozen(network: nn.Module) -> Generator[None, None, None]:
    """Switch to evaluation mode and switch off gradients of parameters inside the context."""
    training = [module for module in network.modules() if module.training]
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        network.eval().requires_grad_(requires_grad=False)
        yield
    finally:
        for module in training:
            module.training = True
        for parameter in learning:
            parameter.requires_grad_()


def _stretch(maps: Tensor) -> Tensor:
    """Stretch each map of ``(N, L, H, W)`` to ``[0, 1]``, whatever the scale of gradients."""
    low, high = maps.amin(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)
    span = high - low
    return torch.where(span > FLAT * high, (maps - low) / span, 0.0)
