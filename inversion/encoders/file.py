"""Reads and writes Relatent's encoder files: safetensors, with the configuration in the header."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch

from inversion.encoders.restyle import EncoderConfig, RefiningEncoder
from relatent.core.alignment import Alignment
from stylegan.bounds import check_alignment
from stylegan.formats.checkpoint import (
    Provenance,
    load_strictly,
    parse_dataclass,
    read_safetensors,
    require_format,
    write_safetensors,
)
from stylegan.networks.backbone import Backbone

FORMAT = "relatent-encoder-2"
# Older files, such as the embedded encoder, call the backbone "trunk".
OLD_BACKBONE, BACKBONE = "model.trunk.", "model.backbone."


def save_encoder(
    encoder: RefiningEncoder,
    path: Path,
    *,
    provenance: Provenance | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write an encoder, by default in half precision.

    Raises:
        OutputError: the file cannot be written.
    """
    metadata = {
        "format": FORMAT,
        "config": json.dumps(dataclasses.asdict(encoder.config)),
        "alignment": json.dumps(dataclasses.asdict(encoder.alignment)),
        "network": encoder.network,
        **dataclasses.asdict(provenance or Provenance()),
    }
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in encoder.state_dict().items()}
    write_safetensors(path, tensors, metadata)


def read_encoder(path: Path) -> RefiningEncoder:
    """Read what :func:`save_encoder` wrote: float32, on the CPU, frozen, in evaluation mode.

    Raises:
        CheckpointError: damaged, of another kind, or inconsistent.
    """
    tensors, metadata = read_safetensors(path)
    require_format(metadata, FORMAT, "an encoder", path)
    tensors = {
        BACKBONE + name.removeprefix(OLD_BACKBONE) if name.startswith(OLD_BACKBONE) else name: tensor
        for name, tensor in tensors.items()
    }
    config = parse_dataclass(EncoderConfig, metadata.get("config", ""), path)
    alignment = parse_dataclass(Alignment, metadata.get("alignment", ""), path, check_alignment)
    with torch.device("meta"):  # shapes only, so that a hostile configuration allocates no memory
        empty = torch.empty(config.w_dim), torch.empty(3, config.resolution, config.resolution)
        encoder = RefiningEncoder(config, *empty, alignment=alignment, network=metadata.get("network", ""))
    encoder.model.backbone = Backbone()  # built off the meta device, for its constants, which files do not contain
    load_strictly(encoder.float(), tensors, path)  # PyTorch's default may be another dtype
    return encoder.eval().requires_grad_(False)
