"""Files made to do harm: refused in one line, quickly, without running anything or taking much memory.

Every file is opened through `stylegan.load`, which is where a user's file arrives. Those that would run something try
to leave a file behind; those that would fill the memory are opened in a process that may not take 500 MB.
"""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import opcodes as op
import pytest
import torch

from relatent.core.errors import CheckpointError
from stylegan import load

ROOT = Path(__file__).parents[3]
SECONDS = 5
BYTES = 500 * 2**20


def persistent(meta):
    return op.call("torch_utils.persistence._reconstruct_persistent_obj", meta)


def running(command):
    """Files that would run `command`, and a word that each refusal must hold."""
    system, shell = op.system(command), op.text(command)
    popen = op.name("subprocess.Popen") + b"(" + shell + b"t\x81"
    lookup = op.call("builtins.getattr", op.call("builtins.__import__", op.text("os")), op.text("system"))
    source = f"import os; os.system({command!r})"
    state = op.entry("a", b"N")
    return {
        "system by REDUCE": (op.pickled(system), "posix.system"),
        "system by STACK_GLOBAL": (
            op.pickled(op.text("os") + op.text("system") + b"\x93" + b"(" + shell + b"tR"),
            "os.system",
        ),
        "as an entry": (op.pickled(op.entry("G_ema", system)), "posix.system"),
        "eval": (op.pickled(op.call("builtins.eval", op.text(source))), "builtins.eval"),
        "exec in Python 2's spelling": (op.pickled(op.call("__builtin__.exec", op.text(source))), "__builtin__.exec"),
        "getattr chain": (op.pickled(lookup + b"(" + shell + b"tR"), "builtins.getattr"),
        "dotted name": (
            op.pickled(op.text("torch._utils") + op.text("_rebuild_tensor_v2.__globals__") + b"\x93"),
            "__globals__",
        ),
        "known name, hidden part": (
            op.pickled(op.text("collections.OrderedDict") + op.text("__init__") + b"\x93"),
            "__init__",
        ),
        "torch.hub": (op.pickled(op.call("torch.hub.load", op.text("evil/repo"), op.text("run"))), "torch.hub.load"),
        "torch.load": (op.pickled(op.call("torch.load", op.text("other.pt"))), "torch.load"),
        "numpy.load": (op.pickled(op.call("numpy.load", op.text("other.npy"))), "numpy.load"),
        "partial": (op.pickled(op.call("functools.partial", op.name("posix.system"), shell)), "functools.partial"),
        "attrgetter": (op.pickled(op.call("operator.attrgetter", op.text("system"))), "operator.attrgetter"),
        "reconstructor": (op.pickled(op.call("copyreg._reconstructor", op.name("subprocess.Popen"))), "copyreg._recon"),
        "object by NEWOBJ": (op.pickled(popen), "subprocess.Popen"),
        "object with __setstate__": (op.pickled(popen + op.entry("args", shell) + b"b"), "subprocess.Popen"),
        "object by INST": (op.pickled(b"(" + shell + b"iposix\nsystem\n"), "0x69"),
        "object by OBJ": (op.pickled(b"(" + op.name("posix.system") + shell + b"o"), "posix.system"),
        "object by NEWOBJ_EX": (op.pickled(op.name("collections.OrderedDict") + b")}\x92"), "0x92"),
        "extension registry": (op.pickled(b"\x82\x01"), "0x82"),
        "persistent id as text": (op.pickled(b"Psystem\n"), "0x50"),
        "persistent id as value": (op.pickled(op.text("x") + b"Q"), "outside its pickle"),
        "protocol 0": (b"\x80\x00cposix\nsystem\n(S'true'\ntR.", "is not a network file"),
        "protocol that changes": (op.pickled(b"\x80\x00" + system), "protocol 0"),
        "call of a value": (op.pickled(b"})R"), "calls a dict"),
        "call of text": (op.pickled(op.text("os.system") + b"(" + shell + b"tR"), "calls a str"),
        "state of a name": (
            op.pickled(op.name("torch._utils._rebuild_tensor_v2") + op.entry("__code__", b"N") + b"b"),
            "state of a Name",
        ),
        "state of text": (op.pickled(op.text("a") + state + b"b"), "state of a str"),
        "state of a tensor": (op.pickled(op.tensor(op.storage()) + state + b"b"), "state of a Tensor"),
        "state of an OrderedDict": (
            op.pickled(op.call("collections.OrderedDict") + op.entry("__class__", system) + b"b"),
            "posix.system",
        ),
        "state of a network": (
            op.pickled(persistent(op.entry("type", op.text("class"))) + state + b"b"),
            "persistent object's state",
        ),
        "system inside a storage": (
            op.pickled(op.tensor(op.call("torch.storage._load_from_bytes", op.blob(op.legacy(system))))),
            "posix.system",
        ),
        "storage that is a pickle": (
            op.pickled(op.call("torch.storage._load_from_bytes", op.blob(op.pickled(system)))),
            "unknown layout",
        ),
        "storage that is a zip": (
            op.pickled(op.call("torch.storage._load_from_bytes", op.blob(op.torch_zip(system)))),
            "unknown layout",
        ),
        "storage in a storage": (
            op.pickled(op.call("torch.storage._load_from_bytes", op.blob(op.legacy(op.storage())))),
            "_load_from_bytes",
        ),
        "system in a storage's description": (op.pickled(op.storage(info=system)), "posix.system"),
        "system in a storage's keys": (op.pickled(op.storage(keys=system)), "posix.system"),
        "legacy file": (op.legacy(system), "posix.system"),
        "legacy file's system": (op.legacy(b"N", info=system), "posix.system"),
        "legacy file's keys": (op.legacy(op.identity(), keys=system), "posix.system"),
        "zip": (op.torch_zip(system), "posix.system"),
        "zip with a name for a storage": (op.torch_zip(op.identity(kind="posix.system")), "posix.system"),
        "zip with a function for a storage": (op.torch_zip(op.identity(kind="collections.OrderedDict")), "description"),
        "TorchScript": (op.zipped({"a/data.pkl": b"", "a/code/b.py": source.encode()}), "TorchScript"),
        "module": (
            op.torch_zip(op.name("torch.nn.modules.linear.Linear") + b")\x81"),
            "torch.nn.modules.linear.Linear",
        ),
        "TensorFlow network": (op.pickled(op.name("dnnlib.tflib.network.Network") + b")\x81"), "TensorFlow"),
        "array of objects": (op.pickled(op.array("O", (1,), b"]" + system + b"a")), "array of 'O'"),
        "array with a list for data": (op.pickled(op.array("f4", (1,), b"]" + system + b"a")), "posix.system"),
        "storage class called": (op.pickled(op.call("torch.FloatStorage", op.number(1))), "only mentioned"),
        "source that is run": (
            op.pickled(
                op.entry(
                    "G_ema",
                    persistent(op.entry("type", op.text("class")) + op.text("module_src") + op.text(source) + b"s"),
                )
            ),
            "persistent object",
        ),
        "function with source": (
            op.pickled(
                persistent(op.entry("type", op.text("function")) + op.text("module_src") + op.text(source) + b"s")
            ),
            "persistent object",
        ),
    }


