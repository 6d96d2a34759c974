"""The generator: its configuration, and mapping and synthesis under one roof."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.alignment import Alignment
from core.errors import UsageError
from stylegan.bounds import MAX_CHANNEL_BASE, MAX_DIM, MAX_LAYERS, require_number, require_whole, shown
from stylegan.mapping import MappingNetwork
from stylegan.synthesis import STYLE_METHODS, NoiseMode, StyleMethod, SynthesisNetwork

RESOLUTIONS = tuple(2**k for k in range(3, 11))
W_AVG_SAMPLES = 10_000


@dataclass(frozen=True)
class GeneratorConfig:
    """Everything needed to build a generator; saved in its checkpoint.

    Attributes:
        resolution: height and width of the pictures, a power of two from 8 to 1024.
        z_dim: dimensions of z.
        w_dim: dimensions of w.
        c_dim: number of classes; 0 for none.
        mapping_layers: depth of the mapping network.
        mapping_lr_multiplier: learning rate of the mapping network relative to the rest.
        channel_base: channels at resolution r are ``channel_base / r``, at most ``channel_max``.
        channel_max: upper limit on channels.
        img_channels: channels of the pictures.
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
        require_resolution(self.resolution)
        if self.style_method not in STYLE_METHODS:
            expected = " or ".join(map(repr, STYLE_METHODS))
            raise UsageError(f"style_method is {shown(self.style_method)}; expected {expected}.")
        for name in ("z_dim", "w_dim", "channel_max", "img_channels"):
            require_whole(name, getattr(self, name), 1, MAX_DIM)
        require_whole("c_dim", self.c_dim, 0, MAX_DIM)
        require_whole("mapping_layers", self.mapping_layers, 1, MAX_LAYERS)
        require_whole("channel_base", self.channel_base, 1, MAX_CHANNEL_BASE)
        require_number("mapping_lr_multiplier", self.mapping_lr_multiplier, 1e-6, 1e6)
        if self.conv_clamp is not None:
            require_number("conv_clamp", self.conv_clamp, 1e-3)

    @property
    def channels(self) -> dict[int, int]:
        """Channels at each resolution from 4 up."""
        return channels_by_size(self.resolution, self.channel_base, self.channel_max)


def require_resolution(value: object) -> None:
    """Refuse everything but one of :data:`RESOLUTIONS`.

    Raises:
        UsageError: ``value`` is something else.
    """
    if type(value) is not int or value not in RESOLUTIONS:
        raise UsageError(f"resolution is {shown(value)}; expected one of {', '.join(map(str, RESOLUTIONS))}.")


def channels_by_size(resolution: int, channel_base: int, channel_max: int) -> dict[int, int]:
    """Channels at each resolution from 4 up: ``channel_base / size``, at most ``channel_max``."""
    sizes = [4, *(r for r in RESOLUTIONS if r <= resolution)]
    return {size: max(1, min(channel_base // size, channel_max)) for size in sizes}


class Generator(nn.Module):
    """A style-based generator (Karras et al. 2019, 2020).

    ``G.mapping(z)`` gives ws [N, num_ws, w_dim]; ``G.synthesis(ws)`` gives image [N, 3, R, R], float32,
    about [-1, 1], not clamped; ``G(z)`` does both.

    Attributes:
        config: the sizes.
        alignment: how faces must be cropped for this network.
        name: what people call it, for example "faces-64".
        file: what ``stylegan.load`` was given to get it; empty for a network made in memory.
    """

    _network_id: str = ""  # see checkpoint.network_id, which fills it on first use

    def __init__(self, config: GeneratorConfig, *, alignment: Alignment | None = None, name: str = "") -> None:
        super().__init__()
        self.config = config
        self.alignment = alignment or Alignment()
        self.name = name
        self.file = ""
        self.synthesis = SynthesisNetwork(
            config.resolution,
            config.w_dim,
            config.channels,
            config.img_channels,
            clamp=config.conv_clamp,
            style_method=config.style_method,
        )
        self.mapping = MappingNetwork(
            config.z_dim,
            config.c_dim,
            config.w_dim,
            self.synthesis.num_ws,
            num_layers=config.mapping_layers,
            lr_multiplier=config.mapping_lr_multiplier,
        )

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
    def num_ws(self) -> int:
        """Layers that read a w: 2 log2(R) - 2."""
        return self.synthesis.num_ws

    @property
    def w_avg(self) -> Tensor:
        """The centre of the latents, [w_dim]."""
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
        """w of ``count`` random z (and random classes, if any), [count, w_dim]; the same on every device."""
        rng = torch.Generator().manual_seed(seed)
        z = torch.randn(count, self.z_dim, generator=rng).to(self.w_avg.device)
        c = None
        if self.c_dim:
            classes = torch.randint(self.c_dim, (count,), generator=rng)
            c = nn.functional.one_hot(classes, self.c_dim).float().to(self.w_avg.device)
        return self.mapping.map(z, c)

    @torch.no_grad()
    def recompute_w_avg(self, samples: int = W_AVG_SAMPLES, seed: int = 123) -> None:
        """Set ``w_avg`` to the mean w of ``samples`` random z."""
        self.mapping.w_avg.copy_(self.sample_w(samples, seed).mean(dim=0))
