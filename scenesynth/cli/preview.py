"""`scenesynth preview`: scenes of a dataset or a recipe, to be seen and heard."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from scenesynth.cli.app import FAILED, Sectioned, option, pairs, plural, tell
from scenesynth.cli.live import Counter

if TYPE_CHECKING:
    from scenesynth.preview.shelf import DatasetShelf, Shelf
    from scenesynth.store.reader import Dataset

PAGE_SCENES = 12
PICTURES = 3
MOST = 100
"""Scenes of a page: each takes about a megabyte."""

_WHICH, _OUTPUT, _RECIPE = "Which scenes", "Output", "Scenes of a recipe"
_OF_RECIPES = {
    "changes": "--set",
    "formats": "--format",
    "stems": "--stems",
    "split": "--split",
    "sources": "--sources",
    "noise": "--noise",
}


@click.command(
    short_help="Show scenes as a page to see and hear.",
    cls=Sectioned,
    epilog="""\b
Examples:
  scenesynth preview out/first                        twelve scenes, in out/first/preview/index.html
  scenesynth preview out/first --scene 17 --out page.html
  scenesynth preview out/first --worst 8              those with the largest label errors
  scenesynth preview out/first --only bad.csv --serve
  scenesynth preview out/first --png --out pictures/  pictures and wavs
  scenesynth preview --recipe everyday --set noise.snr_db=0 --random 4
""",
)
@click.argument("uri", metavar="[URI]", required=False)
@option(
    _WHICH,
    "--scene",
    "scenes",
    type=click.IntRange(min=0),
    multiple=True,
    metavar="I",
    help="The scene with this number, as in the column `index` of the manifest; repeats.",
)
@option(
    _WHICH,
    "--only",
    multiple=True,
    metavar="IDS|FILE",
    help="Ids (train-00000017), numbers (17) or ranges (0-9), separated by commas; or a file of "
    "them, .txt, .csv or .parquet with a column id, such as those of `scenesynth audit`; repeats.",
)
@option(
    _WHICH,
    "--random",
    "n_random",
    type=click.IntRange(min=1),
    metavar="K",
    help=f"K scenes drawn at random, of all or of --only. {PAGE_SCENES} if nothing is chosen, "
    f"{PICTURES} with --png.",
)
@option(
    _WHICH,
    "--worst",
    "n_worst",
    type=click.IntRange(min=1),
    metavar="K",
    help="The K scenes whose labels and audio differ most in direction, among 64 drawn at random.",
)
@option(
    _WHICH,
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    help="Seed of --random and --worst, another one draws other scenes; of --recipe, that of "
    "`scenesynth render`.",
)
@option(
    _RECIPE,
    "--recipe",
    metavar="NAME|FILE",
    help="In place of URI: render scenes of this recipe, those that `scenesynth render` would "
    "make first, and store nothing.",
)
@option(
    _RECIPE,
    "--set",
    "changes",
    multiple=True,
    metavar="A.B=V",
    help="Change a value of it; repeats.",
)
@option(_RECIPE, "--format", "formats", default="foa", metavar="NAMES", help="As for `render`.")
@option(
    _RECIPE, "--stems", default="", metavar="NAMES", help="Parts to hear apart; as for `render`."
)
@option(_RECIPE, "--split", default="train", metavar="NAME", help="Whose rooms and clips to use.")
@option(
    _RECIPE,
    "--sources",
    multiple=True,
    metavar="[NAME=]PATH",
    help="Clips for targets, as for `render`; built-in ones if not given.",
)
@option(_RECIPE, "--noise", multiple=True, metavar="[NAME=]PATH", help="Clips for noise, likewise.")
@option(
    _OUTPUT,
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="File of the page; if not given, preview/index.html inside the dataset, or "
    "./preview-NAME.html. With --png a folder.",
)
@option(
    _OUTPUT,
    "--png",
    is_flag=True,
    help="Write a picture, wavs of all formats and one for headphones per scene, for terminals "
    "and papers, and no page.",
)
@option(
    _OUTPUT,
    "--serve",
    is_flag=True,
    help="Write nothing; show all scenes, a page of them at a time, at an address of this machine "
    "until Ctrl-C.",
)
@option(
    _OUTPUT,
    "--port",
    type=click.IntRange(0, 65535),
    default=8750,
    help="With --serve: where to listen; 0 for any that is free.",
)
def preview(**options: Any) -> None:
    """Show scenes of the dataset URI as one HTML file, which opens from disk and needs no network.

    For each scene there is the room to scale, with listener and emitters; a player with the sound
    for headphones, and its stems where they are stored; what happens over time, with the labelled
    direction of every event as a line and the direction ESTIMATED FROM THE AUDIO as points; the
    decay of energy per band; ratios and reverberation times as requested and as measured; clips
    with their licences; the spec, and the command that renders exactly this scene again. Scenes
    are filtered and sorted on the page, and `?` lists its keys (docs/preview.md).

    This works on a dataset that is still being rendered, too: finished shards are shown. Scenes of
    damaged shards are named, the others shown, and the exit code is 1.
    """
    asked = _Asked(**options)
    _check(asked)
    shelf, choice = _of_recipe(asked) if asked.recipe is not None else _of_dataset(asked)
    if len(choice.scenes) > MOST and not asked.png:
        raise click.UsageError(
            f"{plural(len(choice.scenes), 'scene')} are more than the {MOST} that a page can hold; "
            f"--random K takes some of them"
        )
    _compile()
    if asked.serve:
        _serve(shelf, choice, asked)
        return
    failures = (
        _write_pictures(shelf, choice, asked) if asked.png else _write_page(shelf, choice, asked)
    )
    for failure in failures:
        tell(f"error: {failure}")
    if failures:
        raise SystemExit(FAILED)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The options of one call."""

    uri: str | None
    scenes: tuple[int, ...]
    only: tuple[str, ...]
    n_random: int | None
    n_worst: int | None
    seed: int
    recipe: str | None
    changes: tuple[str, ...]
    formats: str
    stems: str
    split: str
    sources: tuple[str, ...]
    noise: tuple[str, ...]
    out: Path | None
    png: bool
    serve: bool
    port: int


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """Scenes by the column `index`, how they were chosen, and what could not be looked at."""

    scenes: Sequence[int]
    how: str
    failures: tuple[str, ...] = ()


