"""The command `python -m stylegan metrics`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from relatent.core.command import PATH, RelatentCommand, config_options, device_option
from relatent.core.device import pick_device
from relatent.core.files import write_bytes
from relatent.core.results import require_replaceable
from stylegan.formats.loading import find_network, load
from stylegan.measuring.config import MetricsConfig
from stylegan.measuring.features import open_features
from stylegan.measuring.measure import measure
from stylegan.training.data.dataset import ImageDataset
from stylegan.training.report.page import METRICS_SUFFIX, is_run, write_report


@click.command("metrics", cls=RelatentCommand)
@click.argument("network")
@click.option("--data", required=True, type=PATH, metavar="FILE_OR_FOLDER", help="Real pictures, as for train.")
@click.option("--data-folder", metavar="NAME", help="Use only the pictures below this folder of the data.")
@config_options(MetricsConfig)
@click.option("--out", type=PATH, help="Write the measures here as JSON.  [default: beside a run's network]")
@device_option
def metrics_command(
    network: str, data: Path, data_folder: str | None, out: Path | None, device: str | None, **options: Any
) -> None:
    """Measure NETWORK, a name or file, against real pictures.

    Real pictures are measured against each other in the same way, which shows what a perfect generator would reach.
    FID, KID and Inception Score need weights: python -m weights fetch inception-v3. Without them, the same formulas
    are computed on the embedded perceptual backbone, and bear its name.
    """
    config = MetricsConfig(**options)
    require_replaceable([out] if out else ())
    source = find_network(network)
    where = pick_device(device)
    generator = load(network).to(where).eval().requires_grad_(False)
    dataset = ImageDataset(data, generator.resolution, data_folder)
    networks = open_features(config.features, where)
    found = measure(
        generator,
        dataset.load(progress=True),
        dataset.labels(),
        networks,
        config,
        lambda text: click.echo(f"{text} ...", err=True),
    )
    click.echo(found.table())
    click.echo(f"classes: {found.classes}")
    if len(networks) == 1 and config.features == "available":
        click.echo("FID, KID and Inception Score were left out: python -m weights fetch inception-v3 enables them.")
    in_run = is_run(source.parent)
    if out or in_run:
        path = out or source.with_name(source.stem + METRICS_SUFFIX)
        write_bytes(path, found.to_json().encode())
        click.echo(f"{path}")
    if in_run and not out:
        click.echo(f"{write_report(source.parent)}")
