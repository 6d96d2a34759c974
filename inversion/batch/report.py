"""Writes the results of an inversion: pictures, latents and report.json."""

from __future__ import annotations

import functools
import importlib.metadata
import io
import json
import platform
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from inversion.batch.database import MEASURES
from inversion.batch.requests import FaceFiles
from inversion.pipeline import InvertedFace
from relatent.core.claims import Claim
from relatent.core.images import encode_png, square, to_pixels
from relatent.core.results import INVERSION_FILES, read_report
from relatent.core.video import write_video

VIDEO_FILE = "proj.mp4"
THUMBNAIL = 64  # px
STAGES = ("load", "align", "encode", "optimise", "tune", "measure", "write")
PACKAGES = ("torch", "numpy", "lpips", "dlib-bin", "pillow", "safetensors")


@dataclass(frozen=True)
class Result:
    """One inverted face with the data of its report.

    Attributes:
        face: the inverted face, its picture and its measures.
        preset: name of the preset.
        settings: the final settings.
        photo: what the face was found in: name, sha256, face number, number of faces found in it.
        note: what a person should know about the photo; empty if nothing.
        video: frames uint8 [H, W, 3] for ``proj.mp4``, or None.
    """

    face: InvertedFace
    preset: str
    settings: dict[str, object]
    photo: dict[str, object]
    note: str = ""
    video: list[np.ndarray] | None = None

    def report(self) -> dict[str, object]:
        """The content of report.json."""
        face, inversion, percentile = self.face, self.face.inversion, self.face.percentile
        seconds = {stage: round(face.seconds.get(stage, 0.0), 3) for stage in STAGES}
        return {
            "network": inversion.network,
            "preset": self.preset,
            "seed": inversion.seed,
            "settings": self.settings,
            "photo": self.photo,
            "note": self.note,
            "seconds": {"total": round(sum(seconds.values()), 3), **seconds},
            "mask_share": None if face.mask_share is None else round(face.mask_share, 4),
            "losses": inversion.losses,
            **face.quality.as_dict(),
            "lpips_percentile": None if percentile is None else percentile.value,
            "percentile_faces": None if percentile is None else percentile.faces,
            "versions": versions(),
        }

    def line(self) -> str:
        """The measures in one line of text."""
        quality, percentile = self.face.quality, self.face.percentile
        identity = "no face found" if quality.identity_distance is None else f"{quality.identity_distance:.2f}"
        parts = [f"PSNR {quality.psnr:.1f} dB", f"LPIPS ({quality.lpips_trunk}) {quality.lpips:.3f}"]
        mask = [] if self.face.mask_share is None else [f"{self.face.mask_share:.0%} of the face counted"]
        return ", ".join([*parts, f"identity {identity}", *([] if percentile is None else [str(percentile)]), *mask])


def encode_result(result: Result) -> FaceFiles:
    """The files of a result: target.png, proj.png, projected_w.npz, inversion.safetensors, a video if there is one."""
    face, inversion = result.face, result.face.inversion
    files = {
        "target.png": encode_png(face.aligned),
        "proj.png": inversion.marked(face.drawn).encoded(),
        "projected_w.npz": latent_bytes(inversion.ws.numpy()),
        "inversion.safetensors": inversion.to_bytes(),
    }
    if result.video:
        with tempfile.TemporaryDirectory(prefix="relatent-video-") as folder:
            write_video(result.video, Path(folder) / VIDEO_FILE)
            files[VIDEO_FILE] = (Path(folder) / VIDEO_FILE).read_bytes()
    number = result.photo.get("face")
    return FaceFiles(
        number=number if isinstance(number, int) else 1,
        files=files,
        report=result.report(),
        line=result.line(),
        note=result.note,
        thumbnail=_thumbnail(face.aligned, to_pixels(face.drawn)[0]),
    )


def write_result(face: FaceFiles, claim: Claim) -> None:
    """Write the files of a result, and report.json last.

    They replace those of an earlier inversion of the same face. Edits of it stay, and what the report says of them.

    Args:
        face: from :func:`encode_result`.
        claim: on the folder.

    Raises:
        OutputError: the folder cannot be written, or somebody else's file is in the way; nothing has changed.
    """
    started = time.perf_counter()
    before = read_report(claim.folder) or {}
    with claim.writing() as scratch:
        for name, data in face.files.items():
            (scratch / name).write_bytes(data)
        edits = {str(key): before[key] for key in ("edit", "mix") if key in before}
        claim.finish({**_timed(face.report, time.perf_counter() - started), **edits}, obsolete=INVERSION_FILES)


def measures_of(report: Mapping[str, object]) -> dict[str, float]:
    """The numbers of a report that the manifest has, by name."""
    losses, seconds = report.get("losses"), report.get("seconds")
    found = {
        **report,
        "loss": losses.get("total") if isinstance(losses, dict) else None,
        "seconds": seconds.get("total") if isinstance(seconds, dict) else None,
    }
    return {name: float(value) for name in MEASURES if isinstance(value := found.get(name), int | float)}


def plain(value: object) -> object:
    """A value as it comes back from a file in JSON: tuples are lists."""
    return json.loads(json.dumps(value))


def _timed(report: dict[str, object], seconds: float) -> dict[str, object]:
    """A report with the seconds of writing added."""
    stages = report.get("seconds")
    if not isinstance(stages, dict):
        return report
    stages = {**stages, "write": round(stages.get("write", 0.0) + seconds, 3)}
    stages["total"] = round(sum(value for name, value in stages.items() if name != "total"), 3)
    return {**report, "seconds": stages}


def _thumbnail(target: np.ndarray, drawn: np.ndarray) -> bytes:
    """Target and result side by side, as a JPEG."""
    buffer = io.BytesIO()
    side = min(THUMBNAIL, len(target))
    pixels = np.concatenate([square(target, side), square(drawn, side)], axis=1)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect results."""
    return dict(_versions())


@functools.cache
def _versions() -> dict[str, str]:
    base = {"python": platform.python_version(), "relatent": _version("relatent")}
    return base | {package: _version(package) for package in PACKAGES}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def latent_bytes(ws: np.ndarray) -> bytes:
    """ws [1, L, w_dim] as the bytes of an .npz file with the key ``w``, the format of other projectors."""
    buffer = io.BytesIO()
    np.savez(buffer, w=ws)
    return buffer.getvalue()
