"""`scenesynth exclude`: drop scenes from a dataset, or take that back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scenesynth.cli.app import Sectioned, option, plural

if TYPE_CHECKING:
    from scenesynth.store.reader import Dataset


@click.command(
    short_help="Drop scenes from a dataset, or take that back.",
    cls=Sectioned,
    epilog="""\b
Examples:
  scenesynth exclude out/mine train-00000017 train-00000240 --reason "clip is mislabelled"
  scenesynth exclude out/mine 100-163          by number, as in the column `index`
  scenesynth exclude out/mine --file bad.csv   .txt with an id a line; .csv, .parquet: column `id`
  scenesynth exclude out/mine train-00000240 --undo
  scenesynth exclude out/mine                  lists what is excluded, and why
""",
)
@click.argument("uri", metavar="URI")
@click.argument("ids", nargs=-1, metavar="[IDS]...")
@option("Which scenes", "--file", multiple=True, metavar="FILE", help="A file of ids; repeats.")
@option("What is done", "--reason", default="", metavar="TEXT", help="Kept with the list.")
@option("What is done", "--undo", is_flag=True, help="Take the scenes back in.")
def exclude(uri: str, ids: tuple[str, ...], file: tuple[str, ...], reason: str, undo: bool) -> None:
    """Drop scenes IDS of the dataset URI: its data stays, but readers leave them out.

    Each call adds a list to the folder `exclude/` of the dataset; none is ever changed, and of the
    lists that name a scene the last one counts. `open_dataset`, `render --from` and `finalize` go
    by them; open_dataset(..., excluded=True) shows the scenes nevertheless.
    """
    from scenesynth.store.exclude import ExcludeList, add_list
    from scenesynth.store.reader import open_dataset
    from scenesynth.store.scene_ids import find_scenes, read_ids

    dataset = open_dataset(uri)
    given = [*ids, *file]
    if not given:
        _show(dataset)
        return
    found = find_scenes(dataset, read_ids(given), "scene")
    done = {n: name for n, name in found.items() if (n in dataset.excluded) == undo}
    word = "taken back in" if undo else "excluded"
    if len(found) > len(done):
        click.echo(f"{plural(len(found) - len(done), 'scene')} already {word}", err=True)
    if done:
        item = ExcludeList(action="include" if undo else "exclude", scenes=done, reason=reason)
        key = add_list(dataset.place, item)
        left = len(open_dataset(uri))
        click.echo(f"{plural(len(done), 'scene')} {word} ({key}); readers see {left:,} now")


def _show(dataset: Dataset) -> None:
    from scenesynth.store.exclude import read_lists

    reasons: dict[int, str] = {}
    for item in read_lists(dataset.place):
        reasons |= dict.fromkeys(item.scenes, item.reason)
    for number, name in dataset.excluded.items():
        click.echo(f"{name}  {reasons[number]}".rstrip())
    if not dataset.excluded:
        click.echo(f"{dataset.place}: no scene is excluded", err=True)
