"""`scenesynth finalize`: the tables of a dataset in one file each."""

from __future__ import annotations

import click

from scenesynth.cli.app import plural


@click.command(
    short_help="Merge the tables of a dataset into one file each.",
    epilog="""\b
Example:
  scenesynth finalize out/mine
""",
)
@click.argument("uri", metavar="URI")
def finalize(uri: str) -> None:
    """Write manifest.parquet and manifest_events.parquet of the dataset URI.

    They hold the rows of all shards that are rendered, without excluded scenes. They are caches: a
    reader opens large datasets faster with them, uses them only while they fit what is committed,
    and loses nothing without them. After more was rendered or excluded, give the command again.
    A manifest.parquet is enough to render its scenes again: scenesynth render --from.
    """
    from scenesynth.pipeline.progress import format_bytes
    from scenesynth.store.manifest import MANIFESTS
    from scenesynth.store.manifest import finalize as write
    from scenesynth.store.reader import open_dataset

    dataset = open_dataset(uri)
    if dataset.n_promised > sum(commit.stop - commit.first for commit in dataset.commits):
        click.echo(
            f"{uri}: not all of its {dataset.n_promised:,} scenes are rendered yet; writing the "
            f"tables of those that are",
            err=True,
        )
    done = write(dataset)
    click.echo(
        f"{plural(done.rows['scenes'], 'scene')} and {plural(done.rows['events'], 'event')} of "
        f"{plural(done.shards, 'shard')} in {dataset.place.locate(MANIFESTS['scenes'])} and "
        f"{MANIFESTS['events']}, {format_bytes(done.n_bytes)}"
    )
