"""Times the page in Chromium, as a visitor meets it, and takes the pictures of docs/page.md.

    python -m benchmarks.page
    python -m benchmarks.page --pictures      only the pictures

Needs Chromium and the extra `test`. The photo is the one of `inversion.project --demo`, and 12 megapixels of its
enlargement in which the network's crop of the face is 1,000 px. Server, browser and network are part of every time; the
processor's time of the server alone does not depend on what else the machine does. Writes
benchmarks/results/page.json, or docs/images/page-*.png.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from benchmarks.machine import describe
from inversion.project import demo_photo
from relatent.core.files import write_bytes

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "page.json"
IMAGES = ROOT / "docs" / "images"
SIDE = 3464  # px; 12 megapixels
ENLARGED, LEFT = 4771, 355  # px; the side of the enlarged photo, and where SIDE of it are cut out, at its top
PATIENCE = 300_000  # ms
DRAG_SECONDS = 3.0
SERVE = """
import sys, time
from relatent.web import Settings, build_page
page = build_page(Settings())
print(page.launch(wait=False), flush=True)
for line in sys.stdin:
    print(time.process_time(), flush=True)
page.close()
"""
SET = """
    const slider = document.querySelector('#slider-smile input[type=range]');
    const set = value => {
        Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(slider, value);
        slider.dispatchEvent(new Event('input', { bubbles: true }));
    };
    const picture = () => document.querySelector('#edited img');
"""
# Milliseconds from the release of a slider to the picture, decoded and in the page, and the requests that it sent.
RELEASE = f"""value => new Promise(resolve => {{ {SET}
    performance.clearResourceTimings();
    const before = picture().src, started = performance.now();
    const look = async () => {{
        if (picture() && picture().src !== before) {{
            await picture().decode();
            const took = performance.now() - started;
            const sent = performance.getEntriesByType('resource').filter(one => one.name.includes('gradio_api'));
            resolve([took, sent.length, sent.length ? sent[0].duration : 0]);
        }} else requestAnimationFrame(look);
    }};
    set(value);
    slider.dispatchEvent(new Event('change', {{ bubbles: true }}));
    slider.dispatchEvent(new PointerEvent('pointerup', {{ bubbles: true }}));
    requestAnimationFrame(look);
}})"""
# How many different pictures a dragged slider showed.
DRAG = f"""seconds => new Promise(resolve => {{ {SET}
    const started = performance.now();
    let last = picture().src, shown = 0, step = 0;
    const move = () => {{
        if (picture() && picture().src !== last) {{ last = picture().src; shown += 1; }}
        if (performance.now() - started > 1000 * seconds) return resolve(shown);
        step += 1;
        set((2 * Math.sin(step / 40)).toFixed(1));
        requestAnimationFrame(move);
    }};
    requestAnimationFrame(move);
}})"""


@click.command()
@click.option("--moves", default=40, show_default=True, help="Releases of a slider.")
@click.option("--pictures", is_flag=True, help="Take the pictures of docs/page.md, and measure nothing.")
def main(moves: int, pictures: bool) -> None:
    """Measure the page, or take its pictures."""
    from playwright.sync_api import sync_playwright

    with served() as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        if pictures:
            take_pictures(browser, server.address)
            return
        result = measured(browser, server, moves)
    write_bytes(RESULTS, (json.dumps(result, indent=2) + "\n").encode())
    click.echo(json.dumps(result, indent=2))


@dataclass
class Served:
    """A page in a process of its own.

    Attributes:
        address: of the page.
        process: its server.
    """

    address: str
    process: subprocess.Popen[str]

    def processor_seconds(self) -> float:
        """The processor's time that the server has used."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


