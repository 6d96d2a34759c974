"""Reads untrusted network files as plain data: `read_pickle` for bare pickles, `read_torch` for torch.save.

Each door opens in two ways. ``read_`` gives the whole value, which must be plain throughout. ``open_`` leaves it to the
caller to take one part, and only that must be: of a snapshot with many networks one is wanted.

What comes out is made of dict, list, tuple, set, str, numbers, bytes (long ones as a memoryview), None, tensors on the
CPU, numpy arrays, and :class:`Persistent` for NVIDIA's objects.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from relatent.core.errors import CheckpointError
from weights.reading.budget import Budget, Refusal, damaged, refusals
from weights.reading.pickle_machine import PickleMachine
from weights.reading.plain_data import Persistent, Unknown
from weights.reading.plainness import require_plain
from weights.reading.torch_files import FILE_KNOWN, LEGACY_START, ZIP_START, inflated, read_legacy, read_zip

__all__ = ["Content", "Persistent", "flatten", "open_pickle", "open_torch", "read_bytes", "read_pickle", "read_torch"]

PARTS = ("_parameters", "_buffers", "_modules")
SHARING = 2  # limit on the total size of tensors, relative to the file, when shared storages are counted repeatedly


@dataclass(frozen=True, eq=False)
class Content:
    """What a file holds, not yet looked through: only what is taken out of it must be plain data.

    Attributes:
        path: the file.
        value: its value. Look at its type and at its entries' names and types; use nothing of it that was not taken.
        unknown: what could not be read, in the file's order.
        most: bytes that the numbers in any part may come to.
    """

    path: Path
    value: Any
    unknown: tuple[Unknown, ...]
    most: int

    @classmethod
    def of_tensors(cls, tensors: dict[str, Tensor], path: Path) -> Content:
        """The content of a file that cannot hold anything but tensors."""
        return cls(path, tensors, (), SHARING * sum(tensor.nbytes for tensor in tensors.values()))

    def take(self, part: Any) -> Any:
        """``part``, which lies in ``value``, once it is known to be plain data.

        Raises:
            CheckpointError: it holds what could not be read, or itself, or grows beyond reason when unfolded.
        """
        with refusals(self.path):
            require_plain(part, self.most)
        return part

    def take_all(self) -> Any:
        """The whole value.

        Raises:
            CheckpointError: as :meth:`take`, or anything in the file could not be read.
        """
        with refusals(self.path):
            if self.unknown:
                raise Refusal(self.unknown[0].reason)
        return self.take(self.value)


def open_pickle(path: Path) -> Content:
    """A bare pickle, as NVIDIA publishes networks.

    Raises:
        CheckpointError: missing, damaged, or larger inside than outside.
    """
    with refusals(path):
        return _content(_mapped(path), path)


def open_torch(path: Path) -> Content:
    """A file that ``torch.save`` wrote, in the zip layout or the older one; raises as the other door."""
    unknown: list[Unknown] = []
    with refusals(path):
        data = _mapped(path)
        budget = Budget(bulk=len(data))
        if bytes(data[: len(LEGACY_START)]) == LEGACY_START:
            value = read_legacy(data, FILE_KNOWN, budget, unknown)
        elif bytes(data[: len(ZIP_START)]) == ZIP_START:
            value = read_zip(path, FILE_KNOWN, budget, unknown)
        else:
            raise Refusal("does not start as a file of torch.save does, in neither layout. Copy or download it again.")
        return Content(path, value, tuple(unknown), SHARING * inflated(len(data)))


def read_pickle(path: Path) -> Any:
    """The value of a bare pickle.

    Raises:
        CheckpointError: as :func:`open_pickle`, or asking to import what is not known.
    """
    return open_pickle(path).take_all()


def read_torch(path: Path) -> Any:
    """The value of a file that ``torch.save`` wrote; raises as the other door."""
    return open_torch(path).take_all()


def read_bytes(data: bytes, path: Path) -> Any:
    """The value of a pickle that lies within the file ``path``; raises as :func:`read_pickle`."""
    with refusals(path):
        return _content(memoryview(data), path).take_all()


def _content(data: memoryview, path: Path) -> Content:
    machine = PickleMachine(data, Budget(bulk=len(data)))
    value = machine.run(FILE_KNOWN, go_on=True)
    return Content(path, value, tuple(machine.unknown), SHARING * len(data))


def flatten(module: Persistent, path: Path) -> dict[str, Tensor]:
    """Parameters and buffers of a persistent module by their dotted names, without those that are None.

    Args:
        module: the module.
        path: its file, for messages.

    Raises:
        CheckpointError: it is not a module, or a name occurs twice.
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
