"""Style-based generators: build them, load them, train them. Knows neither faces nor photos."""

from stylegan.alias_free_plan import AliasFreeConfig
from stylegan.checkpoint import Provenance, network_id, save_generator
from stylegan.discriminator import Discriminator, DiscriminatorConfig
from stylegan.generator import Generator, GeneratorConfig
from stylegan.loading import load

__all__ = [
    "AliasFreeConfig",
    "Discriminator",
    "DiscriminatorConfig",
    "Generator",
    "GeneratorConfig",
    "Provenance",
    "load",
    "network_id",
    "save_generator",
]
