"""The configuration of an alias-free generator, and the sampling rates, bands and sizes of its layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relatent.core.errors import UsageError
from stylegan.bounds import MAX_LAYERS, require_network_sizes, require_number, require_whole, shown

TAPS_PER_RATE = 6  # a filter's taps are this times its factor (Karras et al. 2021, appendix C: n = 6)
NONLINEARITY_RATE = 2  # the nonlinearity works at this times the rate of its layer (sec. 3.2: m = 2)
MAX_MARGIN = 64  # px; published networks have 10


@dataclass(frozen=True)
class AliasFreeConfig:
    """Everything needed to build an alias-free generator (Karras et al. 2021); saved in its checkpoint.

    The defaults are configuration T, equivariant to translation. Configuration R, equivariant to rotation
    too, has ``conv_kernel`` 1, ``use_radial_filters``, and twice the ``channel_base`` and ``channel_max``.

    Attributes:
        resolution: R, height and width of the pictures, a power of two from 8 to 1024.
        z_dim: dimensions of z.
        w_dim: dimensions of w.
        c_dim: number of classes; 0 for none.
        mapping_layers: depth of the mapping network.
        mapping_lr_multiplier: learning rate of the mapping network relative to the rest.
        channel_base: a layer of cutoff f has ``channel_base / (2 f)`` channels, at most ``channel_max``.
        channel_max: upper limit on channels.
        img_channels: channels of the pictures, 3 for RGB or 1 for grey.
        conv_clamp: limit on activations, which keeps half precision safe; None for none.
        num_layers: synthesis layers, without the Fourier features and ToRGB.
        num_critical: number of critically sampled layers at the end, whose cutoff is R / 2.
        first_cutoff: of the Fourier features, in cycles per picture side.
        first_stopband: minimum stopband frequency of the first layer, likewise.
        last_stopband_rel: minimum stopband frequency of the last layer, as a multiple of its cutoff R / 2.
        margin_size: pixels of margin around the picture, at each layer's own rate.
        output_scale: factor on the last layer's result.
        conv_kernel: 3 or 1.
        use_radial_filters: downsample with radially symmetric filters.
    """

    resolution: int = 256
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0
    mapping_layers: int = 2
    mapping_lr_multiplier: float = 0.01
    channel_base: int = 32768
    channel_max: int = 512
    img_channels: int = 3
    conv_clamp: float | None = 256.0
    num_layers: int = 14
    num_critical: int = 2
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband_rel: float = 2**0.3
    margin_size: int = 10
    output_scale: float = 0.25
    conv_kernel: int = 3
    use_radial_filters: bool = False

    def __post_init__(self) -> None:
        require_network_sizes(self)
        require_whole("num_layers", self.num_layers, 2, MAX_LAYERS)
        require_whole("num_critical", self.num_critical, 1, self.num_layers - 1)
        # With these bounds the cutoffs and stopbands never fall from layer to layer, and so neither do the rates;
        # the factors and sizes below rely on it.
        require_number("first_cutoff", self.first_cutoff, 1, self.resolution / 4)
        require_number("last_stopband_rel", self.last_stopband_rel, 1.0, 8.0)
        last_stopband = self.resolution / 2 * self.last_stopband_rel
        require_number("first_stopband", self.first_stopband, 1.01 * self.first_cutoff, last_stopband)
        require_whole("margin_size", self.margin_size, 0, MAX_MARGIN)
        require_number("output_scale", self.output_scale, 1e-6)
        if type(self.conv_kernel) is not int or self.conv_kernel not in (1, 3):
            raise UsageError(f"conv_kernel is {shown(self.conv_kernel)}; expected 1 or 3.")
        if type(self.use_radial_filters) is not bool:
            raise UsageError(f"use_radial_filters is {shown(self.use_radial_filters)}; expected true or false.")


@dataclass(frozen=True)
class Band:
    """The signal between two layers.

    Attributes:
        size: height and width, margins included.
        rate: samples per picture side.
        cutoff: of the low-pass filters.
        half_width: of their transition band around the cutoff.
        channels: number of channels.
    """

    size: int
    rate: int
    cutoff: float
    half_width: float
    channels: int


@dataclass(frozen=True)
class LayerPlan:
    """Input, output and filters of one layer.

    Attributes:
        before: the input.
        after: the output.
        kernel: side of the convolution.
        radial: downsample with a radially symmetric filter.
        is_picture: the last layer (ToRGB), which has no filters and no nonlinearity.
    """

    before: Band
    after: Band
    kernel: int
    radial: bool
    is_picture: bool

    @property
    def working_rate(self) -> int:
        """Sampling rate of the nonlinearity."""
        return max(self.before.rate, self.after.rate) * (1 if self.is_picture else NONLINEARITY_RATE)

    @property
    def up(self) -> int:
        return self.working_rate // self.before.rate

    @property
    def down(self) -> int:
        return self.working_rate // self.after.rate

    @property
    def crop(self) -> int:
        """Samples cut off each side of the upsampled signal, so that the output has the size of ``after``.

        Never negative, because rates never fall from layer to layer. The division leaves no remainder, because
        factors and taps are even, so the centre stays where it is.
        """
        convolved = self.before.size + self.kernel - 1
        full = (convolved - 1) * self.up + TAPS_PER_RATE * self.up
        needed = (self.after.size - 1) * self.down + TAPS_PER_RATE * self.down
        return (full - needed) // 2


def plan_bands(config: AliasFreeConfig) -> list[Band]:
    """The output of each layer; cutoffs and stopbands grow geometrically (Karras et al. 2021, sec. 3.3, fig. 4a)."""
    last_cutoff = config.resolution / 2
    last_stopband = last_cutoff * config.last_stopband_rel
    progress = np.minimum(np.arange(config.num_layers + 1) / (config.num_layers - config.num_critical), 1)
    cutoffs = config.first_cutoff * (last_cutoff / config.first_cutoff) ** progress
    stopbands = config.first_stopband * (last_stopband / config.first_stopband) ** progress
    rates = np.exp2(np.ceil(np.log2(np.minimum(stopbands * 2, config.resolution))))
    half_widths = np.maximum(stopbands, rates / 2) - cutoffs
    sizes = rates + 2 * config.margin_size
    sizes[-2:] = config.resolution  # the last two layers need no margins
    channels = np.clip(np.rint(config.channel_base / 2 / cutoffs), 1, config.channel_max)
    channels[-1] = config.img_channels
    columns = (sizes, rates, cutoffs, half_widths, channels)
    return [Band(int(s), int(r), float(c), float(h), int(n)) for s, r, c, h, n in zip(*columns, strict=True)]


def plan_layers(config: AliasFreeConfig) -> list[LayerPlan]:
    """All layers, first to last; the last one is ToRGB.

    The Fourier features have the first layer's band, so ``plan_layers(config)[0].before`` describes them.
    """
    bands = plan_bands(config)
    last = len(bands) - 1
    return [
        LayerPlan(
            before=bands[max(index - 1, 0)],
            after=band,
            kernel=1 if index == last else config.conv_kernel,
            radial=config.use_radial_filters and index < config.num_layers - config.num_critical,
            is_picture=index == last,
        )
        for index, band in enumerate(bands)
    ]
