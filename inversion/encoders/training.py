"""Teaching an encoder a generator: one step is a pure function of the state and the step's number.

Half of each batch are pictures the generator drew, whose latents are known exactly; the other half are photos. All are
looked at once or several times, as in use. The last look is judged by the picture it leads to (perceptual distance and
pixels), drawn pictures also by their latents; and the layers' offsets from one w are kept small, so that edits work on
what the encoder finds (Tov et al. 2021, sec. 3.2). Plain PyTorch: it runs where lpips, torchvision and dlib are absent.
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
from inversion.encoders.restyle import EncoderConfig, Looker, RefiningEncoder
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
from stylegan.training.augment import random_flip
from stylegan.training.trainer import seeded

PRECISIONS = ("float32", "bfloat16")
MAX_SIDE = 256  # pixels it looks at, however large the generator's pictures are
EMA_IMAGES = 5000  # half-life of the average, at most a twentieth of the pictures seen


@dataclass(frozen=True)
class EncoderSettings:
    """What a run does, apart from how long.

    Attributes:
        network: name or file of the generator.
        data: zip file or folder of photos, aligned as the generator's own.
        data_folder: only pictures below this folder of the data; None for all.
        start: an encoder of the same sizes whose weights to begin with; empty for a fresh one.
        batch: pictures a step, half of them drawn.
        rounds: most looks at a picture.
        learning_rate: of Adam, at its highest; it falls to zero along a cosine.
        latents: weight of the latents' squared error, in variances of w.
        pixels: weight of the pixels' squared error.
        delta: weight of the offsets from one w, in variances of w.
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
    rounds: int = 3
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
        for name in ("batch", "rounds"):
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
            return cls(**json.loads(text))
        except (ValueError, TypeError, UsageError) as error:
            raise CheckpointError(f"{source} does not hold the settings of an encoder's training: {error}") from error


@dataclass(frozen=True)
class EncoderTick:
    """What happened since the last tick; one line of the log. Losses are means over first and later looks.

    Attributes:
        kimg: pictures seen so far, in thousands.
        seconds: of training, over all sessions.
        seconds_per_kimg: speed of this tick.
        learning_rate: at its end.
        lpips: perceptual distance of photos, under the embedded backbone.
        lpips_drawn: the same of drawn pictures.
        pixels: mean squared error of the pixels of photos.
        latents: squared error of the latents of drawn pictures, in variances of w.
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
    """An encoder, its average and its optimiser, stepping through photos and drawings.

    Args:
        settings: the run's choices.
        network: the frozen generator, in evaluation mode.
        images: every photo, uint8 [count, 3, R, R] at the generator's size.
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
        taught = [parameter for parameter in self.encoder.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(taught, betas=(0.9, 0.99), fused=True)
        self.spread = self.network.w_std()
        self.step = 0
        self.seconds = 0.0

    @property
    def images_seen(self) -> int:
        return self.step * self.settings.batch

    @property
    def learning_rate(self) -> float:
        """A hundred steps up, then half a cosine down to zero at the end."""
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
        """One step; returns what a tick reports, [5].

        It teaches one look, the first or a later one; those before it are only taken, which costs a quarter as much.
        """
        settings = self.settings
        with seeded(settings.seed, self.step, self.device):
            image, wanted = self._batch()
            earlier = int(torch.randint(settings.rounds, ()))
        seen = resized(image, self.encoder.resolution)
        with torch.no_grad():
            features = self.backbone.normalised(image)
            ws, drawn = self._looked(seen, earlier)
        ws = ws + self.encoder.change(seen, drawn, self.dtype)
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

    def _looked(self, seen: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """ws and drawing after ``count`` looks."""
        ws = self.encoder.offset.expand(len(seen), -1, -1)
        drawn = self.encoder.average_image.expand_as(seen)
        for _ in range(count):
            ws = ws + self.encoder.change(seen, drawn, self.dtype)
            drawn = resized(self.network.synthesis(ws, dtype=self.dtype), self.encoder.resolution)
        return ws, drawn

    @torch.no_grad()
    def _batch(self) -> tuple[Tensor, Tensor]:
        """Pictures [batch, 3, R, R], drawn ones first, and the drawn ones' ws [batch / 2, L, w_dim]."""
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
    """An encoder of a generator; a fresh one has learnt nothing and gives every photo the average w.

    Raises:
        CheckpointError: the encoder to begin with has other sizes.
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
    assert isinstance(encoder.model, Looker)
    encoder.model.backbone.load_state_dict(load_backbone().state_dict())
    if settings.start:
        other = load_encoder(settings.start)
        if not isinstance(other, RefiningEncoder) or other.config != config:
            raise CheckpointError(f"{settings.start} is an encoder of other sizes; expected one of {config}.")
        encoder.model.load_state_dict(other.model.state_dict())
    return encoder