@contextmanager
def served() -> Iterator[Served]:
    """A page; closed afterwards."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield Served(server.stdout.readline().strip(), server)
    finally:
        server.stdin.close()
        server.wait(60)


def measured(browser: Any, server: Served, moves: int) -> dict[str, Any]:
    """All figures."""
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.jpg"
        with Image.open(demo_photo()) as opened:
            enlarged = opened.convert("RGB").resize((ENLARGED, ENLARGED), Image.Resampling.LANCZOS)
            enlarged.crop((LEFT, 0, LEFT + SIDE, SIDE)).save(large, quality=92)
        smile = {}
        for name, file in (("512 x 512 px", demo_photo()), ("12 megapixels", large)):
            page = opened_page(browser, server.address)
            page.wait_for_timeout(3000)  # the models that find faces are loaded
            smile[name] = round(to_a_smile(page, file), 2)
            if file != large:
                page.context.close()
        wait_until_done(page)
        values = np.resize(np.round(np.concatenate([np.arange(-2, 2, 0.1), np.arange(2, -2, -0.1)]), 1), moves + 3)
        for value in values[:3].tolist():  # to warm up
            page.evaluate(RELEASE, f"{value:g}")
        before = server.processor_seconds()
        answers = [page.evaluate(RELEASE, f"{value:g}") for value in values[3:].tolist()]
        processor = (server.processor_seconds() - before) / moves
        page.wait_for_timeout(1000)
        shown = page.evaluate(DRAG, DRAG_SECONDS)
        page.wait_for_timeout(1000)
        page.get_by_role("button", name="Files for researchers").click()
        page.wait_for_timeout(500)
        started = time.perf_counter()
        with page.expect_download() as waiting:
            page.click("#get-photo-png")
        size = Path(waiting.value.path()).stat().st_size
        png = time.perf_counter() - started
        page.context.close()
    times = [one[0] for one in answers]
    return {
        "seconds_from_drop_with_one_click_to_a_smile": smile,
        "release_ms": {
            "median": round(float(np.median(times)), 1),
            "fastest": round(min(times), 1),
            "nine_in_ten_below": round(float(np.quantile(times, 0.9)), 1),
            "moves": moves,
        },
        "server_processor_ms_per_release": round(1000 * processor, 1),
        "requests_per_release": round(float(np.mean([one[1] for one in answers])), 2),
        "of_which_the_servers_answer_ms": round(float(np.median([one[2] for one in answers])), 1),
        "pictures_a_second_while_dragging": round(shown / DRAG_SECONDS, 1),
        "png_of_12_megapixels": {"seconds": round(png, 2), "megabytes": round(size / 1e6, 1)},
        "load_average_before": load,
        "machine": describe(),
    }


def to_a_smile(page: Any, file: Path) -> float:
    """Seconds from the drop of a photo, with one click as soon as it is possible, to the smiling photo."""
    started = time.perf_counter()
    page.set_input_files("#photo input[type=file]", str(file))
    page.wait_for_function("document.querySelector('#quick-smile')?.disabled === false")
    before = page.get_attribute("#edited img", "src")
    page.click("#quick-smile")
    page.wait_for_function("before => document.querySelector('#edited img')?.src !== before", arg=before)
    page.evaluate("document.querySelector('#edited img').decode()")
    return time.perf_counter() - started


def take_pictures(browser: Any, address: str) -> None:
    """docs/images/page-*.png."""
    page = opened_page(browser, address)
    page.wait_for_timeout(1000)
    page.screenshot(path=IMAGES / "page-photo.png")
    to_a_smile(page, demo_photo())
    wait_until_done(page)
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)
    page.screenshot(path=IMAGES / "page-edit.png")
    page.context.close()
    page = opened_page(browser, address, width=390, height=800, color_scheme="dark")
    to_a_smile(page, demo_photo())
    wait_until_done(page)
    page.wait_for_timeout(1000)
    page.screenshot(path=IMAGES / "page-telephone.png")
    page.context.close()
    for path in IMAGES.glob("page-*.png"):
        with Image.open(path) as picture:
            whole = picture.convert("RGB")
        whole.save(path, optimize=True)


def opened_page(browser: Any, address: str, width: int = 1200, height: int = 900, **more: Any) -> Any:
    page = browser.new_context(viewport={"width": width, "height": height}, **more).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_selector("#photo input[type=file]", state="attached")
    return page


def wait_until_done(page: Any) -> None:
    page.wait_for_function("document.querySelector('#status')?.innerText.includes('Done')")


if __name__ == "__main__":
    main()
