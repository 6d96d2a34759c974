"""Builds the settings of a training run from the options of `python -m stylegan train`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from relatent.core.alignment import Alignment
from relatent.core.errors import UsageError
from stylegan.networks.discriminator import DiscriminatorConfig
from stylegan.networks.generator import GeneratorConfig
from stylegan.networks.mlp import MlpConfig, MlpDiscriminatorConfig
from stylegan.networks.synthesis import StyleMethod
from stylegan.training.data.dataset import ImageDataset
from stylegan.training.loss import GanLossWeights, usual_r1_gamma
from stylegan.training.recipes import is_digits, is_idx_data
from stylegan.training.settings import Progressive, TrainingSettings


def settings_from_options(
    *,
    data: str | None,
    data_folder: str | None,
    name: str,
    arch: str = "stylegan2",
    img_channels: str | None = None,
    resolution: str,
    z_dim: int,
    w_dim: int,
    mapping_layers: int,
    channel_base: int,
    channel_max: int,
    conv_clamp: float | None,
    style_method: StyleMethod,
    cond: bool | None,
    batch: int,
    accumulate: int = 1,
    freeze_d: int = 0,
    warmup_kimg: float | None = None,
    progressive: bool = False,
    start_resolution: str = "8",
    stage_kimg: float = 600.0,
    fade_kimg: float = 100.0,
    lr: float,
    gamma: float | None,
    mixing_prob: float,
    ema_kimg: float | None,
    flip: bool,
    augment: float,
    ada: bool,
    path_length: float,
    feature_weight: float,
    precision: str,
    compile: bool,
    seed: int,
    alignment: tuple[float, float],
    licence: str,
    attribution: str,
) -> TrainingSettings:
    """The settings of the options, with the defaults that depend on other options filled in."""
    if not data:
        raise UsageError("--data is missing; expected a zip file or folder of pictures, or digits.")
    if freeze_d:
        raise UsageError(
            "a new discriminator has learned nothing that --freeze-d could keep. Begin with a training state or an "
            "NVIDIA pickle (--resume), or leave it out."
        )
    side = int(resolution)
    c_dim = count_classes(Path(data), side, data_folder) if cond else 0
    channels = int(img_channels) if img_channels else natural_channels(Path(data))
    generator: GeneratorConfig | MlpConfig
    discriminator: DiscriminatorConfig | MlpDiscriminatorConfig
    if arch == "mlp":
        if cond:
            raise UsageError("--arch mlp draws without classes. Leave out --cond, or use another --arch.")
        generator = MlpConfig(resolution=side, z_dim=z_dim, img_channels=channels)
        discriminator = MlpDiscriminatorConfig(resolution=side, img_channels=channels)
    else:
        if arch == "stylegan" and style_method != "adain":
            raise UsageError(f"--arch stylegan has AdaIN, and --style-method {style_method} was asked for. Omit one.")
        generator = GeneratorConfig(
            resolution=side,
            z_dim=z_dim,
            w_dim=w_dim,
            c_dim=c_dim,
            mapping_layers=mapping_layers,
            channel_base=channel_base,
            channel_max=channel_max,
            img_channels=channels,
            conv_clamp=conv_clamp,
            style_method=style_method,
        )
        discriminator = DiscriminatorConfig(
            resolution=side,
            c_dim=c_dim,
            channel_base=channel_base,
            channel_max=channel_max,
            img_channels=channels,
            conv_clamp=conv_clamp,
        )
    return TrainingSettings(
        data=data,
        data_folder=data_folder or None,
        name=name,
        generator=generator,
        discriminator=discriminator,
        loss_weights=GanLossWeights(
            r1_gamma=usual_r1_gamma(side, batch) if gamma is None else gamma,
            mixing_probability=mixing_prob,
            path_length_weight=path_length,
            feature_weight=feature_weight,
        ),
        batch=batch,
        accumulate=accumulate,
        warmup_kimg=warmup_kimg or 0.0,
        progressive=Progressive(int(start_resolution), stage_kimg, fade_kimg) if progressive else None,
        learning_rate=lr,
        ema_kimg=batch * 10 / 32 if ema_kimg is None else ema_kimg,
        flip=flip,
        augment_strength=augment,
        ada=ada,
        precision=precision,
        compile=compile,
        seed=seed,
        alignment=Alignment(*alignment),
        licence=licence,
        attribution=attribution,
    )


def with_changes(settings: TrainingSettings, typed: dict[str, Any]) -> TrainingSettings:
    """A saved run's settings with what may change in the middle of it; all else that was typed is passed over.

    With another batch, R1's weight and the average's half-life follow the rules their defaults come from (the one in
    inverse, the other in direct proportion to the batch), unless they were typed, too.

    Args:
        settings: the run's.
        typed: the options that were given, by their names in :func:`settings_from_options`.
    """
    if "batch" in typed:
        settings = _with_batch(settings, typed["batch"])
    renamed = {"augment": "augment_strength", "lr": "learning_rate"}
    kept = ("accumulate", "freeze_d", "ema_kimg", "precision", "compile")
    changes = {renamed.get(name, name): value for name, value in typed.items() if name in renamed or name in kept}
    weights = {"gamma": "r1_gamma", "feature_weight": "feature_weight"}
    typed_weights = {weights[name]: value for name, value in typed.items() if name in weights}
    changes["loss_weights"] = dataclasses.replace(settings.loss_weights, **typed_weights)
    settings = dataclasses.replace(settings, **changes)
    return settings.with_data(typed.get("data", settings.data), typed.get("data_folder", settings.data_folder))


def _with_batch(settings: TrainingSettings, batch: int) -> TrainingSettings:
    ratio = batch / settings.batch
    return dataclasses.replace(
        settings,
        batch=batch,
        ema_kimg=settings.ema_kimg * ratio,
        loss_weights=dataclasses.replace(settings.loss_weights, r1_gamma=settings.loss_weights.r1_gamma / ratio),
    )


def count_classes(data: Path, resolution: int, data_folder: str | None) -> int:
    """The number of classes of the data.

    Raises:
        UsageError: the data have no classes.
        DatasetError: the data cannot be used.
    """
    classes = ImageDataset(data, resolution, data_folder).labels()
    if classes is None:
        raise UsageError(
            f"--cond needs classes and {data} has no dataset.json that names them, nor a folder for each. Add it, or "
            "omit --cond."
        )
    return int(classes.max()) + 1


def natural_channels(data: Path) -> int:
    """1 for data that have no colours by their format, else 3."""
    return 1 if is_digits(data) or is_idx_data(data) else 3
