"""`scenesynth rooms`: rooms that are drawn, computed, or measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scenesynth.cli.app import DONE, FAILED, Sectioned, option, plural, table

if TYPE_CHECKING:
    from scenesynth.acoustics.importing import Imported
    from scenesynth.room.family import DrawnRoom
    from scenesynth.room.measured import MeasuredRoom

T60_OFF = 0.1
"""`fit --check` fails if the median measured T60 of a band is farther off than this."""


@click.group(
    short_help="Look at rooms, fit their walls, import measured ones.",
    epilog="""\b
Examples:
  scenesynth rooms list
  scenesynth rooms show gram --seed 3
  scenesynth rooms fit --size 7,5,3 --rt60 0.5 --check
  scenesynth rooms import lecture_hall.sofa
  scenesynth rooms import responses/ --positions positions.csv --channels sh --name house
""",
)
def rooms() -> None:
    """Look at rooms, find walls that give a reverberation time, import measured rooms.

    A recipe draws its rooms from families: sizes with a reverberation time, or with materials.
    Or it names measured rooms, which `rooms import` puts into a library: responses with the
    positions of source and listener, from SOFA files or from wav or npy files with a table.

    The library is the folder `rooms` of the cache (SCENESYNTH_CACHE), and the folders of
    SCENESYNTH_ROOMS.
    """


@rooms.command("list", cls=Sectioned, short_help="List room families and measured rooms.")
@option("Output", "--json", "as_json", is_flag=True, help="One JSON object.")
def list_(as_json: bool) -> None:
    """List the room families of the recipes that come along, and the measured rooms at hand."""
    import json

    from scenesynth.errors import ConfigError
    from scenesynth.room.measured import library, library_folders, open_folder
    from scenesynth.scene.recipe import list_recipes, load_recipe

    families = {
        f"{name}:{family.name}": _family_line(family)
        for name in list_recipes()
        for family in load_recipe(name).rooms
    }
    lines: list[tuple[str, str]] = []
    cards = []
    for name, _, folder in library():
        try:
            room = open_folder(folder)
        except ConfigError as error:
            lines.append((name, f"cannot be used: {error}"))
            continue
        lines.append((name, _room_line(room)))
        cards.append(_card(room))
    if as_json:
        click.echo(json.dumps({"families": families, "measured": cards}))
        return
    click.echo("families of recipes (rooms show RECIPE:FAMILY draws one):")
    click.echo(table(list(families.items())))
    click.echo(f"measured rooms in {', '.join(map(str, library_folders()))}:")
    click.echo(table(lines) or "  none yet")


@rooms.command(
    cls=Sectioned,
    short_help="Draw a room of a recipe, or show a measured one.",
    epilog="""\b
Examples:
  scenesynth rooms show everyday
  scenesynth rooms show everyday:living_room --seed 7
  scenesynth rooms show lecture_hall
""",
)
@click.argument("name", metavar="RECIPE[:FAMILY]|NAME")
@option(
    "What to draw", "--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Root seed."
)
@option("Output", "--json", "as_json", is_flag=True, help="One JSON object.")
def show(name: str, seed: int, as_json: bool) -> None:
    """Draw a room of a recipe's families, or show a measured room.

    Of a drawn room: its walls (x0 is the one at x = 0, z0 the floor), the T60 that a measurement
    will find per octave band and the range of T60 that these walls could be scaled to (a room
    that is no box has Eyring's estimate), its volume, the Schroeder frequency (2000
    sqrt(T60/V), below which single modes stand out) and the mixing time (sqrt(V) ms, after which
    reflections overlap).

    Of a measured one: positions, what the responses are, what was decided when it was imported,
    and the T60 and direct-to-reverberant ratio that are measured in them.
    """
    import json

    from scenesynth.room.measured import find_room
    from scenesynth.scene.recipe import list_recipes

    recipe = name.partition(":")[0]
    if recipe in list_recipes() or recipe.endswith((".yaml", ".yml")):
        drawn = _draw(name, seed)
        if drawn.measured is None:
            plain = _drawn(drawn)
            click.echo(json.dumps(plain) if as_json else _drawn_text(name, seed, plain))
            return
        room = drawn.measured
    else:
        room = find_room(name)
    plain = _measured(room)
    click.echo(json.dumps(plain) if as_json else _measured_text(room, plain))


@rooms.command(
    cls=Sectioned,
    short_help="Find the absorption that gives a T60.",
    epilog="""\b
