"""The command line of `python -m editing`: collects the commands, knows none of them."""

from __future__ import annotations

import click

from editing.directions_command import directions
from editing.edit_command import edit_command
from editing.import_command import import_command
from editing.mix_command import mix_command, morph_command


@click.group()
def main() -> None:
    """Change inverted faces: along directions, by mixing, over time."""


directions.add_command(import_command)
for command in (edit_command, mix_command, morph_command, directions):
    main.add_command(command)

if __name__ == "__main__":
    main()
