"""The training of the perceptual backbone: distillation of the features of a SqueezeNet.

The seven layers of the student are trained to match those of the teacher on the same crops. A step depends only on the
state and the step's number, so a resumed run gives exactly the same result as an uninterrupted one.
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
from torch import Tensor, nn

from inversion.backbone.muon import Optimizer
from inversion.backbone.pictures import degrade, random_crops
from relatent.core.device import synchronize
from relatent.core.errors import CheckpointError, UsageError
from relatent.core.images import from_uint8
from relatent.core.precision import autocast
from stylegan.networks.backbone import LAYERS, Backbone, load_backbone
from stylegan.training.seeding import seeded

PRECISIONS = ("float32", "bfloat16")
SIZES = (64, 64, 64, 64, 64, 80, 96, 128)  # of a step's crops, in pixels; the embedded generator draws 64 px
LOSS_POSITIONS = 12  # positions per side, about; larger features are subsampled
FORCED_SHARE = 0.5  # of the run; see _student_features
WARMUP_STEPS = 50  # by trial
EMA_SHARE = 0.04  # half-life of the weights' average, as a share of the steps so far


@dataclass(frozen=True)
class BackboneSettings:
    """Settings of a run, except its length.

    Attributes:
        data: zip file or folder of pictures.
        data_folder: only pictures below this folder of the data; None for all.
        teacher: safetensors file of SqueezeNet 1.1's features.
        batch: pictures per step at 64 px; fewer if they are larger, so that every step costs the same.
        learning_rate: of the filters, the highest of the schedule.
        raw_weight: weight of the relative error of raw features, beside that of normalised features.
        precision: of the features, "float32" or "bfloat16"; weights and losses are float32.
        seed: of everything random.
        name: of the backbone, in its file and in every report.
        licence: kept in the backbone's file.
        attribution: kept in the backbone's file.
    """

    data: str
    data_folder: str | None
    teacher: str
    batch: int = 16
    learning_rate: float = 0.015
    raw_weight: float = 0.5
    precision: str = "float32"
    seed: int = 0
    name: str = "faces-backbone"
    licence: str = ""
    attribution: str = ""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}.")
        if self.batch < 1:
            raise UsageError(f"the batch is {self.batch}; expected at least 1.")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str, source: Path) -> BackboneSettings:
        """Read what :meth:`to_json` wrote.

        Raises:
            CheckpointError: the text is something else.
        """
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"{source} does not hold the settings of a backbone's training: {error}") from error


@dataclass(frozen=True)
class BackboneTick:
    """Statistics since the previous tick; one line of the log.

    Attributes:
        kimg: thousands of pictures so far.
        seconds: of training, over all sessions.
        seconds_per_kimg: of this tick.
        learning_rate: at its end.
        loss: mean over the layers of the squared difference of normalised features, 0 to 2.
        layers: the same for each layer.
        raw: mean over the layers of the relative squared error of raw features.
    """

    kimg: float
    seconds: float
    seconds_per_kimg: float
    learning_rate: float
    loss: float
    layers: list[float]
    raw: float


class BackboneTrainer:
    """Student, its weights' moving average, teacher and optimiser.

    Args:
        settings: of the run.
        images: every training picture, uint8 [count, 3, R, R].
        kimg: thousands of pictures after which the run ends and the learning rate is zero.
        device: where to compute.
    """

    def __init__(self, settings: BackboneSettings, images: Tensor, kimg: float, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self.images = images.to(device)
        self.total_images = kimg * 1000
        self.half = settings.precision == "bfloat16"
        teacher = load_backbone(Path(settings.teacher)).to(device)
        self.teacher = _channels_last(teacher.to(torch.bfloat16) if self.half else teacher)
        with seeded(settings.seed, -1, device):
            student = Backbone(settings.name)
            _initialise(student)
        self.student = _channels_last(student.to(device))
        self.average = copy.deepcopy(self.student).eval().requires_grad_(False)
        self.optimizer = Optimizer(self.student)
        self.step = 0
        self.images_seen = 0
        self.seconds = 0.0

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0 to 1."""
        return min(1.0, self.images_seen / max(self.total_images, 1))

    @property
    def learning_rate(self) -> float:
        """Linear warm-up, then cosine decay to zero."""
        warm = min(1.0, (self.step + 1) / WARMUP_STEPS)
        return self.settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * self.progress))

    def run_tick(self, images: int, until: float = math.inf) -> BackboneTick:
        """Train on at least ``images`` pictures, or until ``time.monotonic()`` is ``until``, and report."""
        totals = torch.zeros(2, len(LAYERS), device=self.device)
        first_step, first_image = self.step, self.images_seen
        started = time.perf_counter()
        while self.step == first_step or (self.images_seen < first_image + images and time.monotonic() < until):
            totals += self.train_step()
        synchronize(self.device)
        elapsed = time.perf_counter() - started
        self.seconds += elapsed
        features, raw = (totals / (self.step - first_step)).tolist()
        return BackboneTick(
            kimg=round(self.images_seen / 1000, 3),
            seconds=round(self.seconds, 1),
            seconds_per_kimg=round(elapsed / (self.images_seen - first_image) * 1000, 3),
            learning_rate=round(self.learning_rate, 8),
            loss=round(sum(features) / len(features), 5),
            layers=[round(feature, 4) for feature in features],
            raw=round(sum(raw) / len(raw), 5),
        )

    def train_step(self) -> Tensor:
        """One step; returns the layers' losses of normalised and of raw features, [2, 7]."""
        with seeded(self.settings.seed, self.step, self.device):
            image = self._batch().contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                wanted = self.teacher(image)
            with autocast(self.device, torch.bfloat16 if self.half else torch.float32):
                features = self._student_features(image, wanted)
            losses = torch.stack([feature_losses(a, b) for a, b in zip(features, wanted, strict=True)], dim=1)
        self.student.zero_grad(set_to_none=True)
        (losses[0].mean() + self.settings.raw_weight * losses[1].mean()).backward()
        self.optimizer.step(self.learning_rate)
        self._update_average()
        self.step += 1
        self.images_seen += len(image)
        return losses.detach()

    def _student_features(self, image: Tensor, wanted: list[Tensor]) -> list[Tensor]:
        """The student's features, with teacher forcing: for some pictures, each layer reads the teacher's features.

        Thus every layer gets correct inputs from the first step on. The share of such pictures falls from 1 to 0 in
        the first part of the run (FORCED_SHARE); in the rest the layers are trained together.
        """
        forced = 1 - self.progress / FORCED_SHARE
        free = torch.rand(len(image), 1, 1, 1, device=self.device) >= forced
        features = [self.student.segment(0, image)]
        for index in range(1, len(LAYERS)):
            x = features[-1]
            if forced > 0:
                x = torch.where(free, x, wanted[index - 1].to(x.dtype))
            features.append(self.student.segment(index, x))
        return features

    def _batch(self) -> Tensor:
        """The crops of this step, [n, 3, S, S]."""
        size = SIZES[int(torch.randint(len(SIZES), ()))]
        count = max(1, round(self.settings.batch * (64 / size) ** 2))
        chosen = torch.randint(len(self.images), (count,), device=self.device)
        return degrade(random_crops(from_uint8(self.images[chosen]), size))

    @torch.no_grad()
    def _update_average(self) -> None:
        weight = 1 - 0.5 ** (1 / max(self.step * EMA_SHARE, 1e-8))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.student.parameters()), weight)


