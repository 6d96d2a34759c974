"""Writes the ticks and samples of a training for TensorBoard."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from relatent.core.errors import MissingPackageError
from relatent.core.files import output_errors
from stylegan.training.report.page import SAMPLES
from stylegan.training.tick import Tick

FOLDER = "tensorboard"


class Board:
    """Event files in OUTDIR/tensorboard; the step is the number of pictures seen.

    Args:
        outdir: the run's folder.

    Raises:
        MissingPackageError: tensorboard is not installed.
    """

    def __init__(self, outdir: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingPackageError("tensorboard", "train", "--tensorboard") from None
        self.outdir = outdir
        self._shown = set(outdir.glob("samples-*.png"))  # a resumed run has written those already
        self._open = lambda: SummaryWriter(str(outdir / FOLDER))
        self._writer: SummaryWriter | None = None  # a run that cannot start leaves no folder

    def add(self, tick: Tick) -> None:
        """Add a tick, and the sample grids written since the last one."""
        step = round(tick.kimg * 1000)
        with output_errors(self.outdir / FOLDER):
            self._writer = self._writer or self._open()
            for name, value in dataclasses.asdict(tick).items():
                if value is not None and name != "kimg":
                    self._writer.add_scalar(name, value, step)
            self._add_samples()

    def close(self) -> None:
        """Add the last sample grids and write everything out."""
        if self._writer is None:
            return
        with output_errors(self.outdir / FOLDER):
            self._add_samples()
            self._writer.close()

    def _add_samples(self) -> None:
        assert self._writer is not None
        for file in sorted(set(self.outdir.glob("samples-*.png")) - self._shown):
            self._shown.add(file)
            match = SAMPLES.fullmatch(file.name)
            if not match:
                continue
            try:
                with Image.open(file) as picture:
                    pixels = np.array(picture.convert("RGB"))
            except Exception:  # Pillow raises many kinds for damaged files, and none is to end a training
                continue
            self._writer.add_image("samples", pixels, int(match[1]) * 1000, dataformats="HWC")
