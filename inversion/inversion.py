"""`Inversion`: the result of an inversion, with everything needed to draw it again, and its file format."""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from inversion.optim.low_rank import Tuned, draw, to_half
from relatent.core.equality import ComparedByContent
from relatent.core.errors import CheckpointError, ShapeError, UsageError
from relatent.core.images import to_pixels
from relatent.core.provenance import MarkedImage, software_tag
from stylegan import load, network_id
from stylegan.formats.checkpoint import read_safetensors, safetensors_bytes, write_safetensors
from stylegan.networks.generator import Generator

FORMAT = "relatent-inversion-1"
SPACES = ("w", "w+")


@dataclass(frozen=True, eq=False)
class Inversion(ComparedByContent):
    """A face in a network's latent space. Tensors are float32 on the CPU.

    Attributes:
        ws: [1, L, w_dim].
        noise: one [1, 1, r, r] for each layer that reads noise, or None for the network's own.
        origin: ws before the first edit, [1, L, w_dim]; None without edits.
        mask: weight of the edited picture, [1, 1, R, R] from 0 to 1, against that of ``origin``; None for 1 everywhere.
        edits: strength of each edit applied to ``origin``, by name.
        space: "w" (one w for all layers) or "w+".
        network: id of the network, name and fingerprint.
        network_file: the name or path with which ``stylegan.load`` loads it.
        face_to_photo: float64 [3, 3], from face pixels to photo pixels; None without a photo.
        losses: the final losses, by name.
        metrics: how close the inverted face is to the photo, by name, see :class:`inversion.metrics.Quality`; empty
            if not measured.
        seed: of the inversion.
        photo: the photo's file name; empty if unknown.
        tuned: the photo's own additions to the network's weights, float16; None for the network as it is.
        crop: the face as the photo shows it, at most 1024 px a side, the bytes of a picture's file
            (:mod:`relatent.face.crop`); None if it is not kept.
    """

    ws: Tensor
    network: str
    noise: tuple[Tensor, ...] | None = None
    origin: Tensor | None = None
    mask: Tensor | None = None
    edits: dict[str, float] = field(default_factory=dict)
    space: str = "w+"
    network_file: str = ""
    face_to_photo: np.ndarray | None = None
    losses: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    photo: str = ""
    tuned: Tuned | None = None
    crop: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.ws.ndim != 3 or self.ws.shape[0] != 1:
            raise ShapeError(f"ws has shape {list(self.ws.shape)}; expected [1, L, w_dim].")
        if self.origin is not None and self.origin.shape != self.ws.shape:
            raise ShapeError(f"origin has shape {list(self.origin.shape)}; expected that of ws, {list(self.ws.shape)}.")
        if self.mask is not None and (self.mask.ndim != 4 or self.mask.shape[:2] != (1, 1)):
            raise ShapeError(f"the mask has shape {list(self.mask.shape)}; expected [1, 1, R, R].")
        if self.space not in SPACES:
            raise UsageError(f'the space is {self.space!r}; expected "w" or "w+".')

    def open_network(self) -> Generator:
        """Load the network of this inversion.

        Raises:
            UsageError: the network of that name has other weights.
        """
        return self.check_network(load(self.network_file or self.network.partition("@")[0]))

    def check_network(self, network: Generator) -> Generator:
        """Returns ``network`` if it is the one of this inversion.

        Raises:
            UsageError: it is another, in which these latents mean something else.
        """
        if network_id(network).partition("@")[2] != self.network.partition("@")[2]:
            raise UsageError(
                f"this latent belongs to the network {self.network}, and {network_id(network)} was given. "
                "Pass the network it was made with, or invert the photo again."
            )
        return network

    @torch.no_grad()
    def tensor(self, network: Generator | None = None) -> Tensor:
        """The picture as float32 [1, 3, R, R] in about [-1, 1].

        Args:
            network: the network if it is loaded already; None loads it.
        """
        network = self.open_network() if network is None else self.check_network(network)
        if self.mask is not None:
            before = self.unedited().tensor(network)
            if self.mask.shape[2:] != before.shape[2:]:
                raise ShapeError(f"the mask has shape {list(self.mask.shape)}; the picture {list(before.shape)}.")
            return before + (self.replace(mask=None).tensor(network) - before) * self.mask
        device = network.w_avg.device
        noise = None if self.noise is None else [value.to(device) for value in self.noise]
        tuned = {name: (left.to(device), right.to(device)) for name, (left, right) in (self.tuned or {}).items()}
        return draw(network, self.ws.to(device), noise, tuned).cpu()

    def image(self, network: Generator | None = None) -> MarkedImage:
        """The picture, R x R, as a Pillow image that is saved with provenance (:mod:`relatent.core.provenance`)."""
        return self.marked(self.tensor(network))

    def _repr_png_(self) -> bytes:
        """The picture as a notebook shows it."""
        file = io.BytesIO()
        self.image().save(file, "PNG")
        return file.getvalue()

    def marked(self, drawn: Tensor) -> MarkedImage:
        """:meth:`image` for a result of :meth:`tensor`, [1, 3, R, R], which is not drawn again."""
        return MarkedImage(to_pixels(drawn)[0], software_tag(self.network, self.edits))

    def unedited(self) -> Inversion:
        """The inversion before any edit."""
        return self.replace(ws=self.ws if self.origin is None else self.origin, origin=None, mask=None, edits={})

    def replace(self, **changes: object) -> Inversion:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file.

        Raises:
            OutputError: the file cannot be written.
            UsageError: latents that are not finite.
        """
        write_safetensors(Path(path), *self._content())

    def to_bytes(self) -> bytes:
        """The content of the file that :meth:`save` writes.

        Raises:
            UsageError: latents that are not finite.
        """
        return safetensors_bytes(*self._content())

    def _content(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        if not self.ws.isfinite().all():
            raise UsageError("this inversion holds values that are not finite. Edit or invert again.")
        tensors = {"ws": self.ws}
        tensors |= {k: v for k, v in (("origin", self.origin), ("mask", self.mask)) if v is not None}
        for index, value in enumerate(self.noise or ()):
            tensors[f"noise.{index}"] = value
        for name, (left, right) in (self.tuned or {}).items():
            tensors |= {f"tuned.{name}.left": left, f"tuned.{name}.right": right}
        if self.face_to_photo is not None:
            tensors["face_to_photo"] = torch.from_numpy(np.array(self.face_to_photo, dtype=np.float64))
        if self.crop is not None:
            tensors["crop"] = torch.frombuffer(bytearray(self.crop), dtype=torch.uint8)
        text = {"network": self.network, "network_file": self.network_file, "space": self.space, "photo": self.photo}
        numbers = {"seed": str(self.seed), "losses": json.dumps(self.losses)}
        numbers |= {"edits": json.dumps(self.edits), "metrics": json.dumps(self.metrics)}
        return tensors, {"format": FORMAT, **text, **numbers}

    @classmethod
    def load(cls, path: str | Path) -> Inversion:
        """Read what :meth:`save` wrote. A folder stands for the ``inversion.safetensors`` in it.

        Raises:
            CheckpointError: missing, damaged, or not an inversion.
        """
        path = Path(path)
        path = path / "inversion.safetensors" if path.is_dir() else path
        tensors, metadata = read_safetensors(path)
        if metadata.get("format") != FORMAT or "ws" not in tensors:
            raise CheckpointError(f"{path} is not an inversion; expected a file that inversion.project has written.")
        noise = [tensors[f"noise.{index}"] for index in range(sum(name.startswith("noise.") for name in tensors))]
        matrix = tensors.get("face_to_photo")
        try:
            return cls(
                ws=tensors["ws"],
                origin=tensors.get("origin"),
                mask=tensors.get("mask"),
                edits={str(k): float(v) for k, v in json.loads(metadata.get("edits", "{}")).items()},
                noise=tuple(noise) or None,
                space=metadata["space"],
                network=metadata["network"],
                network_file=metadata["network_file"],
                face_to_photo=None if matrix is None else matrix.double().numpy().reshape(3, 3),
                losses={str(k): float(v) for k, v in json.loads(metadata["losses"]).items()},
                metrics={str(k): float(v) for k, v in json.loads(metadata.get("metrics", "{}")).items()},
                seed=int(metadata["seed"]),
                photo=metadata["photo"],
                tuned=_read_tuned(tensors),
                crop=_read_crop(tensors),
            )
        except (KeyError, ValueError, TypeError, AttributeError, ShapeError, UsageError) as error:
            raise CheckpointError(f"{path} is a damaged inversion ({error}).") from error


def _read_crop(tensors: dict[str, Tensor]) -> bytes | None:
    """The bytes of the face's picture; whether they are one shows when it is needed."""
    packed = tensors.get("crop")
    if packed is None:
        return None
    if packed.dtype != torch.uint8 or packed.ndim != 1 or not len(packed):
        raise ShapeError(f"its crop is {packed.dtype} {list(packed.shape)}; expected bytes, uint8 [N]")
    return packed.numpy().tobytes()


def _read_tuned(tensors: dict[str, Tensor]) -> Tuned | None:
    """The low-rank factors in a file; raises KeyError if one of a pair is missing."""
    names = {name.removeprefix("tuned.").rpartition(".")[0] for name in tensors if name.startswith("tuned.")}
    pairs = {name: (tensors[f"tuned.{name}.left"], tensors[f"tuned.{name}.right"]) for name in sorted(names)}
    return to_half(pairs) or None
