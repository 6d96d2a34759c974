"""Writes the results of an inversion: pictures, latents and report.json."""

from __future__ import annotations

import importlib.metadata
import io
import platform
import time
from dataclasses import dataclass

import numpy as np

from inversion.pipeline import InvertedFace
from relatent.core.claims import Claim
from relatent.core.images import encode_png
from relatent.core.results import INVERSION_FILES, read_report
from relatent.core.video import write_video

VIDEO_FILE = "proj.mp4"
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


def write_result(result: Result, claim: Claim) -> None:
    """Write target.png, proj.png, projected_w.npz, inversion.safetensors, report.json, and a video if there is one.

    They replace those of an earlier inversion of the same face. Edits of it stay, and what the report says of them.

    Args:
        result: it.
        claim: on the folder.

    Raises:
        OutputError: the folder cannot be written, or somebody else's file is in the way; nothing has changed.
    """
    started = time.perf_counter()
    face, inversion = result.face, result.face.inversion
    before = read_report(claim.folder) or {}
    with claim.writing() as scratch:
        (scratch / "target.png").write_bytes(encode_png(face.aligned))
        (scratch / "proj.png").write_bytes(inversion.marked(face.drawn).encoded())
        (scratch / "projected_w.npz").write_bytes(latent_bytes(inversion.ws.numpy()))
        inversion.save(scratch / "inversion.safetensors")
        if result.video:
            write_video(result.video, scratch / VIDEO_FILE)
        face.seconds["write"] = time.perf_counter() - started
        edits = {str(key): before[key] for key in ("edit", "mix") if key in before}
        claim.finish({**result.report(), **edits}, obsolete=INVERSION_FILES)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect results."""
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
