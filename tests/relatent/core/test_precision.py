"""Precision is a switch that is set for a while, checked first and put back."""

import pytest
import torch

from relatent.core import precision
from relatent.core.errors import UnknownNameError, UsageError
from relatent.core.precision import check_precision, computing_in, resolved_precision

CPU = torch.device("cpu")


def test_names():
    for name in precision.PRECISIONS:
        check_precision(name)
    with pytest.raises(UnknownNameError, match="did you mean bfloat16"):
        check_precision("bfloat")


def test_what_a_processor_has():
    check_precision("bfloat16", CPU)
    with pytest.raises(UsageError, match="needs an NVIDIA device of Ampere or later, not cpu"):
        check_precision("tf32", CPU)
    with pytest.raises(UsageError, match="not available on mps"):
        check_precision("bfloat16", torch.device("mps"))


@pytest.mark.parametrize(("capability", "sound"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_what_a_gpu_has(monkeypatch, capability, sound):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    for name in ("tf32", "bfloat16"):
        if sound:
            check_precision(name, torch.device("cuda", 0))
        else:
            with pytest.raises(UsageError):
                check_precision(name, torch.device("cuda", 0))


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16 avx512vl\n", "bfloat16"),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", "bfloat16"),
        ("flags\t\t: fpu avx2 avx512f avx512vl\n", "float32"),
        ("model name\t: avx512_bf16\nflags\t\t: fpu avx512_bf16_of_another_name\n", "float32"),
        ("", "float32"),
    ],
)
def test_auto_is_bfloat16_where_a_processor_computes_in_it(monkeypatch, tmp_path, processor, expected):
    (tmp_path / "cpuinfo").write_text(processor)
    monkeypatch.setattr(precision, "PROCESSOR", tmp_path / "cpuinfo")
    assert resolved_precision("auto", CPU) == expected
    assert resolved_precision("float32", CPU) == "float32"
    with pytest.raises(UnknownNameError, match="Known: auto, "):
        resolved_precision("half", CPU)


def test_auto_where_nothing_says_what_the_processor_has(monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "PROCESSOR", tmp_path / "missing")
    assert resolved_precision("auto", CPU) == "float32"
    assert resolved_precision("auto", torch.device("mps")) == "float32"


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "float32"), ((9, 0), "bfloat16")])
def test_auto_on_a_gpu(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolved_precision("auto", torch.device("cuda", 0)) == expected


def test_the_features_dtype():
    for name, dtype in {"float32": torch.float32, "bfloat16": torch.bfloat16}.items():
        with computing_in(name, CPU) as found:
            assert found == dtype


@pytest.mark.parametrize(("name", "expected"), [("float32", "ieee"), ("tf32", "tf32"), ("bfloat16", "ieee")])
def test_a_gpus_switches_are_set_and_put_back(monkeypatch, name, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    before = precision._tf32()
    with computing_in(name, torch.device("cuda", 0)):
        inside = precision._tf32()
    assert precision._tf32() == before
    assert inside in ((expected, expected), (expected == "tf32",) * 2)
