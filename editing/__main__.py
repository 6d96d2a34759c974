"""The command line of `python -m editing`; its commands are defined in editing/cli/."""

from __future__ import annotations

import click

from editing.cli.directions import directions
from editing.cli.drag import drag_command
from editing.cli.edit import edit_command
from editing.cli.import_direction import import_command
from editing.cli.mix import mix_command, morph_command


@click.group()
def main() -> None:
    """Edit inverted faces along directions, drag their points, mix their styles, and make morph videos."""


directions.add_command(import_command)
for command in (edit_command, drag_command, mix_command, morph_command, directions):
    main.add_command(command)

if __name__ == "__main__":
    main()
