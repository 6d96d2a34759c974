"""Reads the two formats of ``torch.save``: a zip file since PyTorch 1.6, and the legacy format before.

``torch.load`` is not used, because what it can execute depends on its version and arguments.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from relatent.core.archive import Archive, TableTooLongError
from weights.reading.budget import ELSEWHERE, Budget, Refusal, damaged
from weights.reading.pickle_machine import PickleMachine
from weights.reading.plain_data import DTYPES, KNOWN, STORAGES, Maker, Name, Storage, Unknown

LEGACY_START = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # a pickle of the format's magic number
LEGACY_PROTOCOL = 1001  # torch.serialization's PROTOCOL_VERSION
ZIP_START = b"PK\x03\x04"
MAX_TABLE = 2**22  # bytes of a zip's central directory; 5000 tensors need 0.5 MB
MAX_PICKLE = 2**26  # bytes; a network's names and shapes take a hundredth of it
ARRAYS = "Expected a network; give a face's latents to python -m editing edit, and the network with --network"
INFLATION = 2**26  # bytes, see `inflated`; weights hardly compress


def read_legacy(
    data: memoryview, known: Mapping[str, Maker], budget: Budget, unknown: list[Unknown] | None = None
) -> Any:
    """The value of a file of the old layout.

    Args:
        data: the whole file.
        known: what its main pickle may import.
        budget: what it may cost.
        unknown: is given what its main pickle holds besides; None to refuse that.

    Raises:
        Refusal: damaged, over budget, or importing an unknown name.
    """
    machine = PickleMachine(data, budget)
    machine.run()  # the magic number, which the caller recognised
    if machine.run() != LEGACY_PROTOCOL:
        raise damaged("not the old layout's version")
    system = machine.run()
    if type(system) is not dict or system.get("little_endian") is not True:
        raise Refusal("was written by a big-endian machine; expected little-endian. Save it again elsewhere.")
    storages: dict[str, Storage] = {}

    def storage(identity: Any) -> Any:
        if _is_class(identity):
            return identity[1]
        name, key, count = _identity(identity)
        if key in storages:
            return _same(storages[key], name, count)
        budget.spend_bulk(count * DTYPES[name].itemsize)
        storages[key] = Storage(_empty(name, count))
        return storages[key]

    value = machine.run(known, storage, go_on=unknown is not None)
    keys = machine.run()
    if unknown is not None:
        unknown.extend(machine.unknown)
    if machine.unknown and type(keys) is list and len(keys) > len(storages):  # of a kind whose length nobody knows
        raise Refusal(machine.unknown[0].reason)
    if type(keys) is not list or not all(type(key) is str for key in keys) or set(keys) != set(storages):
        raise damaged("its list of storages does not fit")
    for key in keys:
        numbers = storages[key].numbers
        if machine.take_number(8) != len(numbers):
            raise damaged(f"storage {ascii(key)[:40]} has another length than its tensors say")
        raw = machine.take_bytes(numbers.nbytes)
        numbers.view(torch.uint8).numpy()[:] = np.frombuffer(raw, np.uint8)
    return value


def inflated(length: int) -> int:
    """Limit on the unpacked size of a zip of this length, in bytes."""
    return length + length // 4 + INFLATION


def nested_storage(args: tuple[Any, ...], budget: Budget) -> Storage:
    """``torch.storage._load_from_bytes``: a storage, stored as a legacy file inside a pickle.

    Only the names of storages may be imported there, so it cannot be nested further.
    """
    data = memoryview(args[0]) if len(args) == 1 and type(args[0]) in (bytes, memoryview) else memoryview(b"")
    if bytes(data[: len(LEGACY_START)]) != LEGACY_START:
        raise damaged("a storage in an unknown layout")
    value = read_legacy(data, STORAGES, budget)
    if type(value) is not Storage:
        raise damaged("a storage that is none")
    return value


FILE_KNOWN: Mapping[str, Maker] = {**KNOWN, "torch.storage._load_from_bytes": nested_storage}


def read_zip(path: Path, known: Mapping[str, Maker], budget: Budget, unknown: list[Unknown] | None = None) -> Any:
    """Read a file of the zip format; other arguments and errors as for :func:`read_legacy`."""
    length = path.stat().st_size
    with _opened(path) as archive:
        members = _members(archive, length)
        folder = _folder(members)
        order = f"{folder}byteorder"
        if order in members and archive.read(members[order], MAX_PICKLE)[:16] != b"little":
            raise Refusal("was written by a big-endian machine; expected little-endian. Save it again elsewhere.")
        machine = PickleMachine(memoryview(archive.read(members[f"{folder}data.pkl"], MAX_PICKLE)), budget)
        storages = _zip_storages(archive, members, f"{folder}data/")
        value = machine.run(known, storages, go_on=unknown is not None)
        if unknown is not None:
            unknown.extend(machine.unknown)
        return value


def _opened(path: Path) -> Archive:
    try:
        return Archive(path, MAX_TABLE)
    except TableTooLongError as error:
        raise Refusal(
            f"has a table of contents of more than {MAX_TABLE} bytes; no network needs that. {ELSEWHERE}"
        ) from error


def _zip_storages(archive: Archive, members: dict[str, zipfile.ZipInfo], folder: str) -> Callable[[Any], Any]:
    storages: dict[str, Storage] = {}

    def storage(identity: Any) -> Any:
        if _is_class(identity):
            return identity[1]
        name, key, count = _identity(identity)
        if key in storages:
            return _same(storages[key], name, count)
        member = members.get(folder + key)
        if member is None or member.file_size != count * DTYPES[name].itemsize:
            size = "is missing" if member is None else f"has {member.file_size} bytes"
            raise damaged(f"storage {ascii(key)[:40]} {size} where its tensors need {count} numbers")
        numbers = _empty(name, count)
        archive.read_into(member, numbers.view(torch.uint8).numpy().data)
        storages[key] = Storage(numbers)
        return storages[key]

    return storage


def _is_class(identity: Any) -> bool:
    """Whether a persistent id is a module's class with its source, which is dropped: torch.save's way of warning."""
    return type(identity) is tuple and len(identity) == 4 and identity[0] == "module" and type(identity[1]) is Name


def _identity(identity: Any) -> tuple[str, str, int]:
    """The storage type, key and length of a persistent id."""
    if type(identity) is not tuple or len(identity) not in (5, 6) or identity[0] != "storage":
        raise damaged("an unknown kind of data outside the pickle")
    kind, key, _, count = identity[1:5]
    name = kind.text.rpartition(".")[2] if type(kind) is Name else ""
    if name not in DTYPES or type(key) is not str or type(count) is not int or count < 0:
        raise damaged("a storage's description is not as expected")
    if len(identity) == 6 and identity[5] is not None:
        raise Refusal(f"holds views of storages as PyTorch 0.3 wrote them. Save it again with a newer one. {ELSEWHERE}")
    return name, key, count


def _empty(name: str, count: int) -> torch.Tensor:
    return torch.empty(count, dtype=DTYPES[name])


def _same(storage: Storage, name: str, count: int) -> Storage:
    if storage.numbers.dtype != DTYPES[name] or len(storage.numbers) != count:
        raise damaged("one storage is described in two ways")
    return storage


def _members(archive: Archive, length: int) -> dict[str, zipfile.ZipInfo]:
    infos = archive.members
    members = {info.filename: info for info in infos}
    if len(members) != len(infos):
        raise Refusal(f"is a zip in which a name occurs twice. {ELSEWHERE}")
    for info in infos:
        path = PurePosixPath(info.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
            raise Refusal(f"is a zip with the name {info.filename!a:.80}; expected names inside it. {ELSEWHERE}")
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Refusal(f"is a zip that is encrypted or packed in an unusual way; expected torch.save's. {ELSEWHERE}")
    total = sum(info.file_size for info in infos)
    if total > inflated(length):
        raise Refusal(f"unpacks to {total} bytes from {length}; no network shrinks that far. {ELSEWHERE}")
    return members


def _folder(members: dict[str, zipfile.ZipInfo]) -> str:
    """The folder in the zip that ``torch.save`` writes to, with a trailing slash."""
    found = [name for name in members if PurePosixPath(name).name == "data.pkl"]
    folder = found[0].removesuffix("data.pkl") if len(found) == 1 else ""
    if any(name.startswith(f"{folder}code/") or name == f"{folder}constants.pkl" for name in members):
        raise Refusal("is a TorchScript program, not a file of weights. Save the model's state_dict() instead.")
    if len(found) != 1:
        example = ascii(next(iter(members), ""))[:60]
        if all(name.endswith(".npy") for name in members):
            raise Refusal(f"is a zip of NumPy arrays such as {example}. {ARRAYS}.")
        raise Refusal(f"is a zip of {len(members)} files such as {example}; expected one that torch.save wrote.")
    if members[found[0]].file_size > MAX_PICKLE:
        raise Refusal(f"has a pickle of {members[found[0]].file_size} bytes; no network needs that. {ELSEWHERE}")
    return folder
