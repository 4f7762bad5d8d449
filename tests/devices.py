# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""A GPU without a GPU: tensors of the CPU that say ``cuda:0``, refuse what CUDA refuses, and count transfers.

CUDA allows some mixtures: 0-dim tensors of the CPU in arithmetic, indices of the CPU into tensors of the GPU, and
``copy_``. Randomness must come from a generator of the device a tensor is made on.
"""

from collections import Counter
from contextlib import contextmanager
from functools import cache
from typing import ClassVar

import torch
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
ATEN = torch.ops.aten

# The CPU waits for these on a GPU: it needs the number, or the size of the result.
WAITS = {
    *(ATEN._local_scalar_dense, ATEN.equal, ATEN.nonzero, ATEN.masked_select, ATEN.bincount, ATEN.repeat_interleave),
    *(ATEN._unique2, ATEN.unique_dim, ATEN.unique_consecutive),
}
INDEXING = {ATEN.index, ATEN.index_put, ATEN.index_put_, ATEN._index_put_impl_}


class MixedDevicesError(RuntimeError):
    """Tensors, or a tensor and a generator, of both devices met in one operation."""


class GpuTensor(torch.Tensor):
    """A tensor of the CPU that says it is on ``cuda:0``, but not to autograd, which would ask the driver."""

    traffic: ClassVar[Counter] = Counter()  # waits of the CPU for the GPU, and uploads
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner, requires_grad=False):
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        self = torch.Tensor._make_wrapper_subclass(cls, inner.shape, **layout, requires_grad=requires_grad)
        self.inner = inner
        return self

    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def __repr__(self):
        return f"GpuTensor({self.inner})"

    def __tensor_flatten__(self):  # noqa: PLW3201
        """Tells ``nn.Module.to`` to replace parameters instead of their data."""
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(tensors, context, size, stride):  # noqa: PLW3201
        return GpuTensor(tensors["inner"])

    def as_subclass(self, kind):
        return gpu_kind(kind)(self.inner)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):  # noqa: PLW3201
        kwargs = kwargs or {}
        refuse_mixture(func, args, kwargs)
        count_transfers(func.overloadpacket, args)
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        # What is changed in place stays the object it is.
        same = {id(each.inner if isinstance(each, GpuTensor) else each): each for each in given}
        inner_args, inner_kwargs = tree_map_only(GpuTensor, lambda each: each.inner, (args, kwargs))
        out = func(*inner_args, **inner_kwargs)
        return tree_map_only(torch.Tensor, lambda each: same[id(each)] if id(each) in same else GpuTensor(each), out)


@cache
def gpu_kind(kind):
    """torchvision's images and masks stay such on the GPU."""
    if kind is torch.Tensor or issubclass(kind, GpuTensor):
        return GpuTensor if kind is torch.Tensor else kind
    return type(f"Gpu{kind.__name__}", (GpuTensor, kind), {})


def on_cpu(tensor):
    return isinstance(tensor, torch.Tensor) and not isinstance(tensor, GpuTensor)


def refuse_mixture(func, args, kwargs):
    """Raise where CUDA would."""
    if func.overloadpacket in {ATEN.copy_, ATEN._to_copy}:
        return
    if func.overloadpacket in INDEXING and not on_cpu(args[0]):
        args = (args[0], *args[2:])  # indices may be of either device
    single = [each for each in (*args, *kwargs.values()) if on_cpu(each) and each.ndim > 0]
    listed = [each for part in args if isinstance(part, list | tuple) for each in part if on_cpu(each)]
    if func.overloadpacket in INDEXING and on_cpu(args[0]):
        single = [args[0]]
    if single or listed:
        msg = f"{func}: one tensor is on cuda:0, another on the CPU: {[tuple(each.shape) for each in single + listed]}"
        raise MixedDevicesError(msg)
    refuse_generator(func, kwargs.get("generator"))


