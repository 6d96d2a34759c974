"""Defaults of `python -m stylegan train` that depend on the architecture and the data.

An option on the command line takes precedence. The figures for digits were chosen for two cores of a CPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stylegan.training.data.arrays import DIGITS, is_idx, picture_files

ARCHS = ("stylegan2", "stylegan", "mlp")
OF_ARCH: dict[str, dict[str, Any]] = {
    "stylegan2": {},
    "stylegan": {"style_method": "adain"},
    # As plain as it can be. On digits, twice the batch and 2.5 times the learning rate of the DCGAN paper drew better
    # ones in less time.
    "mlp": {
        "resolution": "28",
        "z_dim": 100,
        "batch": 128,
        "lr": 0.0005,
        "gamma": 0.0,
        "augment": 0.0,
        "path_length": 0.0,
        "ema_kimg": 20.0,
    },
}
OF_GREY = {"flip": False}  # figures and letters: a mirrored one is another one, or none
OF_DIGITS: dict[str, dict[str, Any]] = {
    "style-based": {
        "kimg": 60.0,
        "tick": 2.0,
        "batch": 64,
        "cond": True,
        "z_dim": 64,
        "w_dim": 64,
        "mapping_layers": 2,
        "channel_base": 512,
        "channel_max": 64,
        "augment": 0.2,
        "gamma": 0.05,
        "ema_kimg": 5.0,
    },
    "mlp": {"kimg": 563.0, "tick": 10.0, "gamma": 0.1, "ema_kimg": 40.0},
}


def defaults_for(arch: str, data: str | None) -> dict[str, Any]:
    """The options that have other defaults with this architecture and these data, by their names in Python."""
    changes = dict(OF_ARCH[arch])
    if data is None:
        return changes
    path = Path(data)
    if is_digits(path) or is_idx_data(path):
        changes |= OF_GREY
    if is_digits(path):
        changes |= OF_DIGITS["mlp" if arch == "mlp" else "style-based"]
    return changes


def is_digits(data: Path) -> bool:
    """Whether these are scikit-learn's digits."""
    return str(data) == DIGITS and not data.exists()


def is_idx_data(data: Path) -> bool:
    """Whether the data are in MNIST's format."""
    return bool(picture_files(data)) if data.is_dir() else is_idx(data)
