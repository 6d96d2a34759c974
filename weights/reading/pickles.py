"""Foreign network files as plain data: two doors, and nothing behind them that a file could run.

What comes out is made of dict, list, tuple, set, str, numbers, bytes (long ones as a memoryview), None, tensors on the
CPU, numpy arrays, and :class:`Persistent` for NVIDIA's objects.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

from torch import Tensor

from relatent.core.errors import CheckpointError
from weights.reading.budget import Budget, Refusal, damaged, refusals
from weights.reading.pickle_machine import PickleMachine
from weights.reading.plain_data import Persistent
from weights.reading.plainness import require_plain
from weights.reading.torch_files import FILE_KNOWN, LEGACY_START, ZIP_START, inflated, read_legacy, read_zip

__all__ = ["Persistent", "flatten", "read_pickle", "read_torch"]

PARTS = ("_parameters", "_buffers", "_modules")
SHARING = 2  # how often, on average, the numbers of a file may be mentioned


def read_pickle(path: Path) -> Any:
    """The value of a bare pickle, as NVIDIA publishes networks.

    Raises:
        CheckpointError: missing, damaged, asking to import what is not known, or larger inside than outside.
    """
    with refusals(path):
        data = _mapped(path)
        value = PickleMachine(data, Budget(bulk=len(data))).run(FILE_KNOWN)
        require_plain(value, SHARING * len(data))
        return value


def read_torch(path: Path) -> Any:
    """The value of a file that ``torch.save`` wrote, in the zip layout or the older one; raises as the other door."""
    with refusals(path):
        data = _mapped(path)
        if bytes(data[: len(LEGACY_START)]) == LEGACY_START:
            value = read_legacy(data, FILE_KNOWN, Budget(bulk=len(data)))
        elif bytes(data[: len(ZIP_START)]) == ZIP_START:
            value = read_zip(path, FILE_KNOWN, Budget(bulk=len(data)))
        else:
            raise Refusal("does not start as a file of torch.save does, in neither layout. Copy or download it again.")
        require_plain(value, SHARING * inflated(len(data)))
        return value


def flatten(module: Persistent, path: Path) -> dict[str, Tensor]:
    """Parameters and buffers of a persistent module by their dotted names; those that are None are left out.

    Args:
        module: the module.
        path: the file it is from, for messages.

    Raises:
        CheckpointError: it is not a module, or two have the same name.
    """
    tensors: dict[str, Tensor] = {}
    with refusals(path):
        _flatten_into(tensors, module, "")
    return tensors


def _flatten_into(tensors: dict[str, Tensor], module: Any, prefix: str) -> None:
    place = f"{prefix!a:.80}" if prefix else "its network"
    parts = [module.state.get(part) for part in PARTS] if type(module) is Persistent else []
    if not parts or not all(isinstance(part, dict) for part in parts):
        raise damaged(f"{place} is not a module but a {type(module).__name__}")
    parameters, buffers, modules = (dict(part or {}) for part in parts)
    for name, tensor in (*parameters.items(), *buffers.items()):
        if tensor is None:
            continue
        if not isinstance(tensor, Tensor) or f"{prefix}{name}" in tensors:
            raise damaged(f"{name!a:.80} of {place} is no tensor or there twice")
        tensors[f"{prefix}{name}"] = tensor
    for name, inner in modules.items():
        if inner is not None:
            _flatten_into(tensors, inner, f"{prefix}{name}.")


def _mapped(path: Path) -> memoryview:
    if not path.is_file():
        raise CheckpointError(
            f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; expected a network file."
        )
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise Refusal("is empty; expected a network file. Copy or download it again.")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
