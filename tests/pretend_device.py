"""A device that computes on the CPU and refuses what would be wrong or slow on a GPU.

Its tensors say that they are on the device "meta" and carry real numbers, so whole inversions and training steps run
on it. While a :class:`PretendDevice` is entered, it raises :class:`DeviceMistakeError` for

- operators whose tensors are not all on one device,
- float64, which mps does not have,

and inside :meth:`PretendDevice.step` also for whatever makes the host wait for the device, or the device for the host:

- values that are read: ``.item()``, ``float()``, ``bool()``, ``.tolist()``, ``.cpu()``,
- sizes that depend on values: ``nonzero``, boolean indices, ``unique``, ``masked_select``,
- copies from the CPU, and tensors that are made there. A step of training may draw numbers on the CPU, and copy them
  without waiting: ``step(host=True)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
WIDE = (torch.float64, torch.complex128)
aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default, aten._copy_from.default}
READS = {aten._local_scalar_dense.default, aten.item.default, aten.is_nonzero.default, aten.equal.default}
SIZED_BY_VALUES = {
    "aten::nonzero", "aten::masked_select", "aten::unique_dim", "aten::_unique2", "aten::unique_consecutive",
    "aten::argwhere", "aten::bincount", "aten::repeat_interleave.Tensor", "aten::nonzero_static",
}  # fmt: skip
INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"}


class DeviceMistakeError(AssertionError):
    """What would be wrong or slow on a GPU."""


class PretendTensor(torch.Tensor):
    """A tensor that says it is on the pretend device; ``held`` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> PretendTensor:
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=DEVICE,
        )
        self.held = held
        return self

    def __init__(self, held: Tensor) -> None:
        super().__init__()

    def __repr__(self, **_: Any) -> str:
        return f"PretendTensor({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise DeviceMistakeError(f"{func} outside of the pretend device")


class _FromData(TorchFunctionMode):
    """``torch.tensor`` copies to its device below all modes: make it on the CPU, and copy where it is seen."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        named = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor, torch.asarray) and named is not None:
            del kwargs["device"]
            return func(*args, **kwargs).to(named)
        if func is Tensor.tolist:  # which PyTorch refuses for whatever is not its own class
            return func(args[0].cpu())
        return func(*args, **kwargs)


class PretendDevice(TorchDispatchMode):
    """While it is entered, ``device="meta"`` means the pretend device."""

    device = DEVICE

    def __init__(self) -> None:
        super().__init__()
        self.in_step = self.host = False
        self.operators = 0  # seen on the device inside steps
        self._from_data = _FromData()

    def __enter__(self) -> PretendDevice:
        self._from_data.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._from_data.__exit__(*error)

    @contextmanager
    def step(self, host: bool = False) -> Iterator[None]:
        """Inside, the host and the device may not wait for each other; ``host``: the CPU may compute as well."""
        before = self.in_step, self.host
        self.in_step, self.host = True, host
        try:
            yield
        finally:
            self.in_step, self.host = before

    def strict(self, function: Any, host: bool = False) -> Any:
        """``function`` as a step."""

        def inside(*args: Any, **kwargs: Any) -> Any:
            with self.step(host):
                return function(*args, **kwargs)

        return inside

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func.namespace == "profiler":
            return func(*args, **kwargs)
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        ours = [leaf for leaf in inputs if isinstance(leaf, PretendTensor)]
        theirs = [leaf for leaf in inputs if not isinstance(leaf, PretendTensor)]
        named = kwargs.get("device")
        there = named is not None and torch.device(named).type == DEVICE.type
        back = named is not None and not there
        if self.in_step:
            self._check_step(func, args, kwargs, ours, theirs, there, back)
        if ours and theirs and func not in COPIES:
            raise DeviceMistakeError(f"{func} of tensors on the device and on the CPU: {[x.shape for x in theirs]}")
        if named is not None:
            kwargs["device"] = torch.device("cpu")
        kwargs.pop("pin_memory", None)
        wrappers = {id(x.held): x for x in ours}
        unwrap = lambda x: x.held if isinstance(x, PretendTensor) else x  # noqa: E731
        result = func(*tree_map(unwrap, args), **tree_map(unwrap, kwargs))
        on_device = there or (bool(ours) and not back)
        if func is aten.copy_.default:
            on_device = isinstance(args[0], PretendTensor)
        if not on_device:
            return result
        self.operators += self.in_step

        def wrap(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            if x.dtype in WIDE:
                raise DeviceMistakeError(f"{func} makes {x.dtype} on the device")
            return wrappers[id(x)] if id(x) in wrappers else PretendTensor(x)

        return tree_map(wrap, result)

    def _check_step(self, func: Any, args: Any, kwargs: Any, ours: list, theirs: list, there: bool, back: bool) -> None:
        name = func._schema.name
        if ours and func in READS:
            raise DeviceMistakeError(f"{func} reads a value from the device in a step")
        if ours and name in SIZED_BY_VALUES:
            raise DeviceMistakeError(f"{func} has a size that depends on values, and waits for them in a step")
        if ours and name in INDEXING and any(_is_mask(x) for x in tree_leaves(args[1])):
            raise DeviceMistakeError(f"{func} with a boolean index waits for the device in a step")
        if ours and back:
            raise DeviceMistakeError(f"{func} copies to the CPU in a step")
        arrives = there or (func is aten.copy_.default and isinstance(args[0], PretendTensor))
        if theirs and (arrives or ours):
            waits = not (kwargs.get("non_blocking") or (func is aten.copy_.default and args[2:] == (True,)))
            if waits or not self.host:
                raise DeviceMistakeError(f"{func} copies between the CPU and the device in a step")
        if not ours and not there and not self.host:
            raise DeviceMistakeError(f"{func} computes on the CPU in a step")


def _is_mask(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype in (torch.bool, torch.uint8)
