"""Many photos, one after another: inverted, edited, pasted back, a row each; one bad photo never stops the others."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from editing.batch.edit import EditOptions, edit_all
from editing.directions.direction import find_direction
from editing.pasting import DEFAULT_BLEND, Blend
from editing.results import find_saved
from inversion.batch import run as inversions
from inversion.config import InvertConfig, Which
from inversion.optim.projector import Step
from inversion.pipeline import Pipeline
from inversion.presets import DEFAULT_PRESET
from relatent.core.errors import Cancelled, PhotoError, RelatentError
from relatent.core.files import write_bytes
from relatent.core.images import MAX_PIXELS, read_photo, square
from relatent.core.results import REPORT_FILE, read_report
from stylegan import Generator

THUMBNAIL = 64  # px
WAITING, WORKING, DONE, FAILED, CANCELLED = "waiting", "working", "done", "failed", "cancelled"


@dataclass(frozen=True)
class BatchOptions:
    """What is done to every photo.

    Attributes:
        preset: of the inversion.
        num_steps: of the optimiser; None for the preset's own.
        face: "largest", "all", or a number counted from 1.
        strengths: edits, by direction; empty for none.
        blend: how an edited face goes back into its photo.
        folders: folders of directions beside those that come with the network.
        max_pixels: of a photo; a larger one is not decoded.
    """

    preset: str = DEFAULT_PRESET
    num_steps: int | None = None
    face: Which = "largest"
    strengths: dict[str, float] = field(default_factory=dict)
    blend: Blend = DEFAULT_BLEND
    folders: tuple[Path, ...] = ()
    max_pixels: int = MAX_PIXELS

    @property
    def config(self) -> InvertConfig:
        """How each photo is inverted."""
        return InvertConfig(preset=self.preset, num_steps=self.num_steps, face=self.face)


@dataclass(frozen=True)
class Row:
    """What is known of one face of one photo.

    Attributes:
        name: the photo's.
        state: "waiting", "working", "done", "failed" or "cancelled".
        step: how many steps of the inversion are done.
        total: of how many.
        loss: the optimised distance to the photo, so far or at the end; None where nothing is known.
        psnr: decibels of the inverted face; None until it is measured.
        picture: the aligned face beside what became of it, uint8 [S, 2 S, 3], S at most ``THUMBNAIL``; None until
            there is one.
        reason: why it failed, in words; empty otherwise.
        folder: where its results lie; None if there are none.
    """

    name: str
    state: str = WAITING
    step: int = 0
    total: int = 0
    loss: float | None = None
    psnr: float | None = None
    picture: np.ndarray | None = None
    reason: str = ""
    folder: Path | None = None


Watch = Callable[[tuple[Row, ...]], object]


class Batch:
    """Photos on their way through inversion, edits and pasting, with a row or more each.

    One photo is worked off at a time, by :meth:`take`, so that others may use the network between two::

        for index in range(len(batch.photos)):
            batch.take(index)

    Args:
        photos: files; an error in a file's place becomes a row of its own.
        outdir: where each face gets its folder, as the commands write it; made if needed.
        network: a generator, ready to be inverted.
        options: see :class:`BatchOptions`.

    Raises:
        UsageError: options that cannot be meant, for any photo.
    """

    def __init__(
        self,
        photos: Sequence[Path | PhotoError],
        outdir: Path,
        network: Generator,
        options: BatchOptions | None = None,
    ) -> None:
        self.photos, self.outdir, self.network = list(photos), outdir, network
        self.options = options or BatchOptions()
        Pipeline(network, self.options.config)  # raises for what cannot be meant
        for name in self.options.strengths:
            find_direction(name, network, self.options.folders)
        self.of_photo = [[_row(number, photo)] for number, photo in enumerate(self.photos, start=1)]

    def rows(self) -> tuple[Row, ...]:
        """Every row, in the order of the photos; a photo with several faces has several."""
        return tuple(row for rows in self.of_photo for row in rows)

    def cancel(self) -> None:
        """What has not come to its end will not; what was done before stays."""
        for rows in self.of_photo:
            rows[:] = [dataclasses.replace(row, state=CANCELLED) if _open(row) else row for row in rows]

    def take(self, index: int, watch: Watch = lambda _: None) -> None:
        """One photo from its file to its folders; whatever is wrong with it becomes its row's reason.

        Args:
            index: the photo's.
            watch: sees all rows at every step of the inversion; returning False cancels.

        Raises:
            Cancelled: ``watch`` returned False.
        """
        photo, waiting = self.photos[index], self.of_photo[index][0]
        if isinstance(photo, PhotoError):
            return
        working = dataclasses.replace(waiting, state=WORKING)

        def show(row: Row) -> bool:
            self.of_photo[index] = [row]
            return watch(self.rows()) is not False

        def on_step(_: Sequence[str], step: Step) -> bool:
            loss = float(step.losses[0])
            return show(dataclasses.replace(working, step=step.index, total=step.total, loss=loss))

        if not show(working):
            raise Cancelled("the batch was cancelled; what was done before is kept.")
        try:
            options = inversions.BatchOptions(batch_size=1, max_pixels=self.options.max_pixels)
            found = list(
                inversions.project_photos(
                    [photo], self.outdir, self.network, self.options.config, options, on_step=on_step
                )
            )
            reasons = self._edit(photo, [one.folder for one in found if one.folder is not None])
            self.of_photo[index] = [self._result(photo, one, reasons) for one in found]
        except Cancelled:
            raise
        except RelatentError as error:  # of one photo, whatever it is: the others have their turn
            self.of_photo[index] = [dataclasses.replace(working, state=FAILED, reason=_said(error, photo))]

    def _edit(self, photo: Path, folders: list[Path]) -> dict[Path, str]:
        """Edit the faces of one photo together; why some could not be, by folder."""
        if not self.options.strengths:
            return {}
        saved = find_saved(folders)
        device = str(self.network.w_avg.device)
        options = EditOptions(
            strengths=self.options.strengths,
            blend=self.options.blend,
            photos=(photo,),
            folders=self.options.folders,
            network=self.network,
            device=device,
        )
        edited = zip(folders, edit_all(saved, None, options), strict=True)
        return {folder: str(one.error) for folder, one in edited if one.error is not None}

    def _result(self, photo: Path, outcome: inversions.Outcome, reasons: dict[Path, str]) -> Row:
        reason = outcome.message if outcome.status == "failed" else reasons.get(outcome.folder or Path(), "")
        row = Row(photo.name, FAILED if reason else DONE, reason=_said(reason, photo))
        if outcome.folder is None:
            return row
        report = _without_places(read_report(outcome.folder) or {}, photo)
        write_bytes(outcome.folder / REPORT_FILE, (json.dumps(report, indent=2) + "\n").encode())
        return dataclasses.replace(
            row,
            loss=report.get("losses", {}).get("total"),
            psnr=report.get("psnr"),
            picture=_before_and_after(outcome.folder, edited=bool(self.options.strengths) and not reason),
            folder=outcome.folder,
        )


def _row(number: int, photo: Path | PhotoError) -> Row:
    if isinstance(photo, PhotoError):
        return Row(f"photo {number}", FAILED, reason=str(photo))
    return Row(photo.name)


def _open(row: Row) -> bool:
    return row.state in (WAITING, WORKING)


def _said(what: object, photo: Path) -> str:
    """A sentence that names the photo, and not where it lies."""
    return str(what).replace(str(photo), photo.name)


def _before_and_after(folder: Path, *, edited: bool) -> np.ndarray:
    files = ("target.png", "edited.png" if edited else "proj.png")
    pictures = [read_photo(folder / name).pixels for name in files]
    side = min(THUMBNAIL, len(pictures[0]))
    return np.concatenate([square(picture, side) for picture in pictures], axis=1)


def _without_places(report: dict[str, object], photo: Path) -> dict[str, Any]:
    """A report that names the photo, and not where it lay on the machine that did the work."""

    def cleaned(part: object) -> object:
        if isinstance(part, dict):
            return {key: cleaned(one) for key, one in part.items()}
        if isinstance(part, list):
            return [cleaned(one) for one in part]
        return photo.name if part in (str(photo), str(photo.absolute())) else part

    return {key: cleaned(value) for key, value in report.items()}
