"""Stands in for inversion in tests of batches: quick, and what becomes of a photo is in its name.

`python stand_in.py PHOTOS OUT LOG WORKERS` runs a batch of it, for tests that kill one.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from inversion.batch.engine import Engine, Wanted
from inversion.batch.opening import opened_manifest
from inversion.batch.requests import Answer, FaceFiles
from inversion.batch.workers import Workers

SETTINGS = {"network": "none@0", "preset": "stand-in", "seed": 1, "settings": {"steps": (1, 2)}}


@dataclass(frozen=True)
class StandIn:
    """Work whose results are the photo's hash; photos called crash, bad, bug, slow, pair and full are what they say.

    Attributes:
        log: a file that gets the name of each photo that was worked on; None for none.
        seconds: per photo.
    """

    log: Path | None = None
    seconds: float = 0.0
    settings: dict = field(default_factory=lambda: dict(SETTINGS))
    worker_batch_size: int = 1

    def open(self):
        return self

    def answer(self, requests):
        return [self.one(request) for request in requests]

    def one(self, request):
        name = request.path.stem
        if self.log:
            with self.log.open("a") as file:
                file.write(f"{request.path.parent.name}/{name}\n")
        time.sleep(30 if "slow" in name else self.seconds)
        if "crash" in name:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "bug" in name:
            raise ZeroDivisionError("a bug")
        sha256 = request.sha256 or hashlib.sha256(request.path.read_bytes()).hexdigest()
        if "bad" in name:
            return Answer(request.key, sha256, f"no face found in {request.path}.")
        numbers = (1, 2) if "pair" in name else (1,)
        faces = [self.face(request, sha256, number) for number in numbers if number not in request.done]
        return Answer(request.key, sha256, "", numbers, len(numbers), faces)

    def face(self, request, sha256, number):
        files = {name: f"{name} {sha256} {number}".encode() * 50 for name in ("target.png", "inversion.safetensors")}
        photo = {"name": request.path.name, "file": str(request.path), "sha256": sha256, "face": number}
        report = {**self.settings, "photo": photo, "losses": {"total": int(sha256[:4], 16) / 65536}, "psnr": 20.0}
        return FaceFiles(number, files, report, "inverted", thumbnail=b"jpeg")


class InTurn:
    """An executor in this process."""

    def __init__(self, work):
        self.work = work

    def answers(self, requests):
        for request in requests:
            if request is None:
                yield None
            else:
                yield from self.work.answer([request])


def run(photos, outdir, executor=None, work=None, stop=lambda: False, **wanted):
    """The outcomes of a batch."""
    work = work or StandIn()
    with opened_manifest(outdir) as manifest:
        engine = Engine(manifest, Wanted(work.settings, **wanted), stop)
        yield from engine.run(photos, executor or InTurn(work))


if __name__ == "__main__":
    photos, out, log, workers = sys.argv[1:]
    work = StandIn(Path(log), 0.01)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for one in run(sorted(Path(photos).rglob("*.png")), Path(out), Workers(int(workers), work), work, face="all"):
        sys.stdout.write(f"{one.status}\n")
        sys.stdout.flush()
