"""Converts networks of any supported format to Relatent's, and compares the pictures before and after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from relatent.core.errors import CheckpointError, UsageError
from relatent.core.files import atomic_file
from relatent.core.results import require_replaceable
from stylegan.formats.checkpoint import (
    Provenance,
    is_foreign,
    load_generator,
    network_id,
    read_provenance,
    save_generator,
)
from stylegan.formats.loading import find_network, is_published, load
from stylegan.networks.generator import Generator
from weights.manifest import find_entry
from weights.reading.file_kinds import kind_of

SUFFIX = ".safetensors"
SEED = 7  # of the picture drawn by both
PICTURES = 1  # drawn by both
TOLERANCES = {torch.float32: 1e-5, torch.float16: 0.05}  # relative to the largest value in the pictures


@dataclass(frozen=True)
class Conversion:
    """The result of :func:`convert`.

    Attributes:
        source: the converted file.
        out: the written file.
        network: id of the network.
        difference: largest difference of pictures before and after, relative to the largest value.
    """

    source: Path
    out: Path
    network: str
    difference: float

    def summary(self) -> str:
        """The result in one line of text."""
        size = self.out.stat().st_size / 1e6
        return (
            f"{self.out}: {self.network}, {size:.1f} MB; pictures before and after differ by {self.difference:.1g} "
            "of the largest value."
        )


def convert(
    source: str | Path,
    out: Path,
    *,
    entry: str | None = None,  # the network of a foreign file with several
    half: bool = False,  # store in half precision
    name: str | None = None,  # None for the network's own, or the stem of a foreign file
    provenance: Provenance | None = None,  # None for that of the file; foreign files have none
) -> Conversion:
    """Write a network, by name or from any file that :func:`stylegan.load` reads, as Relatent's ``.safetensors``.

    The written file is read back, and is deleted if it does not draw the same pictures.

    Raises:
        UsageError: ``out`` is a file of somebody else, or not called ``.safetensors``, or as :func:`stylegan.load`.
        CheckpointError: the network cannot be read, or its copy draws other pictures.
        OutputError: ``out`` cannot be written.
    """
    if out.suffix != SUFFIX:
        raise UsageError(f"the result would be called {out}; expected a name that ends in {SUFFIX}.")
    require_replaceable([out], "OUT")
    generator = load(source, entry=entry)
    path = find_network(str(source))
    generator.name = name or generator.name
    dtype = torch.float16 if half else torch.float32
    _require_range(generator, dtype, path)
    with atomic_file(out) as temporary:
        save_generator(generator, temporary, provenance=provenance or _provenance(str(source), path), dtype=dtype)
        difference = compare(generator, load_generator(temporary))
        if not difference <= TOLERANCES[dtype]:
            raise CheckpointError(
                f"{path} cannot be converted: pictures drawn before and after differ by {difference:.2g}, "
                f"allowed are {TOLERANCES[dtype]:g}. {'Keep full precision.' if half else 'Nothing was written.'}"
            )
    return Conversion(path, out, network_id(generator), difference)


def _require_range(generator: Generator, dtype: torch.dtype, path: Path) -> None:
    largest = torch.finfo(dtype).max
    for name, tensor in generator.state_dict().items():
        if tensor.abs().max() > largest:
            raise CheckpointError(
                f"{path} cannot be stored in half precision, which ends at {largest:g}: {name} goes beyond. "
                "Keep full precision."
            )


def compare(one: Generator, other: Generator) -> float:
    """The largest difference of pictures of the same z, relative to the largest value; NaN if not finite."""
    pictures, others = _pictures(one), _pictures(other)
    return float((others - pictures).abs().max() / pictures.abs().max().clamp_min(1e-8))


@torch.no_grad()
def _pictures(generator: Generator) -> Tensor:
    return generator.synthesis(generator.mapping.truncate(generator.sample_w(PICTURES, SEED)))


def _provenance(source: str, path: Path) -> Provenance:
    if kind_of(path) == "safetensors" and not is_foreign(path):
        return read_provenance(path)
    if is_published(source):
        entry = find_entry(source)
        return Provenance(licence=entry.licence, attribution=entry.origin, origin=f"converted from {path.name}")
    return Provenance(licence="its author's", origin=f"converted from {path.name}; the licence is its author's")
