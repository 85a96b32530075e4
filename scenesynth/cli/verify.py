"""`scenesynth verify`: is a dataset what it says it is?"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from scenesynth.cli.app import DONE, FAILED, Sectioned, option, plural, tell
from scenesynth.cli.live import Counter

if TYPE_CHECKING:
    from scenesynth.corpus.corpora import Corpora
    from scenesynth.pipeline.recheck import Rechecked
    from scenesynth.store.layout import DatasetInfo
    from scenesynth.store.places import Address
    from scenesynth.store.verify import Verified

_DEPTH, _CLIPS, _OUTCOME = "How deep to look", "Clips, for --sample", "What to do"


@click.command(
    short_help="Check a dataset, repair it, render samples of it again.",
    cls=Sectioned,
    epilog="""\b
Examples:
  scenesynth verify out/mine                    presence and size of every file: seconds
  scenesynth verify out/mine --deep             every byte, against hashes and checksums
  scenesynth verify out/mine --deep --repair    and takes damaged shards away, to be made anew
  scenesynth verify out/mine --sample 8 --sources clips/ --noise ambience/
      Renders eight scenes again: the same spec? the same bytes? within -80 dB?
\b
Exit codes: 0 all is well; 1 something is not, each named; 2 not a dataset.
""",
)
@click.argument("uri", metavar="URI")
@option(
    _DEPTH,
    "--deep",
    is_flag=True,
    help="Read all files: their hashes, the checksum of every chunk and page, and whether tables "
    "and gains are of the scenes that they should be of.",
)
@option(
    _DEPTH,
    "--sample",
    type=click.IntRange(min=1),
    metavar="K",
    help="Also render K scenes again, drawn at random, and compare.",
)
@option(
    _DEPTH,
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    help="Seed of --sample; another one draws other scenes.",
)
@option(
    _CLIPS,
    "--sources",
    multiple=True,
    metavar="[NAME=]PATH",
    help="As given to `scenesynth render` for this dataset; built-in clips if not given.",
)
@option(_CLIPS, "--noise", multiple=True, metavar="[NAME=]PATH", help="Likewise.")
@option(
    _OUTCOME,
    "--repair",
    is_flag=True,
    help="Delete commit and files of damaged shards, after asking, and nothing else; the "
    "`scenesynth render` command of the dataset then makes them again, with the same bytes.",
)
@option(_OUTCOME, "--yes", is_flag=True, help="Answer yes to questions.")
@option(_OUTCOME, "--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def verify(
    uri: str,
    deep: bool,
    sample: int | None,
    seed: int,
    sources: tuple[str, ...],
    noise: tuple[str, ...],
    repair: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Check that the dataset URI is whole, and is what it says it is.

    Looked at are the identity, the extents, every commit and the files it names, the Zarr
    metadata, and whether there is anything else in the folder. A dataset that is still being
    rendered can be checked, too.
    """
    from scenesynth.store.places import address_of
    from scenesynth.store.verify import verify as look

    root = address_of(uri)
    found = look(root, deep=deep)
    rechecked: list[Rechecked] = []
    told: dict[str, Any] = {}
    if sample is not None:
        rechecked, told = _sample(root, found, sample, seed, sources, noise)
    bad = told.get("sample_findings", [])
    if as_json:
        click.echo(json.dumps(_plain(found, rechecked) | told))
    else:
        _tell(root, found, rechecked, told)
    if repair and found.repairable:
        _repair(root, found, yes, as_json)
    raise SystemExit(FAILED if found.findings or bad else DONE)


def _sample(
    root: Address,
    found: Verified,
    count: int,
    seed: int,
    sources: Sequence[str],
    noise: Sequence[str],
) -> tuple[list[Rechecked], dict[str, Any]]:
    """Scenes rendered again, and what they come to; nothing where there are findings before."""
    if found.findings:
        tell("not rendering samples: see to the findings first")
        return [], {}
    from scenesynth.corpus.corpora import Corpora
    from scenesynth.pipeline.recheck import other_clips, recheck
    from scenesynth.render.compile import ensure_compiled
    from scenesynth.store.reader import open_dataset

    dataset = open_dataset(root)
    with Counter() as progress:
        corpora = Corpora.open(sources, noise, progress=progress)
    _check_clips(dataset.info, corpora, sources, noise)
    ensure_compiled(tell)
    rechecked = list(recheck(dataset, corpora, count, seed=seed))
    return rechecked, _told(dataset.info, rechecked, other_clips(dataset.info, corpora))


