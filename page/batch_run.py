"""Many photos, one after another: inverted, edited, pasted back, a row each; one bad photo never stops the others."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import Cancelled, PhotoError, RelatentError
from core.files import write_bytes
from core.images import read_photo
from editing.direction import find_direction
from editing.edit_batch import EditOptions, edit_all
from editing.pasting import Blend
from editing.results import find_saved
from inversion.batch import Outcome, ProjectOptions, project_photos
from inversion.inverter import Which
from inversion.optimiser import Step
from inversion.report import REPORT_FILE, read_report
from inversion.stages import encoder_for
from stylegan import Generator

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
    """

    preset: str = "balanced"
    num_steps: int | None = None
    face: Which = "largest"
    strengths: dict[str, float] = field(default_factory=dict)
    blend: Blend = "difference"
    folders: tuple[Path, ...] = ()

    def of_inversion(self) -> ProjectOptions:
        """The same as the projecting command takes it."""
        return ProjectOptions(preset=self.preset, num_steps=self.num_steps, face=self.face, batch_size=1)


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
        picture: the aligned face beside what became of it, uint8 [R, 2 R, 3]; None until there is one.
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


def run_batch(
    photos: Sequence[Path | PhotoError],
    outdir: Path,
    network: Generator,
    options: BatchOptions | None = None,
    *,
    watch: Watch = lambda _: None,
    turn: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> tuple[Row, ...]:
    """Work off photos and write each one's folder below ``outdir``, as the commands do.

    Args:
        photos: files; an error in a file's place becomes a row of its own.
        outdir: made if needed.
        network: a generator, ready to be inverted.
        options: see :class:`BatchOptions`.
        watch: sees all rows whenever one changes, at every step of an inversion; returning False cancels. What is
            done by then stays done.
        turn: held while one photo is worked on, so that others may use the network between two.

    Returns:
        The rows, in the order of the photos; a photo with several faces has several.

    Raises:
        UsageError: options that cannot be meant, for any photo.
    """
    options = options or BatchOptions()
    encoder_for(network, options.of_inversion().plan(), None)
    for name in options.strengths:
        find_direction(name, network, options.folders)
    batch = _Batch(list(photos), outdir, network, options, watch)
    try:
        for index in range(len(photos)):
            batch.show(index)
            with turn():
                batch.take(index)
    except Cancelled:
        batch.cancel()
    return batch.rows()


class _Batch:
    """The rows of each photo, and what is done to it."""

    def __init__(
        self,
        photos: list[Path | PhotoError],
        outdir: Path,
        network: Generator,
        options: BatchOptions,
        watch: Watch,
    ) -> None:
        self.photos, self.outdir, self.network, self.options, self.watch = photos, outdir, network, options, watch
        self.of_photo = [[_row(number, photo)] for number, photo in enumerate(photos, start=1)]

    def rows(self) -> tuple[Row, ...]:
        return tuple(row for rows in self.of_photo for row in rows)

    def show(self, index: int, *rows: Row) -> None:
        """Take over new rows of a photo and show all; raises Cancelled if nobody wants more."""
        self.of_photo[index] = list(rows) or self.of_photo[index]
        if self.watch(self.rows()) is False:
            raise Cancelled("the batch was cancelled; what was done before is kept.")

    def cancel(self) -> None:
        """What has not come to its end will not."""
        for rows in self.of_photo:
            rows[:] = [dataclasses.replace(row, state=CANCELLED) if _open(row) else row for row in rows]

    def take(self, index: int) -> None:
        """One photo from its file to its folders."""
        photo, waiting = self.photos[index], self.of_photo[index][0]
        if isinstance(photo, PhotoError):
            return
        working = dataclasses.replace(waiting, state=WORKING)
        self.show(index, working)

        def on_step(_: Sequence[str], step: Step) -> object:
            loss = float(step.losses[0])
            self.show(index, dataclasses.replace(working, step=step.index, total=step.total, loss=loss))
            return True

        options = self.options.of_inversion()
        try:
            found = list(project_photos([photo], self.outdir, self.network, options, on_step=on_step))
            reasons = self._edit(photo, [one.folder for one in found if one.folder is not None])
            rows = [self._result(photo, one, reasons) for one in found]
        except Cancelled:
            raise
        except RelatentError as error:  # of one photo, whatever it is: the others have their turn
            rows = [dataclasses.replace(working, state=FAILED, reason=_said(error, photo))]
        self.show(index, *rows)

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

    def _result(self, photo: Path, outcome: Outcome, reasons: dict[Path, str]) -> Row:
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
    return np.concatenate([read_photo(folder / name).pixels for name in files], axis=1)


def _without_places(report: dict[str, object], photo: Path) -> dict[str, Any]:
    """A report that names the photo, and not where it lay on the machine that did the work."""

    def cleaned(part: object) -> object:
        if isinstance(part, dict):
            return {key: cleaned(one) for key, one in part.items()}
        if isinstance(part, list):
            return [cleaned(one) for one in part]
        return photo.name if part in (str(photo), str(photo.absolute())) else part

    return {key: cleaned(value) for key, value in report.items()}
