"""The trainer: one step of GAN training, and the statistics of a tick.

A step depends only on the state and the step's number: all random numbers of step k come from a seed made of the run's
seed and k. A resumed run therefore gives exactly the same result as an uninterrupted one.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from relatent.core import cpu
from relatent.core.device import peak_memory, scalar_dtype, synchronize
from stylegan.networks import ops
from stylegan.networks.backbone import load_backbone
from stylegan.networks.discriminator import Discriminator
from stylegan.networks.feature_discriminator import FeatureDiscriminator, mean_over_features
from stylegan.training import loss as gan_loss
from stylegan.training import processes
from stylegan.training.data.ada import AugmentationStrength, ada_augment
from stylegan.training.data.augment import diff_augment
from stylegan.training.data.batches import real_batch
from stylegan.training.growth import plant, set_fade
from stylegan.training.making import make_networks
from stylegan.training.metrics import mean_pairwise_distance
from stylegan.training.optimisers import adam, average_weight, averaged, freeze
from stylegan.training.seeding import random_state, seeded, set_random_state
from stylegan.training.settings import TrainingSettings
from stylegan.training.shard import Shard, computing, draw, shards_of
from stylegan.training.tick import Tick

ADA_INTERVAL = 4  # steps between adjustments of the adaptive augmentation
FEATURE_AUGMENT = 0.5  # probability of each change of DiffAugment before the second discriminator
PATH_MEAN_WEIGHT = 0.01  # of a new batch in the running mean of path lengths


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
        progressive = settings.progressive
        self._make_networks(progressive.start if progressive else settings.generator.resolution)
        self.feature_discriminator: FeatureDiscriminator | None = None
        if settings.loss_weights.feature_weight:
            with seeded(settings.seed, -2, device):
                self.feature_discriminator = FeatureDiscriminator(load_backbone()).to(device)
            self.optimizer_f = adam(self.feature_discriminator.trained_parameters(), settings.learning_rate, None)
        self.strength = AugmentationStrength()
        self.path_mean = torch.zeros([], device=device)
        self.shards = shards_of(settings.batch, settings.accumulate, getattr(settings.discriminator, "group_size", 1))
        self.parts = self.shards[0].parts
        self._last_pairs = (0.0, 0.0)
        self.step = 0
        self.images_seen = 0  # not step * batch: a resumed run may have another batch than before
        self.seconds = 0.0
        self._totals = torch.zeros(6, device=device, dtype=scalar_dtype(device))

    @property
    def resolution(self) -> int:
        """Of the networks now: a progressive run's grow."""
        return self.generator.resolution

    def _make_networks(self, side: int) -> None:
        """New networks of this resolution, with their average and optimisers."""
        settings = self.settings
        self.generator, self.discriminator = make_networks(settings, side, self.device)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        # Lazy regularisation: Adam's parameters are corrected for the interval (appendix B).
        loss_weights = settings.loss_weights
        interval_g = loss_weights.path_length_interval if loss_weights.path_length_weight else None
        self.optimizer_g = adam(self.generator.parameters(), settings.learning_rate, interval_g)
        self.optimizer_d = adam(self.discriminator.parameters(), settings.learning_rate, loss_weights.r1_interval)
        self._synthesise = torch.compile(self.generator.synthesis) if settings.compile else self.generator.synthesis
        self._judge = torch.compile(self.discriminator) if settings.compile else self.discriminator
        self._moving = [*averaged(self.average)], [*averaged(self.generator)]

    def reach_stage(self, *, plant_weights: bool = True) -> None:
        """Grow the networks of a progressive run to the resolution of its schedule.

        The optimisers start anew, as in the published training.

        Args:
            plant_weights: take over the smaller networks; false if their weights are replaced anyway.
        """
        progressive = self.settings.progressive
        if progressive is None:
            return
        side, _ = progressive.at(self.images_seen, self.settings.generator.resolution)
        while self.resolution < side:
            smaller = {name: getattr(self, name).state_dict() for name in ("generator", "discriminator", "average")}
            self._make_networks(self.resolution * 2)
            for name, tensors in smaller.items():
                if plant_weights:
                    plant(getattr(self, name), tensors, Path(self.settings.name))
        self.set_fade()

    def run_tick(self, images: int, until: float = math.inf) -> Tick:
        """Train on about ``images`` pictures (at least one step) and report.

        ``until`` is a moment of ``time.monotonic()``; the first step that begins after it is the tick's last.
        """
        self._totals.zero_()
        steps = max(1, -(-images // self.settings.batch))  # rounded up, or a last tick would be left for the rest
        started, number, last = time.perf_counter(), 0, False
        while not last:
            number += 1
            last = number == steps or (until < math.inf and processes.agreed(time.monotonic() >= until, self.device))
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
        self._zero_gradients()
        real, fake = self._whole_step() if len(self.shards) == 1 else self._accumulated_step()
        if compare and len(real) > 1:
            self._last_pairs = mean_pairwise_distance(real), mean_pairwise_distance(fake.detach())
        self._update_average()
        self.step += 1
        self.images_seen += settings.batch
        self.reach_stage()

    def _zero_gradients(self) -> None:
        for optimizer in (
            self.optimizer_d,
            self.optimizer_g,
            *([self.optimizer_f] if self.feature_discriminator else []),
        ):
            optimizer.zero_grad(set_to_none=True)

    def _whole_step(self) -> tuple[Tensor, Tensor]:
        """One step of each network; returns its pictures."""
        with seeded(self.settings.seed, self.step, self.device), computing(self.shards[0]):
            real, c = self._real_batch()
            z, fake = self._fake_batch(c)
            self._move_discriminators(self._discriminator_gradients(real, fake.detach(), c))
            self._generator_gradients(fake, z, c)
        self._move_generator()
        return real, fake

    def _accumulated_step(self) -> tuple[Tensor, Tensor]:
        """One step of each network with the gradients of several parts; returns the last part's pictures.

        Generated pictures are drawn once for each network. Path lengths move their running mean part by part.
        """
        signs, states = torch.zeros([], device=self.device), []
        for shard in self.shards:
            with seeded(self.settings.seed, self.step, self.device), self._computing(shard):
                real, c = self._real_batch()
                with torch.no_grad():
                    _, fake = self._fake_batch(c)
                signs = signs + self._discriminator_gradients(real, fake, c) / len(self.shards)
                states.append(random_state(self.device))
        self._move_discriminators(signs)
        for shard, state in zip(self.shards, states, strict=True):
            with seeded(self.settings.seed, self.step, self.device), self._computing(shard):
                real, c = self._real_batch()
                z, fake = self._fake_batch(c)
                set_random_state(state, self.device)  # as if the discriminator's numbers had been drawn again
                self._generator_gradients(fake, z, c)
        self._move_generator()
        return real, fake

    @contextmanager
    def _computing(self, shard: Shard) -> Iterator[None]:
        """Compute one of this process's parts; only the first moves what counts forward passes."""
        if self.feature_discriminator:  # spectral normalisation takes a step of its power iteration at each pass
            self.feature_discriminator.heads.train(shard is self.shards[0])
        with computing(shard):
            yield

    def set_fade(self) -> None:
        """Set the fade weight of a grown network's newest blocks."""
        if self.generator.synthesis.fade is not None:
            networks = [self.generator.synthesis, self.average.synthesis, self.discriminator]
            set_fade(networks, self.settings.fade_weight(self.images_seen))

    def _discriminator_gradients(self, real: Tensor, fake: Tensor, c: Tensor | None) -> Tensor:
        """Add one part's gradients of both discriminators; returns the mean sign of the first at its real pictures."""
        loss_weights, share = self.settings.loss_weights, 1 / len(self.shards)
        self.discriminator.requires_grad_(True)
        if self.settings.freeze_d and isinstance(self.discriminator, Discriminator):
            freeze(self.discriminator, self.settings.freeze_d)
        penalise = loss_weights.r1_gamma > 0 and self.step % loss_weights.r1_interval == 0
        real = real.requires_grad_(penalise)
        real_logits = self._logits(real, c, exact=penalise)
        fake_logits = self._logits(fake, c)
        losses = gan_loss.discriminator_loss(real_logits, fake_logits)
        total = losses.mean()
        if penalise:
            penalty = gan_loss.r1_penalty(real_logits, real).mean()
            gamma = loss_weights.r1_gamma * (self.resolution / self.settings.generator.resolution) ** 2  # as its rule
            total = total + penalty * (gamma / 2 * loss_weights.r1_interval)
            self._totals[2] += penalty.detach() * share
            self._totals[5] += share
        (total * share).backward()
        self._totals[1] += losses.detach().mean() * share
        self._totals[3] += (real_logits.detach() > 0).to(self._totals.dtype).mean() * share
        self._totals[4] += (fake_logits.detach() < 0).to(self._totals.dtype).mean() * share
        if self.feature_discriminator:
            self._feature_gradients(self.feature_discriminator, real.detach(), fake)
        return real_logits.detach().sign().mean()

    def _move_discriminators(self, signs: Tensor) -> None:
        processes.average_gradients(self.discriminator.parameters())
        self.optimizer_d.step()
        if self.settings.ada and (self.step + 1) % ADA_INTERVAL == 0:  # reading the signs synchronises with the device
            self.strength.update(float(processes.average(signs)), ADA_INTERVAL * self.settings.batch)
        if self.feature_discriminator:
            processes.average_gradients(self.feature_discriminator.trained_parameters())
            self.optimizer_f.step()

    def _feature_gradients(self, judge: FeatureDiscriminator, real: Tensor, fake: Tensor) -> None:
        pictures = torch.cat([diff_augment(image.to(real.dtype), FEATURE_AUGMENT) for image in (real, fake)])
        halves = [scores.chunk(2) for scores in judge(pictures)]
        loss = mean_over_features([gan_loss.discriminator_loss(*half) for half in halves])
        (loss / len(self.shards)).backward()

    def _generator_gradients(self, fake: Tensor, z: Tensor, c: Tensor | None) -> None:
        """Add one part's gradients."""
        loss_weights, share = self.settings.loss_weights, 1 / len(self.shards)
        self.discriminator.requires_grad_(False)
        losses = gan_loss.generator_loss(self._logits(fake, c))
        self._totals[0] += losses.detach().mean() * share
        if self.images_seen < self.settings.warmup_kimg * 1000:  # the generator waits for a new discriminator
            return
        total = losses.mean()
        if self.feature_discriminator:
            logits = self.feature_discriminator(diff_augment(fake, FEATURE_AUGMENT))
            by_features = mean_over_features([gan_loss.generator_loss(scores) for scores in logits])
            total = total + loss_weights.feature_weight * by_features
        (total * share).backward()
        if loss_weights.path_length_weight and self.step % loss_weights.path_length_interval == 0:
            penalty = self._path_length_penalty(z, c)
            (penalty * (loss_weights.path_length_weight * loss_weights.path_length_interval * share)).backward()

    def _move_generator(self) -> None:
        processes.average_gradients(self.generator.parameters())
        self.optimizer_g.step()

    def _path_length_penalty(self, z: Tensor, c: Tensor | None) -> Tensor:
        """Squared deviation of path lengths from their running mean, on half the batch to save memory."""
        half = slice(max(1, len(z) // 2))
        ws = self.generator.mapping(z[half], None if c is None else c[half])
        # Differentiated twice, so in full precision and not compiled.
        lengths = gan_loss.path_lengths(self._draw(self.generator.synthesis, ws, torch.float32), ws)
        self.path_mean = self.path_mean.lerp(processes.average(lengths.detach().mean()), PATH_MEAN_WEIGHT)
        return (lengths - self.path_mean).square().mean()

    def _fake_batch(self, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """z and generated pictures of this step, with the networks' number of channels."""
        generator = self.settings.generator
        size = self.shards[0].size
        z = draw(lambda n: torch.randn(n, generator.z_dim, device=self.device), size)
        ws = gan_loss.mixed_ws(self.generator, z, c, self.settings.loss_weights.mixing_probability)
        return z, self._draw(self._synthesise, ws, self.dtype)[:, : generator.img_channels]

    def _draw(self, synthesise: Callable[..., Tensor], ws: Tensor, dtype: torch.dtype) -> Tensor:
        """Pictures of ws with random noise."""
        if self.parts == 1:
            return synthesise(ws, "random", dtype=dtype)
        sides = [level.shape[-1] for level in self.generator.synthesis.noise_buffers]
        noise = [draw(lambda n, r=side: ws.new_empty(n, 1, r, r).normal_(), len(ws)) for side in sides]  # type: ignore[misc]
        return synthesise(ws, noise=noise, dtype=dtype)

    def _logits(self, image: Tensor, c: Tensor | None, exact: bool = False) -> Tensor:
        """The discriminator's logits; ``exact`` bypasses torch.compile, which does not support second derivatives."""
        channels = image.shape[1]
        image = ada_augment(diff_augment(ops.as_rgb(image), self.settings.augment_strength), self.strength.p)
        if channels == 1:  # the augmentations may have coloured it
            image = image.mean(dim=1, keepdim=True)
        judge = self.discriminator if exact else self._judge
        return judge(image, c, dtype=self.dtype)

    def _real_batch(self) -> tuple[Tensor, Tensor | None]:
        settings, size = self.settings, self.shards[0].size
        return real_batch(self.images, self.classes, settings, self.images_seen, self.resolution, size)

    @torch.no_grad()
    def _update_average(self) -> None:
        weight = average_weight(self.settings, self.images_seen)
        torch._foreach_lerp_(*self._moving, weight)

    def _report(self, steps: int, elapsed: float) -> Tick:
        totals = processes.average(self._totals).tolist()
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
            memory_mb=round((peak_memory(self.device) or cpu.peak_memory()) / 2**20),
        )
