"""Style-based generators: build them, load them, train them. Knows neither faces nor photos."""

from stylegan.checkpoint import Provenance, network_id, save_generator
from stylegan.discriminator import Discriminator, DiscriminatorConfig
from stylegan.generator import Generator, GeneratorConfig
from stylegan.loading import load

__all__ = [
    "Discriminator",
    "DiscriminatorConfig",
    "Generator",
    "GeneratorConfig",
    "Provenance",
    "load",
    "network_id",
    "save_generator",
]
