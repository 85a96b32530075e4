"""`scenesynth audit`: is a dataset what it should be?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scenesynth.cli.app import DONE, FAILED, Sectioned, option, plural, tell
from scenesynth.cli.live import Counter

if TYPE_CHECKING:
    from scenesynth.audit.actions import Action
    from scenesynth.audit.records import Audit, Check
    from scenesynth.corpus.corpora import Corpora

_WHAT, _CLIPS, _OUTPUT = "What to look at", "Clips", "Output"
_SHOWN = 3


@click.command(
    short_help="Check sounds, labels, splits and distributions of a dataset.",
    cls=Sectioned,
    epilog="""\b
Examples:
  scenesynth audit out/mine                       512 scenes; report in ./audit-mine
  scenesynth audit out/mine --sources clips/ --noise ambience/
  scenesynth audit out/mine --full --workers 8    every scene, every byte
  scenesynth audit out/a --compare out/b          what a change of recipe did
  scenesynth audit out/mine --json | jq .failed
\b
Exit codes: 0 no check failed; 1 some did, and are named; 2 not a dataset, or nothing in it.
""",
)
@click.argument("uri", metavar="URI")
@option(
    _WHAT,
    "--sample",
    type=click.IntRange(min=1),
    default=512,
    metavar="N",
    help="Scenes whose rows and audio are looked at, of as many shards as possible.",
)
@option(
    _WHAT,
    "--full",
    is_flag=True,
    help="Look at all scenes, render all again whose clips are at hand, and read every byte.",
)
@option(
    _WHAT,
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    help="Seed of the choice; another one takes other scenes.",
)
@option(
    _WHAT,
    "--compare",
    "other",
    metavar="OTHER",
    help="Audit that dataset, too, and show what is different in it.",
)
@option(
    _CLIPS,
    "--sources",
    multiple=True,
    metavar="[NAME=]PATH",
    help="As given to `scenesynth render` for this dataset; built-in clips if not given. Without "
    "the dataset's own clips, what depends on them is left out.",
)
@option(_CLIPS, "--noise", multiple=True, metavar="[NAME=]PATH", help="Likewise.")
@option(
    _OUTPUT,
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for the report and the lists of what failed; ./audit-NAME if not given.",
)
@option(
    _OUTPUT,
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes that listen; one per core if not given.",
)
@option(_OUTPUT, "--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def audit(
    uri: str,
    sample: int,
    full: bool,
    seed: int,
    other: str | None,
    sources: tuple[str, ...],
    noise: tuple[str, ...],
    out: Path | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Check whether the dataset URI is what its recipe says, and whether its labels are true.

    Files and hashes, rows against specs, requested against achieved SNR and T60, audio against
    labels, rooms, clips and heads in two splits, classes, distributions, licences. The report is a
    page with plots; failing scenes, clips and files are written as lists that other commands take.
    A dataset that is still being rendered can be audited, too.
    """
    from scenesynth.audit.actions import REPORT, check_folder, plain, write_actions
    from scenesynth.audit.page import write_report
    from scenesynth.audit.run import run_audit
    from scenesynth.corpus.threads import available_cores

    folder = out or Path(f"audit-{_name(uri)}")
    audits: list[Audit] = []
    with Counter() as progress:
        corpora = _corpora(sources, noise, progress)
        for one in [uri, *([] if other is None else [other])]:
            audits.append(
                run_audit(
                    one,
                    sample=sample,
                    full=full,
                    seed=seed,
                    corpora=corpora,
                    processes=workers or available_cores(),
                    on_progress=progress,
                    before=None if audits else lambda: check_folder(folder),
                )
            )
    first, *others = audits
    more = _compared(first, others)
    actions = write_actions(folder, first, more)
    report = folder / REPORT
    write_report(report, first, others[0] if others else None, actions)
    if as_json:
        click.echo(json.dumps({**plain(first), **more}))
    else:
        for each in audits:
            _tell(each)
        _tell_comparison(first, others)
        _tell_files(report, actions)
    if failed := [check.name for each in audits for check in each.failed]:
        tell(f"failed: {', '.join(dict.fromkeys(failed))}")
    raise SystemExit(FAILED if failed else DONE)


def _corpora(sources: Sequence[str], noise: Sequence[str], progress: Counter) -> Corpora | None:
    if not (sources or noise):
        return None
    from scenesynth.corpus.corpora import Corpora

    return Corpora.open(sources, noise, progress=progress)


def _name(uri: str) -> str:
    name = uri.rstrip("/").rpartition("/")[2]
    return name if name.strip(".") else Path(uri).resolve().name


def _compared(first: Audit, others: Sequence[Audit]) -> dict[str, Any]:
    """What the JSON says of a comparison."""
    from scenesynth.audit.actions import plain
    from scenesynth.audit.compare import compare

    if not others:
        return {}
    (other,) = others
    return {"compared_with": plain(other), "comparison": compare(first, other).plain()}


def _tell(audit: Audit) -> None:
    looked = f"{plural(len(audit.scenes), 'scene')} of {audit.n_scenes:,} looked at"
    click.echo(f"{audit.uri}: {looked}{', still being rendered' if audit.running else ''}")
    width = max(len(check.name) for check in audit.checks)
    for check in audit.checks:
        click.echo(f"  {check.status:<7} {check.name:<{width}}  {check.summary}")
        lines = list(_news(check)) if check.status == "failed" else []
        for line in lines[:_SHOWN]:
            click.echo(f"  {'':<7} {'':<{width}}    {line}")
        if (more := len(lines) - _SHOWN) > 0:
            click.echo(f"  {'':<7} {'':<{width}}    and {more:,} more in report.json")


def _news(check: Check) -> Iterator[str]:
    """Findings of a check, but for those that its summary holds already."""
    for finding in check.findings:
        where = finding.scene or finding.key
        line = f"{where}: {finding.what}" if where else finding.what
        if line not in check.summary:
            yield line


def _tell_comparison(first: Audit, others: Sequence[Audit]) -> None:
    from scenesynth.audit.compare import compare

    for other in others:
        for line in compare(first, other).lines():
            click.echo(line)


def _tell_files(report: Path, actions: Sequence[Action]) -> None:
    click.echo(f"report: {report}")
    for action in actions:
        click.echo(f"{action.path} ({plural(action.count, 'line')}):")
        for command in action.commands:
            click.echo(f"  {command}")
