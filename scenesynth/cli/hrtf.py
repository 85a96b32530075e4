"""`scenesynth hrtf`: the heads that binaural scenes are heard with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scenesynth.cli.app import DONE, FAILED, Sectioned, option, table

if TYPE_CHECKING:
    from scenesynth.spatial.ears import Head
    from scenesynth.spatial.head_facts import Horizon
    from scenesynth.spatial.heads import Card

SHOWN_AZIMUTHS_DEG = (-135, -90, -45, 0, 45, 90, 135)


@click.group(
    short_help="Look at heads, check and add HRTF sets.",
    epilog="""\b
Examples:
  scenesynth hrtf list
  scenesynth hrtf show kemar --png kemar.png
  scenesynth hrtf check subject_003.sofa
  scenesynth hrtf add subject_003.sofa --id subject-003 --licence "CC BY 4.0"
""",
)
def hrtf() -> None:
    """Look at heads, check and add sets of head-related transfer functions (HRTFs).

    A head is what two ears make of sound from each direction. `kemar`, a measured dummy head, comes
    along; `sphere` is computed, a rigid sphere of 8.75 cm, and `sphere:0.09` one of 9 cm. Others
    come from SOFA files (SimpleFreeFieldHRIR, FreeFieldHRIR), which need the package h5py.

    Which channel is the left ear is found from the responses, never taken from the header. Levels
    are made alike (0 dB in a diffuse field), and time 0 is when sound is at the head's centre.

    The library is the folder `hrtf` of the cache (SCENESYNTH_CACHE), and the folders of
    SCENESYNTH_HRTF.
    """


@hrtf.command("list", cls=Sectioned, short_help="List the heads at hand.")
@option("Output", "--json", "as_json", is_flag=True, help="One JSON object.")
def list_(as_json: bool) -> None:
    """List the heads at hand."""
    import json

    from scenesynth.errors import ConfigError
    from scenesynth.records import to_plain
    from scenesynth.spatial.heads import SPHERE, find_cards, head_folders, head_ids

    lines: list[tuple[str, str]] = []
    cards = []
    for id in head_ids():
        if id == SPHERE:
            lines.append((id, "a rigid sphere of 8.75 cm, or sphere:RADIUS with metres; any rate"))
            continue
        try:
            card, _ = find_cards(id)[0]
        except ConfigError as error:
            lines.append((id, f"cannot be used: {error}"))
            continue
        lines.append((id, _line(card)))
        cards.append(to_plain(card))
    if as_json:
        click.echo(json.dumps({"heads": [*cards, {"id": SPHERE}]}))
        return
    click.echo(f"heads (in {', '.join(map(str, head_folders()))}):")
    click.echo(table(lines))


@hrtf.command(
    cls=Sectioned,
    short_help="Show a head: coverage, ears, interaural differences.",
    epilog="""\b
Examples:
  scenesynth hrtf show kemar
  scenesynth hrtf show sphere:0.09 --png sphere.png
""",
)
@click.argument("id", metavar="ID")
@option(
    "Output",
    "--png",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also draw time and level differences over azimuth.",
)
@option("Output", "--json", "as_json", is_flag=True, help="One JSON object.")
def show(id: str, png: Path | None, as_json: bool) -> None:
    """Show where a head was measured, how its ears were told apart, and what they hear.

    Time differences (ITD) are those of the onsets, positive where the left ear is first; level
    differences (ILD) are those of the energy above 1.5 kHz, positive where the left is louder. Both
    are in the horizontal plane; azimuth counts from the front to the left.
    """
    import json

    from scenesynth.records import to_plain
    from scenesynth.spatial.head_facts import coverage, horizon, symmetry
    from scenesynth.spatial.heads import SPHERE, find_cards, load_head

    head = load_head(id)
    around = horizon(head)
    card = None if id.partition(":")[0] == SPHERE else find_cards(id)[0][0]
    if png:
        _draw(png, id, around)
    if as_json:
        plain = to_plain(card) if card else {"id": head.id}
        plain |= {"digest": head.digest, "azimuth_deg": around.azimuth_deg.tolist()}
        plain |= {"itd_us": around.itd_us.tolist(), "ild_db": around.ild_db.tolist()}
        click.echo(json.dumps(plain))
        return
    rows = _card_rows(card) if card else [("what", "a rigid sphere, ears at 100 degrees; computed")]
    rows += [
        ("digest", head.digest),
        ("measured", coverage(head) if card else ""),
        ("left and right", symmetry(head)),
        ("azimuth, degrees", "".join(f"{deg:>7}" for deg in SHOWN_AZIMUTHS_DEG)),
        ("ITD, us", "".join(f"{around.at(deg)[0]:>7.0f}" for deg in SHOWN_AZIMUTHS_DEG)),
        ("ILD, dB", "".join(f"{around.at(deg)[1]:>7.1f}" for deg in SHOWN_AZIMUTHS_DEG)),
        ("picture", str(png) if png else ""),
    ]
    click.echo(f"{head.id}\n{table(rows)}")


@hrtf.command(
    cls=Sectioned,
    short_help="Check a head, or a SOFA file before it is added.",
    epilog="""\b
Examples:
  scenesynth hrtf check kemar
  scenesynth hrtf check subject_003.sofa && scenesynth hrtf add subject_003.sofa --id subject-003
