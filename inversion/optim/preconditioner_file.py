"""Reads and writes preconditioner files (safetensors, half precision), and finds the one of a network."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from inversion.optim.preconditioner import Preconditioner
from relatent.core.errors import CheckpointError, UsageError
from stylegan.bounds import shown
from stylegan.formats.checkpoint import (
    Provenance,
    network_id,
    read_safetensors,
    require_format,
    same_network,
    write_safetensors,
)
from stylegan.networks.generator import Generator
from weights.embedded import preconditioner_path

FORMAT = "relatent-curvature-1"


def save_preconditioner(preconditioner: Preconditioner, path: Path, *, provenance: Provenance | None = None) -> None:
    """Write a preconditioner.

    Raises:
        OutputError: the file cannot be written.
    """
    tensors = {
        "directions": preconditioner.directions.cpu().half().contiguous(),
        "values": preconditioner.values.cpu(),
        "covariance": preconditioner.covariance.cpu(),
    }
    header = {"format": FORMAT, "network": preconditioner.network, **vars(provenance or Provenance())}
    write_safetensors(path, tensors, header)


def read_preconditioner(path: Path) -> Preconditioner:
    """Read what :func:`save_preconditioner` wrote, onto the CPU.

    Raises:
        CheckpointError: damaged, of another kind, or inconsistent.
    """
    tensors, metadata = read_safetensors(path)
    require_format(metadata, FORMAT, "a preconditioner", path)
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    try:
        (dimensions, rank), (width, _) = shapes["directions"], shapes["covariance"]
        expected = {"directions": [dimensions, rank], "values": [rank], "covariance": [width, width]}
        sound = shapes == expected and width > 0 and rank > 0 and dimensions % width == 0
    except (KeyError, ValueError):
        sound = False
    if not sound or bool((tensors["values"] < 0).any()):
        raise CheckpointError(f"{path} holds no preconditioner, but tensors of the shapes {shown(str(shapes))}.")
    return Preconditioner(**tensors, network=metadata.get("network", ""))


def preconditioner_for(
    network: Generator, chosen: str | Path | Preconditioner | None = None, lpips: str = "embedded"
) -> Preconditioner | None:
    """The chosen preconditioner, or the one that ships with the network, if any; on the network's device.

    None if ``lpips`` is not the embedded backbone, because the preconditioner was measured with that.

    Raises:
        CheckpointError: the chosen file cannot be read.
        UsageError: it belongs to another network or another backbone.
    """
    device = network.w_avg.device
    if lpips != "embedded":
        if chosen is not None:
            raise UsageError(
                f"a preconditioner is that of the embedded backbone's distance; expected no --lpips {lpips}."
            )
        return None
    if chosen is None:
        path = preconditioner_path(network.name)
        embedded = None if path is None else _from_file(path, device)
        return embedded if embedded is not None and _same(embedded, network) else None
    preconditioner = _from_file(Path(chosen), device) if isinstance(chosen, str | Path) else chosen
    if not _same(preconditioner, network):
        raise UsageError(
            f"the preconditioner is that of {preconditioner.network or 'an unnamed network'}, and the network is "
            f"{network_id(network)}. Measure its own with: python -m inversion measure-preconditioner."
        )
    return preconditioner.to(device)


def _same(preconditioner: Preconditioner, network: Generator) -> bool:
    sizes = len(preconditioner.directions) == network.num_ws * network.w_dim
    return sizes and same_network(preconditioner.network, network_id(network))


def _from_file(path: Path, device: torch.device) -> Preconditioner:
    modified = path.stat().st_mtime_ns if path.exists() else 0
    return _kept(path, modified, str(device))


@functools.lru_cache(maxsize=4)
def _kept(path: Path, modified: int, device: str) -> Preconditioner:  # noqa: ARG001 - a changed file is read again
    return read_preconditioner(path).to(torch.device(device))
