"""Pictures as a browser shows them: enlarged smoothly, reduced to a screen's size, inside the page itself."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from PIL import Image

FACE_SIDE = 384  # px; what small networks' faces are enlarged to
PHOTO_SIDE = 900  # px; the long side of a photo on the screen
QUALITY = 90  # of JPEG, for the screen alone


def smooth(pixels: np.ndarray, side: int = FACE_SIDE) -> np.ndarray:
    """uint8 [H, W, 3] enlarged bicubically to a height of at least ``side``; larger pictures stay as they are."""
    height, width = pixels.shape[:2]
    if height >= side:
        return pixels
    size = (round(width * side / height), side)
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def for_screen(pixels: np.ndarray, side: int = PHOTO_SIDE) -> tuple[np.ndarray, float]:
    """uint8 [H, W, 3] reduced to ``side`` along its long side, and the factor; small pictures stay as they are."""
    factor = min(1.0, side / max(pixels.shape[:2]))
    if factor == 1:
        return pixels, 1.0
    height, width = (max(1, round(length * factor)) for length in pixels.shape[:2])
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)), factor


def data_uri(pixels: np.ndarray) -> str:
    """uint8 [H, W, 3] as text that an `img` element shows: no file that anybody else could ask for."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def figure(pixels: np.ndarray, caption: str, kind: str = "face") -> str:
    """HTML of one picture with its caption; ``kind`` is a class of relatent/web/theme.py."""
    text = html.escape(caption)
    return (
        f'<figure class="relatent-figure {kind}"><img src="{data_uri(pixels)}" alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def figures(*several: str) -> str:
    """Figures side by side; on a narrow screen they wrap."""
    return f'<div class="relatent-figures">{"".join(several)}</div>'
