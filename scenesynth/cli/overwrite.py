"""`render --overwrite`: delete a dataset, and nothing but a dataset."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from scenesynth.cli.app import plural
from scenesynth.pipeline.progress import format_bytes
from scenesynth.store.commit import list_commits
from scenesynth.store.layout import DATASET_FILE, n_scenes, read_info

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


def clear(root: Path, yes: bool) -> None:
    """Say what is in the dataset `root`, ask, and delete it; nothing where there is none.

    Raises:
        StoreError: a folder that holds something else.
    """
    if not (root / DATASET_FILE).exists():
        return
    info = read_info(root)
    n_bytes = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    click.echo(
        f"{root} holds {plural(n_scenes(root), 'scene')} of recipe {info.recipe.get('name')!r} "
        f"({', '.join(info.format_names)}, seed {info.seed}), "
        f"{plural(len(list_commits(root)), 'shard')} rendered, {format_bytes(n_bytes)}.",
        err=True,
    )
    if not yes:
        click.confirm("Delete it?", abort=True, err=True)
    for name in _OURS:
        path = root / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
