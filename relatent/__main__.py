"""The console script `relatent`, with the same commands as `python -m ...`; each is imported when it is called."""

from __future__ import annotations

import importlib

import click

COMMANDS = {  # name: (module, attribute, help text)
    "invert": ("inversion.project", "main", "Put photos of faces into the latent space of a generator."),
    "edit": ("editing.cli.edit", "edit_command", "Change inverted faces along directions."),
    "drag": ("editing.cli.drag", "drag_command", "Drag points of an inverted face."),
    "mix": ("editing.cli.mix", "mix_command", "Combine the layers of several faces."),
    "morph": ("editing.cli.mix", "morph_command", "Draw a video that goes from face to face."),
    "directions": ("editing.__main__", "directions", "List, learn, find and import directions."),
    "make-dataset": ("relatent.face.__main__", "make_dataset_command", "Align the faces of photos, to train on."),
    "train": ("stylegan.__main__", "train_command", "Train a generator on a zip file or folder of pictures."),
    "metrics": ("stylegan.__main__", "metrics_command", "Measure a generator against real pictures."),
    "tune": ("stylegan.__main__", "tune_command", "Search for a training recipe."),
    "weights": ("weights.__main__", "main", "Fetch, verify and convert networks."),
    "page": ("relatent.web.command", "main", "Open the page in a browser."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called, so that `relatent --help` is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(cls=LazyGroup)
@click.version_option(package_name="relatent")
def main() -> None:
    """Photos of faces in the latent space of StyleGAN generators: invert, edit, mix, and put back into the photo."""


if __name__ == "__main__":
    main()
