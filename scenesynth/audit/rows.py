"""Whether rows say what their specs say: checks `spec` and `labels`.

Each chosen scene's spec is read, and all that follows from it is found again (`audit.derive`) and
compared with what the tables hold. `spec` is about the scene and what it plays, `labels` about
where and when its events are heard; a fault that many labels share is named for what it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from scenesynth.audit.derive import (
    OF_CLIPS,
    PLACES,
    event_columns,
    nearly_equal,
    scene_columns,
)
from scenesynth.audit.findings import counted, shards_told, some, with_shards
from scenesynth.audit.mistakes import mistake
from scenesynth.audit.reading import Rows
from scenesynth.audit.records import Check, Finding
from scenesynth.errors import ConfigError
from scenesynth.pipeline.formats import format_of
from scenesynth.render.rows import LABEL_VERSION
from scenesynth.scene.motion import Path, heard
from scenesynth.scene.spec import RENDER_VERSION, SceneSpec
from scenesynth.spatial.formats import Format
from scenesynth.store.layout import DatasetInfo

_TOLERANCE: Final = 1e-5
"""Of numbers, absolute and relative: float32 columns hold seven digits."""

_ANGLE_DEG, _DISTANCE_M, _TIME_S = 0.1, 0.005, 1e-4
"""Differences in labels that nobody can hear; directions of moving events are as near as that."""

_OF_LABELS: Final = frozenset(
    (*PLACES, "trajectory", "direct_delay_s", *(name for name in OF_CLIPS if "_s" in name))
) | {*("frame_start", "frame_stop", "wet_offset_s", "heard", "labels", "class_ids")}
MOST_DIRECTIONS: Final = 10_000
"""Wrong directions from which a mistake is told."""

_SHOWN_DIGITS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Directions:
    """Where an event is heard by the tables and by its spec.

    Attributes:
        found_deg, expected_deg: azimuth and elevation at the start.
        room_deg: the same seen by a listener who is not turned.
    """

    index: int
    found_deg: tuple[float, float]
    expected_deg: tuple[float, float]
    room_deg: tuple[float, float]


@dataclass(slots=True)
class Compared:
    """What the comparison of rows with specs has found so far.

    Attributes:
        looked: numbers of the scenes that were compared.
        off: wrong columns of scenes: (found, expected) by name, by number.
        specs, labels: findings for the two checks.
        directions: of wrongly labelled events, `MOST_DIRECTIONS` at most.
    """

    info: DatasetInfo
    looked: list[int] = field(default_factory=list)
    off: dict[int, dict[str, tuple[Any, Any]]] = field(default_factory=dict)
    specs: list[Finding] = field(default_factory=list)
    labels: list[Finding] = field(default_factory=list)
    directions: list[Directions] = field(default_factory=list)
    wrong_columns: Counter[str] = field(default_factory=Counter)

    @property
    def wrong(self) -> set[int]:
        """Numbers of the scenes whose rows are not those of their specs."""
        return {found.index for found in (*self.specs, *self.labels) if found.index is not None}

    @property
    def formats(self) -> tuple[Format, ...]:
        """Those whose keys can be compared: none where another version has rendered them."""
        if self.info.render != RENDER_VERSION:
            return ()
        return tuple(format_of(stored) for stored in self.info.formats)

    def add(self, rows: Rows) -> list[tuple[Mapping[str, Any], list[dict[str, Any]], SceneSpec]]:
        """Compare the scenes of a shard; those whose specs can be read, with their rows."""
        events: dict[int, list[dict[str, Any]]] = {}
        for event in rows.events.to_pylist():
            events.setdefault(event["index"], []).append(event)
        good = []
        for row in rows.scenes.to_pylist():
            index = row["index"]
            self.looked.append(index)
            try:
                spec = SceneSpec.from_json(row["spec"])
            except (ConfigError, ValueError, TypeError) as error:
                what = f"its spec cannot be read: {error}"
                self.specs.append(Finding(what=what, scene=str(row["id"]), index=index))
                continue
            self._compare_scene(row, spec)
            mine = sorted(events.get(index, ()), key=lambda event: event["event"])
            self._compare_events(row, mine, spec)
            good.append((row, mine, spec))
        return good

    def _compare_scene(self, row: Mapping[str, Any], spec: SceneSpec) -> None:
        expected = {"id": spec.id, **scene_columns(spec, self.formats)}
        if self.info.came_from is None:
            expected["index"] = spec.origin.index
        if "head" in expected and not self.formats:
            del expected["head"]
        wrong = _wrong(row, expected)
        if not wrong:
            return
        self.off[row["index"]] = wrong
        self.wrong_columns.update([*wrong])
        self.specs.append(
            Finding(what=_told(wrong, "its spec"), scene=str(row["id"]), index=row["index"])
        )

    def _compare_events(
        self, row: Mapping[str, Any], events: Sequence[Mapping[str, Any]], spec: SceneSpec
    ) -> None:
        expected = event_columns(spec)
        if len(events) != len(expected):
            what = f"has {len(events)} events in the table; its spec has {len(expected)}"
            self.specs.append(Finding(what=what, scene=str(row["id"]), index=row["index"]))
            return
        labels: list[str] = []
        played: list[str] = []
        for number, (event, known) in enumerate(zip(events, expected, strict=True)):
            wrong = _wrong(event, known)
            off = {name: pair for name, pair in wrong.items() if name in _OF_LABELS}
            off |= self._numbers_of_classes(event) | _outside(event, row)
            off |= _way_off(event, spec, known)
            self._note_direction(event, known, spec, row["index"])
            rest = {name: pair for name, pair in wrong.items() if name not in off}
            if off:
                labels.append(f"event {number} ({known['emitter']}): {_told(off, 'its spec')}")
            if rest:
                played.append(f"event {number} ({known['emitter']}): {_told(rest, 'its spec')}")
            self.wrong_columns.update([*off, *rest])
        for found, into in ((labels, self.labels), (played, self.specs)):
            if found:
                more = f" and {counted(len(found) - 1, 'other event')}" if len(found) > 1 else ""
                into.append(Finding(what=found[0] + more, scene=str(row["id"]), index=row["index"]))

    def _numbers_of_classes(self, event: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        if "class_ids" not in event:
            return {}
        number = {name: n for n, name in enumerate(self.info.classes)}
        expected = [number[label] for label in event["labels"] or () if label in number]
        found = event["class_ids"] or []
        return {} if found == expected else {"class_ids": (found, expected)}

    def _note_direction(
        self, event: Mapping[str, Any], known: Mapping[str, Any], spec: SceneSpec, index: int
    ) -> None:
        azimuth_deg, elevation_deg = (event.get(f"{a}_start_deg") for a in ("azimuth", "elevation"))
        if "azimuth_start_deg" not in known or azimuth_deg is None or elevation_deg is None:
            return
        right = (known["azimuth_start_deg"], known["elevation_start_deg"])
        off_deg = max(_apart_deg((azimuth_deg, elevation_deg), right))
        if off_deg <= _ANGLE_DEG or len(self.directions) >= MOST_DIRECTIONS:
            return
        away = np.subtract(_emitted_from(known), spec.listener[0].position_m)
        flat = float(np.hypot(away[0], away[1]))
        room = (np.degrees(np.arctan2(away[1], away[0])), np.degrees(np.arctan2(away[2], flat)))
        self.directions.append(
            Directions(
                index=index,
                found_deg=(float(azimuth_deg), float(elevation_deg)),
                expected_deg=right,
                room_deg=(float(room[0]), float(room[1])),
            )
        )


def spec_check(compared: Compared, n_scenes: int) -> Check:
    """Whether the rows of the scenes are those of their specs."""
    info = compared.info
    findings = with_shards(compared.specs, compared.looked, info.shard_scenes)
    note = ""
    if info.render != RENDER_VERSION:
        note = (
            f"; rendered by version {info.render} (here {RENDER_VERSION}), so render keys are not "
            f"compared"
        )
    wrong = [name for name, _ in compared.wrong_columns.most_common() if name not in _OF_LABELS]
    told = (
        f"{counted(len({f.index for f in findings}), 'scene')} of {len(compared.looked):,} with "
        f"rows that are not those of their specs"
        + (f", in {some(wrong)}" if wrong else "")
        + shards_told(findings)
        if findings
        else f"the rows of {counted(len(compared.looked), 'scene')} are those of their specs"
    )
    return Check(
        name="spec",
        title="Do the rows say what the specs say?",
        status="failed" if findings else "noted" if note else "passed",
        summary=told + note,
        looked=len(compared.looked),
        of=n_scenes,
        findings=findings,
        figures={"wrong_columns": wrong},
    )


def labels_check(compared: Compared, n_scenes: int) -> Check:
    """Whether events are labelled where and when their specs have them heard."""
    info = compared.info
    same = info.labels == LABEL_VERSION
    findings = with_shards(compared.labels, compared.looked, info.shard_scenes)
    n_wrong = len({found.index for found in findings})
    figures: dict[str, Any] = {"labels_version": info.labels}
    if not findings:
        told = f"the labels of {counted(len(compared.looked), 'scene')} are those of their specs"
    else:
        told = f"{counted(n_wrong, 'scene')} of {len(compared.looked):,} with wrong labels"
        if found := _mistake(compared):
            told += f": {found}"
            figures["mistake"] = found
        told += shards_told(findings)
    if not same:
        told += f" (labels of version {info.labels}, here {LABEL_VERSION}: they may differ)"
    return Check(
        name="labels",
        title="Are directions, distances and times of events what their specs say?",
        status="passed" if not findings else "failed" if same else "noted",
        summary=told,
        looked=len(compared.looked),
        of=n_scenes,
        findings=findings if same else (),
        figures=figures,
    )


def _mistake(compared: Compared) -> str:
    """What all wrong directions have in common; "" where directions are right or share nothing."""
    if not compared.directions:
        return ""
    arrays = [
        np.array([getattr(item, name) for item in compared.directions])
        for name in ("found_deg", "expected_deg", "room_deg")
    ]
    return mistake(*arrays)


def _wrong(row: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Columns of a row that differ from what they should be; older datasets lack some."""
    return {
        name: (row[name], value)
        for name, value in expected.items()
        if name in row and not _same(name, row[name], value)
    }


