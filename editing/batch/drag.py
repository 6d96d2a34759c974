"""Drags a face on disk and writes its folder as `edit` does."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from editing.dragging.options import DragOptions
from editing.dragging.run import Dragged, MaskLike, drag_points
from editing.dragging.search import DragStep, Progress
from editing.pasting import DEFAULT_BLEND, Blend, paste_back
from editing.photo_faces import At, PhotoFace, at_photo, cut_from, photo_face
from editing.results import Saved, claim_result, find_photo, made_from, write_edited
from inversion import Inversion
from relatent.core.errors import UnreadablePhotoError, UsageError
from relatent.core.images import read_photo, to_levels, to_pixels
from relatent.core.provenance import software_tag
from relatent.core.video import enlarged, require_video_name, write_video
from relatent.face.crop import LARGEST
from relatent.face.regions import REGIONS
from stylegan import Generator

VIDEO_FILE = "drag.mp4"
VIDEO_FPS = 6.0  # steps are few, and each shows
VIDEO_SIDE = 256  # px; smaller videos are too small to watch


@dataclass(frozen=True)
class DragTask:
    """What is to be dragged, and how it is written.

    Attributes:
        handles: (x, y) where points start.
        targets: where they are to go, one for each.
        landmarks: further handles by name, with their way.
        mask: regions, or a picture's file, white where the face may change; None for everywhere.
        photos: photos, or folders of photos, in which to search for the inverted one.
        blend: how the face is pasted into its photo.
        at: see :class:`editing.batch.edit.EditOptions`.
        save_video: also write a video of the drag.
        metadata: write the mark of relatent.core.provenance.
        options: of the drag.
    """

    handles: Sequence[tuple[float, float]] = ()
    targets: Sequence[tuple[float, float]] = ()
    landmarks: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    mask: tuple[str, ...] = ()
    photos: tuple[Path, ...] = ()
    blend: Blend = DEFAULT_BLEND
    at: At = "photo"
    save_video: bool = False
    metadata: bool = True
    options: DragOptions = field(default_factory=DragOptions)


def drag_saved(
    saved: Saved, network: Generator, task: DragTask, outdir: Path | None = None, progress: Progress | None = None
) -> tuple[Path, Dragged]:
    """Drag an inversion and write edited.png, drawn.png, pasted.png, edited.safetensors, report.json, and the video.

    Raises:
        UsageError, UnknownNameError, ShapeError: as :func:`editing.dragging.run.drag`.
        OutputError: the folder cannot be written.
        PhotoError: the photo or the mask cannot be read.
    """
    started = time.perf_counter()
    if task.save_video:
        require_video_name(Path(VIDEO_FILE), VIDEO_FPS)
    mask = read_mask(task.mask)
    claim = claim_result(saved, outdir)
    try:
        inversion = saved.inversion.replace(network_file=network.file or saved.inversion.network_file)
        stages: list[Inversion] = []

        def seen(step: DragStep) -> object:
            stages.append(step.face)
            return None if progress is None else progress(step)

        result = drag_points(inversion, network, task.handles, task.targets, mask, task.landmarks, task.options, seen)
        photo = None if inversion.face_to_photo is None else find_photo(saved, task.photos, alone=True)
        pasted = face = None
        if photo is not None:
            pasted = paste_back(result.face, read_photo(photo), blend=task.blend, network=network)
            face = cut_from(pasted, result.face, network)
        elif task.at == "photo":
            face = at_photo(result.face, network, task.blend)
        more: dict[str, bytes] = {}
        if task.save_video:
            source = None if photo is None else read_photo(photo)
            shown = photo_face(result.face, network, source, LARGEST) if task.at == "photo" else None
            more[VIDEO_FILE] = video_of(stages, network, shown, task)
        account = {
            **result.report(network.resolution),
            "options": asdict(task.options),
            "landmarks": {name: list(way) for name, way in task.landmarks.items()},
            "mask": list(task.mask),
            "blend": task.blend,
            "at": task.at,
            "photo": None if photo is None else str(photo),
            "made_from": made_from(saved),
            "metadata": task.metadata,
            "seconds_drag": round(result.seconds, 3),
            "seconds": round(time.perf_counter() - started, 3),
        }
        write_edited(
            claim,
            result.face,
            network,
            key="drag",
            account=account,
            face=face if task.at == "photo" else None,
            pasted=pasted,
            metadata=task.metadata,
            more=more,
        )
    finally:
        claim.release()
    return claim.folder, result


def read_mask(names: tuple[str, ...]) -> MaskLike | None:
    """Regions as they are; one file as its brightness, [H, W] from 0 to 1; None for nothing.

    Raises:
        UsageError: neither.
        UnreadablePhotoError: a file that is no picture.
    """
    if not names:
        return None
    if all(name in REGIONS for name in names):
        return names
    if len(names) == 1 and Path(names[0]).is_file():
        levels = read_photo(Path(names[0])).pixels.mean(axis=2)
        if not levels.size:
            raise UnreadablePhotoError(f"the mask {names[0]} has no pixels.")
        return np.asarray(levels / 255, np.float32)
    unknown = next(name for name in names if name not in REGIONS)
    raise UsageError(
        f"--mask is {unknown!r:.60}; expected one of {', '.join(REGIONS)}, or the file of one picture, "
        "white where the face may change."
    )


def video_of(stages: Sequence[Inversion], network: Generator, shown: PhotoFace | None, task: DragTask) -> bytes:
    """The faces of a drag as the bytes of an .mp4; the first and the last stay for a second."""
    frames = []
    for face in stages:
        drawn = face.tensor(network)
        if shown is None:
            frames.append(enlarged(to_pixels(drawn)[0], VIDEO_SIDE))
        else:
            frames.append(shown.edited(face, to_levels(drawn)[0].numpy(), task.blend))
    still = int(VIDEO_FPS)
    comment = f"{software_tag(stages[-1].network, stages[-1].edits)}; drawn by a neural network"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / VIDEO_FILE
        write_video(
            [*[frames[0]] * still, *frames, *[frames[-1]] * still],
            path,
            VIDEO_FPS,
            comment=comment if task.metadata else "",
        )
        return path.read_bytes()
