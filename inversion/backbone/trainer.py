"""One step of a backbone's training: student and teacher look at the same crops, and the student follows.

The student's seven layers are pulled towards the teacher's. A step is a pure function of the state and the step's
number, so a resumed run goes on exactly as the unbroken one would have.
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
from stylegan.networks.backbone import LAYERS, Backbone, load_backbone
from stylegan.training.trainer import seeded

PRECISIONS = ("float32", "bfloat16")
SIZES = (64, 64, 64, 64, 64, 80, 96, 128)  # of a step's crops; 64 px is what the embedded generator draws
LOSS_POSITIONS = 12  # a side, about; larger features are sampled
FORCED_SHARE = 0.5  # of the run, see _student_features
WARMUP_STEPS = 50
EMA_SHARE = 0.04  # half-life of the weights' average, as a share of the steps so far


@dataclass(frozen=True)
class BackboneSettings:
    """What a run does, apart from how long.

    Attributes:
        data: zip file or folder of pictures.
        data_folder: only pictures below this folder of the data; None for all.
        teacher: safetensors file of SqueezeNet 1.1's features.
        batch: pictures a step at 64 px; fewer when they are larger, so that every step costs the same.
        learning_rate: highest, of the filters.
        raw_weight: weight of the relative error of the features as they are, beside that of their directions.
        precision: of the features, "float32" or "bfloat16"; weights and losses are float32.
        seed: of everything random.
        name: the backbone's, in its file and in every report.
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
    name: str = "faces-trunk"
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
    """What happened since the last tick; one line of the log.

    Attributes:
        kimg: pictures seen so far, in thousands.
        seconds: of training, over all sessions.
        seconds_per_kimg: speed of this tick.
        learning_rate: at its end.
        loss: mean over the layers of the squared difference of unit feature vectors, 0 to 2.
        features: the same for each layer.
        raw: mean over the layers of the relative squared error of the features as they are.
    """

    kimg: float
    seconds: float
    seconds_per_kimg: float
    learning_rate: float
    loss: float
    layers: list[float]
    raw: float


class BackboneTrainer:
    """Student, its average, teacher and optimiser, stepping through the pictures.

    Args:
        settings: the run's choices.
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
        """Share of the run that lies behind, 0 to 1."""
        return min(1.0, self.images_seen / max(self.total_images, 1))

    @property
    def learning_rate(self) -> float:
        """Warm-up, then half a cosine down to zero at the end."""
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
        """One step; returns the losses of the layers, [2, 7]: of directions, and raw."""
        with seeded(self.settings.seed, self.step, self.device):
            image = self._batch().contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                wanted = self.teacher(image)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
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
        """The student's features, where the layers of some pictures go on from the teacher's last layer, not their own.

        So every layer learns from correct inputs from the first step on. The share of such pictures falls from all
        to none during the first part of the run; in the rest the layers learn to work together.
        """
        forced = 1 - self.progress / FORCED_SHARE
        own = torch.rand(len(image), 1, 1, 1, device=self.device) >= forced
        features = [self.student.segment(0, image)]
        for index in range(1, len(LAYERS)):
            given = features[-1]
            if forced > 0:
                given = torch.where(own, given, wanted[index - 1].to(given.dtype))
            features.append(self.student.segment(index, given))
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


def feature_losses(ours: Tensor, theirs: Tensor) -> Tensor:
    """Squared difference of unit vectors, and of the vectors relative to the teacher's mean square; [2].

    Both need three inner products a position: |a - b|^2 = |a|^2 + |b|^2 - 2 ab, which for unit vectors is 2 - 2 ab.
    Both features are [N, C, h, w]; neighbours in large features say the same, so about LOSS_POSITIONS a side are taken.
    """
    stride = max(1, ours.shape[2] // LOSS_POSITIONS)
    top, left = (int(x) for x in torch.randint(stride, (2,)))
    ours, theirs = (x[:, :, top::stride, left::stride].permute(0, 2, 3, 1).float() for x in (ours, theirs))
    ours_squared, theirs_squared = ours.square().sum(dim=3), theirs.square().sum(dim=3)
    product = (ours * theirs).sum(dim=3)
    power = theirs_squared.mean().clamp(min=1e-12)
    # A student's vector may be all but zero where the teacher's is not; the floor keeps its gradient bounded.
    lengths = (ours_squared.clamp(min=1e-4 * float(power)) * theirs_squared.clamp(min=1e-12)).sqrt()
    raw = (ours_squared + theirs_squared - 2 * product).mean() / power
    return torch.stack([2 - 2 * (product / lengths).mean(), raw])


def _initialise(student: Backbone) -> None:
    """He's initialisation, which keeps the features' size through layers of rectifiers."""
    for module in student.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)


def _channels_last(backbone: Backbone) -> Backbone:
    return backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
