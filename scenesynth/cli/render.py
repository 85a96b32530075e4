"""`scenesynth render`: from a recipe and clips to a dataset on disk."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from scenesynth.cli.app import DONE, DRAINED, FAILED, Sectioned, option, pairs, plural, tell
from scenesynth.cli.live import Counter
from scenesynth.cli.machines import Machines, machines_of, own_stdout

if TYPE_CHECKING:
    from scenesynth.cli.estimate import NodePrice
    from scenesynth.pipeline.events import Outcome
    from scenesynth.pipeline.plan import Plan
    from scenesynth.scene.recipe_records import Recipe

_HOW_MUCH, _SCENES, _CLIPS = "How much", "What the scenes are", "Clips"
_AGAIN = "Scenes again"
_OUTPUT, _WORK = "Output", "How the work is done"
_MACHINES, _TROUBLE = "On which machines", "When something goes wrong"
_EXIT_CODES = {"done": DONE, "failed": FAILED, "drained": DRAINED}


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
  scenesynth render --format foa --hours 1000 --out /shared/a --address auto
      On every core of the Ray cluster that this machine is part of (docs/cluster.md).
\b
  scenesynth render --format foa --hours 1000 --out /shared/a --part $SLURM_ARRAY_TASK_ID/16
      One of 16 jobs that fill a dataset together and need no Ray.
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
    help="Processes that render; 1 needs no Ray. One per core of the machine or cluster if not "
    "given, or 1 where there are so few shards that they are done before Ray has started. The "
    "result is the same.",
)
@option(
    _WORK,
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    help="Where scenes are computed; settled when the dataset is begun, and kept. cuda takes "
    "mono, foa and hoaN; scenes in which something moves are computed on the CPU. auto is cuda "
    "where there is a GPU that renders the formats.",
)
@option(
    _MACHINES,
    "--address",
    envvar="RAY_ADDRESS",
    show_envvar=True,
    metavar="RAY_ADDRESS",
    help="Join a running Ray cluster: HOST:PORT, or auto for the one that this machine is part of. "
    "Every node must see --out, the clips and this machine's cache (docs/cluster.md).",
)
@option(
    _MACHINES,
    "--worker-cpus",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    metavar="N",
    help="With Ray: cores that a worker reserves.",
)
@option(
    _MACHINES,
    "--worker-memory",
    metavar="SIZE",
    help="With Ray: memory that a worker reserves, such as 1.5GB. Nothing if not given; "
    "docs/cluster.md states what a worker takes.",
)
@option(
    _MACHINES,
    "--gpus-per-worker",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="N",
    help="With Ray and a dataset of device cuda: GPUs that a worker reserves; 0.5 lets two share "
    "one. 1 if not given.",
)
@option(
    _MACHINES,
    "--runtime-env",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="With --address: what Ray brings to the nodes (working_dir, pip, env_vars), as YAML.",
)
@option(
    _MACHINES,
    "--part",
    metavar="I/N",
    help="Render every Nth shard only, from the Ith on, without Ray: for array jobs. Parts may "
    "overlap in time and in shards, start in any order and be given again.",
)
@option(
    _MACHINES,
    "--grace",
    type=click.FloatRange(min=0),
    metavar="S",
    help="After SIGTERM or SIGUSR1: seconds in which shards under way may be finished; then they "
    "are given up, and exit code 75 says that the same command goes on. 25 if not given.",
)
@option(
    _TROUBLE,
    "--on-error",
    default="redraw",
    metavar="redraw|skip|stop",
    help="When a drawn scene cannot be used, because of a bad clip, say: draw it again, leave "
    "it silent, or stop. Bad clips are listed at the end, by file.",
)
@option(
    _TROUBLE,
    "--scene-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Longest time for one scene. Its worker is killed then and the shard tried again, three "
    "times in all. 300 s if not given, or 30 times the longest scene where that is more.",
)
@option(
    _TROUBLE,
    "--from-failure",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, file: _from_failure(context, file),
    help="Do again what OUT/failures/FILE reports, in this process, and show the traceback; "
    "nothing is written and no other option is needed.",
)
@option(
    _WORK,
    "--dry-run",
    is_flag=True,
    help="Print the plan and stop: scenes, bytes, time, classes, licences.",
)
@option(
    _WORK,
    "--node-price",
    metavar="PRICE[/CORES]",
    help="With --dry-run: what a machine costs per hour, and how many cores it has (those of this "
    "one if not given), such as 1.43/32; the plan then says what the whole costs.",
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
    price = _price(asked)
    machines = machines_of(asked)
    if not asked.dry_run:
        raise SystemExit(_render(asked, machines))
    plan = _plan(asked)
    if asked.source is not None:
        click.echo(_report_again(plan, asked))
        return
    from scenesynth.cli.estimate import estimate, report

    found = estimate(plan, machines.workers_for(plan.n_shards), tell)
    click.echo(report(plan, found, asked.as_json, price))


def _render(asked: _Asked, machines: Machines) -> int:
    from scenesynth.pipeline.signals import EndedEarlyError, ending_early

    with ending_early():
        try:
            plan = _plan(asked)
            if asked.overwrite:
                from scenesynth.cli.overwrite import clear

                clear(plan.root, asked.yes)
            return _run(plan, asked, machines)
        except EndedEarlyError as error:
            _take_no_more_signals()
            tell(f"ended early ({error}); give the same command again to go on")
            return DRAINED


def _from_failure(context: click.Context, file: str | None) -> None:
    """Reproduce a failure and end; with its traceback, as this is for looking into it."""
    if file is None or context.resilient_parsing:
        return
    import traceback

    from scenesynth.errors import ConfigError, StoreError
    from scenesynth.pipeline.failures import reproduce

    try:
        click.echo(reproduce(file))
    except (ConfigError, StoreError):
        raise
    except Exception:
        click.echo(traceback.format_exc(), err=True)
        context.exit(FAILED)
    context.exit(DONE)


def _price(asked: _Asked) -> NodePrice | None:
    if asked.node_price is None:
        return None
    if not asked.dry_run or asked.source is not None:
        raise click.UsageError(
            "--node-price is about the time that --dry-run estimates for scenes that are drawn"
        )
    from scenesynth.cli.estimate import parse_price

    return parse_price(asked.node_price)


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
    address: str | None
    worker_cpus: float
    worker_memory: str | None
    gpus_per_worker: float
    runtime_env: str | None
    part: str | None
    grace: float | None
    scene_timeout: float | None
    on_error: str
    dry_run: bool
    node_price: str | None
    as_json: bool
    yes: bool


def _plan(asked: _Asked) -> Plan:
    """What is going to be rendered; cheap mistakes are found before clips are indexed."""
    from scenesynth.cli import again
    from scenesynth.spatial.formats import parse_formats

    if asked.source is not None:
        return again.plan_of(asked)
    again.refuse_without_from(asked)
    if asked.hours is not None and asked.scenes is not None:
        raise click.UsageError("--hours and --scenes: give one of the two")
    formats = _names(asked.formats)
    if formats:
        parse_formats(formats)
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
        device=asked.device,
        gpus=asked.gpus_per_worker > 0,
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


def _run(plan: Plan, asked: _Asked, machines: Machines) -> int:
    from scenesynth.corpus.corpora import prepare_for_rendering
    from scenesynth.pipeline.driver import run
    from scenesynth.pipeline.events import Notice
    from scenesynth.pipeline.plan import settle
    from scenesynth.pipeline.progress import Progress, choose_mode
    from scenesynth.render.compile import ensure_compiled

    settled = settle(plan)
    stream = own_stdout() if asked.as_json else sys.stderr
    shown = Progress(stream, choose_mode(stream, asked.as_json))
    for note in settled.notes:
        shown(Notice(text=note))
    part = machines.part
    n_todo = sum(part is None or part.has(shard) for shard in settled.todo)
    if n_todo and plan.needs_clips:
        _tell_rejected(plan)
        if machines.address is None:
            ensure_compiled(tell)
        with Counter() as progress:
            packed = prepare_for_rendering(plan.corpora, plan.info.sample_rate, progress=progress)
        plan = replace(plan, corpora=packed)
    outcome = run(
        plan,
        on_event=shown,
        settled=settled,
        part=part,
        scene_limit_s=asked.scene_timeout,
        **machines.how(n_todo, plan.info.backend),
    )
    if outcome.state == "drained":
        _take_no_more_signals()
    shown.finish(outcome)
    if plan.specs is not None and not asked.as_json:
        from scenesynth.cli.again import closing

        tell(closing(plan))
    if outcome.state == "done" and not asked.as_json:
        click.echo(_ending(plan, outcome))
    return _EXIT_CODES[outcome.state]


def _ending(plan: Plan, outcome: Outcome) -> str:
    if outcome.left:
        return f"{plan.root}: this part is done; {plural(outcome.left, 'shard')} of others are not"
    return f"{plan.root} is complete; look at it: scenesynth preview {shlex.quote(str(plan.root))}"


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
