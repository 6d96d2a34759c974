"""StyleSpace: single style channels as directions (Wu et al. 2021).

Inversions store ws, not styles, so a change of styles is mapped back to W+: the step of w that changes the wanted
channels and, by least squares, the others as little as possible, in units of each channel's standard deviation. This is
exact if the affine weights that read one w have full row rank, which requires no more channels than dimensions of w.
Otherwise other channels change as well, and the direction's facts tell how much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from editing.directions.direction import Direction, Fact
from editing.directions.sampling import SAMPLES
from editing.directions.sefa import affine_weight, style_affines
from relatent.core.errors import UsageError
from stylegan import network_id
from stylegan.networks.generator import Generator

Channel = tuple[int, int]  # index of the style layer in `style_affines`, and of its channel
TOLERANCE = 1e-4  # singular values below this share of the largest count as zero
LEAST_REACHED = 0.02  # of a wanted change; below, the step would mostly change other channels


@dataclass(frozen=True)
class Moves:
    """For each channel of the styles computed from one w, the step of w that changes it.

    Attributes:
        layer: index of the w in ws.
        channels: the channels.
        steps: float64 [channels, w_dim]; each changes its channel by one standard deviation.
        reached: float64 [channels], 0 to 1: 1 if no other channel changes. The changes of the others have the norm
            sqrt(1 / reached - 1), in standard deviations.
    """

    layer: int
    channels: list[Channel]
    steps: Tensor
    reached: Tensor


class StyleSpace:
    """The styles of a network: their standard deviations, and the steps of w that change them.

    Args:
        network: any generator.
        samples: number of random latents for the standard deviations.
        seed: of those.
    """

    @torch.no_grad()
    def __init__(self, network: Generator, samples: int = SAMPLES, seed: int = 0) -> None:
        self.network = network
        self.readers = style_affines(network)
        w = network.sample_w(samples, seed).cpu().double()
        centred = w - w.mean(dim=0)
        weights = [affine_weight(affine) for affine, _ in self.readers]
        self.deviations = [(centred @ weight.T).square().mean(dim=0).sqrt() for weight in weights]
        self._weights, self._samples = weights, samples

    def counts(self) -> list[int]:
        """Number of channels of each style layer."""
        return [len(weight) for weight in self._weights]

    def moves(self, layer: int) -> Moves:
        """The channels that depend on ``ws[:, layer]``, without constant and unreachable ones."""
        channels, scaled = self._system(layer)
        inverse = torch.linalg.pinv(scaled, rtol=TOLERANCE)  # [w_dim, C]
        reached = (scaled * inverse.T).sum(dim=1)  # diagonal of the projection onto the range of the affine weights
        good = (reached >= LEAST_REACHED).nonzero()[:, 0].tolist()
        steps = inverse.T[good] / reached[good, None]
        return Moves(layer, [channels[index] for index in good], steps, reached[good].clamp(max=1.0))

    def direction(
        self,
        changes: Mapping[Channel, float],
        name: str,
        *,
        source: str = "stylespace",
        unit: str = "",
        facts: Mapping[str, Fact] | None = None,
    ) -> Direction:
        """Changes of styles as a direction in W+.

        Args:
            changes: by channel, in the unit of the style.
            name: of the direction.
            source: of the direction.
            unit: meaning of strength 1 in words; by default these changes.
            facts: stored with the direction.

        Raises:
            UsageError: the network does not have a channel, or w cannot change it.
        """
        self._check(changes)
        vector = torch.zeros(self.network.num_ws, self.network.w_dim, dtype=torch.float64)
        wanted_all, reached_all = 0.0, 0.0
        for layer in sorted({self.readers[one][1] for one, _ in changes}):
            channels, scaled = self._system(layer)
            wanted = torch.tensor([self._scaled(one, changes) for one in channels], dtype=torch.float64)  # [C]
            step = torch.linalg.pinv(scaled, rtol=TOLERANCE) @ wanted
            length, reached = float(wanted @ wanted), float(wanted @ (scaled @ step))
            if reached < LEAST_REACHED * length or length == 0:
                raise UsageError(
                    f"w {layer} cannot make the style changes asked for {name!r} without changing others far more. "
                    "Choose other channels; `directions stylespace` lists some."
                )
            vector[layer] = step * (length / reached)
            wanted_all, reached_all = wanted_all + length, reached_all + reached
        share = min(reached_all / wanted_all, 1.0)
        own: dict[str, Fact] = {"reached": share, "spill": max(1 / share - 1, 0.0) ** 0.5}
        return Direction(
            vector=vector.float(),
            name=name,
            network=network_id(self.network),
            layers=tuple(sorted({self.readers[one][1] for one, _ in changes})),
            space="s",
            source=source,
            unit=unit or "the changes of style it was made of",
            facts={**own, **(facts or {})},
        )

    def channel(self, channel: Channel, facts: Mapping[str, Fact] | None = None) -> Direction:
        """The direction of one channel; strength 1 changes it by one standard deviation.

        Raises:
            UsageError: the network does not have the channel, or w cannot change it.
        """
        self._check([channel])
        layer, number = channel
        return self.direction(
            {channel: float(self.deviations[layer][number])},
            f"style_{layer}_{number}",
            source=f"stylespace: channel {number} of style layer {layer}",
            unit=f"one standard deviation of the style over {self._samples} samples at psi 1",
            facts=facts,
        )

    def _system(self, layer: int) -> tuple[list[Channel], Tensor]:
        """All channels computed from one w, and their affine weights in standard deviations, float64 [C, w_dim]."""
        readers = [number for number, (_, index) in enumerate(self.readers) if index == layer]
        channels = [(number, row) for number in readers for row in range(len(self._weights[number]))]
        weight = torch.cat([self._weights[number] for number in readers])
        deviation = torch.cat([self.deviations[number] for number in readers])
        alive = deviation > 1e-9 * deviation.max()
        return channels, torch.where(alive[:, None], weight / deviation.clamp_min(1e-300)[:, None], 0.0)

    def _scaled(self, channel: Channel, changes: Mapping[Channel, float]) -> float:
        change = changes.get(channel, 0.0)
        deviation = float(self.deviations[channel[0]][channel[1]])
        return change / deviation if change and deviation > 0 else 0.0

    def _check(self, channels: Mapping[Channel, float] | list[Channel]) -> None:
        counts = self.counts()
        if not channels:
            raise UsageError("no style channel was named; expected LAYER_CHANNEL, for example 9_41.")
        for layer, number in channels:
            if not 0 <= layer < len(counts):
                raise UsageError(f"style layer {layer} is not in this network; it has 0 to {len(counts) - 1}.")
            if not 0 <= number < counts[layer]:
                raise UsageError(f"style layer {layer} has no channel {number}; it has 0 to {counts[layer] - 1}.")
