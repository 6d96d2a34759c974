"""Interpolation between latents, and morphs through many faces.

Latents in W and W+ are interpolated linearly, since W is disentangled enough for that (Karras et al. 2019, sec. 4).
Normally distributed z and noise lie near a sphere. Linear interpolation would pass through its inside, which the
network has never seen, so these are interpolated spherically (:func:`slerp`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from editing.drawing import own_noise
from editing.faces import FaceLike, open_faces
from editing.mixing import require_same_network, short_name
from editing.seeds import inversion_of_z, seed_z
from inversion.inversion import Inversion
from relatent.core.errors import ShapeError, UnknownNameError, UsageError
from relatent.core.numbers import as_whole
from stylegan.networks.generator import Generator

Key = TypeVar("Key")
NOISES = ("blend", "hold")
MOST_FRAMES = 100_000
SMALL_ANGLE = 1e-6  # radians; below, slerp is linear


@dataclass(frozen=True)
class Morph(Generic[Key]):
    """A path through faces.

    Attributes:
        keys: the faces in order, two or more.
        between: the interpolation of two keys at t in [0, 1].
        loop: whether the path returns from the last face to the first.
    """

    keys: tuple[Key, ...]
    between: Callable[[Key, Key, float], Inversion]
    loop: bool = False

    def __post_init__(self) -> None:
        if len(self.keys) < 2:
            raise UsageError(f"a morph came with {len(self.keys)} faces; expected at least two.")

    def at(self, t: float) -> Inversion:
        """The face at ``t`` in [0, 1] of the whole path; in a loop, 0 and 1 are the same face."""
        legs = len(self.keys) if self.loop else len(self.keys) - 1
        place = min(max(t, 0.0), 1.0) * legs
        leg = min(int(place), legs - 1)
        return self.between(self.keys[leg], self.keys[(leg + 1) % len(self.keys)], slowing_at_faces(place - leg))

    def frames(self, count: int) -> Iterator[Inversion]:
        """``count`` faces, evenly spaced in time; a loop omits its end, which equals its beginning.

        Raises:
            UsageError: fewer than two, or more than ``MOST_FRAMES``.
        """
        count = as_whole("the number of frames", count, 2, MOST_FRAMES)
        last = count if self.loop else count - 1
        return (self.at(index / last) for index in range(count))


def slowing_at_faces(t: float) -> float:
    """Easing from one face to the next at the time ``t``, both from 0 to 1: a cosine, which is slow at both ends."""
    return (1 - math.cos(math.pi * t)) / 2


def morph(
    faces: Sequence[FaceLike],
    network: Generator,
    *,
    loop: bool = False,
    noise: str = "blend",
) -> Morph[Inversion]:
    """The path through faces, straight in W or W+ from each to the next.

    Args:
        faces: two or more of one network, inversions or whatever :func:`editing.faces.open_face` takes.
        network: of the inversions.
        loop: return to the first.
        noise: "blend" interpolates the noise maps and keeps their variance; "hold" uses those of the first face.

    Raises:
        UsageError: fewer than two inversions, or of different networks.
        ShapeError: noise or a mask has another size than the network's, for example in a damaged file.
        UnknownNameError: there is no such noise.
    """
    if noise not in NOISES:
        raise UnknownNameError("noise of a morph", noise, NOISES)
    inversions = open_faces(faces, network)
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


def morph_seeds(
    seeds: Sequence[int],
    network: Generator,
    *,
    psi: float = 1.0,
    loop: bool = False,
    c: int | None = None,  # the class, of a network that has some
) -> Morph[Tensor]:
    """The path through the faces of seeds by spherical interpolation in Z; see :func:`editing.seeds.seed_z`.

    Every face on the path is a valid sample of the network, but the path is less even than one in W.

    Raises:
        UsageError: fewer than two seeds, one that is no seed, or no class where the network has some.
    """

    def between(a: Tensor, b: Tensor, t: float) -> Inversion:
        return inversion_of_z(network, slerp(a, b, t), psi, seeds[0], c)

    return Morph(tuple(seed_z(seed, network.z_dim) for seed in seeds), between, loop)


def blend(a: Inversion, b: Inversion, t: float) -> Inversion:
    """Interpolate two inversions of one network at ``t`` in [0, 1]; both must have noise, or none.

    ws, masks and tuned weights are interpolated linearly, noise spherically. All else is that of ``a``.
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
    """The mask [1, 1, R, R] of ``one``; ones of the size of ``other``'s if it has none."""
    if one.mask is not None:
        return one.mask
    assert other.mask is not None
    return torch.ones_like(other.mask)


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Spherical interpolation from ``a`` to ``b`` at ``t`` in [0, 1]; each tensor is taken as one vector.

    Angle and length change linearly (Shoemake 1985, eq. 5.1, extended to any length), which preserves the variance of
    noise maps. Parallel and opposite vectors and zeros are interpolated linearly.
    """
    x, y = a.double(), b.double()
    lengths = float(x.norm()), float(y.norm())
    cosine = float((x * y).sum()) / (lengths[0] * lengths[1]) if all(lengths) else 1.0
    angle = math.acos(min(max(cosine, -1.0), 1.0))
    if t in (0, 1) or math.sin(angle) < SMALL_ANGLE:
        return torch.lerp(a, b, t)
    length = (1 - t) * lengths[0] + t * lengths[1]
    direction = x * (math.sin((1 - t) * angle) / lengths[0]) + y * (math.sin(t * angle) / lengths[1])
    return (direction * (length / math.sin(angle))).to(a.dtype)


def blend_tuned(
    a: dict[str, tuple[Tensor, Tensor]] | None, b: dict[str, tuple[Tensor, Tensor]] | None, t: float
) -> dict[str, tuple[Tensor, Tensor]] | None:
    """Interpolate the low-rank updates A B of two photos' tuned weights, exactly.

    (1 - t) A B + t A' B' is the product of the concatenated factors, so the ranks add up.

    Args:
        a: by weight, the factors A [O, r] and B [r, I k k] of the first photo; None without tuning.
        b: of the second.
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
