"""From one face to the next: what lies between two latents, and paths through many.

In W and W+ a straight line is the right path: that space is made to be flat (Karras et al. 2019, sec. 4). What is
normally distributed, z and noise, lies near a sphere, and a straight line would cut through its inside, where nothing
that the network knows lies; there the path is the arc (:func:`slerp`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from editing.drawing import own_noise
from editing.mixing import require_same_network, short_name
from editing.seeds import inversion_of_z, seed_z
from inversion.inversion import Inversion
from relatent.core.errors import ShapeError, UnknownNameError, UsageError
from stylegan.networks.generator import Generator

Key = TypeVar("Key")
NOISES = ("blend", "hold")
SAME_WAY = 1e-6  # radians; below it an arc and a line are one


@dataclass(frozen=True)
class Morph(Generic[Key]):
    """A path through faces.

    Attributes:
        keys: the faces in order, two or more.
        between: what lies at t in [0, 1] from one key to the next; at 0 it is the one, at 1 the other.
        loop: whether the path returns from the last face to the first.
    """

    keys: tuple[Key, ...]
    between: Callable[[Key, Key, float], Inversion]
    loop: bool = False

    def __post_init__(self) -> None:
        if len(self.keys) < 2:
            raise UsageError(f"a morph came with {len(self.keys)} faces; expected at least two.")

    def at(self, t: float) -> Inversion:
        """The face at ``t`` in [0, 1], from the path's beginning to its end; of a loop, these are the same."""
        legs = len(self.keys) if self.loop else len(self.keys) - 1
        place = min(max(t, 0.0), 1.0) * legs
        leg = min(int(place), legs - 1)
        return self.between(self.keys[leg], self.keys[(leg + 1) % len(self.keys)], slowing_at_faces(place - leg))

    def frames(self, count: int) -> Iterator[Inversion]:
        """``count`` faces, evenly in time; a loop leaves out its end, which is the beginning of the next round.

        Raises:
            UsageError: fewer than two.
        """
        if count < 2:
            raise UsageError(f"a morph of {count} frames was asked for; expected at least 2.")
        last = count if self.loop else count - 1
        return (self.at(index / last) for index in range(count))


def slowing_at_faces(t: float) -> float:
    """The way from one face to the next at the time ``t``, both from 0 to 1: half a cosine, which rests at its ends."""
    return (1 - math.cos(math.pi * t)) / 2


def morph(
    inversions: Sequence[Inversion],
    network: Generator,
    *,
    loop: bool = False,
    noise: str = "blend",
) -> Morph[Inversion]:
    """The path through inversions, straight in W or W+ from each to the next.

    Args:
        inversions: two or more of one network.
        network: theirs; tells the noise of those that have none of their own.
        loop: return to the first.
        noise: "blend" takes the fine detail along, keeping its strength; "hold" leaves the first one's in place.

    Raises:
        UsageError: fewer than two, or of different networks.
        ShapeError: noise or a mask of another size than the network's, as a damaged file may hold it.
        UnknownNameError: an unknown noise.
    """
    if noise not in NOISES:
        raise UnknownNameError("noise of a morph", noise, NOISES)
    require_same_network(inversions)
    own = own_noise(network)
    for one in inversions:
        one.check_network(network)
        _check_sizes(one, network, own or ())
    keys = list(inversions)
    if noise == "hold":
        keys = [one.replace(noise=inversions[0].noise) for one in keys]
    elif any(one.noise is not None for one in keys):
        keys = [one if one.noise is not None else one.replace(noise=own) for one in keys]
    return Morph(tuple(keys), blend, loop)


def morph_seeds(seeds: Sequence[int], network: Generator, *, psi: float = 1.0, loop: bool = False) -> Morph[Tensor]:
    """The path through seeds' faces along arcs in Z; see :func:`editing.seeds.seed_z`.

    Every face on the way is one the network could have drawn, but it moves less evenly than a path in W.

    Raises:
        UsageError: fewer than two seeds, one that is no seed, or a network with classes.
    """

    def between(a: Tensor, b: Tensor, t: float) -> Inversion:
        return inversion_of_z(network, slerp(a, b, t), psi, seeds[0])

    return Morph(tuple(seed_z(seed, network.z_dim) for seed in seeds), between, loop)