Examples:
  scenesynth rooms fit --size 7,5,3 --rt60 0.5
  scenesynth rooms fit --size 7,5,3 --rt60 0.6,0.6,0.55,0.5,0.5,0.45,0.4 --weights 1,1,1,1,2,4
  scenesynth rooms fit --size 7,5,3 --rt60 0.5 --check
""",
)
@option("The room", "--size", required=True, metavar="X,Y,Z", help="Length, width, height in m.")
@option(
    "The room",
    "--rt60",
    required=True,
    metavar="S",
    help="T60 in seconds: one number, or one for each octave band from 125 Hz on.",
)
@option(
    "The room",
    "--weights",
    metavar="W,...",
    help="Relative absorption of the walls x0, x1, y0, y1, floor, ceiling; all alike if not given.",
)
@option(
    "Output", "--check", is_flag=True, help="Render a few responses and measure their T60, too."
)
@option("Output", "--json", "as_json", is_flag=True, help="One JSON object.")
def fit(size: str, rt60: str, weights: str | None, check: bool, as_json: bool) -> None:
    """Find the absorption of a box's walls that gives a reverberation time, or say what can be had.

    The T60 is the one that a measurement finds (ISO 3382 T30), not Sabine's. Exit code 2 where no
    absorption gives it; 1 where --check measures another one, by more than 10 % in a band (in a
    small room, few modes are left in the low bands, and that happens by chance).
    """
    import json

    from scenesynth.acoustics.room_facts import check_box, medians, room_facts
    from scenesynth.errors import ConfigError
    from scenesynth.room.decay import absorption_for_t60
    from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room

    x, y, z = _numbers("--size", size, (3,))
    bands = OCTAVE_BANDS_HZ
    asked = _numbers("--rt60", rt60, (1, len(bands)))
    t60_s = asked * len(bands) if len(asked) == 1 else asked
    shares = _numbers("--weights", weights, (6,)) if weights else None
    walls = absorption_for_t60((x, y, z), t60_s, bands, Air(), wall_weights=shares)
    room = Room(id="fit", size_m=(x, y, z), band_hz=bands, absorption=walls, rt60_s=tuple(t60_s))
    facts = room_facts(room, Air())
    plain: dict[str, Any] = _box(room, facts)
    if check:
        try:
            plain["t60_measured_s"] = medians([found.rt60_s for found in check_box(room, Air())])
        except ValueError as error:
            raise ConfigError(f"--check: --size {size} cannot be rendered: {error}") from None
    click.echo(json.dumps(plain) if as_json else _box_text(f"{x:g} x {y:g} x {z:g} m", plain))
    off = [
        f"{got:.3g} instead of {want:.3g} s at {band:g} Hz"
        for got, want, band in zip(plain.get("t60_measured_s", ()), t60_s, bands, strict=False)
        if got is not None and abs(got / want - 1) > T60_OFF
    ]
    if off:
        click.echo(
            f"measured T60 is more than {T60_OFF:.0%} off: {', '.join(off)} (in small rooms "
            f"a few responses scatter by that much in low bands)",
            err=True,
        )
    raise SystemExit(FAILED if off else DONE)


@rooms.command(
    "import",
    cls=Sectioned,
    short_help="Put measured or simulated responses into the library.",
    epilog="""\b
