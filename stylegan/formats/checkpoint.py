"""Reads and writes Relatent's network files: safetensors, with the configuration in the header.

A file holds the weights of one generator, and as text its sizes, alignment, name, licence, attribution, origin and
fingerprint. Files are untrusted: sizes are checked against the weights before anything is allocated, and nothing is
executed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save, save_file
from torch import Tensor, nn

from relatent.core.alignment import Alignment
from relatent.core.errors import CheckpointError, RelatentError
from relatent.core.files import atomic_file
from relatent.core.wording import printable, restored, stored
from stylegan.bounds import check_alignment, shown
from stylegan.networks.alias_free_plan import AliasFreeConfig
from stylegan.networks.generator import Generator, GeneratorConfig
from stylegan.networks.mlp import MlpConfig

OWN = "relatent-"  # how every format of ours begins
FORMAT = f"{OWN}generator-1"
ARCHITECTURES = {"skip": GeneratorConfig, "alias-free": AliasFreeConfig, "mlp": MlpConfig}
OLDEST = "skip"  # the architecture of older files, which do not name it


@dataclasses.dataclass(frozen=True)
class Provenance:
    """The origin and licence of a network; free text, stored in its file.

    Attributes:
        licence: for example "CC BY 4.0".
        attribution: the authors to credit.
        origin: how it was made: data, command, number of pictures, date.
    """

    licence: str = ""
    attribution: str = ""
    origin: str = ""


def fingerprint(generator: Generator) -> str:
    """A hash of the weights, twelve hexadecimal digits; independent of the file format."""
    return _digest(generator.state_dict())


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        # In half precision, so that a network and its stored copy have the same fingerprint.
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().to(torch.float16).contiguous().numpy().data)
    return digest.hexdigest()[:12]


def network_id(generator: Generator) -> str:
    """Name and fingerprint, such as "faces-128@0123456789ab", by which latents and directions refer to a network."""
    if not generator._network_id:
        generator._network_id = f"{generator.name or 'unnamed'}@{fingerprint(generator)}"
    return generator._network_id


def same_network(first: str, second: str) -> bool:
    """Whether two ids belong to networks with the same weights, regardless of their names."""
    return first.rpartition("@")[2] == second.rpartition("@")[2]


def save_generator(
    generator: Generator,
    path: Path,
    *,
    provenance: Provenance | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a generator; ``dtype`` torch.float16 halves the file without a visible difference.

    Raises:
        OutputError: the file cannot be written.
    """
    tensors = {k: v.detach().to("cpu", dtype).contiguous() for k, v in generator.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "name": generator.name,
        "architecture": next(name for name, kind in ARCHITECTURES.items() if type(generator.config) is kind),
        "config": json.dumps(dataclasses.asdict(generator.config)),
        "alignment": json.dumps(dataclasses.asdict(generator.alignment)),
        "fingerprint": _digest(tensors),
        **dataclasses.asdict(provenance or Provenance()),
    }
    write_safetensors(path, tensors, metadata)


def is_foreign(path: Path) -> bool:
    """Whether a safetensors file was written by others: ours all say what they are.

    Raises:
        CheckpointError: it cannot be read at all.
    """
    with _safetensors_errors(path):
        return not _header(path).get("format", "").startswith(OWN)


def load_generator(path: Path) -> Generator:
    """Read a generator written by :func:`save_generator`: float32, on the CPU, in evaluation mode.

    Raises:
        CheckpointError: damaged, of another kind, inconsistent, or holding values that are not finite.
    """
    tensors, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} says format {shown(metadata.get('format'))}; expected {FORMAT!r}, a network. {_way_out(metadata)}"
        )
    config = parse_dataclass(_config_kind(metadata, path), metadata.get("config", ""), path)
    alignment = parse_dataclass(Alignment, metadata.get("alignment", ""), path, check_alignment)
    with torch.device("meta"):  # shapes only, so that a hostile configuration allocates no memory
        generator = Generator(config, alignment=alignment, name=metadata.get("name", "") or path.stem)
    load_strictly(generator, tensors, path)
    if metadata.get("fingerprint"):
        _check_fingerprint(generator, metadata["fingerprint"], path)
    return generator.eval().requires_grad_(False)


def _way_out(metadata: dict[str, str]) -> str:
    if metadata.get("format", "").startswith(OWN):
        return "It holds something else than a network; name the network's own file."
    return "A network of others is brought in with: python -m weights convert IN OUT.safetensors"


def _config_kind(metadata: dict[str, str], path: Path) -> type[Any]:
    name = metadata.get("architecture", OLDEST)
    if name not in ARCHITECTURES:
        known = " or ".join(map(repr, ARCHITECTURES))
        raise CheckpointError(
            f"{path} holds a network of the architecture {shown(name)}; expected {known}. "
            "It may come from a newer version; update Relatent."
        )
    return ARCHITECTURES[name]


def read_provenance(path: Path) -> Provenance:
    """The provenance in a network's file."""
    _, metadata = read_safetensors(path)
    return Provenance(**{field.name: metadata.get(field.name, "") for field in dataclasses.fields(Provenance)})


