"""What an audit shows and compares of scenes and events: names, units, and where they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pyarrow as pa

from scenesynth.audit.columns import Array, lists, middle_bands, numbers, texts
from scenesynth.audit.records import Audit

_DIGITS: Final = {"dB": 1, "dBFS": 1, "°": 0, "m³": 0}
Of = Literal["scenes", "targets", "others"]
"""Every scene; every event that is a target; every interferer and noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number that scenes or events have.

    Attributes:
        name: stable and short, for JSON.
        title: for people, without the unit.
        unit: "" for counts and ratios.
        of: what has it.
        values: those of a table's rows, NaN for none. Shape: [rows] or [rows, bands].
        whole: whether all are whole numbers.
        circle: of angles, what they are at most, to either side.
    """

    name: str
    title: str
    unit: str
    of: Of
    values: Callable[[pa.Table], Array]
    whole: bool = False
    circle: float | None = None

    @property
    def digits(self) -> int:
        """Decimals worth showing."""
        return 0 if self.whole else _DIGITS.get(self.unit, 2)

    @property
    def counted(self) -> str:
        """What has a value."""
        return "scenes" if self.of == "scenes" else "events"

    def of_rows(self, scenes: pa.Table, events: pa.Table) -> Array:
        """A value for each row of the table that it is of; NaN for other roles."""
        if self.of == "scenes":
            return self.values(scenes)
        roles = ("target",) if self.of == "targets" else ("interferer", "noise")
        mine = np.isin(np.array(texts(events, "role"), dtype=object), roles)
        return np.where(mine, self.values(events), np.nan) if len(mine) else np.empty(0)

    def looked_at(self, audit: Audit) -> Array:
        """`of_rows` of an audit's own scenes and events."""
        return self.of_rows(audit.scenes, audit.events)

    def expected(self, audit: Audit) -> Array:
        """`of_rows` of the scenes drawn anew; nothing where there are none."""
        table = audit.drawn if self.of == "scenes" else audit.drawn_events
        return np.empty(0) if table is None else self.of_rows(table, table)


def axis_of(title: str, unit: str) -> str:
    """The title of an axis."""
    words = "degrees" if unit == "°" else unit
    return f"{title} in {words}" if words else title


def _column(name: str) -> Callable[[pa.Table], Array]:
    return lambda table: numbers(table, name)


def _middle(name: str) -> Callable[[pa.Table], Array]:
    return lambda table: middle_bands(lists(table, name))


def _ratio_of_t60(table: pa.Table) -> Array:
    requested = lists(table, "rt60_requested_s")
    with np.errstate(divide="ignore", invalid="ignore"):
        return lists(table, "rt60_measured_s") / requested


def _side(axis: int) -> Callable[[pa.Table], Array]:
    return lambda table: lists(table, "room_size_m", 3)[:, axis]


def _volume(table: pa.Table) -> Array:
    return np.asarray(lists(table, "room_size_m", 3).prod(axis=1))


def duration_s(table: pa.Table) -> Array:
    """Length of each scene. Shape: [scenes]."""
    return numbers(table, "n_samples") / numbers(table, "sample_rate")


def _difference(one: str, other: str) -> Callable[[pa.Table], Array]:
    return lambda table: numbers(table, one) - numbers(table, other)


def _scenes(name: str, title: str, unit: str, values: Callable[[pa.Table], Array]) -> Quantity:
    return Quantity(name=name, title=title, unit=unit, of="scenes", values=values)


def _count(name: str, title: str) -> Quantity:
    return Quantity(name=name, title=title, unit="", of="scenes", values=_column(name), whole=True)


def _events(
    name: str, title: str, unit: str, values: Callable[[pa.Table], Array], of: Of = "targets"
) -> Quantity:
    return Quantity(name=name, title=title, unit=unit, of=of, values=values)


def _angle(name: str, circle: float) -> Quantity:
    return Quantity(
        name=f"{name}_deg",
        title=f"{name.capitalize()} of targets",
        unit="°",
        of="targets",
        values=_column(f"{name}_start_deg"),
        circle=circle,
    )


T60_REQUESTED: Final = _scenes(
    "rt60_requested_s", "T60 requested, 500 Hz to 1 kHz", "s", _middle("rt60_requested_s")
)
T60_MEASURED: Final = _scenes(
    "rt60_measured_s", "T60 measured, 500 Hz to 1 kHz", "s", _middle("rt60_measured_s")
)
T60_RATIO: Final = _scenes("rt60_ratio", "T60 measured / requested, all bands", "", _ratio_of_t60)
AZIMUTH: Final = _angle("azimuth", 180.0)
ELEVATION: Final = _angle("elevation", 90.0)

ROOMS: Final = (
    T60_REQUESTED,
    T60_MEASURED,
    T60_RATIO,
    _scenes("edt_s", "Early decay time", "s", _column("edt_s")),
    _scenes("drr_db", "Direct-to-reverberant ratio", "dB", _column("drr_db")),
    _scenes("c50_db", "Clarity C50", "dB", _column("c50_db")),
    _scenes("room_length_m", "Length of the room", "m", _side(0)),
    _scenes("room_width_m", "Width of the room", "m", _side(1)),
    _scenes("room_height_m", "Height of the room", "m", _side(2)),
    _scenes("room_volume_m3", "Volume of the room", "m³", _volume),
)
PLACES: Final = (
    _events("distance_m", "Distance of targets", "m", _column("distance_start_m")),
    _events(
        "other_distance_m",
        "Distance of interferers and noise",
        "m",
        _column("distance_start_m"),
        "others",
    ),
    AZIMUTH,
    ELEVATION,
)
LEVELS: Final = (
    _scenes("snr_requested_db", "SNR requested", "dB", _column("snr_requested_db")),
    _scenes("snr_achieved_db", "SNR achieved", "dB", _column("snr_achieved_db")),
    _scenes(
        "snr_error_db",
        "SNR achieved minus requested",
        "dB",
        _difference("snr_achieved_db", "snr_requested_db"),
    ),
    _scenes("sir_achieved_db", "SIR achieved", "dB", _column("sir_achieved_db")),
    _events("local_snr_db", "SNR of each target", "dB", _column("local_snr_db")),
    _events("level_db", "Level of each target", "dB", _column("level_db")),
)
SCENES: Final = (
    _scenes("duration_s", "Duration of scenes", "s", duration_s),
    _events("event_s", "Duration of targets", "s", _difference("dry_offset_s", "dry_onset_s")),
    _count("max_polyphony", "Most targets and interferers at once"),
    _count("n_targets", "Targets of a scene"),
    _count("n_interferers", "Interferers of a scene"),
    _count("n_noise", "Noises of a scene"),
)
QUANTITIES: Final = (*ROOMS, *PLACES, *LEVELS, *SCENES)


def of_format(name: str) -> tuple[Quantity, ...]:
    """What the tables say of the audio of a format."""
    return (
        _scenes(
            f"peak_{name}_dbfs", f"Peak of {name}", "dBFS", lambda table: _db(table, f"peak_{name}")
        ),
        _scenes(f"snr_{name}_db", f"SNR achieved in {name}", "dB", _column(f"snr_{name}_db")),
    )


def _db(table: pa.Table, name: str) -> Array:
    values = numbers(table, name)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 20 * np.log10(values)