Examples:
  scenesynth rooms import lecture_hall.sofa
  scenesynth rooms import sofa_files/
  scenesynth rooms import rirs/ --positions rirs.csv --channels sh --axes x,-z,y --name house
  scenesynth rooms import rirs.npy --positions rirs.csv --channels sh --sample-rate 48000
""",
)
@click.argument("path", metavar="FILE|FOLDER", type=click.Path(path_type=Path))
@option(
    "What it is",
    "--positions",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="Positions for wav or npy files: columns source_x, source_y, source_z; if wanted "
    "listener_x, listener_y, listener_z, yaw_deg, pitch_deg, roll_deg; and file for a folder.",
)
@option("What it is", "--sample-rate", type=click.IntRange(min=1000), metavar="HZ", help="Of npy.")
@option(
    "What it is", "--name", metavar="NAME", help="Name in the library; the file's if not given."
)
@option(
    "What it is",
    "--channels",
    type=click.Choice(["auto", "sh", "mics", "ears"]),
    default="auto",
    help="Ambisonics, microphones, or two ears; auto: what the file says.",
)
@option(
    "What it is",
    "--ambisonics",
    type=click.Choice(["auto", "acn-sn3d", "acn-n3d", "fuma", "wxyz-sn3d"]),
    default="auto",
    help="Convention; auto: found from the direct sounds and the positions.",
)
@option(
    "Positions",
    "--sources",
    type=click.Choice(["auto", "room", "listener"]),
    default="auto",
    help="Source positions in room coordinates, or relative to the listener; auto: whichever the "
    "direct sounds (Ambisonics) come from, else room.",
)
@option(
    "Positions",
    "--axes",
    metavar="A,B,C",
    help="Axes of the file that are front, left and up, such as x,-z,y where y points up.",
)
@option(
    "Level",
    "--level",
    type=click.Choice(["room", "pair", "keep"]),
    default="room",
    help="One gain for the room so that a source at 1 m gives 1.0; one for each response; none.",
)
@option("Output", "--json", "as_json", is_flag=True, help="One JSON object per room.")
def import_(
    path: Path,
    positions: Path | None,
    sample_rate: int | None,
    name: str | None,
    channels: Any,
    ambisonics: Any,
    sources: Any,
    axes: str | None,
    level: Any,
    as_json: bool,
) -> None:
    """Put responses into the library of measured rooms.

    FILE is a SOFA file (SingleRoomSRIR, SingleRoomMIMOSRIR, SingleRoomDRIR, MultiSpeakerBRIR,
    FreeFieldHRIR, SimpleFreeFieldHRIR), or, with --positions, a wav or npy file or a folder of
    them. A folder of SOFA files is imported file by file.

    What files leave open is found in the direct sounds and reported: the Ambisonic convention
    (responses are kept as ACN SN3D), whether delays hold the distance, the level, the left ear.
    Direct sounds that do not come from the stated positions are an error, since labels would be
    wrong.
    """
    import json

    from scenesynth.acoustics.exports import read_exports, with_axes
    from scenesynth.acoustics.importing import import_room
    from scenesynth.errors import ConfigError
    from scenesynth.room.sofa import read_sofa

    files = sorted(path.glob("*.sofa")) if path.is_dir() and positions is None else [path]
    if not files:
        raise ConfigError(f"{path}: holds no .sofa files; give --positions for wav or npy files")
    if name and len(files) > 1:
        raise ConfigError(f"--name {name}: {path} holds {len(files)} files, named after themselves")
    for file in files:
        if positions is not None:
            recorded = read_exports(file, positions, sample_rate)
        elif file.suffix.lower() in (".wav", ".flac", ".npy"):
            raise ConfigError(f"{file}: does not say where it was measured; give --positions CSV")
        else:
            recorded = read_sofa(file)
        imported = import_room(
            with_axes(recorded, axes) if axes else recorded,
            name or file.stem,
            channels=channels,
            ambisonics=ambisonics,
            sources=sources,
            level=level,
        )
        click.echo(json.dumps(_imported(imported)) if as_json else _imported_text(imported))


def _draw(name: str, seed: int) -> DrawnRoom:
    from scenesynth.distributions import Draws
    from scenesynth.errors import ConfigError
    from scenesynth.records import did_you_mean
    from scenesynth.room.family import draw_room
    from scenesynth.scene.recipe import load_recipe
    from scenesynth.scene.splits import split_families

    head, _, wanted = name.partition(":")
    recipe = load_recipe(head)
    split = next(iter(recipe.splits.named))
    families = split_families(recipe, split)
    if wanted:
        known = [family.name for family in recipe.rooms]
        families = tuple(family for family in families if family.name == wanted)
        if not families:
            raise ConfigError(
                f"{head}: no room family {wanted!r}{did_you_mean(wanted, known)}; it has "
                f"{', '.join(known)}"
            )
    draws = Draws(seed=seed, split=split, index=0, attempt=0)
    return draw_room(families, f"{recipe.name}/{split}/s{0:08d}", draws)


def _family_line(family: Any) -> str:
    if family.measured is not None:
        return f"measured: {', '.join(family.measured.rooms)}"
    sizes = [str(v) for v in (family.length_m, family.width_m, family.height_m) if v is not None]
    size = " x ".join(sizes) or f"{family.shape} of its own size,"
    if family.decay is not None:
        return f"{size} m, T60 {family.decay.rt60_s} s at 1 kHz"
    return f"{size} m, walls {family.surfaces.walls}"


def _room_line(room: MeasuredRoom) -> str:
    card = room.card
    held = f"order {card.order}" if card.kind == "sh" else plural(card.n_channels, "channel")
    return (
        f"{card.kind}, {held}, {plural(card.n_pairs, 'response')} of "
        f"{card.n_samples / card.sample_rate:.2g} s at {card.sample_rate} Hz, {room.digest[:8]}"
    )


def _card(room: MeasuredRoom) -> dict[str, Any]:
    from scenesynth.records import to_plain

    return {"digest": room.digest, "folder": str(room.folder), **to_plain(room.card)}


def _box(room: Any, facts: Any) -> dict[str, Any]:
    from scenesynth.records import to_plain

    return {**to_plain(room), **to_plain(facts)}


def _drawn(drawn: DrawnRoom) -> dict[str, Any]:
    from scenesynth.acoustics.room_facts import room_facts
    from scenesynth.records import to_plain

    room = drawn.room
    return {
        **_box(room, room_facts(room, drawn.air)),
        "air": to_plain(drawn.air),
        "response_s": drawn.response_s,
    }


def _drawn_text(name: str, seed: int, plain: dict[str, Any]) -> str:
    air = plain["air"]
    size = " x ".join(f"{length:g}" for length in plain["size_m"])
    more = [
        ("air", f"{air['temperature_c']:g} degrees C, {air['humidity_pct']:g} % humidity"),
        ("response", f"{plain['response_s']:g} s"),
    ]
    return _box_text(f"{name}, seed {seed}: {size} m", plain, more)


def _box_text(head: str, plain: dict[str, Any], more: Sequence[tuple[str, str]] = ()) -> str:
    names = plain.get("materials") or ["" for _ in plain["absorption"]]
    rows = [("octave band, Hz", _row(plain["band_hz"], 0))]
    rows += [
        (f"absorption of {wall}", f"{_row(values, 2)}  {material}".rstrip())
        for wall, values, material in zip(
            plain["surfaces"], plain["absorption"], names, strict=True
        )
    ]
    if plain.get("rt60_s"):
        rows.append(("T60 asked for, s", _row(plain["rt60_s"], 2)))
    how = "predicted" if plain["longest_s"] else "by Eyring"
    rows.append((f"T60 {how}, s", _row(plain["t60_s"], 2)))
    if "t60_measured_s" in plain:
        rows.append(("T60 measured, s", _row(plain["t60_measured_s"], 2)))
    if plain["longest_s"]:
        rows.append(("T60 reachable from, s", _row(plain["shortest_s"], 2)))
        rows.append(("T60 reachable to, s", _row(plain["longest_s"], 2)))
    rows += [
        ("volume", f"{plain['volume_m3']:.4g} m3, surface {plain['surface_m2']:.4g} m2"),
        ("Schroeder frequency", f"{plain['schroeder_hz']:.0f} Hz"),
        ("mixing time", f"{1000 * plain['mixing_s']:.0f} ms"),
    ]
    return f"{head}\n{table([*rows, *more])}"


def _measured(room: MeasuredRoom) -> dict[str, Any]:
    import numpy as np

    from scenesynth.acoustics.room_facts import measured_facts, medians

    found = measured_facts(room)
    away = room.pairs.distance_m
    return {
        **_card(room),
        "band_hz": list(found[0].band_hz),
        "t60_measured_s": medians([item.rt60_s for item in found]),
        "drr_db": medians([[item.drr_db] for item in found])[0],
        "c50_db": medians([[item.c50_db] for item in found])[0],
        "n_sources": len(np.unique(room.pairs.source_m, axis=0)),
        "n_listeners": len(np.unique(room.pairs.listener_m, axis=0)),
        "distance_m": [float(away.min()), float(np.median(away)), float(away.max())],
    }


def _measured_text(room: MeasuredRoom, plain: dict[str, Any]) -> str:
    card = room.card
    size = " x ".join(f"{length:g}" for length in card.size_m)
    near, middle, far = plain["distance_m"]
    rows = [
        ("responses", _room_line(room)),
        (
            "positions",
            f"{plural(plain['n_sources'], 'source')}, {plural(plain['n_listeners'], 'listener')}, "
            f"{near:.3g} to {far:.3g} m apart (median {middle:.3g})",
        ),
        ("box", f"{size} m, {'as stated' if card.size_stated else 'around the positions'}"),
        ("octave band, Hz", _row(plain["band_hz"], 0)),
        ("T60 measured, s", _row(plain["t60_measured_s"], 2)),
        ("DRR, C50", f"{_number(plain['drr_db'], 1)} dB, {_number(plain['c50_db'], 1)} dB"),
        ("delays", card.onset),
        *[("found", note) for note in card.notes],
        ("title", card.title),
        ("licence", card.licence or "not stated"),
        ("from", f"{card.source} ({card.source_digest})" if card.source else ""),
        ("folder", str(room.folder)),
    ]
    return f"{card.name}\n{table(rows)}"


def _imported(imported: Imported) -> dict[str, Any]:
    from scenesynth.records import to_plain

    fit = imported.fit
    return {**_card(imported.room), "fit": to_plain(fit) if fit else None}


def _imported_text(imported: Imported) -> str:
    room = imported.room
    rows = [
        ("responses", _room_line(room)),
        ("delays", room.card.onset),
        *[("found", note) for note in room.card.notes],
        ("folder", str(room.folder)),
        ("use it", _use(room)),
    ]
    return f"imported {room.card.name}\n{table(rows)}"


def _use(room: MeasuredRoom) -> str:
    """How a recipe names the room, or why none can yet."""
    if room.card.omni is None:
        return "kept for formats binaural and mic, which are not rendered yet"
    only = "" if room.card.kind == "sh" else "; renders --format mono"
    name = room.card.name
    return f"engine: sofa, rooms: [{{name: {name}, measured: {{rooms: [{name}]}}}}]{only}"


def _numbers(name: str, text: str, lengths: tuple[int, ...]) -> list[float]:
    from scenesynth.errors import ConfigError

    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in lengths or not all(0 < value < 1e6 for value in values):
        raise ConfigError(
            f"{name} {text}: must be {' or '.join(map(str, lengths))} positive numbers with commas "
            f"between"
        )
    return values


def _row(values: Sequence[float | None], digits: int) -> str:
    return " ".join(f"{_number(value, digits):>6}" for value in values)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
