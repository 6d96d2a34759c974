"""Resizes pictures for the browser, and embeds them in HTML."""

from __future__ import annotations

import base64
import html

import cv2
import numpy as np
from PIL import Image

FACE_SIDE = 384  # px; faces of small networks are enlarged to this
PHOTO_SIDE = 900  # px; the long side of a photo on the screen
QUALITY = 90  # of JPEG with 4:2:0 chroma, for the screen alone: a moved slider waits for its bytes


def smooth(pixels: np.ndarray, side: int = FACE_SIDE) -> np.ndarray:
    """Enlarge uint8 [H, W, 3] bicubically to a height of ``side``; larger pictures are not changed."""
    height, width = pixels.shape[:2]
    if height >= side:
        return pixels
    size = (round(width * side / height), side)
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def for_screen(pixels: np.ndarray, side: int = PHOTO_SIDE) -> tuple[np.ndarray, float]:
    """Reduce the long side of uint8 [H, W, 3] to ``side``; returns the picture and the factor, 1 for small ones."""
    factor = min(1.0, side / max(pixels.shape[:2]))
    if factor == 1:
        return pixels, 1.0
    height, width = (max(1, round(length * factor)) for length in pixels.shape[:2])
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)), factor


def data_uri(pixels: np.ndarray) -> str:
    """uint8 [H, W, 3] as a data URI for an `img` element, so that no file is served that others could request."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


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
