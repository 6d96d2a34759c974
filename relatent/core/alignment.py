"""How a network wants its faces cropped: two numbers that travel with the network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Alignment:
    """A face crop relative to the FFHQ recipe (Karras et al. 2019, appendix A).

    Attributes:
        scale: side of the crop as a share of the FFHQ crop's side; 1.0 is FFHQ itself.
        shift: how far the crop's centre moves down along the face's own vertical axis, as a share of
            the FFHQ crop's side; 0.0 is FFHQ itself.
    """

    scale: float = 1.0
    shift: float = 0.0
