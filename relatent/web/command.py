"""The command that opens the page: `python app.py` and `relatent page`. Parsing and printing only."""

from __future__ import annotations

from pathlib import Path

import click

from relatent.core.command import PATH, RelatentCommand, device_option
from relatent.core.errors import UsageError
from relatent.web import Settings, build_page
from weights.embedded import DEFAULT_NETWORK


@click.command(cls=RelatentCommand)
@click.option("--network", default=DEFAULT_NETWORK, show_default=True, metavar="NAME_OR_FILE", help="The generator.")
@device_option
@click.option(
    "--threads", type=click.IntRange(min=1), default=None, help="Of one drawing.  [default: half of the cores]"
)
@click.option(
    "--directions",
    "folders",
    multiple=True,
    type=PATH,
    default=["directions"],
    show_default=True,
    help="A folder of further directions.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=None, help="[default: the first free one from 7860]")
@click.option("--auth", default=None, metavar="USER:PASS", help="Who may come in.  [default: whoever can reach it]")
@click.option("--root-path", default=None, metavar="PATH", help="The path below which a proxy serves the page.")
@click.option("--share", is_flag=True, help="Also a public address, through Gradio's servers.")
@click.option(
    "--max-queue", type=click.IntRange(min=1), default=16, show_default=True, help="Requests that may wait at once."
)
def main(
    network: str,
    device: str | None,
    threads: int | None,
    folders: tuple[Path, ...],
    port: int | None,
    auth: str | None,
    root_path: str | None,
    share: bool,
    max_queue: int,
) -> None:
    """Open the page: upload a photo, see the face found, inverted, changed and put back.

    It listens on 127.0.0.1 alone. Nothing leaves this machine unless --share is given.
    """
    who = parse_auth(auth)
    settings = Settings(network=network, device=device, folders=folders, threads=threads, max_queue=max_queue)
    page = build_page(settings)
    try:
        address = page.launch(port=port, share=share, auth=who, root_path=root_path, wait=False)
        click.echo(f"the page is at {address} (Ctrl-C stops it)")
        page.blocks.block_thread()
    finally:
        page.close()


def parse_auth(text: str | None) -> tuple[str, str] | None:
    """ "user:pass" as two; the password may hold colons.

    Raises:
        UsageError: something else.
    """
    if text is None:
        return None
    user, colon, password = text.partition(":")
    if not user or not colon or not password:
        raise UsageError("--auth came without a name or a password; expected USER:PASS.")
    return user, password
