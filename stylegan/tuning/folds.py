"""Cross-validation of a recipe: short trainings on all folds but one, scored on the one held out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from relatent.core.errors import DatasetError, RelatentError
from stylegan.measuring.features import Features
from stylegan.measuring.measure import as_uint8
from stylegan.training.metrics import kernel_distance
from stylegan.training.settings import TrainingSettings
from stylegan.training.trainer import Trainer
from stylegan.training.validation import draw_samples

SEED = 2024  # of the latents of all scores
LOGITS_OF_LOSS = 1e4  # a loss beyond this is of a run that has diverged


@dataclass(frozen=True)
class Pictures:
    """Training pictures with the features that scores need, computed once.

    Attributes:
        images: uint8 [N, C, R, R].
        classes: int64 [N], or None.
        features: [N, D].
    """

    images: Tensor
    classes: Tensor | None
    features: Tensor


def split(count: int, folds: int, seed: int) -> list[Tensor]:
    """Indices of the pictures in each fold: disjoint, of sizes that differ by one at most, all together ``count``.

    Raises:
        DatasetError: too few pictures for two in each fold.
    """
    if count < 2 * folds:
        raise DatasetError(f"{count} pictures are too few for {folds} folds of two or more. Use fewer folds.")
    return list(torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tensor_split(folds))


def cross_validate(
    settings: TrainingSettings,
    pictures: Pictures,
    folds: list[Tensor],
    network: Features,
    *,
    kimg: float,
    checks: int,
    samples: int,
    device: torch.device,
    report: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train once for each fold and score each run; returns the last score of each fold, 1000 x KID.

    Args:
        settings: the recipe.
        pictures: the data.
        folds: of :func:`split`.
        network: makes the features of generated pictures.
        kimg: length of each run.
        checks: scores in each run, at equal distances.
        samples: pictures drawn for each score.
        device: where to train.
        report: called with the number of the check and the mean of the finished folds' last scores and this one. It may
            raise to end the trial.

    Raises:
        RelatentError: a run diverged.
        DatasetError: a fold leaves fewer pictures than a batch.
    """
    scores: list[float] = []
    for number, held_out in enumerate(folds):
        kept = torch.cat([fold for other, fold in enumerate(folds) if other != number]).sort().values
        if len(kept) < settings.batch:
            raise DatasetError(
                f"{len(kept)} pictures remain without the fold held out, fewer than the batch of {settings.batch}. "
                "Use more pictures or fewer, larger folds."
            )
        classes = None if pictures.classes is None else pictures.classes[kept]
        trainer = Trainer(settings, pictures.images[kept], classes, device)
        score = math.inf
        for check in range(1, checks + 1):
            target = kimg * 1000 * check / checks
            tick = trainer.run_tick(max(1, round(target - trainer.images_seen)))
            if not all(map(math.isfinite, (tick.loss_g, tick.loss_d))) or tick.loss_d > LOGITS_OF_LOSS:
                raise RelatentError(f"training diverged before {tick.kimg:g} kimg.")
            score = held_out_score(trainer, pictures.features[held_out], network, samples)
            if report:
                report(number * checks + check, statistics.fmean([*scores, score]))
        scores.append(score)
    return scores


def held_out_score(trainer: Trainer, real: Tensor, network: Features, samples: int) -> float:
    """1000 x the kernel distance of the averaged generator's pictures to held-out features [N, D]."""
    trainer.average.recompute_w_avg(samples=1000)
    drawn = as_uint8(draw_samples(trainer.average, samples, seed=SEED))
    features = network.of(drawn)[0]
    return 1000 * kernel_distance(network.kernel_scale * features, network.kernel_scale * real)


def mean_and_spread(scores: list[float]) -> tuple[float, float]:
    """Mean over the folds and the sample's standard deviation."""
    return statistics.fmean(scores), statistics.stdev(scores) if len(scores) > 1 else 0.0
