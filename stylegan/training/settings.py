"""The settings of a training run, which are saved beside its results."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relatent.core.alignment import Alignment
from relatent.core.errors import CheckpointError, UsageError
from stylegan.bounds import check_alignment, require_number, require_resolution, require_text, require_whole, shown
from stylegan.networks.discriminator import DiscriminatorConfig
from stylegan.networks.generator import GeneratorConfig
from stylegan.networks.mlp import MlpConfig, MlpDiscriminatorConfig
from stylegan.training.loss import GanLossWeights

ARCHITECTURES = {  # what --arch names: the configurations of generator and discriminator
    "stylegan2": (GeneratorConfig, DiscriminatorConfig),
    "stylegan": (GeneratorConfig, DiscriminatorConfig),  # with style_method "adain"
    "mlp": (MlpConfig, MlpDiscriminatorConfig),
}
PRECISIONS = ("float32", "bfloat16", "float16")
MAX_BATCH = 65536  # published trainings have at most 2048


@dataclass(frozen=True)
class Growth:
    """Settings of a run that starts from a smaller network; see stylegan/training/growth.py.

    Attributes:
        fade_kimg: thousands of pictures over which the newest blocks are faded in.
        origin: description of the run it grew from.
    """

    fade_kimg: float
    origin: str = ""

    def __post_init__(self) -> None:
        require_number("fade_kimg", self.fade_kimg, 1e-3)
        require_text("origin", self.origin)

    def weight(self, images_seen: int) -> float:
        """Weight of the newest blocks after ``images_seen`` pictures, 0 to 1."""
        return min(1.0, images_seen / (self.fade_kimg * 1000))


@dataclass(frozen=True)
class Progressive:
    """Progressive growing within one run (Karras et al. 2018, sec. 2): a schedule of resolutions.

    The first stage trains at ``start``. Each later one has twice the resolution; its new blocks fade in, and then it
    is trained as long as the first. The last stage goes on to the end of the run.

    Attributes:
        start: resolution of the first stage.
        stage_kimg: thousands of pictures for which each stage is trained when its blocks have faded in.
        fade_kimg: thousands of pictures over which new blocks are faded in.
    """

    start: int = 8
    stage_kimg: float = 600.0
    fade_kimg: float = 600.0

    def __post_init__(self) -> None:
        require_resolution(self.start)
        require_number("stage_kimg", self.stage_kimg, 1e-3)
        require_number("fade_kimg", self.fade_kimg, 1e-3)

    def at(self, images_seen: int, resolution: int) -> tuple[int, float]:
        """Resolution after ``images_seen`` pictures of a run to ``resolution``, and weight of the newest blocks."""
        side, into = self.start, images_seen / 1000 - self.stage_kimg
        if into < 0 or side >= resolution:
            return side, 1.0
        while True:
            side *= 2
            if into < self.fade_kimg + self.stage_kimg or side >= resolution:
                return side, min(1.0, into / self.fade_kimg)
            into -= self.fade_kimg + self.stage_kimg


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a run, except its length.

    Attributes:
        data: zip file or folder of pictures.
        data_folder: only pictures below this folder of the data; None for all.
        name: the network's name in its file.
        generator: sizes of the generator.
        discriminator: sizes of the discriminator.
        loss_weights: weights of losses and regularisers.
        batch: pictures per step.
        learning_rate: of both networks' Adam (beta1 0, beta2 0.99).
        ema_kimg: half-life of the weights' moving average, in thousands of pictures.
        ema_rampup: the half-life is at most this share of the pictures seen so far; 0 for no ramp.
        flip: mirror half of the real pictures.
        augment_strength: probability of each DiffAugment augmentation; 0 for none.
        ada: also use adaptive discriminator augmentation.
        precision: of the features, "float32", "bfloat16" or "float16".
        compile: use torch.compile for both networks.
        seed: of everything random; a step's randomness depends on the seed and the step alone.
        alignment: the crop of the data's faces; saved with the network.
        licence: saved with the network.
        attribution: saved with the network.
        accumulate: parts in which a batch is computed, one after the other, to save memory.
        warmup_kimg: thousands of pictures at the start of which only the discriminator learns.
        freeze_d: how many of the discriminator's blocks, from the largest resolution down, do not learn.
        progressive: the schedule of a run that grows; else None.
        origin: the network that the run began with, for the records; empty for none.
        growth: for runs that start from a smaller network; else None.
    """

    data: str
    data_folder: str | None
    name: str
    generator: GeneratorConfig | MlpConfig
    discriminator: DiscriminatorConfig | MlpDiscriminatorConfig
    loss_weights: GanLossWeights
    batch: int = 16
    learning_rate: float = 0.0025
    ema_kimg: float = 10.0
    ema_rampup: float = 0.05
    flip: bool = True
    augment_strength: float = 0.3
    ada: bool = False
    precision: str = "float32"
    compile: bool = False
    seed: int = 0
    alignment: Alignment = field(default_factory=Alignment)
    licence: str = ""
    attribution: str = ""
    accumulate: int = 1
    warmup_kimg: float = 0.0
    freeze_d: int = 0
    progressive: Progressive | None = None
    origin: str = ""
    growth: Growth | None = None

    def __post_init__(self) -> None:
        for name in ("data", "name", "licence", "attribution"):
            require_text(name, getattr(self, name))
        if self.data_folder is not None:
            require_text("data_folder", self.data_folder)
        require_whole("batch", self.batch, 1, MAX_BATCH)
        require_whole("accumulate", self.accumulate, 1, self.batch)
        if self.batch % self.accumulate:
            raise UsageError(f"a batch of {self.batch} cannot be computed in {self.accumulate} equal parts.")
        require_number("warmup_kimg", self.warmup_kimg, 0)
        require_whole("freeze_d", self.freeze_d, 0, 10)
        if self.freeze_d and isinstance(self.discriminator, MlpDiscriminatorConfig):
            raise UsageError("a discriminator of fully connected layers has no blocks to freeze. Leave out --freeze-d.")
        require_text("origin", self.origin)
        if self.loss_weights.path_length_weight and isinstance(self.generator, MlpConfig):
            raise UsageError("a network of fully connected layers has no path length. Leave out --path-length.")
        if self.progressive is not None:
            if isinstance(self.generator, MlpConfig):
                raise UsageError("a network of fully connected layers cannot grow; leave out --progressive.")
            if self.progressive.start >= self.generator.resolution or self.growth is not None:
                raise UsageError(
                    f"a progressive run starts at {self.progressive.start} px and would end at "
                    f"{self.generator.resolution} px; expected a larger --resolution, and no --grow-from."
                )
        require_number("learning_rate", self.learning_rate, 1e-12, 1)
        for name in ("ema_kimg", "ema_rampup"):
            require_number(name, getattr(self, name), 0)
        require_number("augment_strength", self.augment_strength, 0, 1)
        for name in ("flip", "ada", "compile"):
            if type(getattr(self, name)) is not bool:
                raise UsageError(f"{name} is {shown(getattr(self, name))}; expected true or false.")
        require_whole("seed", self.seed, -(2**63), 2**63 - 1)
        check_alignment(self.alignment)
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision is {shown(self.precision)}; expected one of {', '.join(PRECISIONS)}.")
        if isinstance(self.generator, MlpConfig) != isinstance(self.discriminator, MlpDiscriminatorConfig):
            raise UsageError("one network is fully connected and the other is not; expected both or neither.")
        for name in ("resolution", "c_dim", "img_channels"):
            made, judged = getattr(self.generator, name), getattr(self.discriminator, name)
            if made != judged:
                raise UsageError(f"{name} is {made} in the generator and {judged} in the discriminator.")

    def fade_weight(self, images_seen: int) -> float:
        """Weight of the newest blocks after ``images_seen`` pictures, 0 to 1."""
        if self.progressive is not None:
            return self.progressive.at(images_seen, self.generator.resolution)[1]
        return self.growth.weight(images_seen) if self.growth else 1.0

    @property
    def arch(self) -> str:
        """What `--arch` calls the networks."""
        if isinstance(self.generator, MlpConfig):
            return "mlp"
        return "stylegan" if self.generator.style_method == "adain" else "stylegan2"

    @property
    def style_based(self) -> GeneratorConfig | None:
        """The generator's sizes if it is style-based; else None."""
        return self.generator if isinstance(self.generator, GeneratorConfig) else None

    @staticmethod
    def discriminator_of(generator: GeneratorConfig) -> DiscriminatorConfig:
        """A discriminator with as many channels as a generator has."""
        return DiscriminatorConfig(
            resolution=generator.resolution,
            c_dim=generator.c_dim,
            channel_base=generator.channel_base,
            channel_max=generator.channel_max,
            img_channels=generator.img_channels,
            conv_clamp=generator.conv_clamp,
        )

    def with_data(self, data: str, data_folder: str | None) -> TrainingSettings:
        """The same run on other data; ``data_folder`` None or "" stands for all of them."""
        return dataclasses.replace(self, data=data, data_folder=data_folder or None)

    def to_json(self) -> str:
        return json.dumps({"arch": self.arch, **dataclasses.asdict(self)}, indent=2)

    @classmethod
    def from_json(cls, text: str, source: Path) -> TrainingSettings:
        """Read what :meth:`to_json` wrote.

        Raises:
            CheckpointError: the text is something else.
        """
        parts: dict[str, Any] = {
            "loss_weights": GanLossWeights,
            "alignment": Alignment,
            "growth": Growth,
            "progressive": Progressive,
        }
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise TypeError(f"expected an object, not {shown(values)}")
            if "rules" in values:  # the name of an earlier version
                values["loss_weights"] = values.pop("rules")
            arch = values.pop("arch", "stylegan2")  # which older files do not name
            parts["generator"], parts["discriminator"] = ARCHITECTURES[arch]
            for name, kind in parts.items():
                if name not in ("growth", "progressive") or values.get(name) is not None:
                    values[name] = kind(**values[name])
            return cls(**values)
        except (ValueError, TypeError, KeyError, RecursionError, UsageError) as error:
            raise CheckpointError(f"{source} does not hold the settings of a training run: {error!s:.300}") from error
