"""`scenesynth corpus`: look at, check and pack collections of clips."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scenesynth.cli.app import DONE, FAILED, Sectioned, counted, option, plural, span, table
from scenesynth.cli.live import Counter

if TYPE_CHECKING:
    from scenesynth.corpus.clips import Rejected
    from scenesynth.corpus.corpora import Corpus

_PATH = click.Path(path_type=Path)
SHOWN_REJECTED = 5


@click.group(
    short_help="Look at, check and pack clips.",
    epilog="""\b
Examples:
  scenesynth corpus index clips/
  scenesynth corpus check clips/
  scenesynth corpus pack clips/ --sample-rate 32000 --out packed/clips
""",
)
def corpus() -> None:
    """Look at, check and pack collections of dry clips.

    A corpus is a folder of audio files (wav, flac, ogg; any rate; labels from sub-folders), a
    clips.csv, a folder that holds one, or a packed corpus. `render` indexes and packs by itself;
    these commands do it beforehand and show what is there.

    The columns of a clips.csv: path is required; id, labels (separated by ; or |), split, group
    (a speaker or uploader, which never appears in two splits), licence, attribution, url and
    caption may be there.
    """


@corpus.command(
    short_help="Index clips and say what is there.",
    cls=Sectioned,
    epilog="""\b
Examples:
  scenesynth corpus index clips/
  scenesynth corpus index clips/clips.csv
""",
)
@click.argument("path", type=_PATH)
def index(path: Path) -> None:
    """Index the clips of PATH and say what is there.

    Duration, rate, level, active region and digest of every clip are measured once and kept in
    the cache; the next run looks at new and changed files only.
    """
    _describe(_open(path), path)


@corpus.command(
    short_help="Decode every clip and list the unusable ones.",
    cls=Sectioned,
    epilog="""\b
Examples:
  scenesynth corpus check clips/
  scenesynth corpus check clips/ && scenesynth render --sources clips/ --hours 1 --out out/mine
""",
)
@click.argument("path", type=_PATH)
def check(path: Path) -> None:
    """Decode every clip of PATH anew and list those that cannot be used, with the reason.

    Warnings are about clips that can be used but look wrong: clipped, very quiet, copies of another
    clip. Exit code 0 where all clips can be used, else 1. Rendering does not mind unusable clips:
    it leaves them out.
    """
    from scenesynth.corpus.check import check as check_clips

    with Counter() as progress:
        found = check_clips(path, progress=progress)
    for name in found.damaged:
        click.echo(f"{path / name}: damaged; its bytes are not those that were packed")
    for item in found.rejected:
        click.echo(f"{item.path}: {item.reason}")
    for doubt in found.warnings:
        click.echo(f"{doubt.id}: warning: {doubt.warning}")
    warned = f"; {plural(len(found.warnings), 'warning')}" if found.warnings else ""
    click.echo(
        f"{path}: {plural(len(found.clips), 'clip')} can be used, "
        f"{len(found.rejected):,} cannot{warned}"
    )
    raise SystemExit(DONE if found.passed else FAILED)


@corpus.command(
    short_help="Decode and resample clips once.",
    cls=Sectioned,
    epilog="""\b
Examples:
  scenesynth corpus pack clips/ --sample-rate 32000 --out packed/clips
  scenesynth render --sources packed/clips --hours 10 --out out/mine
""",
)
@click.argument("path", type=_PATH)
@option(
    "Output",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for the packed corpus.",
)
@option(
    "Output",
    "--sample-rate",
    type=click.IntRange(min=1000),
    default=32000,
    metavar="HZ",
    help="Rate of the packed samples; scenes are rendered from it at this rate only.",
)
@option(
    "Work",
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads that decode; one per core if not given.",
)
def pack(path: Path, out: Path, sample_rate: int, workers: int | None) -> None:
    """Decode and resample the clips of PATH once, into one folder that needs no decoder.

    A packed corpus holds int16 samples, labels and licences, can be moved anywhere, and gives the
    same scenes as the original clips. Packing that was stopped goes on with the same command.
    """
    from scenesynth.corpus.corpora import pack as pack_corpus
    from scenesynth.corpus.packed import packed_bytes
    from scenesynth.pipeline.progress import format_bytes

    opened = _open(path)
    with Counter() as progress:
        packed = pack_corpus(opened, out, sample_rate, progress=progress, workers=workers)
    click.echo(
        f"{out}: packed {plural(len(packed.clips), 'clip')} at {sample_rate} Hz, "
        f"{format_bytes(packed_bytes(packed.clips, sample_rate))}"
    )
    _list_rejected([*opened.rejected, *packed.rejected], SHOWN_REJECTED, path)
    click.echo(f"use it: scenesynth render --sources {out} --sample-rate {sample_rate} ...")


def _open(path: Path) -> Corpus:
    from scenesynth.corpus.corpora import Corpus
    from scenesynth.corpus.place import open_place

    with Counter() as progress:
        return Corpus(path.name or str(path), {"": open_place(path, progress=progress)})


def _describe(opened: Corpus, path: Path) -> None:
    clips = opened.clips
    total_s = sum(clip.duration_s for clip in clips)
    rates: dict[str, int] = {}
    for clip in clips:
        rates[f"{clip.sample_rate} Hz"] = rates.get(f"{clip.sample_rate} Hz", 0) + 1
    splits: dict[str, int] = {}
    for clip in clips:
        splits[clip.split or ""] = splits.get(clip.split or "", 0) + 1
    lengths = sorted(clip.duration_s for clip in clips)
    click.echo(f"{path}: {plural(len(clips), 'usable clip')}, {span(total_s)}")
    click.echo(
        table(
            [
                ("classes", _classes(opened.classes)),
                ("groups", f"{len({clip.group for clip in clips}):,}"),
                (
                    "length",
                    f"{span(lengths[0])} to {span(lengths[-1])}, "
                    f"median {span(lengths[len(lengths) // 2])}",
                ),
                ("rates", counted(rates)),
                ("splits", counted(splits, unnamed="left to the recipe")),
                ("licences", counted(dict(opened.licences))),
            ]
        )
    )
    _list_rejected(opened.rejected, SHOWN_REJECTED, path)


def _classes(classes: Mapping[str, int]) -> str:
    n_named = sum(name != "" for name in classes)
    return f"{n_named}: {counted(dict(classes), unnamed='without a label')}"


def _list_rejected(rejected: list[Rejected] | tuple[Rejected, ...], limit: int, path: Path) -> None:
    if not rejected:
        return
    click.echo(f"  {plural(len(rejected), 'file')} left out:")
    for item in rejected[:limit]:
        click.echo(f"    {item.path}: {item.reason}")
    if len(rejected) > limit:
        click.echo(
            f"    and {len(rejected) - limit:,} more; `scenesynth corpus check {path}` lists all"
        )
