"""`load`: one door for every kind of network file."""

from __future__ import annotations

from pathlib import Path

from core.errors import CheckpointError, UnknownNameError
from stylegan.checkpoint import load_generator
from stylegan.generator import Generator
from weights.embedded import network_names, network_path


def load(name_or_file: str | Path) -> Generator:
    """A generator by name or from a file, ready to draw: float32, on the CPU, frozen.

    Args:
        name_or_file: an embedded network ("faces-64") or a path to a ``.safetensors`` file.

    Raises:
        UnknownNameError: neither a known name nor an existing file.
        CheckpointError: a file that cannot be read as a network.
    """
    generator = load_generator(find_network(str(name_or_file)))
    generator.file = str(name_or_file)
    return generator


def find_network(text: str) -> Path:
    """The file that a network's name or path stands for; raises as :func:`load` does."""
    if text in network_names():
        return network_path(text)
    path = Path(text)
    expected = f"expected a network file or one of the names {', '.join(network_names()) or '(none is embedded)'}"
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; {expected}.")
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise CheckpointError(f"{path} does not exist; {expected}.")
    raise UnknownNameError("network", text, network_names(), "A path to a network file works too.")
