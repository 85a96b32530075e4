"""One scene as a page shows it: numbers, plots, player, tables, and how to make it again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from scenesynth.plots.text import number
from scenesynth.preview.again import Again
from scenesynth.preview.files import direction_line
from scenesynth.preview.player import Player, player_of
from scenesynth.preview.plots import Plot, decay_plot, room_plot, timeline_plot
from scenesynth.preview.tables import Table, classes_of, label_errors, tables_of
from scenesynth.preview.view import View, view_of
from scenesynth.spatial.formats import Format
from scenesynth.store.schema import Scene

FAR_OFF_DEG = 20.0
"""Label errors beyond this are marked."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A scene with what is known of it beside its audio.

    Attributes:
        known: the dataset's formats by name; microphones are known by them alone.
    """

    scene: Scene
    again: Again
    known: Mapping[str, Format]


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A number that tells much of a scene."""

    name: str
    value: str
    explained: str
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class Card:
    """All that a page says of a scene.

    Attributes:
        about: a line under the id.
        sort_by: numbers that cards are sorted by, by key; None comes last.
        text: what a filter searches, in lower case.
        lines: label against audio for each event, in words.
    """

    id: str
    index: int
    split: str
    about: tuple[str, ...]
    chips: tuple[Chip, ...]
    classes: tuple[str, ...]
    sort_by: Mapping[str, float | None]
    text: str
    duration_s: float
    room: Plot
    timeline: Plot
    decay: Plot | None
    player: Player
    tables: tuple[Table, ...]
    spec: str
    again: Again
    lines: tuple[str, ...]


def card_of(shown: Shown, limit_bytes: float = math.inf) -> Card:
    """The card of a scene.

    Args:
        limit_bytes: what it may take in a page: stems beyond that are left out.
    """
    scene = shown.scene
    view = view_of(scene, shown.known)
    row = view.row
    worst = max(label_errors(view), default=None)
    classes = classes_of(view.soundings)
    tables = tables_of(scene, view)
    plots = (room_plot(view), timeline_plot(view), decay_plot(view))
    spec = json.dumps(json.loads(scene.spec_json), indent=1, ensure_ascii=False)
    left_bytes = limit_bytes - sum(len(plot.svg) for plot in plots if plot) - 2 * len(spec)
    speed_mps = view.spec.air.speed_of_sound_mps
    return Card(
        id=scene.id,
        index=row["index"],
        split=view.spec.origin.split,
        about=tuple(_about(view)),
        chips=_chips(view, worst),
        classes=tuple(classes),
        sort_by={
            "snr": row["snr_achieved_db"],
            "error": worst,
            "t60": row["rt60_broadband_s"],
            "drr": row["drr_db"],
        },
        text=_searched(view, tables),
        duration_s=view.duration_s,
        room=plots[0],
        timeline=plots[1],
        decay=plots[2],
        player=player_of(scene, shown.known, speed_mps, left_bytes),
        tables=tables,
        spec=spec,
        again=shown.again,
        lines=tuple(direction_line(s) for s in view.soundings if s.role != "noise"),
    )


def _about(view: View) -> list[str]:
    origin = view.spec.origin
    others = f" (also there: {', '.join(view.others)})" if view.others else ""
    return [
        *([f"recipe {origin.recipe}"] if origin.recipe else []),
        f"split {origin.split}",
        f"seed {origin.seed}, scene {origin.index}"
        + (f", drawn again {origin.attempt} times" if origin.attempt else ""),
        f"room {view.spec.room.id}",
        f"{view.duration_s:g} s at {view.sample_rate / 1000:g} kHz",
        f"shown: {view.format.name}{others}",
    ]


def _chips(view: View, worst_deg: float | None) -> tuple[Chip, ...]:
    row = view.row
    far = worst_deg is not None and worst_deg > FAR_OFF_DEG
    return (
        Chip(
            name="SNR",
            value=number(row["snr_achieved_db"], "dB"),
            explained="energy of all targets over that of all noise, measured",
        ),
        Chip(
            name="T60",
            value=number(row["rt60_broadband_s"], "s", 2),
            explained="reverberation time over all bands, measured",
        ),
        Chip(name="DRR", value=number(row["drr_db"], "dB"), explained="direct to reverberant"),
        Chip(name="C50", value=number(row["c50_db"], "dB"), explained="clarity: first 50 ms"),
        Chip(
            name="label error",
            value=number(worst_deg, "°"),
            explained="largest angle between a label and the direction estimated from the audio",
            mark="warn" if far else "",
        ),
    )


def _searched(view: View, tables: tuple[Table, ...]) -> str:
    named = [view.id, *_about(view)]
    named += [
        cell
        for table in tables
        if table.title in ("Events", "Clips")
        for row in table.rows
        for cell in row[:4]
    ]
    return " ".join(dict.fromkeys(named)).lower()