def _check(asked: _Asked) -> None:
    """Refuse options that contradict each other."""
    if (asked.uri is None) == (asked.recipe is None):
        raise click.UsageError("give a dataset URI, or --recipe NAME, one of the two")
    context = click.get_current_context()
    for name, flag in _OF_RECIPES.items():
        stated = context.get_parameter_source(name) is not ParameterSource.DEFAULT
        if stated and asked.recipe is None:
            raise click.UsageError(
                f"{flag} is about scenes that are rendered for the page; give --recipe NAME in "
                f"place of URI, or leave it out"
            )
    if asked.recipe is not None and (asked.only or asked.n_worst):
        flag = "--only" if asked.only else "--worst"
        raise click.UsageError(f"{flag} is about scenes of a dataset; take --scene or --random")
    if asked.scenes and asked.n_random:
        raise click.UsageError("--scene and --random: give one of the two")
    if asked.n_worst and (asked.n_random or asked.scenes):
        flag = "--random" if asked.n_random else "--scene"
        raise click.UsageError(f"{flag} and --worst: give one of the two")
    if asked.serve and (asked.png or asked.out):
        raise click.UsageError(
            f"--serve writes nothing; leave out {'--png' if asked.png else '--out'}"
        )


def _compile() -> None:
    """What decays and renders; once per machine, and said."""
    from scenesynth.render.compile import ensure_compiled

    ensure_compiled(tell)