NAMES = list(running(""))


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A path that exists if anything ran; and nothing of Python's or PyTorch's that runs pickles may be called."""

    def fail(*_args, **_kwargs):
        raise AssertionError("a network file must not be unpickled")

    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        monkeypatch.setattr(pickle, name, fail)
    monkeypatch.setattr(torch, "load", fail)
    return tmp_path / "ran"


def refused(path, *words):
    started = time.process_time()
    with pytest.raises(CheckpointError) as error:
        load(path)
    assert time.process_time() - started < SECONDS
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 700
    for word in (str(path), *words):
        assert word in message


@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs(tmp_path, canary, name):
    data, word = running(f"touch {canary}")[name]
    path = tmp_path / "network.pkl"
    path.write_bytes(data)
    refused(path, word)
    assert not canary.exists()


def test_canary_sings(tmp_path):
    """Python's own machine does run them, so the test above can fail."""
    with pytest.raises(AttributeError, match="sung"):
        pickle.loads(op.pickled(op.call("builtins.getattr", op.text("x"), op.text("sung"))))
    canary = tmp_path / "ran"
    pickle.loads(running(f"touch {canary}")["system by REDUCE"][0])
    assert canary.exists()


def test_message_names_it_and_says_what_to_do(tmp_path):
    path = tmp_path / "network.pkl"
    path.write_bytes(running("true")["system by STACK_GLOBAL"][0])
    with pytest.raises(CheckpointError) as error:
        load(path)
    assert str(error.value) == (
        f"{path} asks to import os.system; a network file has no need of that. Nothing was run. "
        "Get the network from its author's own page."
    )


