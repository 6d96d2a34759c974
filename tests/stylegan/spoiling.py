"""Safetensors files as nobody should write them."""

from __future__ import annotations

import json
import struct

from safetensors import safe_open
from safetensors.torch import load_file, save_file


def header_of(path):
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


def rewrite(path, tensors=None, **header):
    """The same file with other tensors or header fields; None removes a field."""
    fields = {**header_of(path), **header}
    save_file(tensors or load_file(path), path, metadata={k: v for k, v in fields.items() if v is not None})
    return path


def raw(path, header, body=b""):
    """A file with any header at all."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path
