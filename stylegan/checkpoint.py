"""Relatent's own network files: safetensors with the configuration in the header.

A file holds one generator's weights, and as text: its sizes, the alignment its faces need, its name,
licence, attribution, origin and fingerprint. Files are data: sizes are checked against the weights
actually present before anything is allocated, and nothing is executed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from core.alignment import Alignment
from core.errors import CheckpointError, RelatentError
from core.files import atomic_file
from stylegan.generator import Generator, GeneratorConfig

FORMAT = "relatent-generator-1"


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where a network comes from and what may be done with it; free text, kept in its file.

    Attributes:
        licence: for example "CC BY 4.0".
        attribution: whom to name.
        origin: how it was made: data, command, images seen, date.
    """

    licence: str = ""
    attribution: str = ""
    origin: str = ""


def fingerprint(generator: Generator) -> str:
    """Twelve hexadecimal digits that change when any weight does; the same in every file format."""
    digest = hashlib.sha256()
    for name, tensor in sorted(generator.state_dict().items()):
        # Half precision is how networks are stored; a network and its stored copy are the same one.
        digest.update(name.encode() + tensor.detach().cpu().to(torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def network_id(generator: Generator) -> str:
    """Name and fingerprint, for example "faces-64@0123456789ab": what latents and directions refer to."""
    if not getattr(generator, "_network_id", None):
        generator._network_id = f"{generator.name or 'unnamed'}@{fingerprint(generator)}"
    return generator._network_id


def save_generator(
    generator: Generator,
    path: Path,
    *,
    provenance: Provenance | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a generator; ``dtype`` torch.float16 halves the file and costs nothing visible.

    Raises:
        OutputError: the file cannot be written.
    """
    metadata = {
        "format": FORMAT,
        "name": generator.name,
        "config": json.dumps(dataclasses.asdict(generator.config)),
        "alignment": json.dumps(dataclasses.asdict(generator.alignment)),
        "fingerprint": fingerprint(generator),
        **dataclasses.asdict(provenance or Provenance()),
    }
    tensors = {k: v.detach().to("cpu", dtype).contiguous() for k, v in generator.state_dict().items()}
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load_generator(path: Path) -> Generator:
    """Read a generator written by :func:`save_generator`: float32, on the CPU, in evaluation mode.

    Raises:
        CheckpointError: damaged, of another kind, inconsistent, or holding values that are not finite.
    """
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} says format {metadata.get('format')!r}; expected {FORMAT!r}. "
            "Convert it with: python -m weights convert IN OUT.safetensors"
        )
    config = parse_dataclass(GeneratorConfig, metadata.get("config", ""), path)
    alignment = parse_dataclass(Alignment, metadata.get("alignment", ""), path)
    with torch.device("meta"):  # sizes only: a dishonest configuration allocates nothing
        generator = Generator(config, alignment=alignment, name=metadata.get("name", "") or path.stem)
    load_strictly(generator, tensors, path)
    if metadata.get("fingerprint"):
        generator._network_id = f"{generator.name}@{metadata['fingerprint'][:12]}"
    return generator.eval().requires_grad_(False)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Every tensor of a safetensors file as float32, and the header's text.

    Raises:
        CheckpointError: missing, damaged, cut short, or with values that are not finite.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; expected a network file.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({reason}). Copy or download it again."
        ) from error
    tensors = {k: v.to(torch.float32) if v.is_floating_point() else v for k, v in tensors.items()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"{path} holds values that are not finite in {name!r}. Its training diverged or the file is "
                "damaged; use another checkpoint."
            )
    return tensors, metadata


def load_strictly(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Give ``module`` exactly these weights: same names, same shapes, nothing missing, nothing left over."""
    expected = module.state_dict()
    problems = [f"missing {name}" for name in sorted(expected.keys() - tensors.keys())]
    problems += [f"unexpected {name}" for name in sorted(tensors.keys() - expected.keys())]
    problems += [
        f"{name} is {list(tensors[name].shape)} where {list(expected[name].shape)} belongs"
        for name in sorted(expected.keys() & tensors.keys())
        if tensors[name].shape != expected[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(f"{path} does not fit its own configuration: {'; '.join(problems[:3])}{more}.")
    module.load_state_dict(tensors, strict=True, assign=any(tensor.is_meta for tensor in expected.values()))


def parse_dataclass(kind: type[Any], text: str, path: Path) -> Any:
    """Build a frozen dataclass from a header's JSON, refusing what does not fit it."""
    try:
        values = json.loads(text)
        known = {field.name for field in dataclasses.fields(kind)}
        return kind(**{name: value for name, value in values.items() if name in known})
    except (ValueError, TypeError, AttributeError, RelatentError) as error:
        raise CheckpointError(f"{path} has an unusable {kind.__name__} in its header: {error}") from error
