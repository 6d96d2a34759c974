"""Inverts, edits and pastes back many photos, one after another; errors of a photo do not stop the others."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

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
from relatent.core.images import MAX_PIXELS, read_photo
from relatent.core.location import without_location
from relatent.core.provenance import MarkedImage
from relatent.core.results import REPORT_FILE, read_report
from relatent.web.actions.photo_files import encoded_photo, photo_suffix
from relatent.web.errors import page_words
from relatent.web.pictures import for_screen
from stylegan import Generator

THUMBNAIL = 128  # px
FINISHED = "finished"  # folder of the finished photos, beside those of the results
PASTED = "pasted.png"
WAITING, WORKING, DONE, FAILED, CANCELLED = "waiting", "working", "done", "failed", "cancelled"


@dataclass(frozen=True)
class BatchOptions:
    """Options for all photos of a batch.

    Attributes:
        preset: of the inversion.
        num_steps: of the optimiser; None for the preset's own.
        face: "largest", "all", or a number counted from 1.
        strengths: edits, by direction; empty for none.
        blend: how an edited face is pasted into its photo.
        folders: folders of further directions.
        max_pixels: larger photos are not decoded.
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
        """The configuration of the inversions."""
        return InvertConfig(preset=self.preset, num_steps=self.num_steps, face=self.face)


@dataclass(frozen=True)
class Row:
    """The state of one face of one photo.

    Attributes:
        name: of the photo.
        state: "waiting", "working", "done", "failed" or "cancelled".
        step: steps of the inversion that are done.
        total: all steps.
        loss: current or final loss; None while unknown.
        psnr: of the inverted face, in decibels; None until it is measured.
        identity: identity distance of the inverted face; None until it is measured.
        faces: how many the photo has; None until they are found.
        picture: the photo beside the finished one, or without edits the aligned face beside the inverted one, uint8
            [S, 2 S', 3], no side of a half longer than ``THUMBNAIL``; None until there is a result.
        reason: the error message of a failure, in the page's words; empty otherwise.
        folder: of its results; None if there are none.
        finished: the finished photo, in its own format and without its location; None without edits.
    """

    name: str
    state: str = WAITING
    step: int = 0
    total: int = 0
    loss: float | None = None
    psnr: float | None = None
    identity: float | None = None
    faces: int | None = None
    picture: np.ndarray | None = None
    reason: str = ""
    folder: Path | None = None
    finished: Path | None = None


Watch = Callable[[tuple[Row, ...]], object]


