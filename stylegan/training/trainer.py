"""The trainer: one step of GAN training, and the statistics of a tick.

A step depends only on the state and the step's number: all random numbers of step k come from a seed made of the run's
seed and k. A resumed run therefore gives exactly the same result as an uninterrupted one.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import math
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from relatent.core import cpu
from relatent.core.device import peak_memory, scalar_dtype, synchronize
from relatent.core.images import from_uint8
from stylegan.networks import ops
from stylegan.networks.backbone import load_backbone
from stylegan.networks.discriminator import Discriminator
from stylegan.networks.feature_discriminator import FeatureDiscriminator, mean_over_features
from stylegan.networks.generator import Generator
from stylegan.networks.mlp import MlpDiscriminator, MlpDiscriminatorConfig
from stylegan.training import loss as gan_loss
from stylegan.training.ada import AugmentationStrength, ada_augment
from stylegan.training.augment import diff_augment, random_flip
from stylegan.training.growth import set_fade
from stylegan.training.metrics import mean_pairwise_distance
from stylegan.training.settings import TrainingSettings

ADA_INTERVAL = 4  # steps between adjustments of the adaptive augmentation
FEATURE_AUGMENT = 0.5  # probability of each change of DiffAugment before the second discriminator
PATH_MEAN_WEIGHT = 0.01  # of a new batch in the running mean of path lengths


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


class Trainer:
    """Generator, discriminator, their optimisers, and the moving average of the generator.

    Args:
        settings: of the run.
        images: all training pictures, uint8 [count, C, R, R] with the networks' number of channels.
        classes: int64 [count], or None.
        device: where to compute; the pictures are moved there as well.
    """

    def __init__(
        self, settings: TrainingSettings, images: Tensor, classes: Tensor | None, device: torch.device
    ) -> None:
        self.settings, self.device = settings, device
        cpu.prepare(device)
        self.images = images.to(device)
        self.classes = None if classes is None else classes.to(device)
        self.dtype = getattr(torch, settings.precision)
        with seeded(settings.seed, -1, device):
            generator = Generator(settings.generator, alignment=settings.alignment, name=settings.name)
            self.discriminator = _discriminator(settings).to(device)
            self.feature_discriminator: FeatureDiscriminator | None = None
            if settings.loss_weights.feature_weight:
                self.feature_discriminator = FeatureDiscriminator(load_backbone()).to(device)
        if settings.growth:
            generator.synthesis.fade = torch.zeros([])
        self.generator = generator.to(device)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        # Lazy regularisation: Adam's parameters are corrected for the interval (appendix B).
        loss_weights = settings.loss_weights
        interval_g = loss_weights.path_length_interval if loss_weights.path_length_weight else None
        self.optimizer_g = _adam(self.generator.parameters(), settings.learning_rate, interval_g)
        self.optimizer_d = _adam(self.discriminator.parameters(), settings.learning_rate, loss_weights.r1_interval)
        if self.feature_discriminator:
            self.optimizer_f = _adam(self.feature_discriminator.trained_parameters(), settings.learning_rate, None)
        self.strength = AugmentationStrength()
        self.path_mean = torch.zeros([], device=device)
        self._last_pairs = (0.0, 0.0)
        self.step = 0
        self.images_seen = 0  # not step * batch: a resumed run may have another batch than before
        self.seconds = 0.0
        self._moving = [*_averaged(self.average)], [*_averaged(self.generator)]
        self._totals = torch.zeros(6, device=device, dtype=scalar_dtype(device))
        self._synthesise = torch.compile(self.generator.synthesis) if settings.compile else self.generator.synthesis
        self._judge = torch.compile(self.discriminator) if settings.compile else self.discriminator

    def run_tick(self, images: int, until: float = math.inf) -> Tick:
        """Train on about ``images`` pictures (at least one step) and report.

        ``until`` is a moment of ``time.monotonic()``; the first step that begins after it is the tick's last.
        """
        self._totals.zero_()
        steps = max(1, -(-images // self.settings.batch))  # rounded up, or a last tick would be left for the rest
        started, number, last = time.perf_counter(), 0, False
        while not last:
            number += 1
            last = number == steps or time.monotonic() >= until
            self.train_step(compare=last)
        synchronize(self.device)
        elapsed = time.perf_counter() - started
        self.seconds += elapsed
        return self._report(number, elapsed)

    def train_step(self, compare: bool = False) -> None:
        """One step of each network. Both use the same generated batch, which saves a forward pass.

        ``compare`` also computes the pairwise distances of the batch.
        """
        settings = self.settings
        self.set_fade()
        with seeded(settings.seed, self.step, self.device):
            real, c = self._real_batch()
            z = torch.randn(settings.batch, settings.generator.z_dim, device=self.device)
            ws = gan_loss.mixed_ws(self.generator, z, c, settings.loss_weights.mixing_probability)
            fake = self._synthesise(ws, "random", dtype=self.dtype)[:, : real.shape[1]]
            self._step_discriminator(real, fake.detach(), c)
            if self.feature_discriminator:
                self._step_feature_discriminator(self.feature_discriminator, real.detach(), fake.detach())
            self._step_generator(fake, z, c)
        if compare and settings.batch > 1:
            self._last_pairs = mean_pairwise_distance(real), mean_pairwise_distance(fake.detach())
        self._update_average()
        self.step += 1
        self.images_seen += settings.batch

    def set_fade(self) -> None:
        """Set the fade weight of a grown network's newest blocks."""
        if self.settings.growth:
            networks = [self.generator.synthesis, self.average.synthesis, self.discriminator]
            set_fade(networks, self.settings.growth.weight(self.images_seen))

    def _step_discriminator(self, real: Tensor, fake: Tensor, c: Tensor | None) -> None:
        loss_weights = self.settings.loss_weights
        self.discriminator.requires_grad_(True)
        penalise = loss_weights.r1_gamma > 0 and self.step % loss_weights.r1_interval == 0
        real = real.requires_grad_(penalise)
        real_logits = self._logits(real, c, exact=penalise)
        fake_logits = self._logits(fake, c)
        losses = gan_loss.discriminator_loss(real_logits, fake_logits)
        total = losses.mean()
        if penalise:
            penalty = gan_loss.r1_penalty(real_logits, real).mean()
            total = total + penalty * (loss_weights.r1_gamma / 2 * loss_weights.r1_interval)
            self._totals[2] += penalty.detach()
            self._totals[5] += 1
        self.optimizer_d.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer_d.step()
        self._totals[1] += losses.detach().mean()
        signs = real_logits.detach().sign().mean()
        if self.settings.ada and (self.step + 1) % ADA_INTERVAL == 0:  # reading the signs synchronises with the device
            self.strength.update(float(signs), ADA_INTERVAL * self.settings.batch)
        self._totals[3] += (real_logits.detach() > 0).to(self._totals.dtype).mean()
        self._totals[4] += (fake_logits.detach() < 0).to(self._totals.dtype).mean()

    def _step_feature_discriminator(self, judge: FeatureDiscriminator, real: Tensor, fake: Tensor) -> None:
        logits = judge(diff_augment(torch.cat([real, fake.to(real.dtype)]), FEATURE_AUGMENT))
        halves = [scores.chunk(2) for scores in logits]
        self.optimizer_f.zero_grad(set_to_none=True)
        mean_over_features([gan_loss.discriminator_loss(*half) for half in halves]).backward()
        self.optimizer_f.step()

    def _step_generator(self, fake: Tensor, z: Tensor, c: Tensor | None) -> None:
        loss_weights = self.settings.loss_weights
        self.discriminator.requires_grad_(False)
        losses = gan_loss.generator_loss(self._logits(fake, c))
        self.optimizer_g.zero_grad(set_to_none=True)
        total = losses.mean()
        if self.feature_discriminator:
            logits = self.feature_discriminator(diff_augment(fake, FEATURE_AUGMENT))
            by_features = mean_over_features([gan_loss.generator_loss(scores) for scores in logits])
            total = total + loss_weights.feature_weight * by_features
        total.backward()
        if loss_weights.path_length_weight and self.step % loss_weights.path_length_interval == 0:
            penalty = self._path_length_penalty(z, c)
            (penalty * (loss_weights.path_length_weight * loss_weights.path_length_interval)).backward()
        self.optimizer_g.step()
        self._totals[0] += losses.detach().mean()

    def _path_length_penalty(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Squared deviation of path lengths from their running mean, on half the batch to save memory."""
        half = slice(max(1, len(z) // 2))
        ws = self.generator.mapping(z[half], None if c is None else c[half])
        # Differentiated twice, so in full precision and not compiled.
        lengths = gan_loss.path_lengths(self.generator.synthesis(ws, "random"), ws)
        self.path_mean = self.path_mean.lerp(lengths.detach().mean(), PATH_MEAN_WEIGHT)
        return (lengths - self.path_mean).square().mean()

    def _logits(self, image: Tensor, c: Tensor | None, exact: bool = False) -> Tensor:
        """The discriminator's logits; ``exact`` bypasses torch.compile, which does not support second derivatives."""
        channels = image.shape[1]
        image = ada_augment(diff_augment(ops.as_rgb(image), self.settings.augment_strength), self.strength.p)
        if channels == 1:  # the augmentations may have coloured it
            image = image.mean(dim=1, keepdim=True)
        judge = self.discriminator if exact else self._judge
        return judge(image, c, dtype=self.dtype)

    def _real_batch(self) -> tuple[Tensor, Tensor | None]:
        """The pictures of this step; each epoch shows all pictures once, in random order."""
        count, batch = len(self.images), self.settings.batch
        first = self.images_seen
        indices = []
        for epoch in range(first // count, (first + batch - 1) // count + 1):
            order = _epoch_order(count, self.settings.seed, epoch, self.device)
            indices.append(order[max(first - epoch * count, 0) : first + batch - epoch * count])
        chosen = torch.cat(indices)
        images = from_uint8(self.images[chosen])
        if self.settings.flip:
            images = random_flip(images)
        if not self.settings.generator.c_dim:
            return images, None
        assert self.classes is not None
        return images, nn.functional.one_hot(self.classes[chosen], self.settings.generator.c_dim).float()

    @torch.no_grad()
    def _update_average(self) -> None:
        """Exponential moving average with a ramp, so that early weights are soon forgotten."""
        images = self.settings.ema_kimg * 1000
        if self.settings.ema_rampup > 0:
            images = min(images, max(self.images_seen, 1) * self.settings.ema_rampup)
        weight = 1 - 0.5 ** (self.settings.batch / max(images, 1e-8))
        torch._foreach_lerp_(*self._moving, weight)

    def _report(self, steps: int, elapsed: float) -> Tick:
        totals = self._totals.tolist()
        return Tick(
            kimg=round(self.images_seen / 1000, 3),
            seconds=round(self.seconds, 1),
            seconds_per_kimg=round(elapsed / (steps * self.settings.batch) * 1000, 3),
            loss_g=round(totals[0] / steps, 4),
            loss_d=round(totals[1] / steps, 4),
            r1=round(totals[2] / max(totals[5], 1), 5),
            real_accuracy=round(totals[3] / steps, 4),
            fake_accuracy=round(totals[4] / steps, 4),
            pairwise_real=round(self._last_pairs[0], 4),
            pairwise_fake=round(self._last_pairs[1], 4),
            augment=round(self.strength.p, 4),
            path_length=round(float(self.path_mean), 4),
            memory_mb=round(_peak_memory(self.device)),
        )


@contextmanager
def seeded(seed: int, step: int, device: torch.device | None = None) -> Iterator[None]:
    """Context manager in which random numbers depend only on ``seed`` and ``step``; restores the state of generators.

    Seeds and restores the generators of the CPU and of ``device``, or of all GPUs if it is None, which is slow.
    """
    gpus: list[torch.device | int] = []
    if device is None:
        gpus += range(torch.cuda.device_count())
    elif device.type == "cuda":
        gpus.append(device)
    with torch.random.fork_rng(gpus):
        torch.manual_seed(_mix(seed, step, "step"))
        yield


@functools.lru_cache(maxsize=2)  # a batch may span the end of one epoch and the start of the next
def _epoch_order(count: int, seed: int, epoch: int, device: torch.device) -> Tensor:
    """The order of the pictures in an epoch, int64 [count]; the same on every device."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(_mix(seed, epoch, "epoch")))
    return order.to(device, non_blocking=True)


def _mix(seed: int, number: int, purpose: str) -> int:
    digest = hashlib.sha256(f"{purpose} {seed} {number}".encode()).digest()
    return int.from_bytes(digest[:7], "little")


def _discriminator(settings: TrainingSettings) -> Discriminator | MlpDiscriminator:
    if isinstance(settings.discriminator, MlpDiscriminatorConfig):
        return MlpDiscriminator(settings.discriminator)
    return Discriminator(settings.discriminator, grown=bool(settings.growth))


def _averaged(generator: Generator) -> Iterator[Tensor]:
    """What the moving average is taken of: parameters, and what BatchNorm has measured."""
    yield from generator.parameters()
    yield from (buffer for name, buffer in generator.named_buffers() if ".running_" in name)


def _adam(parameters: Iterable[nn.Parameter], learning_rate: float, interval: int | None) -> torch.optim.Adam:
    ratio = 1.0 if interval is None else interval / (interval + 1)
    return torch.optim.Adam(parameters, lr=learning_rate * ratio, betas=(0.0, 0.99**ratio), eps=1e-8, fused=True)


def _peak_memory(device: torch.device) -> float:
    """Peak memory in MiB; 0 if unknown (CPU under Windows)."""
    peak = peak_memory(device)
    if peak is not None:
        return peak / 2**20
    try:
        import resource  # Unix only
    except ImportError:
        return 0.0
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (2**20 if sys.platform == "darwin" else 2**10)