def feature_losses(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared difference of normalised features, and of raw features relative to the teacher's mean square; [2].

    Both need three inner products per position: |a - b|^2 = |a|^2 + |b|^2 - 2 ab, which is 2 - 2 ab for unit vectors.
    Both features are [N, C, h, w]. Neighbours in large features are redundant, so they are subsampled to about
    LOSS_POSITIONS per side.
    """
    stride = max(1, student.shape[2] // LOSS_POSITIONS)
    top, left = (int(x) for x in torch.randint(stride, (2,)))
    student, teacher = (x[:, :, top::stride, left::stride].permute(0, 2, 3, 1).float() for x in (student, teacher))
    student_squared, teacher_squared = student.square().sum(dim=3), teacher.square().sum(dim=3)
    product = (student * teacher).sum(dim=3)
    power = teacher_squared.mean().clamp(min=1e-12)
    # A student's vector may be almost zero where the teacher's is not; the lower bound keeps the gradient bounded.
    lengths = (student_squared.clamp(min=1e-4 * power) * teacher_squared.clamp(min=1e-12)).sqrt()
    raw = (student_squared + teacher_squared - 2 * product).mean() / power
    return torch.stack([2 - 2 * (product / lengths).mean(), raw])


def _initialise(student: Backbone) -> None:
    """He initialisation, which preserves the variance of features through ReLU layers."""
    for module in student.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)


def _channels_last(backbone: Backbone) -> Backbone:
    return backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
