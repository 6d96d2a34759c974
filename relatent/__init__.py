"""Relatent: inversion and editing of photos of faces with StyleGAN generators.

The names below are imported on first use, so that ``import relatent`` loads neither PyTorch nor dlib.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Direction": "editing",
    "Inversion": "inversion",
    "drag": "editing",
    "edit": "editing",
    "invert": "inversion",
    "load": "stylegan",
    "mix": "editing",
    "paste_back": "editing",
}

__all__ = ["Direction", "Inversion", "drag", "edit", "invert", "load", "mix", "paste_back"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'relatent' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