def _check_fingerprint(generator: Generator, claimed: str, path: Path) -> None:
    """Compare the fingerprint in the header, because safetensors does not detect flipped bits."""
    actual = fingerprint(generator)
    if claimed != actual:
        raise CheckpointError(
            f"{path} is damaged: its weights have the fingerprint {actual} where its header says {shown(claimed)}. "
            "Copy or download it again."
        )
    generator._network_id = f"{generator.name}@{actual}"


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors, each whole even where several share memory, and text as the header.

    Raises:
        OutputError: the file cannot be written.
    """
    header = {name: stored(text) for name, text in metadata.items()}
    with atomic_file(path) as temporary:
        if _opens(temporary):
            save_file(_whole(tensors), temporary, metadata=header)
        else:
            temporary.write_bytes(save(_whole(tensors), header))


def safetensors_bytes(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """What :func:`write_safetensors` writes."""
    return save(_whole(tensors), {name: stored(text) for name, text in metadata.items()})


def _whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, floats of less than 32 bits as float32, and the text of its header.

    Raises:
        CheckpointError: missing, damaged, truncated, or with non-finite values.
    """
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path} {state}; expected a safetensors file.")
    with _safetensors_errors(path):
        if _opens(path):
            with safe_open(path, framework="pt") as file:
                tensors = {name: _widened(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - not a dict
        else:
            tensors = {name: _widened(tensor) for name, tensor in load(path.read_bytes()).items()}
        metadata = _header(path)
    require_finite(tensors, path)
    return tensors, {name: restored(text) for name, text in metadata.items()}


def _header(path: Path) -> dict[str, str]:
    """The header's text, as it is stored."""
    if _opens(path):
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    data = path.read_bytes()
    load(data)  # which checks the header
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return header.get("__metadata__") or {}


@contextmanager
def _safetensors_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (
        SafetensorError,
        OSError,
        KeyError,
        ValueError,
        OverflowError,
        RuntimeError,
    ) as error:  # torch knows odd types
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({reason}). Copy or download it again."
        ) from error


def _opens(path: Path) -> bool:
    """Whether the safetensors library can open a file of that name: it knows none that is not UTF-8."""
    return printable(str(path)) == str(path)


def require_format(metadata: dict[str, str], expected: str, what: str, path: Path) -> None:
    """Check the format in a header; ``what`` describes the content of such files, for example "an encoder".

    Raises:
        CheckpointError: another format, or none.
    """
    if metadata.get("format") != expected:
        raise CheckpointError(f"{path} says format {shown(metadata.get('format'))}; expected {what}, {expected!r}.")


def require_finite(tensors: dict[str, Tensor], path: Path) -> None:
    """Check that all weights are finite.

    Raises:
        CheckpointError: some are not.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        extremes = torch.stack(torch.aminmax(tensor))  # propagates NaN; ten times faster than isfinite of all values
        if not extremes.isfinite().all():
            raise CheckpointError(
                f"{path} holds values that are not finite in {name!r}. Its training diverged or the file is "
                "damaged; use another checkpoint."
            )


def _widened(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32) if tensor.is_floating_point() and tensor.itemsize < 4 else tensor


def load_strictly(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load weights into ``module``, which must have exactly the same names and shapes.

    Raises:
        CheckpointError: missing, unexpected or misshapen weights.
    """
    expected = module.state_dict()
    problems = [f"missing {name}" for name in sorted(expected.keys() - tensors.keys())]
    problems += [f"unexpected {name}" for name in sorted(tensors.keys() - expected.keys())]
    problems += [
        f"{name} is {list(tensors[name].shape)} where {list(expected[name].shape)} belongs"
        for name in sorted(expected.keys() & tensors.keys())
        if tensors[name].shape != expected[name].shape
    ]
    problems += [
        f"{name} is {tensors[name].dtype} where {expected[name].dtype} belongs"
        for name in sorted(expected.keys() & tensors.keys())
        if tensors[name].is_floating_point() != expected[name].is_floating_point()
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        first = "; ".join(f"{problem:.200}" for problem in problems[:3])
        raise CheckpointError(f"{path} does not fit its own configuration: {first}{more}.")
    tensors = {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}
    module.load_state_dict(tensors, strict=True, assign=any(tensor.is_meta for tensor in expected.values()))


def parse_dataclass(kind: type[Any], text: str, path: Path, check: Callable[[Any], None] | None = None) -> Any:
    """Build a frozen dataclass from the JSON of a header; unknown fields are ignored.

    Raises:
        CheckpointError: not JSON, not an object, or with values that the dataclass or ``check`` refuses.
    """
    try:
        values = json.loads(text)
        known = {field.name for field in dataclasses.fields(kind)}
        value = kind(**{name: value for name, value in values.items() if name in known})
        if check:
            check(value)
    except (ValueError, TypeError, AttributeError, RecursionError, RelatentError) as error:
        raise CheckpointError(f"{path} has an unusable {kind.__name__} in its header: {error!s:.300}") from error
    return value
