"""What the reader makes of honest files: the same values that their writers had, as plain data."""

from __future__ import annotations

import argparse
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import opcodes as op
import pytest
import torch

from relatent.core.errors import CheckpointError
from weights.reading.budget import Budget, Refusal
from weights.reading.pickle_machine import PickleMachine
from weights.reading.pickles import Persistent, flatten, read_pickle, read_torch

LAYOUTS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
PROTOCOLS = pytest.mark.parametrize("protocol", [2, 3, 4, 5])
VALUES = [
    None,
    True,
    -1,
    255,
    70_000,
    -(2**40),
    1e-300,
    "",
    "text \u4e16\U0001f600",
    b"bytes" * 100,
    [],
    (1,),
    (1, 2, 3, 4, 5),
    {"a": [1, {"b": (2.5, None)}]},
    {1, 2, "three"},
    set(),
    {3: "three", 2.5: "float", True: "bool"},
]


@PROTOCOLS
@pytest.mark.parametrize("value", VALUES, ids=[f"{n}, {type(value).__name__}" for n, value in enumerate(VALUES)])
def test_plain_values(tmp_path, value, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    found = read_pickle(path)
    assert found == value
    assert type(found) is (memoryview if isinstance(value, bytes) and protocol > 2 else type(value))


@PROTOCOLS
def test_shared_values_stay_shared(tmp_path, protocol):
    inner = [1]
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps([inner, inner], protocol=protocol))
    found = read_pickle(path)
    assert found[0] is found[1]


@PROTOCOLS
def test_dicts_of_other_kinds(tmp_path, protocol):
    ordered = OrderedDict(a=1)
    ordered._metadata = {"": {"version": 1}}  # as a module's state_dict() has it
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps([ordered, argparse.Namespace(size=32, path=None)], protocol=protocol))
    found = read_pickle(path)
    assert found == [{"a": 1}, {"size": 32, "path": None}]
    assert type(found[0]) is dict


@PROTOCOLS
@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array([True, False]),
        np.zeros((0, 3)),
        np.array(2.5),
    ],
    ids=lambda value: f"{value.dtype}{value.shape}",
)
def test_arrays(tmp_path, value, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"a": value}, protocol=protocol))
    found = read_pickle(path)["a"]
    assert found.dtype == value.dtype
    assert np.array_equal(found, value)


@PROTOCOLS
@pytest.mark.parametrize("value", [np.float64(0.5), np.int64(-3), np.float32(1.5), np.bool_(True)])
def test_numpy_numbers_become_pythons(tmp_path, value, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    found = read_pickle(path)
    assert found == value
    assert type(found) is type(value.item())


def test_names_of_older_numpy(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(op.pickled(op.array("f4", (2,), op.blob(np.float32([1, 2]).tobytes()))))
    assert read_pickle(path).tolist() == [1, 2]


@PROTOCOLS
def test_tensors_in_a_bare_pickle(tmp_path, protocol):
    weight = torch.nn.Parameter(torch.randn(3, 4))
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"weight": weight, "view": weight.detach()[:, 1], "same": weight}, protocol=protocol))
    found = read_pickle(path)
    assert torch.equal(found["weight"], weight)
    assert torch.equal(found["view"], weight[:, 1])
    assert found["same"] is found["weight"]
    assert type(found["weight"]) is torch.Tensor


TENSORS = {
    **{str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in (torch.float64, torch.float32, torch.float16)},
    **{str(dtype): torch.arange(6).to(dtype) for dtype in (torch.bfloat16, torch.int64, torch.int32, torch.int16)},
    **{str(dtype): torch.arange(2).to(dtype) for dtype in (torch.int8, torch.uint8, torch.bool)},
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 5),
    "transposed": torch.randn(3, 4).t(),
    "part": torch.randn(10)[3:7:2],
    "row": torch.randn(4).expand(1, 4),
}


