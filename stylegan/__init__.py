"""Generators: building, loading and training them. Nothing here depends on faces or photos."""

from stylegan.formats.checkpoint import Provenance, network_id, save_generator
from stylegan.formats.loading import load
from stylegan.networks.alias_free_plan import AliasFreeConfig
from stylegan.networks.discriminator import Discriminator, DiscriminatorConfig
from stylegan.networks.generator import Generator, GeneratorConfig
from stylegan.networks.mlp import MlpConfig, MlpDiscriminator, MlpDiscriminatorConfig

__all__ = [
    "AliasFreeConfig",
    "Discriminator",
    "DiscriminatorConfig",
    "Generator",
    "GeneratorConfig",
    "MlpConfig",
    "MlpDiscriminator",
    "MlpDiscriminatorConfig",
    "Provenance",
    "load",
    "network_id",
    "save_generator",
]
