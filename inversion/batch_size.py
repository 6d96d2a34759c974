"""How many photos are optimised together where nobody says otherwise."""

from __future__ import annotations

from relatent.core.device import free_memory
from stylegan import Generator, GeneratorConfig

TOGETHER = 4  # photos on a GPU, or in a worker process on a CPU
LARGEST = 256  # px; pictures of larger networks keep a thread busy one at a time
SHARE_OF_MEMORY = 0.8  # of the free memory that a batch may be chosen to fill
COPIES_OF_FEATURES = 13  # tensors of the size of a resolution's features that a step holds at once
WIDEST = 512  # channels of other networks, if they do not say


def batch_size_for(network: Generator) -> int:
    """In the process that was started: one photo on a CPU; elsewhere up to ``TOGETHER``, as many as free memory holds.

    Here the number of photos is not known, and on a CPU a batch that is filled up takes as long as a full one.
    """
    device = network.w_avg.device
    if device.type == "cpu":
        return 1
    free = free_memory(device)
    if free is None:
        return TOGETHER if network.resolution <= 256 else 1
    return max(1, min(TOGETHER, int(free * SHARE_OF_MEMORY / bytes_of_step(network))))


def batch_size_in_worker(network: Generator) -> int:
    """In a worker process, which is started for many photos.

    On a CPU it has one thread. Small pictures keep it busy only if there are several: a step of four photos at 128 px
    takes less than three times as long as one of a single photo. All batches are filled up to this size, so that a
    photo's result does not depend on its company (:meth:`inversion.pipeline.Pipeline.invert`).
    """
    if network.w_avg.device.type == "cpu" and network.resolution <= LARGEST:
        return TOGETHER
    return batch_size_for(network)


def bytes_of_step(network: Generator) -> int:
    """About how much memory a step takes for each photo: what the gradients need of the features, in float32."""
    config = network.config
    if isinstance(config, GeneratorConfig):
        return 4 * COPIES_OF_FEATURES * sum(size**2 * count for size, count in config.channels.items())
    return 4 * COPIES_OF_FEATURES * getattr(config, "channel_max", WIDEST) * config.resolution**2
