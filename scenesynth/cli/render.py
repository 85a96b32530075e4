"""`scenesynth render`: from a recipe and clips to a dataset on disk."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from scenesynth.cli.app import DONE, DRAINED, FAILED, Sectioned, option, pairs, plural, tell
from scenesynth.cli.live import Counter

if TYPE_CHECKING:
    from scenesynth.pipeline.plan import Plan
    from scenesynth.scene.recipe_records import Recipe

_HOW_MUCH, _SCENES, _CLIPS = "How much", "What the scenes are", "Clips"
_AGAIN = "Scenes again"
_OUTPUT, _WORK = "Output", "How the work is done"
_EXIT_CODES = {"done": DONE, "failed": FAILED, "drained": DRAINED}

# Starting Ray and its workers takes about as long as rendering this many shards in one process.
_FEWEST_SHARDS_FOR_RAY = 4


@click.command(
    short_help="Render scenes into a dataset.",
    cls=Sectioned,
    epilog="""\b
Examples:
  scenesynth render --format foa --hours 0.05 --out out/first
      Three minutes of first-order Ambisonics from built-in clips: needs no data at all.
\b
  scenesynth render --format foa,mono --scenes 1000 --sources clips/ --noise ambience/ --out out/a
      Your own clips; Ambisonics and mono of the same scenes side by side.
\b
  scenesynth render --recipe everyday --set noise.snr_db=10 --hours 1 --dry-run --out out/b
      What would be made, how large it is and how long it takes, without making it.
\b
  scenesynth render --from out/a --format binaural --out out/ears
  scenesynth render --from out/a --only bad.txt --set noise.snr_db=5 --out out/c
      The scenes of a dataset again: in another format; some of them, with another ratio.
