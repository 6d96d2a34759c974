"""How many photos are optimised together."""

from __future__ import annotations

from relatent.core.device import free_memory
from stylegan import Generator, GeneratorConfig

TOGETHER = 4  # photos on a GPU
SHARE_OF_MEMORY = 0.8  # of the free memory that a batch may be chosen to fill
COPIES_OF_FEATURES = 13  # tensors of the size of a resolution's features that a step holds at once
WIDEST = 512  # channels of other networks, if they do not say


def batch_size_for(network: Generator) -> int:
    """How many photos are optimised together where nobody says otherwise.

    One on a CPU. A convolution rounds otherwise in a batch of another size, and a hundred steps of L-BFGS make several
    levels of a picture out of the last bit: a photo's result would depend on its company. A batch of four is hardly
    faster there. Elsewhere up to ``TOGETHER``, as many as free memory holds.
    """
    device = network.w_avg.device
    if device.type == "cpu":
        return 1
    free = free_memory(device)
    if free is None:
        return TOGETHER if network.resolution <= 256 else 1
    return max(1, min(TOGETHER, int(free * SHARE_OF_MEMORY / bytes_of_step(network))))


def bytes_of_step(network: Generator) -> int:
    """About how much memory a step takes for each photo: what the gradients need of the features, in float32."""
    config = network.config
    if isinstance(config, GeneratorConfig):
        return 4 * COPIES_OF_FEATURES * sum(size**2 * count for size, count in config.channels.items())
    return 4 * COPIES_OF_FEATURES * getattr(config, "channel_max", WIDEST) * config.resolution**2
