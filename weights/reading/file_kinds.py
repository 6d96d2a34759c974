"""Recognises the format of a network file by its first bytes, regardless of its suffix."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from relatent.core.errors import CheckpointError
from weights.reading.pickle_machine import PROTOCOLS
from weights.reading.torch_files import ARRAYS, LEGACY_START, ZIP_START

Kind = Literal["safetensors", "torch", "pickle"]

HEAD = 512  # bytes
PACKED = "an archive. Unpack it first"
STRANGERS = (  # offset, first bytes, description and advice
    (0, b"\x1f\x8b", PACKED),
    (0, b"BZh", PACKED),
    (0, b"\xfd7zXZ\0", PACKED),
    (0, b"7z\xbc\xaf\x27\x1c", PACKED),
    (0, b"Rar!", PACKED),
    (0, b"\x28\xb5\x2f\xfd", PACKED),
    (257, b"ustar", PACKED),
    (0, b"\x89HDF", "an HDF5 file, as Keras writes them. Expected a PyTorch network"),
    (0, b"\x93NUMPY", f"a NumPy array. {ARRAYS}"),
    (0, b"\x89PNG", "a picture. Expected a network"),
    (0, b"\xff\xd8\xff", "a picture. Expected a network"),
    (
        0,
        b"version https://git-lfs",
        "the note that Git LFS leaves in a large file's place. Fetch the file with: git lfs pull",
    ),
)
PAGE = (b"<!doctype", b"<html", b"<head", b"<?xml")
ERRORS = (b'{"error', b'{"message')


def kind_of(path: Path) -> Kind:
    """The format of a network file, by content.

    Raises:
        CheckpointError: not a network file; the message says what it is, if that is recognised.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}). Check its name and permissions.") from error
    if head[8:9] == b"{":  # checked first, because the eight bytes before are a length and may have any value
        return "safetensors"
    if head.startswith((ZIP_START, LEGACY_START)):
        return "torch"
    if head[:1] == b"\x80" and len(head) > 1 and head[1] in PROTOCOLS:
        return "pickle"
    raise CheckpointError(f"{path} {_described(head)}.")


def _described(head: bytes) -> str:
    if not head:
        return "is empty. Copy or download it again"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(PAGE + ERRORS):
        return "is a web page, not a network: the download was refused (a quota or a login?). Download it again by hand"
    for offset, start, what in STRANGERS:
        if head[offset:].startswith(start):
            return f"is {what}"
    return (
        f"is not a network file: it starts with {head[:8]!r}. "
        "Expected .safetensors, a .pkl of NVIDIA's, or a .pt of NVIDIA's, rosinality's, pSp's or e4e's networks"
    )
