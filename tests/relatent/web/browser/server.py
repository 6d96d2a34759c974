"""A page in a process of its own, as a visitor meets it. Prints its address, and serves until it is stopped."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from relatent.web import Settings, build_page
from relatent.web.uploads import Limits


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--upload-bytes", type=int, default=Limits().upload_bytes)
    parser.add_argument("--pixels", type=int, default=Limits().pixels)
    parser.add_argument("--leave-seconds", type=float, default=120.0)
    parser.add_argument("--max-queue", type=int, default=16)
    chosen = parser.parse_args()
    limits = Limits(upload_bytes=chosen.upload_bytes, pixels=chosen.pixels)
    page = build_page(Settings(limits=limits, leave_seconds=chosen.leave_seconds, max_queue=chosen.max_queue))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        print(page.launch(wait=False), page.folder, flush=True)  # noqa: T201 - the parent waits for this line
        while True:
            time.sleep(1)
    finally:
        page.close()


if __name__ == "__main__":
    main()
