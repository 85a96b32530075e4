"""`scenesynth train`: from datasets to a trained encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scenesynth.cli.app import DONE, DRAINED, Sectioned, option, pairs, plural, table, tell
from scenesynth.errors import ConfigError

if TYPE_CHECKING:
    from scenesynth.train.config import RunConfig

_DATA, _MODEL, _RUN, _WORK = "Data", "What is trained", "The run", "How the work is done"
DEFAULT_PRESET = "gram-foa"


@click.command(
    short_help="Train a masked autoencoder on datasets.",
    cls=Sectioned,
    epilog="""\b
Examples:
  scenesynth train out/mine --run runs/first --preset tiny-cpu
      A small model on a CPU, in minutes; out/mine was rendered with --split all.
\b
  scenesynth train out/train --valid out/valid --run runs/a --preset gram-foa
      The recipe of GRAM on first-order Ambisonics; held-out rooms from another dataset.
\b
  scenesynth train --live gram --sources clips --noise noise --valid out/valid --run runs/l
      Scenes that are rendered as they are needed, by --workers N processes.
\b
  scenesynth train --run runs/a
      Go on with that run, with the configuration in its folder.
\b
  scenesynth train out/train --run runs/b --preset gram-foa --set optimiser.lr=1e-4 --dry-run
      What would be trained: the whole configuration, sizes, what a step sees.
\b
  torchrun --nproc-per-node 4 -m scenesynth.cli train out/train --valid out/valid --run runs/c
      Four processes that share every step; the result is the same to rounding.
\b
The same command again goes on where the last one stopped, bit for bit on a CPU. Exit codes: 0 done;
1 numbers are not finite any more, or data are damaged; 2 a wrong command; 75 stopped in good order
by SIGINT, SIGTERM or SIGUSR1, to be gone on with. (docs/training.md)
""",
)
@click.argument("uris", metavar="[URI]...", nargs=-1)
@option(
    _RUN,
    "--run",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the run: configuration, metrics, checkpoints, pictures.",
)
@option(
    _MODEL,
    "--preset",
    metavar="NAME|FILE",
    help="Configuration: gram-foa, gram-binaural, tiny-cpu (first-order Ambisonics), "
    f"tiny-cpu-binaural, or a YAML file such as the run.yaml of another run. {DEFAULT_PRESET} if "
    "not given; for a run that has begun, its own.",
)
@option(
    _MODEL,
    "--set",
    "changes",
    multiple=True,
    metavar="A.B=V",
    help="Change one value, such as steps=20000, optimiser.lr=1e-4, features=binaural-phase or "
    "model.size=small; repeats.",
)
@option(
    _DATA,
    "--live",
    metavar="RECIPE",
    help="Render scenes of a recipe (name or file) as they are needed, in place of reading URIs; "
    "no scene comes twice. Needs --valid.",
)
@option(
    _DATA,
    "--sources",
    multiple=True,
    metavar="[NAME=]PATH",
    help="With --live: dry clips, as for `scenesynth render`; repeats.",
)
@option(
    _DATA,
    "--noise",
    multiple=True,
    metavar="PATH",
    help="With --live: noise, as for `scenesynth render`; repeats.",
)
@option(
    _DATA,
    "--valid",
    "held_out",
    multiple=True,
    metavar="URI",
    help="Dataset in which scenes are held out (validation.split); repeats. The URIs that are "
    "trained on, if not given: then they hold several splits.",
)
@option(
    _DATA,
    "--weights",
    metavar="W,W,...",
    help="How often scenes of each URI come, relative to each other; by their numbers of scenes if "
    "not given.",
)
@option(
    _DATA,
    "--follow",
    is_flag=True,
    help="Train while the dataset is still being rendered: wait for scenes that are not there yet.",
)
@option(
    _RUN,
    "--resume",
    default="auto",
    metavar="auto|none|PATH",
    help="auto: from the newest checkpoint of the run, if there is one. none: anew, in a folder "
    "without any. PATH: from this checkpoint; its weights, and the configuration of the command.",
)
@option(
    _WORK,
    "--workers",
    type=click.IntRange(min=0),
    metavar="N",
    help="Short for --set data.workers=N: processes that read; 0 reads in between.",
)
@option(
    _WORK, "--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Short for --set device=..."
)
@option(
    _WORK,
    "--profile",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Write a trace of N steps to trace.json in the run's folder.",
)
@option(_WORK, "--dry-run", is_flag=True, help="Tell what would be trained, and do nothing.")
def train(
    uris: tuple[str, ...],
    run: Path,
    preset: str | None,
    changes: tuple[str, ...],
    live: str | None,
    sources: tuple[str, ...],
    noise: tuple[str, ...],
    held_out: tuple[str, ...],
    weights: str | None,
    follow: bool,
    resume: str,
    workers: int | None,
    device: str | None,
    profile: int,
    dry_run: bool,
) -> None:
    """Train a masked autoencoder on the scenes of the datasets URI.

    Each step takes clips, cuts windows out of them, hides most patches of their spectrograms, and
    learns to paint them in. Nothing of that needs labels. Scenes of a split that is not trained on
    (other rooms, other clips) tell how it goes: the loss, pictures of reconstructions, and how well
    a linear map finds direction, distance, reverberation time and class from the embedding,
    compared with a constant answer and with an encoder that has learned nothing.
    """
    needs_torch("train")
    from scenesynth.train.config import load_run
    from scenesynth.train.folder import CONFIG_FILE

    values = pairs(changes)
    given: list[tuple[str, object]] = [
        ("data.datasets", list(uris) or None),
        ("data.live", live),
        ("data.sources", list(sources) or None),
        ("data.noise", list(noise) or None),
        ("data.weights", _numbers(weights)),
        ("data.follow", follow or None),
        ("data.workers", workers),
        ("validation.datasets", list(held_out) or None),
        ("device", device),
    ]
    values += [(name, json.dumps(value)) for name, value in given if value is not None]
    own = run / CONFIG_FILE
    config = load_run(preset or (own if own.exists() else DEFAULT_PRESET), values)
    if dry_run:
        _tell_plan(config)
        return
    from scenesynth.render.memory import keep_freed_memory
    from scenesynth.train.loop import train as train_model

    keep_freed_memory()
    told = _while_heard(tell)
    outcome = train_model(config, run, resume=resume, tell=told, profile=profile)
    if outcome == "done":
        told(f"done; scenesynth export {run} --out DIR gives the encoder")
    raise SystemExit(DONE if outcome == "done" else DRAINED)


def _while_heard(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Says lines until they cannot be written (a closed pipe, a full disk): the run goes on.

    What is measured is in the run's folder in any case.
    """
    heard = True

    def told(line: str) -> None:
        nonlocal heard
        if heard:
            try:
                tell(line)
            except OSError:
                heard = False

    return told