def many(body, count, end):
    return op.pickled(body * count + end)


def laughter(depth):
    """A list of two that are one list, of two that are one list, ..."""
    body = b"]K\x00aq\x00"
    for _ in range(depth):
        body += b"](h\x00h\x00eq\x00"
    return op.pickled(body)


def overlapping(count):
    """A zip whose names all stand for the same megabyte."""
    data = bytearray(op.zipped({"a/data.pkl": op.pickled(b"N"), "a/data/0": bytes(2**20)}))
    start, end = data.index(b"PK\x01\x02", 2**20), data.index(b"PK\x05\x06", 2**20)
    last = data.index(b"PK\x01\x02", start + 1)
    entry = bytes(data[last:end])
    directory = bytes(data[start:end]) + b"".join(
        entry.replace(b"a/data/0", f"a/{index:06d}".encode()) for index in range(count)
    )
    return (
        bytes(data[:start]) + directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(directory), start, 0)
    )


def squeezed(members):
    return op.zipped(members, zipfile.ZIP_DEFLATED)


def zip_end(size, held=100):
    return b"PK\x03\x04" + bytes(held) + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, size, 0, 0)


def repeated(body, instruction, count):
    """`body` once, remembered as 0, then an instruction again and again."""
    return op.pickled(body + b"q\x00" + instruction * count)


def view_bomb():
    """A thousand tensors of 4 MB in one storage of 4 MB."""
    source = op.storage(2**20, bytes(2**22)) + b"q\x00"
    return op.pickled(source + b"](" + op.tensor(b"h\x00", (2**20,)) * 1000 + b"e")


