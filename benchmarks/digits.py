"""Whether digits drawn by a network look like digits: python -m benchmarks.digits NETWORK [NETWORK ...]

A classifier is trained on scikit-learn's real digits, a quarter of which is kept back, and labels 100 samples of each
network. Its accuracy and confidence on the digits kept back are printed beside, as no samples can be expected to do
better. The share of 1,000 samples is given as well: that of 100 varies by four from one seed to the next. Beside a
run's log, the images that the network has seen and the minutes of the training are given, too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from sklearn.neural_network import MLPClassifier
from torch import Tensor

from benchmarks.machine import describe
from relatent.core.command import RelatentCommand
from relatent.core.files import write_bytes
from relatent.core.images import encode_png, from_uint8, grid
from stylegan import Generator, load
from stylegan.training.data.dataset import ImageDataset
from stylegan.training.report.diagnosis import Log
from stylegan.training.report.page import LOG_FILE
from stylegan.training.validation import draw_samples

CONFIDENT = 0.9
SIDE = 8  # what the digits have themselves
SAMPLES = 100
MORE_SAMPLES = 1000
SEED = 11


@dataclass(frozen=True)
class Reading:
    """What the classifier says of pictures.

    Attributes:
        confident: how many it labels with a confidence above 0.9.
        counts: how many it labels as each digit, 0 to 9.
    """

    confident: int
    counts: list[int]


class DigitReader:
    """A classifier of digits of any size, which it reduces to 8 x 8.

    Args:
        side: size at which the training digits were drawn to the networks; reduced in the same way.
    """

    def __init__(self, side: int) -> None:
        data = ImageDataset(Path("digits"), side)
        labels = data.labels()
        assert labels is not None
        images = from_uint8(data.load())
        order = np.random.default_rng(SEED).permutation(len(images))
        kept, learnt = order[::4], np.setdiff1d(order, order[::4])
        self._model = MLPClassifier((256, 128), alpha=1e-4, max_iter=300, random_state=SEED)
        self._model.fit(self._features(images[learnt]), labels[learnt])
        self.accuracy = float(self._model.score(self._features(images[kept]), labels[kept]))
        self.real = self.read(images[kept[:SAMPLES]])

    def read(self, images: Tensor) -> Reading:
        """Label pictures [N, 3, R, R] in [-1, 1]."""
        shares = self._model.predict_proba(self._features(images))
        counts = np.bincount(shares.argmax(axis=1), minlength=10)
        return Reading(int((shares.max(axis=1) > CONFIDENT).sum()), counts.tolist())

    def _features(self, images: Tensor) -> np.ndarray:
        small = F.adaptive_avg_pool2d(images.clamp(-1, 1).mean(dim=1, keepdim=True), SIDE)
        return small.flatten(1).double().numpy()


def read_samples(generator: Generator, reader: DigitReader, psi: float = 1.0) -> tuple[Reading, Reading]:
    """What ``reader`` says of 100 samples of a generator, and of 1,000, those 100 among them."""
    images = draw_samples(generator, MORE_SAMPLES, psi, SEED)
    return reader.read(images[:SAMPLES]), reader.read(images)


def run_of(network: Path) -> tuple[str, dict[str, float]]:
    """The name of a snapshot's run, and the log's last line up to it; the file's name where there is no log."""
    log = network.parent / LOG_FILE
    if not log.is_file():
        return network.name, {}
    seen = int(network.stem.rsplit("-", 1)[-1])  # thousands of images, as in network-000064.safetensors
    last = [tick for tick in Log.read(log).lines if int(tick["kimg"]) <= seen][-1]
    return network.parent.name, {"thousand images": last["kimg"], "minutes": round(last["seconds"] / 60, 1)}


@click.command(cls=RelatentCommand)
@click.argument("networks", nargs=-1, required=True)
@click.option("--psi", default=1.0, show_default=True, help="Truncation.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON file for the figures.")
@click.option("--picture", type=click.Path(path_type=Path), help="PNG file for the last network's samples.")
def main(networks: tuple[str, ...], psi: float, out: Path | None, picture: Path | None) -> None:
    """Label 100 samples of each network."""
    result = {}
    for name in networks:
        generator = load(name)
        reader = DigitReader(generator.resolution)
        found, more = read_samples(generator, reader, psi)
        run, trained = run_of(Path(name))
        result[run] = {
            **trained,
            "confident": found.confident,
            "counts": found.counts,
            "share of 1000, confident": round(more.confident / MORE_SAMPLES, 3),
            "real digits, confident": reader.real.confident,
            "real digits, accuracy": round(reader.accuracy, 4),
        }
        click.echo(
            f"{name}: {found.confident} of {SAMPLES} with confidence above {CONFIDENT}, digits 0 to 9: {found.counts}; "
            f"{more.confident} of {MORE_SAMPLES}; "
            f"of real digits kept back {reader.real.confident} of {SAMPLES}, accuracy {reader.accuracy:.3f}"
        )
        if picture:
            images = draw_samples(generator, SAMPLES, psi, SEED)
            write_bytes(picture, encode_png(grid(torch.nn.functional.interpolate(images, scale_factor=2), 20)))
    if out:
        write_bytes(out, (json.dumps({"networks": result, "machine": describe()}, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
