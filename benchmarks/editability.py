"""Measures of editability: LPIPS with fresh noise, after an edit and back, and plausibility of the latents."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from benchmarks.inverting import SEED, Latent, Task, as_written, basic_measures, distance, drawn, inverted
from editing.cli.edit import parse_sets
from editing.directions.direction import Direction, find_direction
from stylegan import Generator

SAMPLES = 10_000

Move = tuple[Direction, float]
Row = dict[str, float | None]


def find_edit(text: str, generator: Generator) -> Move | None:
    """The direction and strength of "NAME=STRENGTH"; None for "none"."""
    if text == "none":
        return None
    ((name, strength),) = parse_sets((text,)).items()
    return find_direction(name, generator), strength


def all_measures(
    task: Task, latents: list[Latent], photos: Tensor, plausibility: Plausibility, move: Move | None
) -> list[tuple[Row, Tensor]]:
    """Reconstruction and editability of each of the inverted photos [N, 3, R, R], and its picture."""
    back: list[float | None] = [None] * len(latents)
    if move is not None:
        back = [*edited_and_back(task, latents, photos, *move)]
    measured = []
    for latent, photo, unedited in zip(latents, photos.split(1), back, strict=True):
        picture = drawn(task.network, latent)
        row = basic_measures(task, latent, picture, photo)
        row["lpips_fresh_noise"] = with_fresh_noise(task, latent, photo)
        row["lpips_edited_and_back"] = unedited
        row["ws_distance"] = plausibility.distance(latent.ws)
        measured.append((row, picture))
    return measured


def with_fresh_noise(task: Task, latent: Latent, photo: Tensor) -> float:
    """LPIPS to the photo after replacing the noise maps by random noise: the part of the picture in the latent alone.

    Noise of the strength a network was trained with changes hair and skin a little, so the figure is never as small
    as with the maps that were optimised; it is large where those store the picture. Without maps it is the plain LPIPS.
    """
    random = torch.Generator().manual_seed(SEED)
    noise = tuple(torch.randn(level.shape, generator=random) for level in latent.noise)
    return distance(task.perceptual, drawn(task.network, dataclasses.replace(latent, noise=noise)), photo)


def edited_and_back(
    task: Task, latents: list[Latent], photos: Tensor, direction: Direction, strength: float
) -> list[float]:
    """LPIPS to the photos after edit, re-inversion and the opposite edit.

    Each face is moved along ``direction``, drawn in 8 bits, inverted again by the same plan, and moved back. Latents
    that edits take to where they should be come back close to the photo; what was painted around the edit does not.
    """
    moved = [dataclasses.replace(one, ws=direction.apply(one.ws, strength)) for one in latents]
    pictures = as_written(torch.cat([drawn(task.network, one) for one in moved]))
    again = inverted(task, pictures)
    back = [dataclasses.replace(one, ws=direction.apply(one.ws, -strength)) for one in again]
    pairs = zip(back, photos.split(1), strict=True)
    return [distance(task.perceptual, drawn(task.network, one), photo) for one, photo in pairs]


class Plausibility:
    """Distance of latents from the distribution of w.

    The measure is Mahalanobis' distance to the mean of 10,000 sampled w, over the root of w_dim: sampled w are at 1 on
    average, wherever and however wide they lie. The distance to the nearest sample was not chosen: among hundreds of
    dimensions even two samples are hardly nearer to each other than to anything else.

    Args:
        network: whose mapping.
    """

    def __init__(self, network: Generator) -> None:
        with torch.no_grad():
            samples = network.sample_w(SAMPLES, seed=123).cpu().double()
        self.mean = samples.mean(dim=0)
        values, vectors = torch.linalg.eigh(torch.cov(samples.t()))
        # A direction in which w hardly varies must not decide everything by its rounding.
        self.whiten = vectors / values.clamp(min=1e-6 * float(values[-1])).sqrt()

    def distance(self, ws: Tensor) -> float:
        """Of ws [1, L, w_dim], averaged over the layers."""
        white = (ws[0].cpu().double() - self.mean) @ self.whiten
        return round(float(white.square().mean(dim=1).sqrt().mean()), 4)
