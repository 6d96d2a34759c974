"""Paths of the files that ship inside this package, by network name."""

from __future__ import annotations

from pathlib import Path

from relatent.core.errors import UnknownNameError

FOLDER = Path(__file__).parent
DEFAULT_NETWORK = "faces-128"
GENERATOR_FILE = "generator.safetensors"
ENCODER_FILE = "encoder.safetensors"
PRECONDITIONER_FILE = "preconditioner.safetensors"
PERCENTILES_FILE = "percentiles.json"
BACKBONE = "faces-backbone"


def network_names() -> list[str]:
    """Names of the embedded generators."""
    return sorted(file.parent.name for file in FOLDER.glob(f"*/{GENERATOR_FILE}"))


def network_path(name: str) -> Path:
    """The file of an embedded generator.

    Raises:
        UnknownNameError: there is none of that name; the message suggests similar names.
    """
    names = network_names()
    if name not in names:
        raise UnknownNameError("network", name, names, "A path to a network file works too.")
    return FOLDER / name / GENERATOR_FILE


def encoder_path(name: str) -> Path | None:
    """The file of the encoder that ships beside an embedded generator; None if there is none."""
    path = FOLDER / name / ENCODER_FILE
    return path if name in network_names() and path.is_file() else None


def preconditioner_path(name: str) -> Path | None:
    """The file of an embedded generator's preconditioner; None if there is none."""
    path = FOLDER / name / PRECONDITIONER_FILE
    return path if name in network_names() and path.is_file() else None


def percentiles_path(name: str) -> Path | None:
    """The file of the validation faces' LPIPS beside an embedded generator; None if there is none."""
    path = FOLDER / name / PERCENTILES_FILE
    return path if name in network_names() and path.is_file() else None


def backbone_path() -> Path:
    """The file of the embedded perceptual backbone."""
    return FOLDER / BACKBONE / "backbone.safetensors"