class Batch:
    """A batch of photos, with one or more rows for each.

    :meth:`take` processes one photo at a time, so that other jobs can use the network in between::

        for index in range(len(batch.photos)):
            batch.take(index)

    Args:
        photos: paths; an error in place of a path becomes a failed row.
        outdir: folder of the results, with a folder for each face as the commands write it; created if needed.
        network: a frozen generator.
        options: see :class:`BatchOptions`.

    Raises:
        UsageError: invalid options.
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
        Pipeline(network, self.options.config)  # raises an error for invalid options
        for name in self.options.strengths:
            find_direction(name, network, self.options.folders)
        self._cancelled = False
        self._written: dict[Path, tuple[Path, np.ndarray]] = {}
        self.of_photo = [[_row(number, photo)] for number, photo in enumerate(self.photos, start=1)]

    def rows(self) -> tuple[Row, ...]:
        """All rows, in the order of the photos; a photo with several faces has several."""
        return tuple(row for rows in self.of_photo for row in rows)

    def cancel(self) -> None:
        """Mark all unfinished rows as cancelled; a photo at work stops at its next step, and changes no row."""
        self._cancelled = True
        for rows in self.of_photo:
            rows[:] = [dataclasses.replace(row, state=CANCELLED) if _open(row) else row for row in rows]

    def take(self, index: int, watch: Watch = lambda _: None) -> None:
        """Process one photo; its errors are stored in its row.

        Args:
            index: of the photo.
            watch: called with all rows at every step of the inversion; returning False cancels.

        Raises:
            Cancelled: ``watch`` returned False.
        """
        photo, waiting = self.photos[index], self.of_photo[index][0]
        if isinstance(photo, PhotoError):
            return
        working = dataclasses.replace(waiting, state=WORKING)

        def show(row: Row) -> bool:
            if self._cancelled:
                return False
            self.of_photo[index] = [row]
            return watch(self.rows()) is not False

        def on_step(_: Sequence[str], step: Step) -> bool:
            loss = float(step.losses[0])
            return show(dataclasses.replace(working, step=step.index, total=step.total, loss=loss))

        if not show(working):
            raise Cancelled("the batch was cancelled; what was done before is kept.")
        try:
            options = inversions.BatchOptions(batch_size=1, max_pixels=self.options.max_pixels)
            outcomes = list(
                inversions.project_photos(
                    [photo], self.outdir, self.network, self.options.config, options, on_step=on_step
                )
            )
            if self._cancelled:
                return
            reasons = self._edit(photo, [one.folder for one in outcomes if one.folder is not None])
            rows = [self._result(photo, one, reasons) for one in outcomes]
        except Cancelled:
            raise
        except RelatentError as error:  # concerns this photo only
            rows = [dataclasses.replace(working, state=FAILED, reason=_without_path(error, photo))]
        if not self._cancelled:
            self.of_photo[index] = rows

    def _edit(self, photo: Path, folders: list[Path]) -> dict[Path, str]:
        """Edit the faces of one photo together; returns error messages by folder."""
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
        row = Row(photo.name, FAILED if reason else DONE, reason=_without_path(reason, photo))
        if outcome.folder is None:
            return row
        report = _report_without_paths(read_report(outcome.folder) or {}, photo)
        write_bytes(outcome.folder / REPORT_FILE, (json.dumps(report, indent=2) + "\n").encode())
        row = dataclasses.replace(
            row,
            loss=report.get("losses", {}).get("total"),
            psnr=report.get("psnr"),
            identity=report.get("identity_distance"),
            faces=report.get("photo", {}).get("faces"),
            folder=outcome.folder,
        )
        if not self.options.strengths or reason:
            return dataclasses.replace(row, picture=_side_by_side(_pixels(outcome.folder, "target.png", "proj.png")))
        if not (outcome.folder / PASTED).is_file():  # an unaligned face has no place in the photo
            return dataclasses.replace(row, picture=_side_by_side(_pixels(outcome.folder, "target.png", "edited.png")))
        finished, picture = self._finished(photo, outcome.folder)
        return dataclasses.replace(row, finished=finished, picture=picture)

    def _finished(self, photo: Path, folder: Path) -> tuple[Path, np.ndarray]:
        """The finished photo as the photo came, in place of the folder's PNG, and a picture of before and after.

        It shows all faces of the photo, and is written once.
        """
        if photo not in self._written:
            self._written[photo] = self._finish(photo, folder)
        (folder / PASTED).unlink()
        return self._written[photo]

    def _finish(self, photo: Path, folder: Path) -> tuple[Path, np.ndarray]:
        source = read_photo(photo, photo.name, max_pixels=self.options.max_pixels)
        pasted = read_photo(folder / PASTED, photo.name, max_pixels=self.options.max_pixels)
        with Image.open(folder / PASTED) as opened:
            software = str(opened.info.get("Software", ""))
        pixels = pasted.pixels if pasted.original is None else pasted.original
        suffix = photo_suffix(photo)
        target = self.outdir.parent / FINISHED / f"{folder.name}-edited{suffix}"
        write_bytes(target, encoded_photo(MarkedImage(pixels, software, without_location(source)), suffix))
        return target, _side_by_side([source.pixels, pasted.pixels])


def _row(number: int, photo: Path | PhotoError) -> Row:
    if isinstance(photo, PhotoError):
        return Row(f"photo {number}", FAILED, reason=page_words(str(photo)))
    return Row(photo.name)


def _open(row: Row) -> bool:
    return row.state in (WAITING, WORKING)


def _without_path(message: object, photo: Path) -> str:
    """The message in the page's words, with the photo's path replaced by its file name."""
    return page_words(str(message).replace(str(photo), photo.name))


def _pixels(folder: Path, *names: str) -> list[np.ndarray]:
    return [read_photo(folder / name).pixels for name in names]


def _side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Two pictures of one shape, reduced to thumbnails."""
    return np.concatenate([for_screen(picture, THUMBNAIL)[0] for picture in pictures], axis=1)


def _report_without_paths(report: dict[str, object], photo: Path) -> dict[str, Any]:
    """A report with the photo's path on the server replaced by its file name."""

    def cleaned(part: object) -> object:
        if isinstance(part, dict):
            return {key: cleaned(one) for key, one in part.items()}
        if isinstance(part, list):
            return [cleaned(one) for one in part]
        return photo.name if part in (str(photo), str(photo.absolute())) else part

    return {key: cleaned(value) for key, value in report.items()}