def needs_torch(command: str) -> None:
    """Say how to install what training needs, where it is missing.

    Raises:
        ConfigError: torch or safetensors is missing.
    """
    from importlib.util import find_spec

    missing = [name for name in ("torch", "safetensors") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"`scenesynth {command}` needs {' and '.join(missing)}, which rendering does without: "
            f"pip install 'scenesynth[train]'"
        )


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise click.UsageError(
            f"--weights {text}: must be numbers separated by commas, such as 0.7,0.3"
        ) from None


def _data_of(config: RunConfig) -> str:
    if config.data.live is not None:
        return f"recipe {config.data.live}, rendered as needed"
    return ", ".join(config.data.datasets) or "none given yet"


def _tell_plan(config: RunConfig) -> None:
    """The whole configuration, and what it means."""
    from scenesynth.models.flops import flops, n_parameters
    from scenesynth.train.config import run_yaml

    model = config.model
    windows = config.batch * config.data.windows
    work = flops(model)
    click.echo(run_yaml(config))
    click.echo(
        table(
            [
                ("data", _data_of(config)),
                (
                    "window",
                    f"{config.window_s:g} s, {plural(model.n_tokens, 'patch')} of which "
                    f"{model.n_hidden} are hidden",
                ),
                ("features", ", ".join(config.features.channel_names)),
                (
                    "model",
                    f"{n_parameters(model) / 1e6:.1f} M parameters, {work.forward / 1e9:.2f} "
                    f"GFLOP forward and {work.training / 1e9:.2f} in training, a window",
                ),
                ("a step", f"{plural(config.batch, 'clip')}, {plural(windows, 'window')}"),
                (
                    "the run",
                    f"{plural(config.steps, 'step')}, "
                    f"{work.training * windows * config.steps:.2g} FLOP",
                ),
            ]
        )
    )
