"""In what precision features are computed: a switch, and float32 unless somebody asks for less.

Latents, losses and the optimiser are float32 whatever is chosen. TF32 is what CUDA devices from NVIDIA's Ampere on
offer in place of float32 arithmetic (10 bits of mantissa); bfloat16 halves the memory as well (7 bits), and is slower
than float32 on a processor without arithmetic for it. Whoever asks for "auto" gets bfloat16 where there is such
arithmetic, and float32 elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from relatent.core.errors import UnknownNameError, UsageError

PRECISIONS = ("float32", "tf32", "bfloat16")
AUTO = "auto"
CHOICES = (AUTO, *PRECISIONS)
AMPERE = (8, 0)  # the first compute capability with TF32 and bfloat16
PROCESSOR = Path("/proc/cpuinfo")
BFLOAT16_ARITHMETIC = {"avx512_bf16", "amx_bf16"}  # as Linux calls what oneDNN computes with


def choose(name: str, device: torch.device) -> str:
    """The precision that ``name`` stands for on ``device``: itself, or for "auto" bfloat16 or float32.

    Raises:
        UnknownNameError: no such precision.
    """
    if name not in CHOICES:
        raise UnknownNameError("precision", name, CHOICES)
    if name != AUTO:
        return name
    fast = _processor_has_bfloat16() if device.type == "cpu" else _is_ampere(device)
    return "bfloat16" if fast else "float32"


def check_precision(name: str, device: torch.device | None = None) -> None:
    """Whether ``name`` is a precision and, if a device is given, one that it has.

    Raises:
        UnknownNameError: no such precision.
        UsageError: the device cannot compute in it.
    """
    if name not in PRECISIONS:
        raise UnknownNameError("precision", name, PRECISIONS)
    if device is None or name == "float32":
        return
    ampere = _is_ampere(device)
    if name == "tf32" and not ampere:
        raise UsageError(f"precision tf32 needs an NVIDIA device of Ampere or later, not {device}. Use float32.")
    if name == "bfloat16" and not (ampere or device.type == "cpu"):
        raise UsageError(f"precision bfloat16 is not available on {device}. Use float32.")


@contextmanager
def computing_in(name: str, device: torch.device) -> Iterator[torch.dtype]:
    """While the block runs, float32 arithmetic on ``device`` is TF32 or, with every other name, exact.

    Yields:
        The dtype that features should have.

    Raises:
        UnknownNameError: no such precision.
        UsageError: the device cannot compute in it.
    """
    check_precision(name, device)
    dtype = torch.bfloat16 if name == "bfloat16" else torch.float32
    if device.type != "cuda":
        yield dtype
        return
    before = _tf32()
    _set_tf32(("tf32", "tf32") if name == "tf32" else ("ieee", "ieee"))
    try:
        yield dtype
    finally:
        _set_tf32(before)


def _is_ampere(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE


def _processor_has_bfloat16() -> bool:
    """Whether a processor computes in bfloat16, and does not widen and round it; False where nothing says so."""
    try:
        lines = PROCESSOR.read_text().splitlines()
    except OSError:
        return False
    return any(BFLOAT16_ARITHMETIC & set(line.split()) for line in lines if line.startswith("flags"))


def _tf32() -> tuple[Any, Any]:
    """What matrix products and convolutions are set to; PyTorch 2.9 replaced the switches, and minds a mixture."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(cudnn, "conv"):
        return matmul.fp32_precision, cudnn.conv.fp32_precision
    return matmul.allow_tf32, cudnn.allow_tf32


def _set_tf32(values: tuple[Any, Any]) -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(cudnn, "conv"):
        matmul.fp32_precision, cudnn.conv.fp32_precision = values
    else:
        matmul.allow_tf32, cudnn.allow_tf32 = (value in (True, "tf32") for value in values)