\b
The same command again goes on where the last one stopped; more --hours or --scenes extend a
finished dataset. Exit codes: 0 done; 1 some shards could not be rendered; 2 a wrong command;
75 stopped in good order by SIGINT, SIGTERM or SIGUSR1, to be gone on with.
""",
)
@option(
    _HOW_MUCH,
    "--hours",
    type=float,
    metavar="H",
    help="Hours of audio; rounded up to whole shards.",
)
@option(
    _HOW_MUCH,
    "--scenes",
    type=int,
    metavar="N",
    help="Number of scenes, in place of --hours; rounded up to whole shards.",
)
@option(
    _SCENES,
    "--format",
    "formats",
    default="foa",
    metavar="NAMES",
    help="Output formats, separated by commas, all of the same scenes: mono; foa (W, Y, Z, X in "
    "AmbiX convention); hoa1 to hoa7; binaural; mic (four capsules on a rigid sphere of 4.2 cm, as "
    "DCASE and STARSS), mic:em32, mic:FILE.yaml (docs/arrays.md).",
)
@option(
    _SCENES,
    "--stems",
    metavar="NAMES",
    help="Parts of each scene beside it, in every format, separated by commas: direct, early (the "
    "next 50 ms) and late sound of each target and interferer, and noise, which add up to the "
    "audio; dry, what each of them plays, before the room; or all. None if not given. Each of "
    "the first three is as large as the audio times the most emitters (docs/store.md).",
)
@option(
    _SCENES,
    "--recipe",
    default="gram",
    metavar="NAME|FILE",
    help="Distribution of scenes: a name from `scenesynth recipe list`, or a YAML file.",
)
@option(
    _SCENES,
    "--set",
    "changes",
    multiple=True,
    metavar="A.B=V",
    help="Change one value of the recipe, such as noise.snr_db=10 or "
    "'noise.snr_db={uniform: [0, 20]}'; repeats.",
)
@option(_SCENES, "--sample-rate", type=int, metavar="HZ", help="Short for --set sample_rate=HZ.")
@option(_SCENES, "--duration", type=float, metavar="S", help="Short for --set duration_s=S.")
@option(
    _SCENES,
    "--rir",
    type=click.Choice(["full", "tail"]),
    help="Short for --set mode=...: every image source to the end of a response, or a statistical "
    "tail after the first 80 ms.",
)
@option(
    _SCENES,
    "--split",
    default="train",
    metavar="train|valid|test|all",
    help="Which rooms and clips to use; splits share none. `all` mixes splits, each shard of "
    "one split.",
)
@option(
    _SCENES,
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Root of all random numbers: the same seed gives the same bytes.",
)
@option(
    _CLIPS,
    "--sources",
    multiple=True,
    metavar="[NAME=]PATH",
    help="Clips for targets: a folder (labels from sub-folders), a clips.csv or a packed "
    "corpus; repeats. Built-in clips if not given. A recipe may ask for a NAME.",
)
@option(_CLIPS, "--noise", multiple=True, metavar="[NAME=]PATH", help="Clips for noise, likewise.")
@option(
    _AGAIN,
    "--from",
    "source",
    metavar="URI",
    help="Make the scenes of this dataset, or of its manifest.parquet, again: with its formats, "
    "stems and codec unless others are given. What has the same render key is copied as it is "
    "stored; the rest is rendered, from the clips of that dataset, given again. --set can change "
    "what moves nothing and plays nothing else: snr_db, sir_db, snr_reference, mode, "
    "mixing_time_s, highpass_hz, displacement_m, scattering, doppler, head. --stems none leaves "
    "stems out. A scene that cannot be rendered is left silent, or stops the run with --on-error "
    "stop. (docs/store.md)",
)
@option(
    _AGAIN,
    "--only",
    multiple=True,
    metavar="IDS|FILE",
    help="With --from: these scenes alone. Ids (train-00000017), numbers (17) or ranges (0-99), "
    "separated by commas; or a file of them, .txt, .csv or .parquet with a column id; repeats.",
)
@option(_AGAIN, "--anew", is_flag=True, help="With --from: copy nothing, render everything here.")
@option(
    _OUTPUT,
    "--out",
    required=True,
    metavar="URI",
    help="Folder of the dataset, or s3://BUCKET/PREFIX.",
)
@option(
    _OUTPUT,
    "--shard-scenes",
    type=int,
    metavar="N",
    help="Scenes per shard, which is written as a whole or not at all; 64 if not given, less "
    "where scenes are large.",
)
@option(
    _OUTPUT,
    "--codec",
    default="lz4",
    metavar="NAME",
    help="lz4 (int16, one gain per scene), zstd (the same, smaller and slower), or float32.",
)
@option(
    _OUTPUT,
    "--overwrite",
    is_flag=True,
    help="Delete the dataset in --out first; shows what would go, and asks.",
)
@option(
    _WORK,
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes; 1 needs no Ray. One per core if not given, or 1 where there are so few shards "
    "that they are done before Ray has started. The result is the same.",
)
@option(
    _WORK, "--device", type=click.Choice(["auto", "cpu"]), default="auto", help="Where to render."
)
@option(
    _WORK,
    "--on-error",
    default="redraw",
    metavar="redraw|skip|stop",
    help="When a drawn scene cannot be used, because of a bad clip, say: draw it again, leave "
    "it silent, or stop.",
)
@option(
    _WORK,
    "--dry-run",
    is_flag=True,
    help="Print the plan and stop: scenes, bytes, time, classes, licences.",
)
@option(
    _WORK,
    "--json",
    "as_json",
    is_flag=True,
    help="Print progress and result as lines of JSON on stdout.",
)
@option(_WORK, "--yes", is_flag=True, help="Answer yes to questions.")
def render(**options: Any) -> None:
    """Render sound scenes into a dataset: audio as sharded Zarr, labels as tables.

    Scenes are drawn from a recipe, rendered in simulated rooms, mixed to the stated
    signal-to-noise ratio and labelled from what was rendered. The dataset can be read while it
    grows, with `scenesynth.open_dataset`, zarr or xarray.
    """
    asked = _Asked(**options)
    plan = _plan(asked)
    if asked.dry_run and asked.source is not None:
        click.echo(_report_again(plan, asked))
        return
    if asked.dry_run:
        from scenesynth.cli.estimate import estimate, report

        found = estimate(plan, asked.workers or _default_workers(plan.n_shards), tell)
        click.echo(report(plan, found, asked.as_json))
        return
    if asked.overwrite:
        from scenesynth.cli.overwrite import clear

        clear(plan.root, asked.yes)
    raise SystemExit(_run(plan, asked))


def _report_again(plan: Plan, asked: _Asked) -> str:
    from scenesynth.cli.again import report
    from scenesynth.pipeline.again import AgainPlan

    assert isinstance(plan, AgainPlan)
    return report(plan, asked.as_json)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The options of one call."""

    hours: float | None
    scenes: int | None
    formats: str
    stems: str | None
    recipe: str
    changes: tuple[str, ...]
    sample_rate: int | None
    duration: float | None
    rir: str | None
    split: str
    seed: int
    sources: tuple[str, ...]
    noise: tuple[str, ...]
    source: str | None
    only: tuple[str, ...]
    anew: bool
    out: str
    shard_scenes: int | None
    codec: str
    overwrite: bool
    workers: int | None
    device: str
    on_error: str
    dry_run: bool
    as_json: bool
    yes: bool