def refuse_generator(func, generator):
    if generator is not None and generator.device.type == "cpu":
        msg = f"{func}: expected a 'cuda' device type for generator but found 'cpu'"
        raise MixedDevicesError(msg)


def count_transfers(operation, args):
    indices = [each for each in args[1] if each is not None] if operation in INDEXING else []
    masked = any(each.dtype in {torch.bool, torch.uint8} for each in indices)
    if operation in WAITS or masked or (operation is ATEN.copy_ and on_cpu(args[0])):
        GpuTensor.traffic["waits"] += 1
    if any(map(on_cpu, indices)) or (operation is ATEN.copy_ and on_cpu(args[1])):
        GpuTensor.traffic["uploads"] += 1


class _Move(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor):
        here = on_cpu(tensor)
        GpuTensor.traffic["uploads" if here else "waits"] += 1
        return GpuTensor(tensor.detach().clone()) if here else tensor.inner.detach().clone()

    @staticmethod
    def backward(ctx, gradient):
        return _Move.apply(gradient)


def move(tensor, device):
    gpu = torch.device(device).type == "cuda"
    return _Move.apply(tensor) if gpu == on_cpu(tensor) else tensor


class PretendGpu(TorchFunctionMode):
    """Within it ``cuda`` can be named: tensors are made there and moved there, as :class:`GpuTensor`."""

    def __torch_function__(self, func, types, args=(), kwargs=None):  # noqa: PLW3201
        kwargs = dict(kwargs or {})
        first = args[0] if args else None
        if func is torch.Tensor.to:
            return self.to(*args, **kwargs)
        if func in {torch.Tensor.cpu, torch.Tensor.cuda}:
            return move(first, CPU if func is torch.Tensor.cpu else GPU)
        if isinstance(first, GpuTensor):
            if func is torch.Tensor.tolist:
                return move(first.detach(), CPU).tolist()
            if func is torch.Tensor.numpy and kwargs.get("force"):
                return move(first.detach(), CPU).numpy()
            if func is torch.Tensor.new_tensor:
                func, args, kwargs = torch.tensor, args[1:], {"dtype": first.dtype, "device": GPU, **kwargs}
        device = kwargs.get("device")
        if device is not None and torch.device(device).type == "cuda":
            refuse_generator(func, kwargs.get("generator"))
            made = func(*args, **{**kwargs, "device": CPU})
            return made if isinstance(made, GpuTensor) else GpuTensor(made, kwargs.get("requires_grad", False))
        return func(*args, **kwargs)

    @staticmethod
    def to(tensor, *args, device=None, dtype=None, other=None, non_blocking=False, copy=False, memory_format=None):
        for each in args[:2]:  # Tensor.to(device, dtype), to(dtype) or to(other)
            if isinstance(each, torch.Tensor):
                device, dtype = each.device, each.dtype
            elif isinstance(each, torch.dtype):
                dtype = each
            elif isinstance(each, str | torch.device):
                device = each
        if other is not None:
            device, dtype = other.device, other.dtype
        tensor = tensor if device is None else move(tensor, device)
        changes = {"dtype": dtype, "memory_format": memory_format, "copy": copy or None}
        changes = {name: value for name, value in changes.items() if value is not None}
        return tensor.to(**changes) if changes else tensor


@contextmanager
def counted():
    """The traffic within."""
    before, traffic = GpuTensor.traffic.copy(), Counter()
    try:
        yield traffic
    finally:
        traffic.update(GpuTensor.traffic - before)


class PretendAccelerator(CPUAccelerator):
    def setup_device(self, device):
        """Needs no driver."""


def trainer_arguments():
    """What makes a Lightning trainer use :class:`PretendGpu`, which must be entered around it."""
    strategy = SingleDeviceStrategy(GPU, accelerator=PretendAccelerator())
    # Tensors of inference mode have no versions, which these wrappers need.
    return {"strategy": strategy, "devices": 1, "inference_mode": False}
