"""The generator: its configuration, and the module that combines mapping and synthesis networks."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from relatent.core.alignment import Alignment
from relatent.core.errors import UsageError
from relatent.core.numbers import as_whole
from stylegan.bounds import RESOLUTIONS, require_network_sizes, require_whole, shown
from stylegan.networks.alias_free import AliasFreeSynthesis
from stylegan.networks.alias_free_plan import AliasFreeConfig
from stylegan.networks.mapping import MappingNetwork
from stylegan.networks.mlp import IdentityMapping, MlpConfig, MlpSynthesis
from stylegan.networks.synthesis import STYLE_METHODS, NoiseMode, StyleMethod, SynthesisNetwork

W_AVG_SAMPLES = 10_000  # as NVIDIA's projector takes


@dataclass(frozen=True)
class GeneratorConfig:
    """Everything needed to build a StyleGAN2 or StyleGAN 1 generator; saved in its checkpoint.

    Attributes:
        resolution: height and width of the pictures, a power of two from 8 to 1024.
        z_dim: dimensions of z.
        w_dim: dimensions of w.
        c_dim: number of classes; 0 for none.
        mapping_layers: depth of the mapping network.
        mapping_lr_multiplier: learning rate of the mapping network relative to the rest.
        channel_base: channels at resolution r are ``channel_base / r``, at most ``channel_max``.
        channel_max: upper limit on channels.
        img_channels: channels of the pictures, 3 for RGB or 1 for grey.
        conv_clamp: limit on activations, which keeps half precision safe; None for none.
        style_method: "demodulate" for StyleGAN2, "adain" for StyleGAN 1's normalisation.
    """

    resolution: int = 256
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0
    mapping_layers: int = 8
    mapping_lr_multiplier: float = 0.01
    channel_base: int = 32768
    channel_max: int = 512
    img_channels: int = 3
    conv_clamp: float | None = 256.0
    style_method: StyleMethod = "demodulate"

    def __post_init__(self) -> None:
        require_network_sizes(self)
        if self.style_method not in STYLE_METHODS:
            expected = " or ".join(map(repr, STYLE_METHODS))
            raise UsageError(f"style_method is {shown(self.style_method)}; expected {expected}.")

    @property
    def channels(self) -> dict[int, int]:
        """Channels at each resolution from 4 up."""
        return channels_by_size(self.resolution, self.channel_base, self.channel_max)


def channels_by_size(resolution: int, channel_base: int, channel_max: int) -> dict[int, int]:
    """Channels at each resolution from 4 up: ``channel_base / size``, at most ``channel_max``."""
    sizes = [4, *(r for r in RESOLUTIONS if r <= resolution)]
    return {size: max(1, min(channel_base // size, channel_max)) for size in sizes}


class Generator(nn.Module):
    """A generator: StyleGAN2 (Karras et al. 2019, 2020), alias-free (Karras et al. 2021), or fully connected.

    ``G.mapping(z)`` gives ws [N, num_ws, w_dim]; ``G.synthesis(ws)`` gives image [N, 3, R, R], float32,
    about [-1, 1], not clamped, grey as three equal channels; ``G(z)`` does both. The kind of ``config``
    decides the kind of synthesis; whoever drives a generator need not know which it is.

    Attributes:
        config: the sizes.
        alignment: how faces must be cropped for this network.
        name: for example "faces-128".
        file: the name or path given to ``stylegan.load``; empty for a network built in memory.
    """

    _network_id: str = ""  # see checkpoint.network_id, which fills it on first use
    _w_std: float = 0.0  # see w_std

    def __init__(
        self,
        config: GeneratorConfig | AliasFreeConfig | MlpConfig,
        *,
        alignment: Alignment | None = None,
        name: str = "",
    ) -> None:
        super().__init__()
        self.config = config
        self.alignment = alignment or Alignment()
        self.name = name
        self.file = ""
        self.synthesis = _synthesis(config)
        self.mapping = _mapping(config, self.synthesis.num_ws)

    @property
    def resolution(self) -> int:
        return self.config.resolution

    @property
    def z_dim(self) -> int:
        return self.config.z_dim

    @property
    def c_dim(self) -> int:
        return self.config.c_dim

    @property
    def w_dim(self) -> int:
        return self.config.w_dim

    @property
    def chosen_class(self) -> int | None:
        """The class that is drawn where none is given; None for none, see :meth:`of_class`."""
        return self.mapping.chosen_class

    def of_class(self, number: int | None) -> Generator:
        """This network with one of its classes chosen: whatever is drawn without a class is of that one.

        Args:
            number: counted from 0; None gives the network itself.

        Returns:
            A generator that shares everything with this one, which stays as it is.

        Raises:
            UsageError: a class that it has not.
        """
        if number is None:
            return self
        if not self.c_dim:
            raise UsageError(
                f"{self.name or 'this network'} has no classes, and class {number} was asked for. Leave it out."
            )
        require_whole("the class", number, 0, self.c_dim - 1)
        chosen, mapping = copy.copy(self), copy.copy(self.mapping)
        mapping.chosen_class, chosen._w_std = number, 0.0
        chosen._modules = {**self._modules, "mapping": mapping}
        return chosen

    @property
    def num_ws(self) -> int:
        """Number of layers that read a w: 2 log2(R) - 2 in StyleGAN2, ``num_layers`` + 2 in alias-free ones, or 1."""
        return self.synthesis.num_ws

    @property
    def w_avg(self) -> Tensor:
        """The mean of w, [w_dim]."""
        return self.mapping.w_avg

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: NoiseMode = "const",
    ) -> Tensor:
        """z [N, z_dim] to image [N, 3, R, R]."""
        return self.synthesis(self.mapping(z, c, truncation_psi, truncation_cutoff), noise_mode)

    def sample_w(self, count: int, seed: int) -> Tensor:
        """w of ``count`` random z, [count, w_dim], of random classes unless one is chosen; the same on every device."""
        count, seed = as_whole("count", count, 0, 2**31), as_whole("seed", seed, -(2**63), 2**63 - 1)
        rng = torch.Generator().manual_seed(seed)
        z = torch.randn(count, self.z_dim, generator=rng).to(self.w_avg.device, non_blocking=True)
        c = None
        if self.c_dim and self.chosen_class is None:
            classes = torch.randint(self.c_dim, (count,), generator=rng)
            c = nn.functional.one_hot(classes, self.c_dim).float().to(self.w_avg.device, non_blocking=True)
        return self.mapping.map(z, c)

    @torch.no_grad()
    def w_std(self) -> float:
        """Root mean squared distance of w from its mean, over 10,000 random z.

        Computed on first use and cached, which assumes that the network is not trained any further.
        """
        if not self._w_std:
            w = self.sample_w(W_AVG_SAMPLES, seed=123)
            self._w_std = float((w - w.mean(dim=0)).square().sum(dim=1).mean().sqrt())
        return self._w_std

    @torch.no_grad()
    def recompute_w_avg(self, samples: int = W_AVG_SAMPLES, seed: int = 123) -> None:
        """Set ``w_avg`` to the mean w of ``samples`` random z."""
        self.mapping.w_avg.copy_(self.sample_w(samples, seed).mean(dim=0))


def _mapping(config: GeneratorConfig | AliasFreeConfig | MlpConfig, num_ws: int) -> MappingNetwork:
    if isinstance(config, MlpConfig):
        return IdentityMapping(config.z_dim)
    return MappingNetwork(
        config.z_dim,
        config.c_dim,
        config.w_dim,
        num_ws,
        num_layers=config.mapping_layers,
        lr_multiplier=config.mapping_lr_multiplier,
    )


def _synthesis(
    config: GeneratorConfig | AliasFreeConfig | MlpConfig,
) -> SynthesisNetwork | AliasFreeSynthesis | MlpSynthesis:
    if isinstance(config, MlpConfig):
        return MlpSynthesis(config)
    if isinstance(config, AliasFreeConfig):
        return AliasFreeSynthesis(config)
    return SynthesisNetwork(
        config.resolution,
        config.w_dim,
        config.channels,
        config.img_channels,
        clamp=config.conv_clamp,
        style_method=config.style_method,
    )