def _plan(asked: _Asked) -> Plan:
    """What is going to be rendered; cheap mistakes are found before clips are indexed."""
    from scenesynth.cli import again
    from scenesynth.spatial.formats import parse_format

    if asked.source is not None:
        return again.plan_of(asked)
    again.refuse_without_from(asked)
    if asked.hours is not None and asked.scenes is not None:
        raise click.UsageError("--hours and --scenes: give one of the two")
    formats = _names(asked.formats)
    for name in formats:
        parse_format(name)
    stems = _stems(asked.stems)
    recipe = _recipe(asked)

    from scenesynth.corpus.corpora import Corpora
    from scenesynth.pipeline.plan import make_plan

    with Counter() as progress:
        corpora = Corpora.open(asked.sources, asked.noise, progress=progress)
    return make_plan(
        asked.out,
        recipe,
        corpora,
        formats=formats,
        scenes=asked.scenes,
        hours=asked.hours,
        seed=asked.seed,
        split=asked.split,
        shard_scenes=asked.shard_scenes,
        codec=asked.codec,
        on_error=asked.on_error,
        stems=stems,
    )


def _names(text: str) -> list[str]:
    """What stands between commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _stems(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    from scenesynth.store.schema import parse_stems

    if not (kinds := parse_stems(_names(text))):
        raise click.UsageError("--stems: no kind given; for example --stems direct,noise")
    return kinds


def _recipe(asked: _Asked) -> Recipe:
    from scenesynth.scene.recipe import load_recipe

    changes = pairs(asked.changes)
    if asked.sample_rate is not None:
        changes.append(("sample_rate", str(asked.sample_rate)))
    if asked.duration is not None:
        changes.append(("duration_s", str(asked.duration)))
    if asked.rir is not None:
        changes.append(("mode", asked.rir))
    return load_recipe(asked.recipe, changes)


def _default_workers(n_shards: int) -> int:
    """One per core; a single one where starting Ray would take longer than it saves."""
    from scenesynth.corpus.threads import available_cores

    return min(available_cores(), n_shards) if n_shards >= _FEWEST_SHARDS_FOR_RAY else 1


def _run(plan: Plan, asked: _Asked) -> int:
    from scenesynth.corpus.corpora import prepare_for_rendering
    from scenesynth.pipeline.driver import run
    from scenesynth.pipeline.events import Notice
    from scenesynth.pipeline.plan import settle
    from scenesynth.pipeline.progress import Progress, choose_mode
    from scenesynth.render.compile import ensure_compiled

    settled = settle(plan)
    stream = sys.stdout if asked.as_json else sys.stderr
    shown = Progress(stream, choose_mode(stream, asked.as_json))
    for note in settled.notes:
        shown(Notice(text=note))
    if settled.todo and plan.needs_clips:
        _tell_rejected(plan)
        ensure_compiled(tell)
        with Counter() as progress:
            packed = prepare_for_rendering(plan.corpora, plan.info.sample_rate, progress=progress)
        plan = replace(plan, corpora=packed)
    workers = asked.workers or _default_workers(len(settled.todo))
    outcome = run(plan, workers=workers, on_event=shown, settled=settled)
    if outcome.state == "drained":
        _take_no_more_signals()
    shown.finish(outcome)
    if plan.specs is not None and not asked.as_json:
        from scenesynth.cli.again import closing

        tell(closing(plan))
    if outcome.state == "done" and not asked.as_json:
        click.echo(
            f"{plan.root} is complete; look at it: scenesynth preview {shlex.quote(str(plan.root))}"
        )
    return _EXIT_CODES[outcome.state]


def _take_no_more_signals() -> None:
    """From here on one more Ctrl-C would only replace the exit code of a run that has ended."""
    import signal

    from scenesynth.pipeline.signals import DRAIN_SIGNALS

    for number in DRAIN_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _tell_rejected(plan: Plan) -> None:
    for name, corpus in plan.corpora.items():
        if corpus.rejected:
            first = corpus.rejected[0]
            n_files = plural(len(corpus.rejected), "file")
            tell(
                f"{name}: {n_files} cannot be used and left out, the first: "
                f"{first.path}: {first.reason} (`scenesynth corpus check` lists all)"
            )
