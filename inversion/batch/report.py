"""What a finished inversion leaves on disk: pictures, latents and an account of how it went."""

from __future__ import annotations

import importlib.metadata
import io
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inversion.pipeline import InvertedFace
from relatent.core.files import atomic_folder
from relatent.core.images import encode_png
from relatent.core.video import write_video

REPORT_FILE = "report.json"
STAGES = ("load", "align", "encode", "optimise", "tune", "measure", "write")
PACKAGES = ("torch", "numpy", "lpips", "dlib-bin", "pillow", "safetensors")


@dataclass(frozen=True)
class Result:
    """One inverted face and all that is reported about it.

    Attributes:
        face: the inverted face, its picture and its measures.
        preset: name of the preset.
        settings: the final settings.
        photo: what the face was found in: name, sha256, face number, number of faces.
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
        """The measures for a person."""
        quality, percentile = self.face.quality, self.face.percentile
        identity = "no face found" if quality.identity_distance is None else f"{quality.identity_distance:.2f}"
        parts = [f"PSNR {quality.psnr:.1f} dB", f"LPIPS ({quality.lpips_trunk}) {quality.lpips:.3f}"]
        mask = [] if self.face.mask_share is None else [f"{self.face.mask_share:.0%} of the face counted"]
        return ", ".join([*parts, f"identity {identity}", *([] if percentile is None else [str(percentile)]), *mask])


def write_result(result: Result, folder: Path) -> None:
    """Write target.png, proj.png, projected_w.npz, inversion.safetensors, report.json, and a video if there is one.

    Raises:
        OutputError: the folder cannot be written; nothing is left behind.
    """
    started = time.perf_counter()
    face, inversion = result.face, result.face.inversion
    with atomic_folder(folder) as scratch:
        (scratch / "target.png").write_bytes(encode_png(face.aligned))
        (scratch / "proj.png").write_bytes(inversion.marked(face.drawn).encoded())
        (scratch / "projected_w.npz").write_bytes(latent_bytes(inversion.ws.numpy()))
        inversion.save(scratch / "inversion.safetensors")
        if result.video:
            write_video(result.video, scratch / "proj.mp4")
        face.seconds["write"] = time.perf_counter() - started
        (scratch / REPORT_FILE).write_text(json.dumps(result.report(), indent=2) + "\n")


def read_report(folder: Path) -> dict[str, object] | None:
    """The report of a finished folder, or None if there is none that can be read."""
    try:
        report = json.loads((folder / REPORT_FILE).read_text())
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) else None


def versions() -> dict[str, str]:
    """Versions of everything a result depends on."""
    found = {"python": platform.python_version(), "relatent": _version("relatent")}
    return found | {package: _version(package) for package in PACKAGES}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def latent_bytes(ws: np.ndarray) -> bytes:
    """ws [1, L, w_dim] as the bytes of an .npz file with the key ``w``, which other projectors write and read."""
    buffer = io.BytesIO()
    np.savez(buffer, w=ws)
    return buffer.getvalue()
