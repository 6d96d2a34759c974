"""Measures a generator against real pictures, and the real pictures against themselves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from relatent.core.errors import DatasetError, UsageError
from relatent.core.images import to_pixels
from relatent.core.numbers import readable
from stylegan.measuring.config import MetricsConfig
from stylegan.measuring.features import BackboneFeatures, Features
from stylegan.measuring.path_length import path_length
from stylegan.measuring.separability import PictureClasses, attribute_logits, separability
from stylegan.networks.backbone import Backbone
from stylegan.networks.generator import Generator
from stylegan.training.metrics import NAMES, frechet_distance, inception_score, kernel_distance, precision_recall
from stylegan.training.validation import CHUNK, draw_samples

FORMAT = "relatent-metrics-1"
MIN_HALF = 20  # pictures in each half of the real ones

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Compared:
    """A measure of generated pictures, and the same of real ones.

    Attributes:
        generated: all generated pictures against all real ones.
        generated_half: as many generated pictures as there are in half of the real ones, against the other half.
        floor: half of the real pictures against the other half: what a perfect generator would reach.
    """

    generated: float
    generated_half: float
    floor: float


@dataclass(frozen=True)
class Measures:
    """Result of :func:`measure`.

    Attributes:
        measures: by network ("backbone", "inception") and measure ("frechet", "kernel", ...).
        latent: path lengths and separability by name; they need no real-against-real value.
        counts: numbers of pictures, by what they are.
        origins: the networks that made the features, by kind.
        classes: what the class score's and the separability's classes are.
    """

    measures: dict[str, dict[str, Compared]]
    latent: dict[str, float]
    counts: dict[str, int]
    origins: dict[str, str]
    classes: str
    config: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=2)

    def table(self) -> str:
        """The measures as text."""
        half = self.counts["half"]
        rows: list[tuple[str, ...]] = [("", "generated", f"generated, n={half}", f"real against real, n={half}")]
        for kind, found in self.measures.items():
            rows += [
                (NAMES[kind][name], *(readable(value, 4) for value in dataclasses.astuple(one)))
                for name, one in found.items()
            ]
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines += [f"{name.ljust(widths[0])}  {readable(value, 4)}" for name, value in self.latent.items()]
        return "\n".join(lines)


def measure(
    generator: Generator,
    images: Tensor,
    labels: Tensor | None,
    networks: list[Features],
    config: MetricsConfig,
    tell: Tell = lambda _: None,
) -> Measures:
    """All measures of a generator.

    Args:
        generator: frozen, on the device of the networks.
        images: real pictures, uint8 [N, 1 or 3, R, R] at the generator's resolution.
        labels: their classes, int64 [N], or None.
        networks: of :func:`stylegan.measuring.features.open_features`; the first is the backbone.
        config: the choices.
        tell: called with what is being measured.

    Raises:
        DatasetError: too few real pictures, or none that differ.
        UsageError: more neighbours than half of the real pictures have.
    """
    if len(images) < 2 * MIN_HALF:
        raise DatasetError(f"{len(images)} real pictures are too few to measure with; expected {2 * MIN_HALF} or more.")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(config.seed))[: 2 * config.samples]
    order = order[: len(order) // 2 * 2]
    half = len(order) // 2
    if config.neighbours >= half:
        raise UsageError(
            f"--neighbours is {config.neighbours}, and precision and recall compare halves of the real pictures, "
            f"{half} here; expected at most {half - 1}. Lower --neighbours, or use more pictures (and --samples)."
        )
    used = images[order]
    # Their features may differ by rounding, of which clusters would be made.
    if labels is None and bool((used == used[0]).all()):
        raise DatasetError(
            f"all {len(used)} real pictures are the same; expected pictures that differ. "
            "Check the data for copies of one picture."
        )
    real_labels = None if labels is None else labels[order]
    tell(f"drawing {config.samples} pictures")
    drawn = as_uint8(draw_samples(generator, config.samples, config.truncation_psi, config.seed))
    found: dict[str, dict[str, Compared]] = {}
    backbone, classes = None, None
    for network in networks:
        tell(f"features by {network.origin}")
        real, real_logits = network.of(used)
        fake, fake_logits = network.of(drawn)
        if isinstance(network, BackboneFeatures):
            backbone, classes = network, PictureClasses(real, real_labels, config.seed)
            real_logits, fake_logits = classes.logits(real), classes.logits(fake)
        assert real_logits is not None
        assert fake_logits is not None
        columns = [
            compare(fake, real, fake_logits, config.neighbours, network.kernel_scale),
            compare(fake[:half], real[:half], fake_logits[:half], config.neighbours, network.kernel_scale),
            compare(real[half:], real[:half], real_logits[half:], config.neighbours, network.kernel_scale),
        ]
        found[network.name] = {name: Compared(*(column[name] for column in columns)) for name in columns[0]}
    assert backbone is not None
    assert classes is not None
    latent = path_lengths(generator, backbone.backbone, config, tell)
    if config.separability_samples:
        tell("separability")
        latent |= separabilities(generator, backbone, classes, config)
    counts = {"generated": config.samples, "real": len(order), "half": half}
    origins = {network.name: network.origin for network in networks}
    return Measures(found, latent, counts, origins, classes.kind, dataclasses.asdict(config))


def compare(a: Tensor, b: Tensor, logits: Tensor, neighbours: int = 3, kernel_scale: float = 1.0) -> dict[str, float]:
    """The measures of one set against another.

    Args:
        a: features of the pictures to judge, [N, D].
        b: features of real pictures, [M, D].
        logits: of the pictures to judge, [N, C].
        neighbours: of precision and recall.
        kernel_scale: of the network, :class:`stylegan.measuring.features.Features`.
    """
    precision, recall = precision_recall(a, b, neighbours)
    return {
        "frechet": frechet_distance(a, b),
        "kernel": 1000 * kernel_distance(kernel_scale * a, kernel_scale * b),
        "score": inception_score(logits),
        "precision": precision,
        "recall": recall,
    }


def path_lengths(
    generator: Generator, backbone: Backbone, config: MetricsConfig, tell: Tell = lambda _: None
) -> dict[str, float]:
    """Perceptual path lengths by name, in z and w, over whole paths and at their ends."""
    found = {}
    for space in ("z", "w") if config.paths else ():
        for full in (True, False):
            tell(f"path lengths in {space}")
            where = "full" if full else "end"
            found[f"path length, {space}, {where} (backbone)"] = path_length(
                generator, backbone, space=space, full=full, pairs=config.paths, seed=config.seed
            )
    return found


@torch.no_grad()
def separabilities(
    generator: Generator, backbone: BackboneFeatures, classes: PictureClasses, config: MetricsConfig
) -> dict[str, float]:
    """Separability in z and in w by name, of pictures drawn at psi 1."""
    count = config.separability_samples
    rng = torch.Generator().manual_seed(config.seed + 1)
    z = torch.randn(count, generator.z_dim, generator=rng)
    c = None
    if generator.c_dim and generator.chosen_class is None:
        chosen = torch.randint(generator.c_dim, (count,), generator=rng)
        c = nn.functional.one_hot(chosen, generator.c_dim).float().to(generator.w_avg.device)
    w = generator.mapping.map(z.to(generator.w_avg.device), c)
    logits = []
    for part in w.split(CHUNK):
        images = generator.synthesis(part[:, None].expand(-1, generator.num_ws, -1)).clamp(-1, 1)
        logits.append(classes.logits(backbone.of(as_uint8(images))[0]))
    attributes = attribute_logits(torch.cat(logits))
    return {
        "separability, z (backbone)": separability(z, attributes),
        "separability, w (backbone)": separability(w.cpu(), attributes),
    }


def as_uint8(images: Tensor) -> Tensor:
    """Drawn pictures [N, 3, R, R] in [-1, 1] as an image file would hold them, uint8 on the CPU."""
    return torch.from_numpy(to_pixels(images)).permute(0, 3, 1, 2)
