"""The training of a residual encoder for a generator.

Half of each batch are generated pictures, whose latents are known, and half are photos. The encoder is applied once or
several times. The result of the last iteration is compared with the target (perceptual distance and pixels), and for
generated pictures also with their latents. Delta regularisation keeps the layers' offsets from one w small, so that
the latents stay editable (Tov et al. 2021, sec. 3.2). A step depends only on the state and the step's number. Needs no
lpips, torchvision or dlib.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from inversion.encoders.encoder import resized
from inversion.encoders.loading import load_encoder
from inversion.encoders.restyle import EncoderConfig, RefiningEncoder, ResidualNetwork
from inversion.latent_samples import random_latents
from inversion.losses.loss import delta_regularisation
from relatent.core import cpu
from relatent.core.device import synchronize
from relatent.core.errors import CheckpointError, UsageError
from relatent.core.images import from_uint8
from stylegan.bounds import require_number, require_text, require_whole
from stylegan.formats.checkpoint import network_id
from stylegan.networks.backbone import load_backbone
from stylegan.networks.generator import Generator
from stylegan.training.data.augment import random_flip
from stylegan.training.seeding import seeded

PRECISIONS = ("float32", "bfloat16")
MAX_SIDE = 256  # pixels; larger pictures are reduced before the encoder reads them
EMA_IMAGES = 5000  # half-life of the moving average in pictures, but at most a twentieth of those seen so far


@dataclass(frozen=True)
class EncoderSettings:
    """Settings of a run, except its length.

    Attributes:
        network: name or file of the generator.
        data: zip file or folder of photos, aligned for the generator.
        data_folder: only pictures below this folder of the data; None for all.
        start: encoder to initialise the weights from, of the same w_dim and hidden; empty for random ones. Layers of w
            that it doesn't predict start with the offset of its last one.
        batch: pictures per step, half of them generated.
        iterations: of the encoder, at most.
        learning_rate: of Adam, the highest of the schedule.
        latents: weight of the squared error of latents, in variances of w.
        pixels: weight of the squared error of pixels.
        delta: weight of the squared offsets from one w, in variances of w.
        hidden: units of the encoder's last layers.
        precision: of the features.
        seed: of everything random.
        licence: saved with the encoder.
        attribution: saved with the encoder.
    """

    network: str
    data: str
    data_folder: str | None = None
    start: str = ""
    batch: int = 16
    iterations: int = 3
    learning_rate: float = 0.002
    latents: float = 0.5
    pixels: float = 2.0
    delta: float = 0.2
    hidden: int = 512
    precision: str = "float32"
    seed: int = 0
    licence: str = ""
    attribution: str = ""

    def __post_init__(self) -> None:
        for name in ("network", "data", "start", "licence", "attribution"):
            require_text(name, getattr(self, name))
        for name in ("batch", "iterations"):
            require_whole(name, getattr(self, name), 1 + (name == "batch"), 65536)
        for name in ("learning_rate", "latents", "pixels", "delta"):
            require_number(name, getattr(self, name), 0)
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}.")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str, source: Path) -> EncoderSettings:
        """Read what :meth:`to_json` wrote.

        Raises:
            CheckpointError: the text is something else.
        """
        try:
            values = json.loads(text)
            if "rounds" in values:  # the name of an earlier version
                values["iterations"] = values.pop("rounds")
            return cls(**values)
        except (ValueError, TypeError, AttributeError, UsageError) as error:
            raise CheckpointError(f"{source} does not hold the settings of an encoder's training: {error}") from error


@dataclass(frozen=True)
class EncoderTick:
    """Statistics since the previous tick; one line of the log. Losses are means over first and later iterations.

    Attributes:
        kimg: thousands of pictures so far.
        seconds: of training, over all sessions.
        seconds_per_kimg: of this tick.
        learning_rate: at its end.
        lpips: perceptual distance of photos, with the embedded backbone.
        lpips_drawn: the same of generated pictures.
        pixels: mean squared error of the pixels of photos.
        latents: squared error of the latents of generated pictures, in variances of w.
        delta: squared offsets from one w, in variances of w.
    """

    kimg: float
    seconds: float
    seconds_per_kimg: float
    learning_rate: float
    lpips: float
    lpips_drawn: float
    pixels: float
    latents: float
    delta: float


class EncoderTrainer:
    """An encoder, its weights' moving average, and its optimiser.

    Args:
        settings: of the run.
        network: the frozen generator, in evaluation mode.
        images: all photos, uint8 [count, 3, R, R] at the generator's size.
        kimg: thousands of pictures after which the run ends and the learning rate is zero.
        device: where to compute.
    """

    def __init__(
        self, settings: EncoderSettings, network: Generator, images: Tensor, kimg: float, device: torch.device
    ) -> None:
        self.settings, self.device, self.total_images = settings, device, kimg * 1000
        cpu.prepare(device)
        self.network = network.to(device)
        self.images = images.to(device)
        self.dtype = getattr(torch, settings.precision)
        self.backbone = load_backbone().to(device)
        if self.dtype != torch.float32:
            self.backbone = self.backbone.to(self.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with seeded(settings.seed, -1, device):
            self.encoder = new_encoder(settings, self.network).to(device)
        self.average = copy.deepcopy(self.encoder).eval().requires_grad_(False)
        trainable = [parameter for parameter in self.encoder.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(trainable, betas=(0.9, 0.99), fused=True)
        self.spread = self.network.w_std()
        self.step = 0
        self.seconds = 0.0

    @property
    def images_seen(self) -> int:
        return self.step * self.settings.batch

    @property
    def learning_rate(self) -> float:
        """Linear warm-up over 100 steps, then cosine decay to zero."""
        progress = min(1.0, self.images_seen / max(self.total_images, 1))
        warm = min(1.0, (self.step + 1) / 100)
        return self.settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * progress))

    def run_tick(self, images: int, until: float = math.inf) -> EncoderTick:
        """Train on about ``images`` pictures, or until ``time.monotonic()`` is ``until``, and report."""
        totals, first_step = torch.zeros(5, device=self.device), self.step
        wanted = max(1, -(-images // self.settings.batch))
        started = time.perf_counter()
        while self.step == first_step or (self.step < first_step + wanted and time.monotonic() < until):
            totals += self.train_step()
        steps = self.step - first_step
        synchronize(self.device)
        elapsed = time.perf_counter() - started
        self.seconds += elapsed
        lpips, lpips_drawn, pixels, latents, delta = (totals / steps).tolist()
        return EncoderTick(
            kimg=round(self.images_seen / 1000, 3),
            seconds=round(self.seconds, 1),
            seconds_per_kimg=round(elapsed / (steps * self.settings.batch) * 1000, 3),
            learning_rate=round(self.learning_rate, 8),
            lpips=round(lpips, 4),
            lpips_drawn=round(lpips_drawn, 4),
            pixels=round(pixels, 5),
            latents=round(latents, 4),
            delta=round(delta, 4),
        )

    def train_step(self) -> Tensor:
        """One step; returns the losses of a tick, [5].

        Only one iteration of the encoder is trained, the first or a later one. Those before it are evaluated without
        gradients, which costs a quarter as much.
        """
        settings = self.settings
        with seeded(settings.seed, self.step, self.device):
            image, wanted = self._batch()
            earlier = int(torch.randint(settings.iterations, ()))
        reduced = resized(image, self.encoder.resolution)
        with torch.no_grad():
            features = self.backbone.normalised(image)
            ws, drawn = self._iterate(reduced, earlier)
        ws = ws + self.encoder.residual(reduced, drawn, self.dtype)
        picture = self.network.synthesis(ws, dtype=self.dtype)
        lpips = self.backbone.distance_to(features, picture)
        pixels = (picture - image).square().mean(dim=(1, 2, 3))
        latents = (ws[: len(wanted)] - wanted).square().sum(dim=2).mean() / self.spread**2
        delta = delta_regularisation(ws).mean() * self.encoder.w_dim / self.spread**2
        image_loss = (lpips + settings.pixels * pixels).mean()
        self.optimizer.zero_grad(set_to_none=True)
        (image_loss + settings.latents * latents + settings.delta * delta).backward()
        self.optimizer.param_groups[0]["lr"] = self.learning_rate
        self.optimizer.step()
        self._update_average()
        self.step += 1
        real = slice(len(wanted), None)
        values = (lpips[real].mean(), lpips[: len(wanted)].mean(), pixels[real].mean(), latents, delta)
        return torch.stack([value.detach() for value in values])

    def _iterate(self, image: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """ws and reconstruction after ``count`` iterations."""
        ws = self.encoder.offset.expand(len(image), -1, -1)
        drawn = self.encoder.average_image.expand_as(image)
        for _ in range(count):
            ws = ws + self.encoder.residual(image, drawn, self.dtype)
            drawn = resized(self.network.synthesis(ws, dtype=self.dtype), self.encoder.resolution)
        return ws, drawn

    @torch.no_grad()
    def _batch(self) -> tuple[Tensor, Tensor]:
        """Pictures [batch, 3, R, R], generated ones first, and the ws of those, [batch / 2, L, w_dim]."""
        count = self.settings.batch // 2
        ws = random_latents(self.network, count, self.spread)
        drawn = self.network.synthesis(ws, "random", dtype=self.dtype).clamp(-1, 1)
        chosen = torch.randint(len(self.images), (self.settings.batch - count,), device=self.device)
        return torch.cat([drawn, random_flip(from_uint8(self.images[chosen]))]), ws

    @torch.no_grad()
    def _update_average(self) -> None:
        images = min(EMA_IMAGES, max(self.images_seen, 1) / 20)
        weight = 1 - 0.5 ** (self.settings.batch / images)
        torch._foreach_lerp_(list(self.average.parameters()), list(self.encoder.parameters()), weight)


@torch.no_grad()
def new_encoder(settings: EncoderSettings, network: Generator) -> RefiningEncoder:
    """A new encoder for a generator; without ``settings.start`` it maps every photo to the average w.

    Raises:
        CheckpointError: ``settings.start`` has another w_dim or number of hidden units, or is of another kind.
    """
    config = EncoderConfig(
        resolution=min(network.resolution, MAX_SIDE),
        num_ws=network.num_ws,
        w_dim=network.w_dim,
        hidden=settings.hidden,
    )
    average = network.synthesis(network.w_avg.expand(1, network.num_ws, -1))
    picture = resized(average, config.resolution)[0]
    encoder = RefiningEncoder(config, network.w_avg, picture, alignment=network.alignment, network=network_id(network))
    assert isinstance(encoder.model, ResidualNetwork)
    encoder.model.backbone.load_state_dict(load_backbone().state_dict())
    if settings.start:
        encoder.model.load_state_dict(_start_weights(settings.start, config))
    return encoder


def _start_weights(start: str, config: EncoderConfig) -> dict[str, Tensor]:
    """The weights of the encoder ``start`` for one of ``config``, which may have another resolution and num_ws."""
    other = load_encoder(start)
    if not isinstance(other, RefiningEncoder):
        raise CheckpointError(f"{start} is an encoder of another architecture; expected one that train-encoder wrote.")
    if (other.config.w_dim, other.config.hidden) != (config.w_dim, config.hidden):
        raise CheckpointError(
            f"{start} has w_dim {other.config.w_dim} and {other.config.hidden} hidden units; expected "
            f"{config.w_dim} and {config.hidden}, as the encoder to be trained has them."
        )
    weights = other.model.state_dict()
    # Layers finer than the other encoder's start as its finest one.
    layers = torch.arange(config.num_ws).clamp(max=other.config.num_ws - 1)
    for name in ("offsets.weight", "offsets.bias"):
        weights[name] = weights[name].unflatten(0, (other.config.num_ws, config.w_dim))[layers].flatten(0, 1)
    return weights
