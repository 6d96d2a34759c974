"""`Direction`: an editing direction in a network's latent space, and its file format."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from relatent.core.equality import ComparedByContent
from relatent.core.errors import CheckpointError, ShapeError, UnknownNameError, UsageError
from stylegan import Generator, network_id
from stylegan.formats.checkpoint import OWN, read_safetensors, write_safetensors
from weights.embedded import FOLDER
from weights.reading.file_kinds import kind_of

FORMAT = "relatent-direction-1"
IMPORTED = "Bring in a foreign one, as .npy, .npz or .pt, with: python -m editing directions import."
SPACES = ("w", "w+", "s")
UNIT = "one standard deviation of the attribute's score over 10,000 samples at psi 1"

Fact = float | str


@dataclass(frozen=True, eq=False)
class Direction(ComparedByContent):
    """An editing direction in the latent space of one network.

    Attributes:
        vector: float32 [w_dim], the same for all layers, or [L, w_dim]; strength 1 adds it once.
        name: for example "smile".
        network: id of its network, name and fingerprint.
        layers: the layers it changes, counted from 0; None for all.
        space: the space in which it was found: "w", "w+", or "s" (StyleSpace, mapped back to W+).
        source: the method, "interfacegan", "sefa", "ganspace", "stylespace" or "imported", and its details.
        unit: the meaning of strength 1, in words.
        facts: measurements and remarks, by name.
    """

    vector: Tensor
    name: str
    network: str
    layers: tuple[int, ...] | None = None
    space: str = "w"
    source: str = ""
    unit: str = UNIT
    facts: dict[str, Fact] = field(default_factory=dict)

    def __post_init__(self) -> None:
        vector = self.vector
        if vector.ndim not in (1, 2) or not vector.numel() or not vector.is_floating_point():
            raise ShapeError(
                f"the direction {self.name!r} is {vector.dtype} {list(vector.shape)}; "
                "expected floats [w_dim] or [L, w_dim]."
            )
        if not vector.isfinite().all():
            raise ShapeError(f"the direction {self.name!r} holds values that are not finite. Learn or fetch it again.")
        if self.space not in SPACES:
            raise UsageError(f'the space is {self.space!r}; expected "w", "w+" or "s".')
        object.__setattr__(self, "vector", vector.detach().to("cpu", torch.float32))
        if self.layers is not None:
            object.__setattr__(self, "layers", tuple(sorted({int(layer) for layer in self.layers})))

    def check_network(self, network: Generator | str) -> None:
        """Refuse networks other than the direction's own.

        Args:
            network: the generator, or its id.

        Raises:
            UsageError: another network, in whose latent space the vector has no meaning.
        """
        if not self.belongs_to(network):
            given = network if isinstance(network, str) else network_id(network)
            raise UsageError(
                f"the direction {self.name!r} belongs to the network {self.network}, and {given} was given. "
                "Every network has its own latent space: learn or import the direction for this one."
            )

    def belongs_to(self, network: Generator | str) -> bool:
        """Whether this is a direction of ``network``, a generator or an id."""
        given = network if isinstance(network, str) else network_id(network)
        return given.partition("@")[2] == self.network.partition("@")[2]

    def moves(self, num_ws: int, w_dim: int) -> Tensor:
        """The change of ws at strength 1, float32 [L, w_dim].

        Raises:
            ShapeError: the direction does not fit these sizes.
        """
        fits = self.vector.shape[-1] == w_dim and (self.vector.ndim == 1 or len(self.vector) == num_ws)
        if not fits:
            raise ShapeError(
                f"the direction {self.name!r} is {list(self.vector.shape)}; this network's latents are "
                f"[{num_ws}, {w_dim}]. It was made for a network of another size: learn or import it for this one."
            )
        moved = self.vector.expand(num_ws, w_dim)
        if self.layers is None:
            return moved.clone()
        if self.layers and not 0 <= self.layers[0] <= self.layers[-1] < num_ws:
            raise ShapeError(
                f"the direction {self.name!r} moves the layers {_listed(self.layers)}; "
                f"this network has the layers 0 to {num_ws - 1}."
            )
        chosen = torch.zeros(num_ws, 1)
        chosen[list(self.layers)] = 1
        return moved * chosen

    def apply(self, ws: Tensor, strength: float | Tensor) -> Tensor:
        """ws moved along this direction.

        Args:
            ws: [N, L, w_dim].
            strength: one number for all, or a tensor [N].

        Raises:
            ShapeError: ws has the shape of another network.
        """
        if ws.ndim != 3:
            raise ShapeError(f"ws has shape {list(ws.shape)}; expected [N, L, w_dim].")
        moves = self.moves(*ws.shape[1:]).to(ws)
        amount = torch.as_tensor(strength, dtype=ws.dtype, device=ws.device)
        return ws + amount.reshape(-1, 1, 1) * moves  # [N, L, w_dim]

    def replace(self, **changes: object) -> Direction:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file.

        Raises:
            OutputError: the file cannot be written.
        """
        text = {"name": self.name, "network": self.network, "space": self.space}
        text |= {"source": self.source, "unit": self.unit}
        data = {"layers": json.dumps(self.layers), "facts": json.dumps(self.facts)}
        write_safetensors(Path(path), {"vector": self.vector}, {"format": FORMAT, **text, **data})

    @classmethod
    def load(cls, path: str | Path) -> Direction:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: missing, damaged, or not a direction.
        """
        path = Path(path)
        if path.is_file() and path.suffix.lower() != ".safetensors" and not _is_safetensors(path):
            raise CheckpointError(
                f"{path} is not a direction of ours. {IMPORTED} A face's latents are no direction: give them to "
                f"python -m editing edit in place of the face."
            )
        tensors, metadata = read_safetensors(path)
        if metadata.get("format") != FORMAT or "vector" not in tensors:
            raise CheckpointError(f"{path} is not a direction of ours. {_way_out(path, metadata)}")
        try:
            layers = json.loads(metadata["layers"])
            return cls(
                vector=tensors["vector"],
                name=metadata["name"],
                network=metadata["network"],
                layers=None if layers is None else tuple(int(layer) for layer in layers),
                space=metadata["space"],
                source=metadata["source"],
                unit=metadata["unit"],
                facts={str(k): v if isinstance(v, str) else float(v) for k, v in json.loads(metadata["facts"]).items()},
            )
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError, UsageError) as error:
            raise CheckpointError(f"{path} is a damaged direction ({error!s:.200}). Copy or learn it again.") from error


def _way_out(path: Path, metadata: dict[str, str]) -> str:
    if metadata.get("format", "").startswith("relatent-inversion"):
        return f"It is a face: edit it with python -m editing edit {path} --set NAME=STRENGTH"
    if metadata.get("format", "").startswith(OWN):
        return f"It says format {metadata['format']!r:.60}; name a direction's file."
    return IMPORTED


def _is_safetensors(path: Path) -> bool:
    with suppress(CheckpointError):
        return kind_of(path) == "safetensors"
    return False


def direction_folder(network: Generator | str) -> Path:
    """The folder of the directions that ship with a network; it may not exist."""
    name = (network if isinstance(network, str) else network_id(network)).partition("@")[0]
    return FOLDER / (Path(name).name.strip(".") or "unnamed") / "directions"  # the name comes from an untrusted file


def direction_files(network: Generator | str, folders: Iterable[Path] = ()) -> dict[str, Path]:
    """Files of directions by name: those that ship with ``network``, then those in ``folders``; later ones win."""
    return {_key(path.stem): path for path in _all_files(network, folders)}


def find_direction(name: str | Path, network: Generator | str, folders: Iterable[Path] = ()) -> Direction:
    """A network's direction by name ("smile"; ``-`` and ``_`` are equivalent), or from a file.

    Args:
        name: the name, or the path of a file that :meth:`Direction.save` wrote.
        network: the generator, or its id.
        folders: further folders of such files; directions of other networks in them are ignored.

    Raises:
        UnknownNameError: there is no such direction; the message lists the known ones.
        CheckpointError: the file cannot be read.
        UsageError: the direction belongs to another network.
    """
    files = _all_files(network, folders)
    named = [path for path in files if _key(path.stem) == _key(str(name))] or [Path(name)]
    if named == [Path(name)] and Path(name).suffix != ".safetensors" and not Path(name).is_file():
        known = {_key(path.stem) for path in files}
        raise UnknownNameError("direction", str(name), known, "A path to a direction's file works too.")
    candidates = [Direction.load(path) for path in reversed(named)]
    direction = next((one for one in candidates if one.belongs_to(network)), candidates[0])
    direction.check_network(network)
    return direction


def _all_files(network: Generator | str, folders: Iterable[Path]) -> list[Path]:
    return [path for folder in (direction_folder(network), *folders) for path in sorted(folder.glob("*.safetensors"))]


def _key(name: str) -> str:
    return name.replace("-", "_").lower()


def _listed(layers: tuple[int, ...]) -> str:
    return ", ".join(map(str, layers))
