"""The face crop of a network, given by two numbers that are stored in its file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Alignment:
    """A face crop relative to the FFHQ recipe (Karras et al. 2019, appendix A).

    Attributes:
        scale: side of the crop relative to the side of the FFHQ crop; 1.0 for FFHQ.
        shift: how far the centre of the crop is moved down along the vertical axis of the face, relative to the
            side of the FFHQ crop; 0.0 for FFHQ.
    """

    scale: float = 1.0
    shift: float = 0.0
