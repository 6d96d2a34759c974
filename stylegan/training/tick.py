"""The statistics of a tick: one line of a run's log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tick:
    """Statistics since the previous tick; one line of the log.

    Attributes:
        kimg: thousands of pictures so far.
        seconds: of training, over all sessions.
        seconds_per_kimg: of this tick.
        loss_g: mean generator loss.
        loss_d: mean discriminator loss, without R1.
        r1: mean squared gradient at real pictures.
        real_accuracy: share of real pictures that the discriminator classifies as real.
        fake_accuracy: share of generated pictures that it classifies as generated.
        pairwise_real: root mean squared difference of pairs of real pictures of the last batch.
        pairwise_fake: the same of generated pictures; much smaller after a mode collapse.
        augment: probability of adaptive augmentation at the end of the tick.
        path_length: running mean of path lengths; 0 without path length regularisation.
        memory_mb: peak memory of the device, or of the process on a CPU; 0 under Windows, where it is not known.
        distance: of the averaged generator's pictures to the validation pictures; None if not measured.
    """

    kimg: float
    seconds: float
    seconds_per_kimg: float
    loss_g: float
    loss_d: float
    r1: float
    real_accuracy: float
    fake_accuracy: float
    pairwise_real: float
    pairwise_fake: float
    augment: float
    path_length: float
    memory_mb: float
    distance: float | None = None
