"""Inverts the photos of a batch: the work itself, wherever it is done."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from inversion.batch.jobs import open_job
from inversion.batch.report import Result, encode_result
from inversion.batch.requests import Answer, FaceFiles, OnStep, Request
from inversion.batch_size import batch_size_for, batch_size_in_worker
from inversion.config import InvertConfig
from inversion.optim.projector import Step
from inversion.pipeline import InvertedFace, NetworkLike, Pipeline, PreparedFace, prepare_faces
from relatent.core.alignment import Alignment
from relatent.core.errors import PhotoError
from relatent.core.images import MAX_PIXELS, read_photo, to_pixels
from relatent.core.video import enlarged
from stylegan import network_id

NO_STEPS = "With this preset and network there are no steps to show: proj.mp4 shows the result alone."
VIDEO_FRAMES = 120  # five seconds at 24 a second
VIDEO_SIDE = 256  # px; smaller videos are hard to find in a player's window


@dataclass(frozen=True)
class InvertWork:
    """How the photos of a batch are inverted; can be pickled if the network is a name or a file.

    Attributes:
        network: name, file or generator; None for the embedded one.
        config: of the inversions.
        device: None for the generator's own, or the best available one.
        batch_size: faces optimised together in the process that was started.
        worker_batch_size: faces optimised together in a worker process.
        save_video: whether results have a proj.mp4.
        max_pixels: larger photos are not decoded.
        settings: what identifies a result: network, preset, seed, settings.
        size, alignment: of the crops.
    """

    network: NetworkLike | None
    config: InvertConfig
    device: str | None
    batch_size: int
    worker_batch_size: int
    save_video: bool
    max_pixels: int
    settings: dict[str, object]
    size: int
    alignment: Alignment

    def open(self) -> Inverter:
        """Load networks and whatever else is needed, in a worker process."""
        return Inverter(self, Pipeline(self.network, self.config, device=self.device), self.worker_batch_size)

    def reader(self) -> Reader:
        """The part of the work that needs no network."""
        return Reader(self.config, self.size, self.alignment, self.max_pixels)


def work_of(
    pipeline: Pipeline,
    network: NetworkLike | None,
    *,
    device: str | None = None,
    batch_size: int | None = None,
    save_video: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> InvertWork:
    """The work of a pipeline, which ``network`` was opened for; None chooses batch sizes by device and network."""
    generator, config = pipeline.network, pipeline.config
    settings = {
        "network": network_id(generator),
        "preset": config.preset,
        "seed": config.seed,
        "settings": config.report(generator),
    }
    return InvertWork(
        network,
        config,
        device,
        batch_size or batch_size_for(generator),
        batch_size or batch_size_in_worker(generator),
        save_video,
        max_pixels,
        settings,
        generator.resolution,
        generator.alignment,
    )


@dataclass
class PreparedPhoto:
    """A photo that has been read, and its faces that are to be inverted.

    Attributes:
        request: for it.
        sha256: of its content.
        faces: cropped.
        numbers: of all faces that were asked for.
        note: a remark on how it was read; may be empty.
    """

    request: Request
    sha256: str
    faces: list[PreparedFace]
    numbers: tuple[int, ...]
    note: str = ""

    @property
    def found(self) -> int | None:
        """Number of faces found in the photo; None if they were not looked for."""
        return self.faces[0].faces if self.faces else None


@dataclass(frozen=True)
class Reader:
    """Reads photos and crops their faces; can be pickled."""

    config: InvertConfig
    resolution: int
    alignment: Alignment
    max_pixels: int

    def open(self) -> Reader:
        """Itself: there is nothing to load."""
        return self

    def read(self, request: Request) -> PreparedPhoto | Answer:
        """A photo, or the answer to the request if it cannot be used or has no further faces."""
        started = time.perf_counter()
        sha256 = request.sha256
        try:
            sha256 = sha256 or _content_of(request)
            source = request.path if request.data is None else request.data
            photo = read_photo(source, str(request.path), max_pixels=self.max_pixels)
            loading = time.perf_counter() - started
            faces = prepare_faces(photo, self.config, self)
        except PhotoError as error:
            return Answer(request.key, sha256, str(error))
        numbers, found = tuple(face.number for face in faces), faces[0].faces
        wanted = [face for face in faces if face.number not in request.done]
        for face in wanted:
            face.seconds["load"] = loading / len(wanted)
        if not wanted:
            return Answer(request.key, sha256, numbers=numbers, found=found)
        return PreparedPhoto(request, sha256, wanted, numbers, photo.note)

    def answer(self, requests: Sequence[Request]) -> list[PreparedPhoto | Answer]:
        """Several photos."""
        return [self.read(request) for request in requests]


def _content_of(request: Request) -> str:
    """The sha256 of a photo.

    Raises:
        UnreadablePhotoError: it cannot be read.
    """
    return open_job(request.path).digest if request.data is None else hashlib.sha256(request.data).hexdigest()


@dataclass
class _Waiting:
    """A face that is to be inverted, and the pictures of its video."""

    photo: PreparedPhoto
    face: PreparedFace
    frames: list[np.ndarray] = field(default_factory=list)


class Inverter:
    """Work with its networks loaded.

    Args:
        work: what is to be done.
        pipeline: of the work.
        batch_size: faces optimised together. On a CPU fewer are computed as so many, so that a face's result does not
            depend on its company; a GPU computes as many as there are.
        loading: seconds that were spent on loading; counted to the first face.
    """

    def __init__(self, work: InvertWork, pipeline: Pipeline, batch_size: int, loading: float = 0.0) -> None:
        self.work, self.pipeline, self.batch_size, self.loading = work, pipeline, batch_size, loading
        self.fill = batch_size if pipeline.network.w_avg.device.type == "cpu" else 1
        self.reader = work.reader()
        self.on_step: OnStep | None = None
        self.waiting: list[_Waiting] = []
        self.left: dict[int, int] = {}  # faces still to come, by request

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Read and invert photos."""
        answers = [answer for request in requests for answer in self.take(self.reader.read(request))]
        return [*answers, *self.rest()]

    def take(self, photo: PreparedPhoto | Answer) -> Iterator[Answer]:
        """Add a photo to the waiting ones, and invert as long as they fill a batch."""
        if isinstance(photo, Answer):
            yield photo
            return
        self.left[photo.request.key] = len(photo.faces)
        self.waiting += [_Waiting(photo, face) for face in photo.faces]
        while len(self.waiting) >= self.batch_size:
            yield from self._next_batch()

    def rest(self) -> Iterator[Answer]:
        """Invert the faces that are still waiting."""
        while self.waiting:
            yield from self._next_batch()

    def _next_batch(self) -> Iterator[Answer]:
        batch, self.waiting = self.waiting[: self.batch_size], self.waiting[self.batch_size :]
        faces = self.pipeline.invert([one.face for one in batch], lambda step: self._watch(batch, step), fill=self.fill)
        for one, face in zip(batch, faces, strict=True):
            photo, key = one.photo, one.photo.request.key
            face.seconds["load"] = face.seconds.get("load", 0.0) + self.loading
            self.loading = 0.0
            self.left[key] -= 1
            yield Answer(
                key, photo.sha256, "", photo.numbers, photo.found, [self._encoded(one, face)], self.left[key]
            )  # fmt: skip
            if not self.left[key]:
                del self.left[key]

    def _watch(self, batch: list[_Waiting], step: Step) -> object:
        """Keep pictures for the videos, and pass the step on."""
        if self.work.save_video and (step.index % max(1, step.total // VIDEO_FRAMES) == 0 or step.index == 1):
            for one, drawn in zip(batch[step.first :], to_pixels(step.images), strict=False):
                one.frames.append(_frame(one.face.aligned.image, drawn))
        return self.on_step([one.photo.request.path.name for one in batch], step) if self.on_step else None

    def _encoded(self, one: _Waiting, face: InvertedFace) -> FaceFiles:
        note = one.photo.note
        if self.work.save_video:
            note = note if one.frames else f"{note} {NO_STEPS}".strip()
            one.frames.append(_frame(face.aligned, to_pixels(face.drawn)[0]))  # the returned latents
        path = one.photo.request.path
        return encode_result(
            Result(
                face=face,
                preset=self.work.config.preset,
                settings=self.pipeline.config.report(self.pipeline.network),
                photo={
                    "name": path.name,
                    "file": str(path.absolute()),
                    "sha256": one.photo.sha256,
                    "face": one.face.number,
                    "faces": one.face.faces,
                },
                note=note,
                video=one.frames or None,
            )
        )


def _frame(target: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Target and drawn face side by side, enlarged if they are small."""
    return enlarged(np.concatenate([target, drawn], axis=1), VIDEO_SIDE)