def _check_clips(
    info: DatasetInfo, corpora: Corpora, sources: Sequence[str], noise: Sequence[str]
) -> None:
    """Refuse to render without the clips; other versions of them are the verdict's to name."""
    from scenesynth.errors import ConfigError
    from scenesynth.pipeline.recheck import other_clips

    others = other_clips(info, corpora)
    not_given = {
        name: why
        for name, why in others.items()
        if name not in corpora or not (noise if name == "noise" else sources)
    }
    if not_given:
        wanted = "; ".join(f"corpus {name} {why}" for name, why in not_given.items())
        options = [
            f"--{name} PATH" if name in ("sources", "noise") else f"--sources {name}=PATH"
            for name in not_given
        ]
        raise ConfigError(
            f"--sample: {wanted}. Give {' and '.join(options)} as in the "
            f"`scenesynth render` command of this dataset"
        )


def _told(
    info: DatasetInfo, rechecked: Sequence[Rechecked], clips: Mapping[str, str]
) -> dict[str, Any]:
    """Verdict on scenes that were rendered again, what it rests on, and each finding."""
    from dataclasses import asdict

    from scenesynth.pipeline.recheck import environment_differences, findings_of, verdict_of

    verdict = verdict_of(rechecked, info, clips)
    return {
        "verdict": verdict.outcome,
        "verdict_text": verdict.text,
        "counts": {
            "scenes": len(rechecked),
            "spec_equal": sum(item.spec_equal for item in rechecked),
            "bytes_equal": sum(item.bytes_equal for item in rechecked),
            "within_tolerance": sum(item.within_tolerance for item in rechecked),
        },
        "other_clips": dict(clips),
        "environment_differences": [asdict(item) for item in environment_differences(info)],
        "sample_findings": findings_of(rechecked, info),
    }


def _tell(
    root: Address, found: Verified, rechecked: Sequence[Rechecked], told: Mapping[str, Any]
) -> None:
    from scenesynth.pipeline.progress import format_bytes

    bad = told.get("sample_findings", [])
    for line in [*found.findings, *bad]:
        click.echo(f"  {line}")
    checked = (
        f"{plural(found.shards, 'shard')} of {found.promised_shards:,}, "
        f"{format_bytes(found.n_bytes)}, "
        + ("every byte read" if found.read_bytes else "presence and sizes; --deep reads them")
    )
    if found.parked:
        checked += f"; {found.parked:,} parked"
    if found.leftovers:
        checked += f"; {plural(found.leftovers, 'file')} of shards that are not finished"
    click.echo(f"{root}: {checked}")
    if rechecked:
        counts = told["counts"]
        where = "another" if told["environment_differences"] else "the recorded"
        click.echo(
            f"rendered {plural(counts['scenes'], 'scene')} again, in {where} environment: "
            f"{counts['spec_equal']} with the same spec, "
            f"{counts['bytes_equal']} with the same bytes, "
            f"{counts['within_tolerance']} within -80 dB"
        )
        click.echo(f"verdict: {told['verdict_text']}")
    n_bad = len(found.findings) + len(bad)
    click.echo(f"{plural(n_bad, 'finding')}" if n_bad else "all is well")
    if found.damaged_shards:
        click.echo(
            f"{plural(len(found.damaged_shards), 'shard')} can be made again: scenesynth verify "
            f"{root} --deep --repair, then the `scenesynth render` command of this dataset"
        )


def _plain(found: Verified, rechecked: Sequence[Rechecked]) -> dict[str, Any]:
    counts = ("shards", "parked", "promised_shards", "n_bytes", "read_bytes", "leftovers")
    return {
        **{name: getattr(found, name) for name in counts},
        "findings": [{"file": f.key, "shard": f.shard, "why": f.why} for f in found.findings],
        "damaged_shards": list(found.damaged_shards),
        "samples": [
            {
                "scene": item.scene,
                "spec_equal": item.spec_equal,
                "bytes_equal": item.bytes_equal,
                "within_tolerance": item.within_tolerance,
                "difference_db": item.worst_db if math.isfinite(item.worst_db) else None,
                "why": item.why,
            }
            for item in rechecked
        ],
        "sample_findings": [],
    }


def _repair(root: Address, found: Verified, yes: bool, quiet: bool) -> None:
    from scenesynth.store.verify import repair

    shards = found.damaged_shards
    if shards and not yes:
        names = ", ".join(map(str, shards[:8])) + (", ..." if len(shards) > 8 else "")
        click.confirm(
            f"Delete commit and files of {plural(len(shards), 'damaged shard')} ({names})?",
            abort=True,
            err=True,
        )
    gone = repair(root, found)
    if not quiet:
        click.echo(
            f"{plural(len(gone), 'file')} deleted; give the `scenesynth render` command of this "
            f"dataset again"
            if gone
            else "Zarr metadata written anew"
        )