def bombs():
    """Files that would take memory or time without end, and a word that each refusal must hold."""
    storage = op.legacy(op.identity(2**20), 2**20, data=bytes(2**22))
    load_again = op.name("torch.storage._load_from_bytes") + b"h\x00\x85R"
    return {
        "tensor of 2^40": (op.pickled(op.tensor(op.storage(), (2**40,))), "where 1 numbers are stored"),
        "tensor of 2^40 by strides of 0": (op.pickled(op.tensor(op.storage(), (2**40,), (0,))), "where 1 numbers"),
        "tensor of many sides": (op.pickled(op.tensor(op.storage(), (1,) * 60, (1,) * 60)), "not a shape"),
        "tensor beyond its storage": (op.pickled(op.tensor(op.storage(), (1,), (1,), 1)), "where 1 numbers"),
        "tensor before its storage": (op.pickled(op.tensor(op.storage(), (1,), (1,), -1)), "not a shape"),
        "tensor with negative strides": (op.pickled(op.tensor(op.storage(), (1,), (-1,))), "not a shape"),
        "empty tensor of 2^47 each way": (op.pickled(op.tensor(op.storage(), (0, 2**47, 2**47), (1, 1, 1))), ""),
        "storage of 2^40": (op.pickled(op.tensor(op.storage(2**40))), "more data than it holds"),
        "storage of -1": (op.pickled(op.tensor(op.storage(-1))), "description"),
        "storage of 2^62 in a legacy file": (op.legacy(op.identity(2**62), 2**62), "more data than it holds"),
        "legacy file that counts differently": (op.legacy(op.identity(1), 2**40), "another length"),
        "the same storage again and again": (repeated(op.blob(storage), load_again, 5000), "more data than it holds"),
        "views of one storage": (view_bomb(), "unfolds to"),
        "array of 2^40": (op.pickled(op.array("f4", (2**40,), op.blob(b"0000"))), "array's size"),
        "array of many sides": (op.pickled(op.array("f4", (0,) * 40, op.blob(b""))), "array's shape"),
        "array of huge items": (op.pickled(op.array("V1000000000", (1,), op.blob(b""))), "array of 'V1000000000'"),
        "lists in lists": (many(b"]", 200_000, b"a" * 199_999), "nested more than"),
        "tuples in tuples": (op.pickled(b")" + b"\x85" * 400_000), "nested more than"),
        "tuples as a key": (op.pickled(b"}" + b")" + b"\x85" * 400_000 + b"Ns"), "as a key"),
        "networks in networks": (laughter_of_networks(90), "unfolds to more than"),
        "billion laughs": (laughter(90), "unfolds to more than"),
        "list that holds itself": (op.pickled(b"]q\x00h\x00a"), "holds itself"),
        "dict that holds itself by a detour": (op.pickled(b"}q\x00" + op.text("a") + b"]h\x00as"), "holds itself"),
        "empty sets": (many(b"\x8f", 2_000_000, b""), "pickle instructions"),
        "marks": (many(b"(", 2_000_000, b""), "pickle instructions"),
        "calls": (many(b"ccollections\nOrderedDict\n)R", 400_000, b""), "pickle instructions"),
        "sets of one list": (
            repeated(b"](" + b"K\x01" * 1000 + b"e", op.name("builtins.set") + b"h\x00\x85R", 5000),
            "pickle instr",
        ),
        "text again as bytes": (
            repeated(op.text("a" * 2**20), op.name("_codecs.encode") + b"h\x00" + op.text("latin1") + b"\x86R", 5000),
            "characters of text",
        ),
        "text of 4 GB": (op.pickled(b"X\xff\xff\xff\xff" + b"a" * 100), "text of 4294967295 bytes"),
        "text of 2^63": (op.pickled(b"\x8d" + b"\xff" * 8), "text of"),
        "texts of emoji": (op.pickled((op.text("\U0001f600" + "a" * 2**19)) * 100), "characters of text"),
        "bytes of 2^63": (op.pickled(b"\x8e" + b"\xff" * 8), "ends too early"),
        "whole number of 255 bytes": (op.pickled(b"\x8a\xff" + b"\xff" * 255), "whole number of 255 bytes"),
        "name without an end": (op.pickled(b"c" + b"a" * 10**6), "name without an end"),
        "memory of what was never kept": (op.pickled(b"j\xff\xff\xff\xff"), "remembered value is missing"),
        "nothing on the stack": (op.pickled(b"R"), "a value is missing"),
        "values below a mark": (op.pickled(b"NN(\x86"), "a value is missing"),
        "no mark": (op.pickled(b"t"), "a mark is missing"),
        "zip of zeros": (squeezed({"a/data.pkl": op.pickled(b"N"), "a/data/0": bytes(2**27)}), "unpacks to"),
        "zip with a pickle of zeros": (squeezed({"a/data.pkl": bytes(2**27)}), "unpacks to"),
        "zip with a pickle of sets": (squeezed({"a/data.pkl": b"\x80\x02" + b"\x8f" * 2**25}), "pickle instructions"),
        "zip of one megabyte under many names": (overlapping(1000), ""),
        "zip with a directory of 4 GB": (zip_end(2**32 - 2), "is damaged or cut short"),
        "zip with too long a directory": (zip_end(2**23, 2**23), "table of contents"),
        "zip without a pickle": (op.zipped({"a/data/0": b""}), "expected one that torch.save wrote"),
        "zip with two pickles": (op.zipped({"a/data.pkl": b"", "b/data.pkl": b""}), "expected one that torch.save"),
        "zip that climbs": (op.zipped({"../../data.pkl": b""}), "names inside it"),
        "zip with an absolute name": (op.zipped({"/etc/data.pkl": b""}), "names inside it"),
        "zip packed with bzip2": (op.zipped({"a/data.pkl": b""}, zipfile.ZIP_BZIP2), "unusual way"),
        "zip without its storage": (op.torch_zip(op.tensor(op.identity())), "is missing"),
        "zip with a shorter storage": (op.torch_zip(op.tensor(op.identity(2**40)), **{"0": b"0000"}), "has 4 bytes"),
        "zip of a big-endian machine": (op.zipped({"a/data.pkl": b"", "a/byteorder": b"big"}), "big-endian"),
        "zip whose storage climbs": (op.torch_zip(op.tensor(op.identity(key="../data.pkl"))), "is missing"),
        "safetensors with a header of 4 GB": (struct.pack("<Q", 2**32) + b"{}" * 50, "not a readable safetensors"),
        "safetensors with a header of 2^63": (struct.pack("<Q", 2**63) + b"{}" * 50, "not a readable safetensors"),
    }