def _same(name: str, found: Any, expected: Any) -> bool:
    if name.startswith(("azimuth", "elevation")):
        both = found is not None and expected is not None
        return both and abs((found - expected + 180) % 360 - 180) <= _ANGLE_DEG
    if name.startswith("distance"):
        return nearly_equal(found, expected, _DISTANCE_M)
    if name.startswith("frame"):
        return isinstance(found, int) and found == expected
    if name.startswith(("dry", "wet", "direct")):
        return nearly_equal(found, expected, _TIME_S)
    return nearly_equal(found, expected, _TOLERANCE)


def _outside(event: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Times of an event that are in no order, or beyond the scene."""
    onset_s, offset_s = event.get("wet_onset_s"), event.get("wet_offset_s")
    if onset_s is None or offset_s is None:
        return {}
    end_s = row["n_samples"] / row["sample_rate"]
    if 0 <= onset_s <= offset_s <= end_s + _TIME_S:
        return {}
    return {"wet_offset_s": (offset_s, f"at least {onset_s:.4f}, at most {end_s:g}")}


def _way_off(
    event: Mapping[str, Any], spec: SceneSpec, known: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """The first entry of `heard` that is not where the event is heard at its time."""
    entries = event.get("heard")
    if not entries or "trajectory" not in known:
        return {}
    (emitter,) = (item for item in spec.emitters if item.id == known["emitter"])
    times = [entry["time_s"] for entry in entries]
    found = np.array([[entry[axis] for axis in "xyz"] for entry in entries])
    paths = Path.of(emitter.keyframes), Path.of(spec.listener)
    expected = heard(*paths, times, spec.air.speed_of_sound_mps).relative_m
    away = np.linalg.norm(found - expected, axis=1)
    limit = _DISTANCE_M + np.deg2rad(_ANGLE_DEG) * np.linalg.norm(expected, axis=1)
    if not (away > limit).any():
        return {}
    worst = int(away.argmax())
    return {"heard": (found[worst].round(3).tolist(), expected[worst].round(3).tolist())}


def _emitted_from(known: Mapping[str, Any]) -> tuple[float, float, float]:
    first = known["trajectory"][0]
    return first["x"], first["y"], first["z"]


def _apart_deg(one: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
    return tuple(abs((a - b + 180) % 360 - 180) for a, b in zip(one, other, strict=True))


def _told(wrong: Mapping[str, tuple[Any, Any]], by: str) -> str:
    (name, (found, expected)), *rest = wrong.items()
    more = f"; also {some(other for other, _ in rest)}" if rest else ""
    return f"{name} = {_short(found)}; {by} gives {_short(expected)}{more}"


def _short(value: Any, limit: int = 80) -> str:
    if isinstance(value, float):
        return f"{value:.{_SHOWN_DIGITS}g}"
    if isinstance(value, list) and value and all(isinstance(item, float) for item in value):
        text = "[" + ", ".join(_short(item) for item in value) + "]"
    else:
        text = str(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