@LAYOUTS
@pytest.mark.parametrize("name", TENSORS)
def test_tensors(tmp_path, name, zipped):
    value = TENSORS[name]
    torch.save({"a": [value]}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    (found,) = read_torch(tmp_path / "a.pt")["a"]
    assert found.dtype == value.dtype
    assert torch.equal(found, value)


@LAYOUTS
def test_torch_file_with_much_in_it(tmp_path, zipped):
    base = torch.randn(5)
    data = {
        "state_dict": torch.nn.Linear(3, 2).state_dict(),
        "views": [base[:2], base[2:]],
        "opts": argparse.Namespace(path=Path("a/b"), device=torch.device("cuda:1"), size=torch.Size([1, 2])),
        "number": np.float64(0.25),
    }
    torch.save(data, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = read_torch(tmp_path / "a.pt")
    assert found["state_dict"].keys() == {"weight", "bias"}
    assert torch.equal(found["state_dict"]["weight"], data["state_dict"]["weight"])
    assert found["opts"] == {"path": "a/b", "device": "cuda:1", "size": (1, 2)}
    assert found["number"] == 0.25
    assert found["views"][0].untyped_storage().data_ptr() == found["views"][1].untyped_storage().data_ptr()


def test_zip_that_was_packed_again(tmp_path):
    value = torch.zeros(1000)
    torch.save(value, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    (tmp_path / "b.pt").write_bytes(op.zipped(members, zipfile.ZIP_DEFLATED))
    assert torch.equal(read_torch(tmp_path / "b.pt"), value)


def test_files_written_by_hand(tmp_path):
    """What the hostile ones are made from is good before it is spoilt."""
    data = np.float32([1.5]).tobytes()
    (tmp_path / "a.pkl").write_bytes(op.pickled(op.tensor(op.storage(data=data))))
    (tmp_path / "b.pt").write_bytes(op.legacy(op.tensor(op.identity()), data=data))
    (tmp_path / "c.pt").write_bytes(op.torch_zip(op.tensor(op.identity()), **{"0": data}))
    assert read_pickle(tmp_path / "a.pkl").tolist() == [1.5]
    assert read_torch(tmp_path / "b.pt").tolist() == [1.5]
    assert read_torch(tmp_path / "c.pt").tolist() == [1.5]


class TestFlatten:
    def module(self, parameters=None, modules=None, buffers=None):
        state = {"_parameters": parameters or {}, "_buffers": buffers or {}, "_modules": modules or {}}
        return Persistent("Module", state)

    def test_names(self):
        one, two = torch.zeros(1), torch.zeros(2)
        inner = self.module({"weight": one, "bias": None}, buffers={"mean": two})
        outer = self.module({"const": two}, {"a": inner, "b": None})
        found = flatten(outer, Path("x"))
        assert list(found) == ["const", "a.weight", "a.mean"]
        assert found["a.weight"] is one

    @pytest.mark.parametrize("what", [3, {}, Persistent("Module", {}), Persistent("Module", {"_modules": 3})])
    def test_no_module(self, what):
        with pytest.raises(CheckpointError, match="x is damaged"):
            flatten(self.module(modules={"a": what}), Path("x"))

    def test_one_name_twice(self):
        inner = self.module({"b": torch.zeros(1)})
        with pytest.raises(CheckpointError, match=r"'b' of 'a\.' is no tensor or there twice"):
            flatten(self.module({"a.b": torch.zeros(1)}, {"a": inner}), Path("x"))


def test_missing_file(tmp_path):
    for read in (read_pickle, read_torch):
        with pytest.raises(CheckpointError, match="does not exist"):
            read(tmp_path / "no.pkl")
        with pytest.raises(CheckpointError, match="is a folder"):
            read(tmp_path)


def test_budget_is_spent():
    budget = Budget(bulk=10)
    budget.spend_bulk(10)
    with pytest.raises(Refusal, match="more data than it holds"):
        budget.spend_bulk(1)
    machine = PickleMachine(memoryview(op.pickled(b"N" * 10 + b"(t" + b"\x85")), Budget(bulk=0, steps=5))
    with pytest.raises(Refusal, match="pickle instructions"):
        machine.run()


class TestObjectArrays:
    """numpy.save pickles arrays of objects: what they hold is read as the rest is."""

    @PROTOCOLS
    @pytest.mark.parametrize("shape", [(), (2,), (1, 2)])
    def test_hold_plain_data(self, tmp_path, protocol, shape):
        value = np.empty(shape, dtype=object)
        for place in np.ndindex(*shape):
            value[place] = {"me.jpg": [np.full((2, 3), len(place), np.float32)]}
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
        found = read_pickle(tmp_path / "a.pkl")
        assert found.shape == shape
        for place in np.ndindex(*shape):
            assert np.array_equal(found[place]["me.jpg"][0], value[place]["me.jpg"][0])

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b"]" + op.system("true") + b"a", "posix.system"),
            (b"]K\x01aK\x02a", "array's objects"),
            (op.blob(bytes(8)), "array's objects"),
            (b"](" + b"K\x01" * 600_000 + b"e", "pickle instructions"),
        ],
        ids=["that run", "too many", "bytes", "without end"],
    )
    def test_that_are_none(self, tmp_path, body, words):
        (tmp_path / "a.pkl").write_bytes(op.pickled(op.array("O8", (1,), body)))
        with pytest.raises(CheckpointError, match=words):
            read_pickle(tmp_path / "a.pkl")

    def test_that_holds_itself(self, tmp_path):
        empty = op.call("numpy.core.multiarray._reconstruct", op.name("numpy.ndarray"), op.numbers(0), op.blob(b"b"))
        state = b"(K\x01" + op.numbers(1) + op.dtype("O8") + b"\x89" + b"]h\x00atb"
        (tmp_path / "a.pkl").write_bytes(op.pickled(empty + b"q\x00" + state))
        with pytest.raises(CheckpointError, match="holds itself"):
            read_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize("protocol", [2, 4])
def test_frozen_sets_and_large_numbers(tmp_path, protocol):
    value = {"names": frozenset(("a", "b")), "state": 2**128 - 1}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
    assert read_pickle(tmp_path / "a.pkl") == value
