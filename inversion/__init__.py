"""Photos to latents: the perceptual distance, the optimiser, `invert`, and the projecting command."""

from inversion.inverter import invert, invert_images
from inversion.latents import Inversion

__all__ = ["Inversion", "invert", "invert_images"]
