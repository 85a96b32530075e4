"""Which plots a report has, from an audit or from two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from scenesynth.audit.charts import Series
from scenesynth.audit.columns import Array, matching, numbers, present, texts, with_scenes
from scenesynth.audit.compare import formats_of
from scenesynth.audit.listened import heard_panels
from scenesynth.audit.panels import (
    Panel,
    bands_panel,
    histogram_panel,
    map_panel,
    ranks_panel,
    ratio_panel,
)
from scenesynth.audit.quantities import (
    LEVELS,
    PLACES,
    ROOMS,
    SCENES,
    T60_RATIO,
    Quantity,
    axis_of,
    of_format,
)
from scenesynth.audit.records import Audit
from scenesynth.plots.style import COLOURS
from scenesynth.room.model import OCTAVE_BANDS_HZ

_SHOULD_BE: Final = {T60_RATIO.name: 1.0, "snr_error_db": 0.0}


@dataclass(frozen=True, kw_only=True)
class Section:
    """Panels on one matter."""

    name: str
    title: str
    panels: tuple[Panel, ...]

    @property
    def drawn(self) -> tuple[Panel, ...]:
        """Those with a plot."""
        return tuple(panel for panel in self.panels if panel.plot)

    @property
    def told(self) -> tuple[Panel, ...]:
        """Those in words."""
        return tuple(panel for panel in self.panels if not panel.plot)


def sections(audit: Audit, other: Audit | None) -> tuple[Section, ...]:
    """All plots of a report. Call it inside `plots.style.drawn_alike`.

    Args:
        other: B of a comparison, whose values are drawn over those of the audit.
    """
    rooms = [*_histograms(ROOMS, audit, other), _bands_panel(audit, other)]
    places = [*_maps(audit, other), *_histograms(PLACES, audit, other)]
    of_formats = [each for name in _formats(audit, other) for each in of_format(name)]
    return (
        Section(name="rooms", title="Rooms and reverberation", panels=tuple(rooms)),
        Section(name="places", title="Directions and distances", panels=tuple(places)),
        Section(
            name="levels",
            title="Levels and noise",
            panels=tuple(_histograms((*LEVELS, *of_formats), audit, other)),
        ),
        Section(
            name="events",
            title="Scenes and events",
            panels=(*_histograms(SCENES, audit, other), *_reuse(audit, other)),
        ),
        Section(name="heard", title="As heard", panels=tuple(heard_panels(_named(audit, other)))),
    )


def quantity_panel(quantity: Quantity, audit: Audit, other: Audit | None = None) -> Panel:
    """A quantity's histogram: what was looked at with the recipe's expectation, or A and B."""
    values = present(quantity.looked_at(audit))
    if other is None:
        series = [
            Series(name="looked at", values=values),
            Series(name="recipe", values=present(quantity.expected(audit))),
        ]
        more = _per_split(quantity, audit)
    else:
        series = [
            Series(name="A", values=values, colour=COLOURS[0]),
            Series(name="B", values=present(quantity.looked_at(other)), colour=COLOURS[1]),
        ]
        more = []
    return histogram_panel(
        quantity.title,
        series,
        axis=axis_of(quantity.title, quantity.unit),
        counted=quantity.counted,
        unit=quantity.unit,
        digits=quantity.digits,
        whole=quantity.whole,
        circle=quantity.circle,
        mark=_SHOULD_BE.get(quantity.name),
        more=more,
    )


def _per_split(quantity: Quantity, audit: Audit) -> list[Series]:
    """The values of each split, where there are several."""
    table = audit.scenes
    if quantity.of != "scenes":
        table = with_scenes(audit.events, audit.scenes, ["split"])
    splits = np.array(texts(table, "split"), dtype=object)
    names = sorted({*splits} - {""})
    if len(names) < 2:
        return []
    values = quantity.looked_at(audit)
    return [Series(name=name, values=present(values[splits == name])) for name in names]


def _bands_panel(audit: Audit, other: Audit | None) -> Panel:
    series = [
        (name, T60_RATIO.looked_at(each)[:, : len(OCTAVE_BANDS_HZ)])
        for name, each in _named(audit, other)
    ]
    return bands_panel(
        "T60 measured / requested by octave band", series, "measured / requested", 1.0
    )


def _named(audit: Audit, other: Audit | None) -> list[tuple[str, Audit]]:
    return [("looked at", audit)] if other is None else [("A", audit), ("B", other)]


def _histograms(
    quantities: Sequence[Quantity], audit: Audit, other: Audit | None
) -> Iterator[Panel]:
    return (quantity_panel(each, audit, other) for each in quantities)


def _maps(audit: Audit, other: Audit | None) -> Iterator[Panel]:
    """Directions on a map: targets, others, and against what they are compared with."""
    targets = directions_of(audit.events, ["target"])
    if other is None:
        yield map_panel("Directions of targets", targets)
        yield map_panel(
            "Directions of interferers and noise",
            directions_of(audit.events, ["interferer", "noise"]),
        )
        if audit.drawn_events is not None:
            reference = directions_of(audit.drawn_events, ["target"])
            yield ratio_panel(
                "Directions of targets against the recipe",
                targets,
                reference,
                ("this dataset", "the recipe"),
            )
    else:
        theirs = directions_of(other.events, ["target"])
        yield map_panel("Directions of targets in A", targets)
        yield map_panel("Directions of targets in B", theirs)
        yield ratio_panel("Directions of targets, A against B", targets, theirs, ("A", "B"))


def directions_of(events: pa.Table, roles: Sequence[str]) -> tuple[Array, Array]:
    """Azimuth and elevation at the start of events of these roles that have them, in degrees."""
    chosen = matching(events, "role", roles)
    found = np.stack([numbers(chosen, f"{n}_start_deg") for n in ("azimuth", "elevation")])
    azimuth, elevation = found[:, np.isfinite(found).all(axis=0)]
    return azimuth, elevation


def _reuse(audit: Audit, other: Audit | None) -> Iterator[Panel]:
    """How often clips and rooms are used, from the most used one on."""
    for title, name in (("Uses of each clip", "clip"), ("Scenes of each room", "room")):
        series = []
        for letter, each in (("A", audit), ("B", other)) if other else (("", audit),):
            assert each is not None
            table = each.events if name == "clip" else each.scenes
            groups = uses_of(table, name, "corpus" if name == "clip" else "")
            for group, uses in groups.items():
                label = " ".join(part for part in (letter, group) if part) or "rooms"
                series.append(Series(name=label, values=uses))
        yield ranks_panel(title, series, f"{name}s, the most used first", "uses")


def uses_of(table: pa.Table, name: str, group: str = "") -> dict[str, Array]:
    """How often each thing of a column is there, by the column `group`; in no order."""
    names = texts(table, name)
    groups = texts(table, group) if group else [""] * len(names)
    counted = Counter(pair for pair in zip(groups, names, strict=True) if pair[1])
    found: dict[str, list[int]] = {}
    for (key, _), uses in sorted(counted.items()):
        found.setdefault(key, []).append(uses)
    return {key: np.array(uses, dtype=np.float64) for key, uses in found.items()}


def _formats(audit: Audit, other: Audit | None) -> list[str]:
    found = formats_of(audit) | (formats_of(other) if other else set())
    return sorted(found)
