"""Photos to latents: the perceptual distance, the optimiser, `invert`, and the projecting command."""

from inversion.inversion import Inversion
from inversion.pipeline import invert, invert_images

__all__ = ["Inversion", "invert", "invert_images"]
