"""Checks of configuration values. They may come from the header of an untrusted file, so types are checked as well."""

from __future__ import annotations

from typing import Any

from relatent.core.alignment import Alignment
from relatent.core.errors import UsageError

MAX_DIM = 16384  # more than any published network has; networks this large still cost nothing on the meta device
MAX_LAYERS = 64  # StyleGAN3 has 14, mapping networks 8
MAX_CHANNEL_BASE = 2**20  # published networks have 2**15 or 2**16
COLOURS = (1, 3)  # channels of a picture: grey, RGB
RESOLUTIONS = tuple(2**k for k in range(3, 11))
MAX_SHOWN = 9  # names from a file that a message lists
LARGEST = 1e9  # default upper bound of real values, far above any that makes sense


def require_whole(name: str, value: Any, low: int, high: int) -> None:
    """Refuse everything but an int (no bool, no 64.0) from ``low`` to ``high``.

    Raises:
        UsageError: ``value`` is something else.
    """
    if type(value) is not int or not low <= value <= high:
        raise UsageError(f"{name} is {shown(value)}; expected a whole number from {low} to {high}.")


def require_number(name: str, value: Any, low: float, high: float = LARGEST) -> None:
    """Refuse everything but a finite int or float from ``low`` to ``high``.

    Raises:
        UsageError: ``value`` is something else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise UsageError(f"{name} is {shown(value)}; expected a number from {low:g} to {high:g}.")


def require_text(name: str, value: Any) -> None:
    """Refuse everything but a str.

    Raises:
        UsageError: ``value`` is something else.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name} is {shown(value)}; expected text.")


def require_resolution(value: object) -> None:
    """Refuse everything but one of :data:`RESOLUTIONS`.

    Raises:
        UsageError: ``value`` is something else.
    """
    if type(value) is not int or value not in RESOLUTIONS:
        raise UsageError(f"resolution is {shown(value)}; expected one of {', '.join(map(str, RESOLUTIONS))}.")


def require_network_sizes(config: Any) -> None:
    """Check the fields that the configurations of all generators share.

    Raises:
        UsageError: a value is out of range or has the wrong type.
    """
    require_resolution(config.resolution)
    for name in ("z_dim", "w_dim", "channel_max"):
        require_whole(name, getattr(config, name), 1, MAX_DIM)
    if type(config.img_channels) is not int or config.img_channels not in COLOURS:
        raise UsageError(
            f"img_channels is {shown(config.img_channels)}; expected 3 (RGB) or 1 (grey): a photo has no more to be "
            "compared with, so transparency, depth or features beside the colours cannot be inverted."
        )
    require_whole("c_dim", config.c_dim, 0, MAX_DIM)
    require_whole("mapping_layers", config.mapping_layers, 1, MAX_LAYERS)
    require_whole("channel_base", config.channel_base, 1, MAX_CHANNEL_BASE)
    require_number("mapping_lr_multiplier", config.mapping_lr_multiplier, 1e-6, 1e6)
    if config.conv_clamp is not None:
        require_number("conv_clamp", config.conv_clamp, 1e-3)


def check_alignment(alignment: Alignment) -> None:
    """Refuse a scale outside 0.01 to 100, or a shift beyond 10 in either direction.

    Raises:
        UsageError: ``alignment`` has such a value.
    """
    require_number("alignment scale", alignment.scale, 0.01, 100)
    require_number("alignment shift", alignment.shift, -10, 10)


def shown(value: object) -> str:
    """``value`` as error messages quote it, cut to 60 characters: in a hostile file it may be a megabyte long."""
    return f"{value!r:.60}"
