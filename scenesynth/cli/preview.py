"""`scenesynth preview`: pictures and wavs of scenes of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scenesynth.cli.app import FAILED, Sectioned, option, plural, tell

if TYPE_CHECKING:
    from scenesynth.store.reader import Dataset

DEFAULT_SCENES = 3


@click.command(
    short_help="Show scenes as pictures and wavs.",
    cls=Sectioned,
    epilog="""\b
Examples:
  scenesynth preview out/first
  scenesynth preview out/first --scene 17
  scenesynth preview out/first --random 8 --seed 2 --out pictures/
""",
)
@click.argument("uri", metavar="URI")
@option(
    "Which scenes",
    "--scene",
    type=click.IntRange(min=0),
    metavar="I",
    help="The scene with this number, as in the column `index` of the manifest.",
)
@option(
    "Which scenes",
    "--random",
    "n_random",
    type=click.IntRange(min=1),
    metavar="K",
    help=f"K scenes drawn at random; {DEFAULT_SCENES} without --scene.",
)
@option(
    "Which scenes",
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    help="Seed of --random; another one draws other scenes.",
)
@option(
    "Output",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for pictures and wavs; if not given, `preview` inside the dataset, or "
    "./preview-NAME for a dataset in an object store.",
)
def preview(uri: str, scene: int | None, n_random: int | None, seed: int, out: Path | None) -> None:
    """Show scenes of the dataset URI as pictures and wav files.

    A picture holds the room in plan, to scale, with the listener's heading; waveforms and
    spectrogram; SNR and reverberation times as requested and as measured; and the labelled
    direction of every event as a band under the direction that is ESTIMATED FROM THE RENDERED
    AUDIO as points. The estimate uses onsets, where the direct sound comes before its
    reflections. Where noise or reverberation is strong, points are small and pale, and the
    picture says so. Of several formats the one that tells most of directions is shown: Ambisonics
    before microphones before ears. Of ears it is the lateral angle alone, so it stands in front
    and, as a ring, behind (docs/preview.md).

    A wav per format holds the audio as rendered, Ambisonics as AmbiX (W, Y, Z, X, ...), and
    ID.listen.wav two channels for headphones. Only where a peak is above full scale, one gain for
    all channels is applied, and said.

    This works on a dataset that is still being rendered, too: finished shards are shown.
    """
    from scenesynth.pipeline.formats import format_of
    from scenesynth.preview.files import write_preview
    from scenesynth.store.reader import open_dataset

    if scene is not None and n_random is not None:
        raise click.UsageError("--scene and --random: give one of the two")
    dataset = open_dataset(uri)
    if not len(dataset):
        tell(
            f"error: {uri}: none of its {plural(dataset.n_promised, 'scene')} is there yet; "
            f"finish or begin its `scenesynth render` command, and look again"
        )
        raise SystemExit(FAILED)
    folder = out or _default_folder(dataset)
    if scene is not None:
        numbers = [_number_of(dataset, scene)]
    else:
        numbers = _draw(len(dataset), n_random or DEFAULT_SCENES, seed)
    formats = {stored.name: format_of(stored) for stored in dataset.info.formats}
    for number in numbers:
        shown = dataset[number]
        written = write_preview(shown, folder, formats)
        click.echo(f"{shown.id}  {written.picture}")
        for line in written.lines:
            click.echo(f"  {line}")
    click.echo(
        f"{plural(len(numbers), 'picture')} with wav files in {folder}, of "
        f"{plural(len(dataset), 'rendered scene')}{_waiting(dataset)}"
    )


def _default_folder(dataset: Dataset) -> Path:
    if isinstance(dataset.root, Path):
        return dataset.root / "preview"
    return Path(f"preview-{dataset.root.rpartition('/')[2]}")


def _waiting(dataset: Dataset) -> str:
    missing = dataset.n_promised - len(dataset)
    return f" ({missing:,} more are not there yet or were left out)" if missing else ""


def _draw(n_scenes: int, wanted: int, seed: int) -> list[int]:
    """Different scene numbers, rising, the same for the same seed."""
    from scenesynth.seeds import rng

    order = rng(seed, "", "preview").units(n_scenes).argsort()
    return sorted(int(number) for number in order[:wanted])


def _number_of(dataset: Dataset, index: int) -> int:
    """Place of the scene `index` among the usable ones.

    Only the shard that holds it is read: the whole manifest may be large.
    """
    before = 0
    for at, commit in enumerate(dataset.commits):
        if index in dataset.excluded:
            raise click.UsageError(
                f"--scene {index}: it is excluded; take that back with `scenesynth exclude "
                f"{dataset.root} {index} --undo`"
            )
        n_usable = dataset.n_usable(at)
        if commit.first <= index < commit.stop and n_usable:
            # Skipped scenes can only move it towards the front.
            last = before + min(index - commit.first, n_usable - 1)
            for number in range(last, before - 1, -1):
                if dataset[number].row["index"] == index:
                    return number
            raise click.UsageError(
                f"--scene {index}: it was skipped when {dataset.root} was rendered, so it holds "
                f"silence; choose another"
            )
        before += n_usable
    if index < dataset.n_promised:
        raise click.UsageError(
            f"--scene {index}: not rendered yet; {len(dataset):,} of "
            f"{plural(dataset.n_promised, 'scene')} of {dataset.root} are"
        )
    raise click.UsageError(
        f"--scene {index}: {dataset.root} holds scenes 0 to {dataset.n_promised - 1}"
    )
