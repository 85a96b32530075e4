"""The command line: one function of the library per command.

Each command imports what it needs inside itself, so that `--help` answers at once. Only click is
imported here.
"""

from __future__ import annotations

import click

from scenesynth.cli.app import Commands
from scenesynth.cli.audit import audit
from scenesynth.cli.bench import bench
from scenesynth.cli.corpus import corpus
from scenesynth.cli.exclude import exclude
from scenesynth.cli.export import export
from scenesynth.cli.finalize import finalize
from scenesynth.cli.hrtf import hrtf
from scenesynth.cli.merge import merge
from scenesynth.cli.preview import preview
from scenesynth.cli.recipe import recipe
from scenesynth.cli.render import render
from scenesynth.cli.rooms import rooms
from scenesynth.cli.train import train
from scenesynth.cli.verify import verify


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from scenesynth import __version__

        click.echo(f"scenesynth {__version__}")
        context.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  scenesynth render --format foa --hours 0.05 --out out/first
  scenesynth preview out/first
  scenesynth render --format foa --hours 1 --sources clips/ --noise ambience/ --out out/mine

`scenesynth COMMAND --help` explains a command. Exit codes: 0 done; 1 the work failed; 2 a wrong
command, nothing was begun; 75 stopped in good order, the same command goes on. With
SCENESYNTH_DEBUG=1 an error comes with its traceback.
""",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Render simulated sound scenes with labels that can be trusted.

    A scene is a room with sources and noise, heard through a microphone. Scenes are drawn from a
    recipe, rendered from dry clips (or from built-in ones, so nothing needs to be downloaded), and
    written as a dataset: audio as Zarr, labels as tables.
    """


for _command in (
    *(render, preview, corpus, recipe, rooms, hrtf, bench),
    *(audit, verify, exclude, finalize, merge),
    *(train, export),
):
    main.add_command(_command)