def laughter_of_networks(depth):
    """Networks whose only part is twice the network before."""
    body = b"}q\x00"
    for _ in range(depth):
        modules = b"}(" + op.text("a") + b"h\x00" + op.text("b") + b"h\x00u"
        state = op.entry("_modules", modules)
        meta = (
            b"}("
            + op.text("type")
            + op.text("class")
            + op.text("class_name")
            + op.text("G")
            + op.text("state")
            + state
            + b"u"
        )
        body += persistent(meta) + b"q\x00"
    return op.pickled(body)


CHILD = """
import resource, sys
from pathlib import Path
from relatent.core.errors import CheckpointError
from stylegan import load
load(sys.argv[1])
for path in sys.argv[2:]:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    allowed = pages * resource.getpagesize() + Path(path).stat().st_size + int(%d)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, resource.getrlimit(resource.RLIMIT_AS)[1]))
    try:
        load(path)
    except CheckpointError as error:
        print(f"{len(str(error))} {error}")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_bombs_do_not_go_off(tmp_path):
    files = bombs()
    paths = []
    for index, (data, _) in enumerate(files.values()):
        paths.append(tmp_path / f"{index}.pkl")
        paths[-1].write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", CHILD % BYTES, "faces-128", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == len(files)
    for line, path, (name, (_, word)) in zip(lines, paths, files.items(), strict=True):
        length, message = line.split(" ", 1)
        assert int(length) < 700, name
        assert str(path) in message, name
        assert word in message, (name, message)
        assert "Cannot allocate" not in message, name  # refused by us, not by the limit
        assert "MemoryError" not in message, name


class TestStrangers:
    @pytest.mark.parametrize(
        ("data", "word"),
        [
            (b"", "is empty"),
            (b"\n<!DOCTYPE html><html><title>Quota exceeded</title>", "web page"),
            (b"\xef\xbb\xbf<html>", "web page"),
            (b'{"error": {"code": 403}}', "web page"),
            (b"\x1f\x8b\x08" + bytes(50), "archive"),
            (bytes(257) + b"ustar" + bytes(300), "archive"),
            (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
            (b"\x89PNG\r\n\x1a\n" + bytes(50), "picture"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
            (b"This is not a network.", "is not a network file"),
            (b"\x80", "is not a network file"),
            (b"\x80\x02", "damaged or cut short"),
            (b"PK\x03\x04", "damaged or cut short"),
            (op.MAGIC, "damaged or cut short"),
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_is_named(self, tmp_path, data, word):
        path = tmp_path / "network.pkl"
        path.write_bytes(data)
        refused(path, word)
