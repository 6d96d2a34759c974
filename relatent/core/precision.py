"""The precision of features: float32 (the default), TF32 or bfloat16.

Latents, losses and the optimiser are always float32. TF32 replaces float32 arithmetic on NVIDIA GPUs from Ampere on (10
bits of mantissa). bfloat16 (7 bits) also halves the memory, but is slower than float32 on processors without bfloat16
arithmetic. "auto" chooses bfloat16 where the device supports it in hardware, and float32 elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from relatent.core.errors import UnknownNameError, UsageError

PRECISIONS = ("float32", "tf32", "bfloat16")
AUTO = "auto"
CHOICES = (AUTO, *PRECISIONS)
AMPERE = (8, 0)  # the first compute capability with TF32 and bfloat16
PROCESSOR = Path("/proc/cpuinfo")
BFLOAT16_ARITHMETIC = {"avx512_bf16", "amx_bf16"}  # CPU flags under Linux of the instructions that oneDNN uses


def resolved_precision(name: str, device: torch.device) -> str:
    """Resolve "auto" for ``device``; other names are returned unchanged.

    Raises:
        UnknownNameError: there is no such precision.
    """
    if name not in CHOICES:
        raise UnknownNameError("precision", name, CHOICES)
    if name != AUTO:
        return name
    fast = _processor_has_bfloat16() if device.type == "cpu" else _is_ampere(device)
    return "bfloat16" if fast else "float32"


def check_precision(name: str, device: torch.device | None = None) -> None:
    """Check that ``name`` is a precision and, if a device is given, that the device supports it.

    Raises:
        UnknownNameError: there is no such precision.
        UsageError: the device does not support it.
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
    """Context manager in which float32 arithmetic on ``device`` is TF32 if ``name`` is "tf32", and exact otherwise.

    Yields:
        The dtype for features.

    Raises:
        UnknownNameError: there is no such precision.
        UsageError: the device does not support it.
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


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Context manager in which layers compute in ``dtype``, bfloat16 or float32."""
    return torch.autocast(device.type, dtype) if dtype == torch.bfloat16 else nullcontext()


def arithmetic(device: torch.device) -> tuple[Any, ...]:
    """How ``device`` now computes with float32; a CUDA graph keeps what held when it was captured."""
    return _tf32() if device.type == "cuda" else ()


def _is_ampere(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE


def _processor_has_bfloat16() -> bool:
    """Whether the processor has bfloat16 instructions; False if that is unknown."""
    try:
        lines = PROCESSOR.read_text().splitlines()
    except OSError:
        return False
    return any(BFLOAT16_ARITHMETIC & set(line.split()) for line in lines if line.startswith("flags"))


def _tf32() -> tuple[Any, Any]:
    """The settings of matrix products and convolutions. PyTorch 2.9 has new switches, and warns if both are used."""
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
