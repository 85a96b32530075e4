"""`render --overwrite`: delete a dataset, and nothing but a dataset."""

from __future__ import annotations

import click

from scenesynth.cli.app import plural
from scenesynth.pipeline.progress import format_bytes
from scenesynth.store.commit import list_commits
from scenesynth.store.layout import DATASET_FILE, has_info, n_scenes, read_info
from scenesynth.store.places import Root, place_of

# The identity goes last: an interrupted deletion leaves a dataset that can be deleted again.
_OURS = (
    "commits",
    "data.zarr",
    "tables",
    "failures",
    "exclude",
    "logs",
    "preview",
    "manifest.parquet",
    "manifest_events.parquet",
    "selection",
    "extents",
    DATASET_FILE,
)


def clear(root: Root, yes: bool) -> None:
    """Say what is in the dataset `root`, ask, and delete it; nothing where there is none.

    Raises:
        StoreError: a folder that holds something else.
    """
    place = place_of(root)
    if not has_info(place):
        return
    info = read_info(place)
    click.echo(
        f"{place} holds {plural(n_scenes(place), 'scene')} of recipe {info.recipe.get('name')!r} "
        f"({', '.join(info.format_names)}, seed {info.seed}), "
        f"{plural(len(list_commits(place)), 'shard')} rendered, "
        f"{format_bytes(place.total_size())}.",
        err=True,
    )
    if not yes:
        click.confirm("Delete it?", abort=True, err=True)
    place.remove(_OURS)
