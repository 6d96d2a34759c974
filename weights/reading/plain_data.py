"""The names that a network's pickle may import, and the functions that build plain data in their place.

Nothing is imported by name. A name is looked up in :data:`KNOWN`, which maps it to a function of this module that
checks all of its arguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from weights.reading.budget import Budget, Refusal, damaged

MAX_DIMENSIONS = 8  # weights of convolutions have four
MAX_SIDE = 2**48  # of a shape; larger than any file
NUMBERS = re.compile(r"[<=|]?([fiu][1248]|b1)")  # NumPy's names of little-endian real dtypes
OBJECTS = "O8"  # its spelling of whatever a pickle can hold
VENDORED = ("torch_utils.persistence._reconstruct_persistent_obj", "dnnlib.util.EasyDict", "dnnlib.EasyDict")


@dataclass(frozen=True)
class Name:
    """A known name in a pickle, as text."""

    text: str


@dataclass(frozen=True, eq=False)
class Unknown:
    """What stands for a part of a pickle that is not read.

    Attributes:
        name: of what it asked to import, or of what it wanted made; empty if neither.
        reason: why it is not read, in words that follow the file's name.
    """

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Storage:
    """The storage of one or more tensors, one-dimensional."""

    numbers: Tensor


@dataclass(frozen=True, eq=False)
class Persistent:
    """An object pickled by NVIDIA's ``torch_utils.persistence``; its source code in the pickle is ignored.

    Attributes:
        class_name: for example "Generator".
        state: its attributes, among them ``_init_args``, ``_init_kwargs``, ``_parameters``, ``_buffers`` and
            ``_modules`` (whose values are Persistent as well).
    """

    class_name: str
    state: dict[str, Any]


class Attributes(dict[str, Any]):
    """The attributes of an ``argparse.Namespace``."""


Maker = Callable[[tuple[Any, ...], Budget], Any]


def _new_dict(args: tuple[Any, ...], _: Budget) -> dict[Any, Any]:
    _require(not args, "a dict with arguments")
    return {}


def _new_attributes(args: tuple[Any, ...], _: Budget) -> Attributes:
    _require(not args, "a Namespace with arguments")
    return Attributes()


def _new_set(args: tuple[Any, ...], budget: Budget) -> set[Any]:
    _require(len(args) == 1 and type(args[0]) is list, "a set of something else than a list")
    budget.spend_steps(len(args[0]))
    return set(map(hashable, args[0]))


def _latin1(args: tuple[Any, ...], budget: Budget) -> bytes:
    """Bytes as protocol 2 encodes them."""
    _require(len(args) == 2 and type(args[0]) is str and args[1] in ("latin1", "latin-1"), "an encoded text")
    budget.spend_characters(len(args[0]))
    try:
        return args[0].encode("latin-1")
    except UnicodeEncodeError as error:
        raise damaged("bytes that are none") from error


def _no_bytes(args: tuple[Any, ...], _: Budget) -> bytes:
    _require(not args, "bytes with arguments")
    return b""


def _size(args: tuple[Any, ...], _: Budget) -> tuple[Any, ...]:
    _require(len(args) == 1 and type(args[0]) is tuple, "a size")
    return args[0]


def _joined(separator: str) -> Maker:
    """A function that turns paths and devices into text."""

    def join(args: tuple[Any, ...], budget: Budget) -> str:
        _require(len(args) <= 64 and all(type(part) in (str, int) for part in args), "a path")
        text = separator.join(map(str, args))
        budget.spend_characters(len(text))
        return text

    return join


def _persistent(args: tuple[Any, ...], _: Budget) -> Persistent:
    meta: Any = args[0] if len(args) == 1 else None
    _require(type(meta) is dict and meta.get("type") == "class", "a persistent object")
    name, state = meta.get("class_name"), meta.get("state")
    _require(type(name) is str and type(state) is dict, "a persistent object's state")
    return Persistent(name, state)


def _parameter(args: tuple[Any, ...], _: Budget) -> Tensor:
    _require(3 <= len(args) <= 4 and isinstance(args[0], Tensor), "a parameter")
    return args[0]


def _tensor(args: tuple[Any, ...], _: Budget) -> Tensor:
    """A view of a storage, checked to lie within it and to have no more elements, which strides of 0 could give."""
    _require(len(args) in (6, 7) and type(args[0]) is Storage, "a tensor")
    numbers, offset, size, stride = args[0].numbers, *args[1:4]
    _require(_are_sides((offset,)) and _are_sides(size) and _are_sides(stride) and len(size) == len(stride), "a shape")
    count = math.prod(size)
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if count and (last >= len(numbers) or count > len(numbers)):
        raise Refusal(
            f"has a tensor of {list(size)} from place {offset} with strides {list(stride)}, where {len(numbers)} "
            "numbers are stored. Copy or download it again."
        )
    return numbers.as_strided(size, stride, offset if count else 0)


def _dtype(args: tuple[Any, ...], _: Budget) -> np.dtype[Any]:
    _require(bool(args) and type(args[0]) is str, "a number format")
    if args[0] == OBJECTS:
        return np.dtype(object)
    if not NUMBERS.fullmatch(args[0]):
        raise Refusal(f"has an array of {args[0]!a:.40}; expected real numbers, little-endian.")
    return np.dtype(args[0])


def _scalar(args: tuple[Any, ...], _: Budget) -> Any:
    _require(len(args) == 2 and isinstance(args[0], np.dtype) and type(args[1]) is bytes, "a number")
    _require(not args[0].hasobject, "a number")
    _require(len(args[1]) == args[0].itemsize, "a number's size")
    return np.frombuffer(args[1], args[0])[0].item()


def _empty_array(args: tuple[Any, ...], _: Budget) -> np.ndarray[Any, Any]:
    """The result of ``_reconstruct``; shape and data follow as its state."""
    _require(len(args) == 3 and args[0] == Name("numpy.ndarray"), "an array")
    return np.empty(0, np.int8)


def _array(args: tuple[Any, ...], budget: Budget) -> np.ndarray[Any, Any]:
    """How protocol 5 writes arrays of numbers."""
    _require(len(args) == 4 and type(args[3]) is str and args[3] in ("C", "F"), "an array")
    array = np.empty(0, np.int8)
    give_state(array, (1, args[2], args[1], args[3] == "F", args[0]), budget)
    return array


def _not_made(_: tuple[Any, ...], __: Budget) -> Any:
    raise damaged("a class is called that is only mentioned elsewhere")


DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
CONSTANTS = frozenset(f"torch.{name}" for name in ("float64", "float32", "float16", "bfloat16", "int64", "uint8"))
STORAGES: Mapping[str, Maker] = {f"torch.{name}": _not_made for name in DTYPES}
KNOWN: Mapping[str, Maker] = {
    **STORAGES,
    "collections.OrderedDict": _new_dict,
    "dnnlib.util.EasyDict": _new_dict,
    "dnnlib.EasyDict": _new_dict,
    "argparse.Namespace": _new_attributes,
    **{f"{module}.{kind}": _new_set for module in ("builtins", "__builtin__") for kind in ("set", "frozenset")},
    "builtins.bytes": _no_bytes,
    "__builtin__.bytes": _no_bytes,
    "_codecs.encode": _latin1,
    "pathlib.PosixPath": _joined("/"),
    "pathlib.PurePosixPath": _joined("/"),
    "pathlib.WindowsPath": _joined("/"),
    "pathlib._local.PosixPath": _joined("/"),
    "pathlib._local.WindowsPath": _joined("/"),
    "torch.device": _joined(":"),
    "torch.Size": _size,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent,
    "numpy.dtype": _dtype,
    "numpy.ndarray": _not_made,
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": _empty_array for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _array for core in ("core", "_core")},
}


def usual_name(name: str) -> str:
    """A name without the package that somebody has put the published module into."""
    return next((known for known in VENDORED if name.endswith(f".{known}")), name)


def give_state(value: Any, state: Any, budget: Budget) -> None:
    """The instruction BUILD, for the few types that have a state.

    Raises:
        Refusal: another type, or an invalid state.
    """
    if type(value) is Attributes:
        _require(type(state) is dict, "a Namespace's attributes")
        budget.spend_steps(len(state))
        value.update(state)
    elif type(value) is dict:
        pass  # attributes of an OrderedDict, in which state_dict() stores version numbers
    elif isinstance(value, np.dtype):
        _require(type(state) is tuple and len(state) >= 8, "a number format")
        _require(state[1] in ("<", "|", "=") and state[2:5] == (None, None, None), "a number format")
    elif type(value) is np.ndarray:
        _fill(value, state, budget)
    else:
        raise Refusal(f"sets the state of a {type(value).__name__}; a network file has no need of that.")


def _fill(array: np.ndarray[Any, Any], state: Any, budget: Budget) -> None:
    _require(type(state) is tuple and len(state) == 5, "an array's state")
    _, shape, dtype, column_major, data = state
    if type(dtype) is Unknown:
        raise Refusal(dtype.reason)
    _require(_are_sides(shape) and isinstance(dtype, np.dtype), "an array's shape")
    if dtype.hasobject:
        _require(type(data) is list and len(data) == math.prod(shape), "an array's objects")
        budget.spend_steps(len(data))
        cast(Any, array).__setstate__((1, shape, dtype, bool(column_major), data))  # likewise: it copies references
        return
    _require(type(data) in (bytes, memoryview) and len(data) == math.prod(shape) * dtype.itemsize, "an array's size")
    budget.spend_bulk(len(data))
    # NumPy's __setstate__; with these checked arguments it only copies bytes
    cast(Any, array).__setstate__((1, shape, dtype, bool(column_major), bytes(data)))


def hashable(key: Any) -> Any:
    """``key`` if its type is allowed; hashing a deeply nested tuple would overflow the stack."""
    if type(key) not in (str, int, float, bool):
        raise Refusal(f"has a {type(key).__name__} as a key; expected text or a number.")
    return key


def _are_sides(values: Any) -> bool:
    return (
        type(values) is tuple
        and len(values) <= MAX_DIMENSIONS
        and all(type(value) is int and 0 <= value < MAX_SIDE for value in values)
    )


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise damaged(f"not {what} as expected")
