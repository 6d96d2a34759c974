"""Times slider moves on the page in Chromium, and takes the pictures of docs/page.md.

    python -m benchmarks.page

Needs Chromium and the extra `test`. Inverts the example photo with the preset balanced, then moves the smile slider
again and again: from the input event in the browser to the new picture in the page, server, network and decoding
included. Writes benchmarks/results/page.json and docs/images/page-*.png.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from benchmarks.machine import describe
from relatent.core.files import write_bytes
from relatent.web.tabs.direction_slider import REACH

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "page.json"
IMAGES = ROOT / "docs" / "images"
MOVES = 40
PATIENCE = 300_000  # ms
SERVE = """
import sys
from relatent.web import Settings, build_page
page = build_page(Settings())
print(page.launch(wait=False), flush=True)
sys.stdin.read()
page.close()
"""
# Milliseconds from the input event to the picture that it led to, decoded and in the page.
MOVE = """value => new Promise(resolve => {
    const picture = () => document.querySelector('#edited .face img');
    const slider = document.querySelector('#slider-smile input[type=range]');
    const before = picture().src, started = performance.now();
    const look = async () => {
        if (picture() && picture().src !== before) {
            await picture().decode();
            resolve(performance.now() - started);
        } else requestAnimationFrame(look);
    };
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(slider, value);
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    requestAnimationFrame(look);
})"""
# Milliseconds of each request that drew, as the browser saw it.
ANSWERS = """performance.getEntriesByType('resource').filter(one => one.name.includes('/run/predict'))
    .map(one => one.duration)"""


@click.command()
@click.option("--moves", default=MOVES, show_default=True)
@click.option("--steps", default=0, show_default="the preset's", help="Of the inversion that the pictures show.")
def main(moves: int, steps: int) -> None:
    """Measure the page, and take its pictures."""
    from playwright.sync_api import sync_playwright

    server = subprocess.Popen(
        [sys.executable, "-c", SERVE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        address = server.stdout.readline().strip()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox", "--disable-gpu"]
            )
            seconds = take_pictures(browser, address, steps)
            result = measured(browser, address, moves)
            browser.close()
    finally:
        server.stdin.close()
        server.wait(60)
    result["inversion"] = {"preset": "balanced", "steps": steps or "the preset's", "seconds": seconds}
    write_bytes(RESULTS, (json.dumps(result, indent=2) + "\n").encode())
    click.echo(json.dumps(result, indent=2))


def take_pictures(browser: Any, address: str, steps: int) -> float:
    """docs/images/page-*.png; returns the seconds that the page said the inversion took."""
    page = opened(browser, address, {"width": 1200, "height": 860})
    inverted(page, steps)
    page.evaluate("window.scrollTo(0, 0)")
    page.screenshot(path=IMAGES / "page-photo.png", full_page=False)
    seconds = float(page.inner_text("#status").split(" seconds")[0].rsplit(" ", 1)[-1])
    smiling(page)
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=IMAGES / "page-edit.png")
    page.set_viewport_size({"width": 380, "height": 760})
    page.wait_for_timeout(1000)
    page.evaluate("window.scrollTo(0, 0)")
    page.screenshot(path=IMAGES / "page-telephone.png")
    page.context.close()
    for path in IMAGES.glob("page-*.png"):  # 256 colours are enough, and take a third of the size
        with Image.open(path) as picture:
            small = picture.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
        small.save(path, optimize=True)
    return seconds


def measured(browser: Any, address: str, moves: int) -> dict[str, Any]:
    """Milliseconds of single moves of a slider, one after another."""
    page = opened(browser, address, {"width": 1200, "height": 860})
    inverted(page, steps=10)
    smiling(page)
    values = np.resize(np.arange(-REACH, REACH, 0.1), moves + 3).round(1).tolist()  # a slider stops where it ends
    load = os.getloadavg()[0]
    times = [page.evaluate(MOVE, str(value)) for value in values][3:]  # the first ones warm up
    answers = page.evaluate(ANSWERS)
    page.context.close()
    return {
        "moves": moves,
        "milliseconds": {
            "median": round(float(np.median(times)), 1),
            "fastest": round(min(times), 1),
            "nine_in_ten_below": round(float(np.quantile(times, 0.9)), 1),
        },
        "of_which_the_servers_answer": round(float(np.median(answers)), 1) if answers else None,
        "load_average_before": round(load, 1),
        "machine": describe(),
    }


def opened(browser: Any, address: str, viewport: dict[str, int]) -> Any:
    page = browser.new_context(viewport=viewport).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_selector("#invert")
    return page


def inverted(page: Any, steps: int) -> None:
    """The example photo, inverted; ``steps`` 0 is the preset's own number."""
    page.click("#example")
    page.wait_for_function("document.querySelector('#photo-note')?.innerText.includes('found')")
    if steps:
        page.get_by_role("button", name="Advanced").first.click()
        page.get_by_label("Steps of the optimiser", exact=False).fill(str(steps))
        page.get_by_role("button", name="Advanced").first.click()
    page.click("#invert")
    page.wait_for_function("document.querySelector('#status')?.innerText.includes('Done')")
    page.wait_for_timeout(1500)  # pictures fade in


def smiling(page: Any) -> None:
    page.click("#quick-smile")
    page.wait_for_selector("#edited .face img")
    page.wait_for_timeout(1500)


if __name__ == "__main__":
    main()
