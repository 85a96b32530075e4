"""What a stored scene is: the `Scene` record and the columns of the two manifest tables.

`SCENES` and `EVENTS` are the columns that every dataset has; `PER_FORMAT` are those that each
output format adds (`gain_foa`, `snr_foa_db`, ...). Every column may be null: a skipped scene has
a row with its status and little else. The version rises when a column changes its meaning or goes;
readers accept older ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scenesynth.errors import ConfigError, StoreError
from scenesynth.records import did_you_mean

SCHEMA_VERSION: Final = 1

STATUS_OK: Final = "ok"
STATUS_SKIPPED: Final = "skipped"

STEM_KINDS: Final = ("direct", "early", "late", "noise", "dry")
"""Stems that a scene may have beside its audio: all but the last add up to it."""

_MEASURED = (
    "rt60_measured_s",
    "rt60_broadband_s",
    "edt_s",
    "drr_db",
    "c50_db",
    "snr_achieved_db",
    "sir_achieved_db",
)

_STR, _I32, _I64, _F32, _F64 = pa.string(), pa.int32(), pa.int64(), pa.float32(), pa.float64()

_PLACE = pa.struct([(name, _F64) for name in ("time_s", "x", "y", "z")])
_KEYFRAME = pa.struct([(name, _F64) for name in ("time_s", "x", "y", "z", "qw", "qx", "qy", "qz")])

SCENES: Final[Mapping[str, pa.DataType]] = {
    "id": _STR,
    "index": _I64,
    "split": _STR,
    "status": _STR,
    "attempt": _I32,
    "n_samples": _I64,
    "sample_rate": _I32,
    "spec": _STR,
    "recipe": _STR,
    "room": _STR,
    "room_size_m": pa.list_(_F64),
    "rt60_requested_s": pa.list_(_F32),
    "rt60_measured_s": pa.list_(_F32),
    "rt60_broadband_s": _F32,
    "edt_s": _F32,
    "drr_db": _F32,
    "c50_db": _F32,
    "snr_requested_db": _F32,
    "snr_achieved_db": _F32,
    "sir_requested_db": _F32,
    "sir_achieved_db": _F32,
    "n_targets": _I32,
    "n_interferers": _I32,
    "n_noise": _I32,
    "n_events": _I32,
    "max_polyphony": _I32,
    "listener_position_m": pa.list_(_F64),
    "listener_quaternion": pa.list_(_F64),
    "listener_trajectory": pa.list_(_KEYFRAME),
    "head": _STR,
}

PER_FORMAT: Final[Mapping[str, pa.DataType]] = {
    "render_key_{format}": _STR,
    "snr_{format}_db": _F32,
    "gain_{format}": _F32,
    "peak_{format}": _F32,
}

EVENTS: Final[Mapping[str, pa.DataType]] = {
    "scene": _STR,
    "index": _I64,
    "event": _I32,
    "emitter": _STR,
    "group": _STR,
    "role": _STR,
    "labels": pa.list_(_STR),
    "class_ids": pa.list_(_I32),
    "caption": _STR,
    "corpus": _STR,
    "clip": _STR,
    "clip_digest": _STR,
    "fold": _STR,
    "licence": _STR,
    "dry_onset_s": _F64,
    "dry_offset_s": _F64,
    "wet_onset_s": _F64,
    "wet_offset_s": _F64,
    "frame_start": _I32,
    "frame_stop": _I32,
    "azimuth_start_deg": _F64,
    "elevation_start_deg": _F64,
    "distance_start_m": _F64,
    "azimuth_end_deg": _F64,
    "elevation_end_deg": _F64,
    "distance_end_m": _F64,
    "trajectory": pa.list_(_KEYFRAME),
    "heard": pa.list_(_PLACE),
    "level_db": _F32,
    "local_snr_db": _F32,
    "stem": _I32,
    "gain": _F32,
    "rt60_s": pa.list_(_F32),
    "edt_s": _F32,
    "drr_db": _F32,
    "c50_db": _F32,
    "direct_delay_s": _F32,
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A rendered scene: audio, labels and what was measured.

    Attributes:
        spec_json: the scene's `SceneSpec` as canonical JSON.
        sample_rate: of all formats, in hertz.
        audio_by_format: float32 [channels, samples] for each format name.
        row: the scene's columns of the scenes table.
        events: the columns of the events table, a mapping per event.
        stems_by_format: stems by format and kind, float32 [slots, channels, samples]; the column
            `stem` of an event is its slot. Noise has one slot.
        dry: what each slot's emitter plays, float32 [slots, samples]; None where not asked for.
        encoded: arrays of a dataset (`foa`, `foa/stems/late`) that are there as encoded bytes, in
            place of samples; see `scenesynth.store.copies`.
    """

    spec_json: str
    sample_rate: int
    audio_by_format: Mapping[str, NDArray[np.float32]]
    row: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    stems_by_format: Mapping[str, Mapping[str, NDArray[np.float32]]] = field(default_factory=dict)
    dry: NDArray[np.float32] | None = None
    encoded: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Name of the scene in its dataset, such as `train-00000017`."""
        return str(self.row["id"])

    @property
    def audio(self) -> NDArray[np.float32]:
        """The audio of a scene with one format. Shape: [channels, samples].

        Raises:
            ValueError: the scene has several formats; `audio_by_format` names them.
        """
        if len(self.audio_by_format) != 1:
            names = ", ".join(self.audio_by_format)
            raise ValueError(f"scene {self.id} has the formats {names}; take audio_by_format[name]")
        return next(iter(self.audio_by_format.values()))

    @property
    def measured(self) -> dict[str, Any]:
        """Acoustics and ratios measured on the rendered scene, by column name."""
        return {name: self.row.get(name) for name in _MEASURED}


def parse_stems(names: Iterable[str]) -> tuple[str, ...]:
    """Kinds of stems in their own order, each once; "all" stands for every kind.

    Raises:
        ConfigError: an unknown one.
    """
    asked = set(names)
    for name in sorted(asked - {*STEM_KINDS, "all"}):
        raise ConfigError(
            f"stems: {name!r} is not known{did_you_mean(name, STEM_KINDS)}; kinds of stems: "
            f"{', '.join(STEM_KINDS)}, or all"
        )
    return tuple(kind for kind in STEM_KINDS if asked & {kind, "all"})


def scene_columns(formats: Sequence[str]) -> dict[str, pa.DataType]:
    """Columns of the scenes table of a dataset with these formats, in order."""
    columns = dict(SCENES)
    for name in formats:
        columns |= {key.format(format=name): kind for key, kind in PER_FORMAT.items()}
    return columns


def scenes_schema(formats: Sequence[str]) -> pa.Schema:
    """Arrow schema of the scenes table, with the schema version in its metadata."""
    return _schema(scene_columns(formats))


def events_schema() -> pa.Schema:
    """Arrow schema of the events table, with the schema version in its metadata."""
    return _schema(EVENTS)


def table_of(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Arrow table of `rows`; NaN becomes null, a column that a row lacks is null.

    Raises:
        StoreError: a row holds a column that the schema does not know.
    """
    known = set(schema.names)
    plain = []
    for row in rows:
        if unknown := sorted(set(row) - known):
            raise StoreError(
                f"row {row.get('id', row.get('scene'))}: unknown column {unknown[0]!r}; "
                f"the table holds {', '.join(schema.names)}"
            )
        plain.append({name: _null_if_nan(value) for name, value in row.items()})
    return pa.Table.from_pylist(plain, schema=schema)


def _schema(columns: Mapping[str, pa.DataType]) -> pa.Schema:
    return pa.schema(list(columns.items()), metadata={"scenesynth_schema": str(SCHEMA_VERSION)})


def _null_if_nan(value: Any) -> Any:
    """A measurement that could not be made is null, at any depth, never NaN."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, list | tuple):
        return [_null_if_nan(item) for item in value]
    return value