def _of_recipe(asked: _Asked) -> tuple[Shelf, _Choice]:
    from scenesynth.corpus.corpora import Corpora
    from scenesynth.preview.recipe import open_recipe
    from scenesynth.store.schema import parse_stems

    def open_corpora() -> Corpora:
        with Counter() as progress:
            return Corpora.open(asked.sources, asked.noise, progress=progress)

    assert asked.recipe is not None
    shelf = open_recipe(
        asked.recipe,
        pairs(asked.changes),
        open_corpora,
        formats=_names(asked.formats),
        seed=asked.seed,
        split=asked.split,
        stems=parse_stems(_names(asked.stems)),
        sources=asked.sources,
        noise=asked.noise,
    )
    if asked.scenes:
        return shelf, _Choice(scenes=sorted(set(asked.scenes)), how="chosen by number")
    scenes = () if asked.serve and not asked.n_random else shelf.from_index(0, _wanted(asked))
    return shelf, _Choice(scenes=scenes, how="as `scenesynth render` would make them, from 0 on")


def _names(text: str) -> list[str]:
    """What stands between commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _wanted(asked: _Asked) -> int:
    return asked.n_random or (PICTURES if asked.png else PAGE_SCENES)


def _of_dataset(asked: _Asked) -> tuple[Shelf, _Choice]:
    # What draws and plays takes seconds to import; mistakes are found before.
    from scenesynth.store.reader import open_dataset

    assert asked.uri is not None
    dataset = open_dataset(asked.uri)
    if not len(dataset) and (dataset.excluded or any(c.skipped for c in dataset.commits)):
        tell(
            f"error: {asked.uri}: all scenes that are there were excluded, or skipped when "
            f"rendered; see `scenesynth exclude {shlex.quote(asked.uri)}`"
        )
        raise SystemExit(FAILED)
    if not len(dataset):
        tell(
            f"error: {asked.uri}: none of its {plural(dataset.n_promised, 'scene')} is there "
            f"yet; finish or begin its `scenesynth render` command, and look again"
        )
        raise SystemExit(FAILED)
    choice = _choose(dataset, asked)

    from scenesynth.preview.shelf import DatasetShelf

    shelf = DatasetShelf(dataset)
    return shelf, _worst(shelf, choice, asked.n_worst) if asked.n_worst else choice


def _choose(dataset: Dataset, asked: _Asked) -> _Choice:
    """What is asked for; of --worst those that are looked at."""
    from scenesynth.preview.choose import WORST_OF, draw, named_scenes
    from scenesynth.store.scene_ids import read_ids

    drawing = asked.n_random or asked.n_worst
    named: list[int] | None = None
    if asked.scenes or asked.only:
        numbers = named_scenes(dataset, map(str, asked.scenes), "--scene")
        others = named_scenes(dataset, read_ids(asked.only) if asked.only else [], "--only")
        named = sorted({*numbers, *others})
        if not drawing:
            return _Choice(scenes=named, how="chosen by name")
    elif asked.serve and not drawing:
        return _Choice(scenes=(), how="all that are there")
    n_pool = len(dataset) if named is None else len(named)
    wanted = max(WORST_OF, asked.n_worst) if asked.n_worst else _wanted(asked)
    drawn = draw(n_pool, wanted, asked.seed)
    scenes = [dataset.index_of(n) if named is None else named[n] for n in drawn]
    of = f"{len(scenes):,} of {plural(n_pool, 'scene')}"
    if len(scenes) == n_pool and named is None:
        return _Choice(scenes=scenes, how=f"all {plural(n_pool, 'scene')}")
    return _Choice(scenes=scenes, how=f"{of} drawn at random, seed {asked.seed}")


def _worst(shelf: DatasetShelf, looked: _Choice, wanted: int) -> _Choice:
    from scenesynth.errors import CorruptShardError
    from scenesynth.preview.choose import worst_scenes

    failures: dict[str, None] = {}

    def error_of(index: int) -> float | None:
        try:
            return shelf.label_error_deg(index)
        except CorruptShardError as error:
            failures[str(error)] = None
            return None

    with Counter() as progress:
        found = worst_scenes(looked.scenes, wanted, error_of, progress)
    if not found and not failures:
        raise click.UsageError(
            "--worst: no format of this dataset tells directions that labels could be compared "
            "with; take --random"
        )
    how = f"the {len(found)} with the largest label errors, the largest first, of {looked.how}"
    return _Choice(scenes=found, how=how, failures=tuple(failures))


def _write_page(shelf: Shelf, choice: _Choice, asked: _Asked) -> tuple[str, ...]:
    """Write the page; what cannot be on it."""
    from scenesynth.errors import ContentError, CorruptShardError
    from scenesynth.preview.card import Card, card_of
    from scenesynth.preview.page import PAGE_BYTES, check_writable, page_html, write_page

    path = asked.out or _default_page(shelf)
    check_writable(path)
    cards: list[Card] = []
    failures = dict.fromkeys(choice.failures)
    share_bytes = PAGE_BYTES / max(1, len(choice.scenes))
    with Counter() as progress:
        for done, index in enumerate(choice.scenes):
            progress("scenes", done, len(choice.scenes))
            try:
                cards.append(card_of(shelf.shown(index), share_bytes))
            except (ContentError, CorruptShardError) as error:
                failures[f"scene {index}: {error}"] = None
        progress("scenes", len(choice.scenes), len(choice.scenes))
    if not cards:
        return tuple(failures)
    html = page_html(shelf.name, shelf.about, choice.how, cards, failures)
    write_page(path, html)
    for card in cards:
        _tell_scene(card.id, card.lines)
    size = f"{len(html.encode('utf-8', 'replace')) / 1e6:.1f} MB"
    click.echo(f"{path}  ({plural(len(cards), 'scene')}, {size}; {choice.how})")
    return tuple(failures)


def _tell_scene(name: str, lines: Sequence[str]) -> None:
    click.echo(name)
    for line in lines:
        click.echo(f"  {line}")


def _write_pictures(shelf: Shelf, choice: _Choice, asked: _Asked) -> tuple[str, ...]:
    """Write pictures and wavs; what could not be."""
    from scenesynth.errors import ContentError, CorruptShardError
    from scenesynth.preview.files import write_preview
    from scenesynth.preview.page import check_folder

    folder = asked.out or _default_folder(shelf)
    check_folder(folder)
    failures = dict.fromkeys(choice.failures)
    written = 0
    for index in choice.scenes:
        try:
            shown = shelf.shown(index)
        except (ContentError, CorruptShardError) as error:
            failures[f"scene {index}: {error}"] = None
            continue
        made = write_preview(shown.scene, folder, shown.known)
        _tell_scene(f"{shown.scene.id}  {made.picture}", made.lines)
        written += 1
    if written:
        click.echo(f"{plural(written, 'picture')} with wav files in {folder} ({choice.how})")
    return tuple(failures)


def _serve(shelf: Shelf, choice: _Choice, asked: _Asked) -> None:
    from scenesynth.preview.serve import Previews, serve

    for failure in choice.failures:
        tell(f"error: {failure}")
    previews = Previews(shelf, choice.scenes, choice.how, PAGE_SCENES)
    serve(previews, asked.port, lambda address: tell(f"{shelf.name}: {address}  (Ctrl-C ends)"))


def _default_folder(shelf: Shelf) -> Path:
    return shelf.folder / "preview" if shelf.folder else Path(f"preview-{_plain_name(shelf)}")


def _default_page(shelf: Shelf) -> Path:
    if shelf.folder:
        return shelf.folder / "preview" / "index.html"
    return Path(f"preview-{_plain_name(shelf)}.html")


def _plain_name(shelf: Shelf) -> str:
    """The last part of its name, as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(shelf.name).stem)