def blend(a: Inversion, b: Inversion, t: float) -> Inversion:
    """What lies at ``t`` in [0, 1] between two inversions of one network with noise of the same kind.

    ws, masks and the photos' own weights move on lines, noise on arcs. All else is ``a``'s.
    """
    changes: dict[str, object] = {"ws": torch.lerp(a.ws, b.ws, t), "space": a.space if a.space == b.space else "w+"}
    changes |= {"origin": None, "edits": {}}
    if a.mask is not None or b.mask is not None:
        changes["origin"] = torch.lerp(_origin(a), _origin(b), t)
        changes["mask"] = torch.lerp(_mask(a, b), _mask(b, a), t)
    if a.noise is not None and b.noise is not None:
        changes["noise"] = tuple(slerp(x, y, t) for x, y in zip(a.noise, b.noise, strict=True))
    tuned = a.tuned, b.tuned
    if any(tuned):
        changes["tuned"] = blend_tuned(*tuned, t)
    return a.replace(**changes)


def _check_sizes(one: Inversion, network: Generator, own: tuple[Tensor, ...]) -> None:
    size = network.resolution
    noise_fits = not one.noise or [level.shape for level in one.noise] == [level.shape for level in own]
    if not noise_fits or (one.mask is not None and one.mask.shape != (1, 1, size, size)):
        raise ShapeError(
            f"{short_name(one)} has noise or a mask of another size than its network of {size} px needs. "
            "Its file is damaged; invert the photo again."
        )


def _origin(one: Inversion) -> Tensor:
    return one.ws if one.origin is None else one.origin


def _mask(one: Inversion, other: Inversion) -> Tensor:
    """Its mask [1, 1, R, R]; everything, of the size of ``other``'s, where it has none."""
    if one.mask is not None:
        return one.mask
    assert other.mask is not None
    return torch.ones_like(other.mask)


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The point at ``t`` in [0, 1] of the arc from ``a`` to ``b``, taken as one vector each, of any shape.

    Angle and length change evenly (Shoemake 1985, eq. 5.1, for any length), so that between two maps of noise, however
    alike, the spread stays theirs. Vectors of the same or of opposite direction, and zeros, are joined by a line.
    """
    x, y = a.double(), b.double()
    lengths = float(x.norm()), float(y.norm())
    cosine = float((x * y).sum()) / (lengths[0] * lengths[1]) if all(lengths) else 1.0
    angle = math.acos(min(max(cosine, -1.0), 1.0))
    if t in (0, 1) or math.sin(angle) < SAME_WAY:
        return torch.lerp(a, b, t)
    length = (1 - t) * lengths[0] + t * lengths[1]
    direction = x * (math.sin((1 - t) * angle) / lengths[0]) + y * (math.sin(t * angle) / lengths[1])
    return (direction * (length / math.sin(angle))).to(a.dtype)


def blend_tuned(
    a: dict[str, tuple[Tensor, Tensor]] | None, b: dict[str, tuple[Tensor, Tensor]] | None, t: float
) -> dict[str, tuple[Tensor, Tensor]] | None:
    """The additions A B to the network's weights, ``t`` of the way between two photos' own, exactly.

    (1 - t) A B + t A' B' is the product of the factors side by side, so the ranks add up.

    Args:
        a: by weight, the factors A [O, r] and B [r, I k k] of the one photo; None for the network as it is.
        b: of the other.
        t: from 0 to 1.
    """
    parts = [(tuned, share) for tuned, share in ((a or {}, 1 - t), (b or {}, t)) if share]
    merged = {}
    for name in sorted({name for tuned, _ in parts for name in tuned}):
        factors = [(left * share, right) for left, right, share in _of(name, parts)]
        merged[name] = torch.cat([left for left, _ in factors], dim=1), torch.cat([right for _, right in factors])
    return merged or None


def _of(
    name: str, parts: list[tuple[dict[str, tuple[Tensor, Tensor]], float]]
) -> Iterator[tuple[Tensor, Tensor, float]]:
    return ((*tuned[name], share) for tuned, share in parts if name in tuned)