""",
)
@click.argument("what", metavar="ID|FILE")
def check(what: str) -> None:
    """Check a head, or a SOFA file before it is added, and say what is wrong with it.

    Of a set: that it is undamaged. Of a file: convention, units, two receivers, finite responses,
    directions all around. Of both: that the ears can be told apart, that time and level
    differences at the sides are a head's, and that at most 40 % of the sphere is missing. Exit code
    0 where all of it holds, else 1.
    """
    from scenesynth.errors import ConfigError
    from scenesynth.spatial.head_facts import coverage, doubts, symmetry
    from scenesynth.spatial.heads import SPHERE, find_cards, load_head

    is_file = what.lower().endswith(".sofa") or Path(what).is_file()
    if not is_file and what.partition(":")[0] != SPHERE:
        find_cards(what)  # an unknown id is a wrong command
    notes: list[str] = []
    try:
        head = _of_file(Path(what), notes) if is_file else load_head(what)
        wrong = doubts(head)
        notes += [f"measured: {coverage(head)}", f"left and right: {symmetry(head)}"]
    except ConfigError as error:
        wrong = [str(error)]
    for note in notes:
        click.echo(f"  {note}")
    for failure in wrong:
        click.echo(f"FAILED {failure}")
    click.echo(f"{what}: {'cannot be used as it is' if wrong else 'passed'}")
    raise SystemExit(FAILED if wrong else DONE)


@hrtf.command(
    cls=Sectioned,
    short_help="Put a SOFA file into the library.",
    epilog="""\b
Examples:
  scenesynth hrtf add subject_003.sofa
  scenesynth hrtf add HRIR_L2702.sofa --id ku100 --licence "CC BY-SA 3.0"
""",
)
@click.argument("file", type=click.Path(path_type=Path))
@option("What it is", "--id", metavar="ID", help="Name of the head; the file's if not given.")
@option("What it is", "--title", default="", metavar="TEXT", help="Instead of the file's.")
@option("What it is", "--licence", default="", metavar="TEXT", help="Instead of the file's.")
@option("What it is", "--citation", default="", metavar="TEXT", help="Instead of the file's.")
@option(
    "What it is",
    "--licence-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Text of the licence, kept beside the set.",
)
@option(
    "Output",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for the set; `hrtf` of the cache if not given.",
)
def add(
    file: Path,
    id: str | None,
    title: str,
    licence: str,
    citation: str,
    licence_file: Path | None,
    out: Path | None,
) -> None:
    """Put a SOFA file into the library, as 16-bit samples (16-bit sources stay as they are).

    The channel that is the left ear becomes the first, the latency of the measurement is taken out,
    and the level is set; what was done stands on the set's card. The same file added again changes
    nothing.
    """
    from scenesynth.errors import ConfigError
    from scenesynth.spatial.head_facts import doubts
    from scenesynth.spatial.heads import add_head, make_head, own_folder
    from scenesynth.spatial.hrtf import head_of

    name = id or file.stem.lower().replace(" ", "-")
    card, arrays = make_head(file, name, title=title, licence=licence, citation=citation)
    if wrong := doubts(head_of(arrays, name)):
        raise ConfigError(f"{file}: {'; '.join(wrong)}")
    text = licence_file.read_text(encoding="utf-8") if licence_file else ""
    path = add_head(card, arrays, out or own_folder(), text)
    click.echo(f"added {name}\n{table([*_card_rows(card), ('card', str(path))])}")


def _of_file(path: Path, notes: list[str]) -> Head:
    """The head of a SOFA file; what is found before it fails is noted, too."""
    from scenesynth.spatial.head_measure import arrays_of, tell_ears
    from scenesynth.spatial.head_sofa import read_head_sofa
    from scenesynth.spatial.hrtf import head_of

    sofa = read_head_sofa(path)
    ears = tell_ears(sofa)
    notes += [ears.how, *sofa.notes]
    return head_of(arrays_of(sofa, ears)[0], path.stem)


def _line(card: Card) -> str:
    return (
        f"{card.title or card.source}: {card.n_directions} directions, {card.sample_rate} Hz, "
        f"licence: {card.licence or 'not stated'}"
    )


def _card_rows(card: Card) -> list[tuple[str, str]]:
    return [
        ("title", card.title),
        (
            "responses",
            f"{card.n_directions} directions down to {card.lowest_elevation_deg:g} degrees, "
            f"{card.n_taps} samples at {card.sample_rate} Hz",
        ),
        ("ears", card.ears),
        ("changed", f"{card.latency_ms:.3f} ms earlier, {card.gain_db:+.2f} dB"),
        *[("note", note) for note in card.notes],
        ("licence", card.licence or "not stated"),
        ("cite", card.citation),
        ("from", f"{card.source} (SHA-256 {card.source_sha256[:16]}...)"),
    ]


def _draw(path: Path, id: str, around: Horizon) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    time: Any
    level: Any
    time, level = figure.subplots(2, 1, sharex=True)
    time.plot(around.azimuth_deg, around.itd_us, color="black")
    time.set_ylabel("ITD, us (left first: positive)")
    time.set_title(f"{id}, horizontal plane")
    level.plot(around.azimuth_deg, around.level_db[:, 0], label="left ear")
    level.plot(around.azimuth_deg, around.level_db[:, 1], label="right ear", linestyle="--")
    level.set_ylabel("level above 1.5 kHz, dB")
    level.set_xlabel("azimuth, degrees (left: positive)")
    level.set_xticks(range(-180, 181, 45))
    level.legend()
    for axes in (time, level):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)
