"""Pickles and torch files written by hand, instruction by instruction, so that they can say what no pickler would."""

from __future__ import annotations

import io
import struct
import zipfile

START = b"\x80\x02"
MAGIC = START + b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
VERSION = START + b"M\xe9\x03."
NOTHING = b")"


def text(value):
    return b"X" + struct.pack("<L", len(value.encode())) + value.encode()


def number(value):
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def blob(value):
    return b"B" + struct.pack("<L", len(value)) + value


def name(dotted):
    module, _, attribute = dotted.rpartition(".")
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def numbers(*values):
    return b"(" + b"".join(map(number, values)) + b"t"


def call(dotted, *arguments):
    return name(dotted) + b"(" + b"".join(arguments) + b"tR"


def pickled(body):
    return START + body + b"."


def entry(key, value):
    """A dict with one item."""
    return b"}" + text(key) + value + b"s"


def system(command):
    return call("posix.system", text(command))


def identity(count=1, key="0", kind="torch.FloatStorage", view=b""):
    return b"(" + text("storage") + name(kind) + text(key) + text("cpu") + number(count) + view + b"tQ"


def legacy(body, count=1, key="0", data=b"\0\0\0\0", info=None, keys=None):
    """A file of torch.save's old layout with one storage."""
    info = entry("little_endian", b"\x88") if info is None else info
    keys = b"]" + text(key) + b"a" if keys is None else keys
    return MAGIC + VERSION + pickled(info) + pickled(body) + pickled(keys) + struct.pack("<q", count) + data


def storage(count=1, data=b"\0\0\0\0", **changes):
    """A storage inside a pickle."""
    return call("torch.storage._load_from_bytes", blob(legacy(identity(count), count, data=data, **changes)))


def tensor(source, size=(1,), stride=(1,), offset=0):
    parts = source, number(offset), numbers(*size), numbers(*stride), b"\x89", b"}"
    return call("torch._utils._rebuild_tensor_v2", *parts)


def dtype(spelling):
    state = b"(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
    return call("numpy.dtype", text(spelling), b"\x89", b"\x88") + state + b"b"


def array(spelling, shape, data):
    empty = call("numpy.core.multiarray._reconstruct", name("numpy.ndarray"), numbers(0), blob(b"b"))
    return empty + b"(K\x01" + numbers(*shape) + dtype(spelling) + b"\x89" + data + b"tb"


def zipped(members, method=zipfile.ZIP_STORED):
    """A zip of these, in the folder that torch.save would use."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return file.getvalue()


def torch_zip(body, **members):
    return zipped(
        {"a/data.pkl": pickled(body), "a/byteorder": b"little", **{f"a/data/{k}": v for k, v in members.items()}}
    )
