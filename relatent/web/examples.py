"""The finished results on the first screen, made by benchmarks/page_examples.py."""

from __future__ import annotations

import base64
from pathlib import Path

FOLDER = Path(__file__).with_name("example_pictures")
EXAMPLES = {"smile": "Smile", "serious": "Serious", "turn": "Turn"}


def examples_html() -> str:
    """The examples as HTML: the photo before and after one click; empty if the pictures are not installed."""
    cards = []
    for name, text in EXAMPLES.items():
        path = FOLDER / f"{name}.jpg"
        if path.is_file():
            data = base64.b64encode(path.read_bytes()).decode()
            cards.append(
                f'<figure class="relatent-example"><img src="data:image/jpeg;base64,{data}" '
                f'alt="a portrait before and after one click on {text}"><figcaption>{text}</figcaption></figure>'
            )
    return f'<div class="relatent-examples">{"".join(cards)}</div>' if cards else ""
