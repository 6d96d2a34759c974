"""GAN inversion: from photos to latents by encoders and optimisation."""

from inversion.config import InvertConfig
from inversion.encoders.loading import load_encoder
from inversion.inversion import Inversion
from inversion.inverting import invert, invert_images, invert_photo

__all__ = ["Inversion", "InvertConfig", "invert", "invert_images", "invert_photo", "load_encoder"]
