"""Labelled windows of held-out scenes, for probes.

From each scene one window is taken, and the labels are those of one event: the first target of the
scene (by its number in the events table). The window begins with that event's wet onset, earlier
where the scene would end within it. In scenes without a target it begins with the scene. Those, and
scenes whose target moves by more than `STILL_DEG` within the event, have no labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scenesynth.scene.geometry import direction, great_circle_deg
from scenesynth.seeds import rng
from scenesynth.store.reader import Dataset
from scenesynth.store.schema import STATUS_OK

Array = NDArray[np.float64]

STILL_DEG: Final = 5.0
"""A target that turns less than this is taken for one that stands."""

_SCENES: Final = ("index", "split", "status", "n_samples", "rt60_broadband_s")
_PLACES: Final = tuple(
    f"{name}_{at}" for at in ("start_deg", "end_deg") for name in ("azimuth", "elevation")
)
_EVENTS: Final = ("index", "event", "role", "labels", "wet_onset_s", "distance_start_m", *_PLACES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window of a scene, with its labels.

    Attributes:
        dataset, number: which scene, `dataset[number]`.
        start: first sample.
        direction: unit vector to the target; None where there are no labels.
        distance_m: to the target; NaN where there is none.
        t60_s: broadband reverberation time as measured; NaN where there is none.
        label: class of the target.
    """

    dataset: Dataset
    number: int
    start: int
    direction: tuple[float, float, float] | None
    distance_m: float
    t60_s: float
    label: str


def choose_windows(
    datasets: Sequence[Dataset], split: str, limit: int, samples: int, seed: int = 0
) -> list[Window]:
    """At most `limit` windows of `samples` samples, from scenes of a split drawn by `seed`."""
    rows = [_of_split(dataset, split) for dataset in datasets]
    stops = np.cumsum([len(table) for table in rows])
    drawn = np.sort(rng(seed, split, "probe").units(sum(map(len, rows))).argsort()[:limit])
    found: list[Window] = []
    for dataset, table, stop in zip(datasets, rows, stops, strict=True):
        first = stop - len(table)
        mine = drawn[(drawn >= first) & (drawn < stop)] - first
        found += _windows(dataset, table.take(mine), samples)
    return found


def read_windows(
    windows: Sequence[Window], format: str, samples: int, batch: int
) -> Iterator[NDArray[np.float32]]:
    """Waveforms of windows, in batches. Shape of each: [at most batch, channels, samples].

    What lies beyond a scene's end is silence.
    """
    for first in range(0, len(windows), batch):
        some = windows[first : first + batch]
        yield np.stack([_cut(window, format, samples) for window in some])


def _cut(window: Window, format: str, samples: int) -> NDArray[np.float32]:
    audio = window.dataset[window.number].audio_by_format[format]
    part = audio[:, window.start : window.start + samples]
    return np.pad(part, ((0, 0), (0, samples - part.shape[1])))


def _of_split(dataset: Dataset, split: str) -> pa.Table:
    """Rows of the usable scenes of a split, with their numbers in the dataset."""
    scenes = dataset.table("scenes", _SCENES)
    scenes = scenes.filter(pc.equal(scenes["status"], STATUS_OK))
    scenes = scenes.append_column("number", pa.array(np.arange(len(scenes))))
    return scenes.filter(pc.equal(scenes["split"], split))


def _windows(dataset: Dataset, scenes: pa.Table, samples: int) -> Iterator[Window]:
    events = dataset.table("events", _EVENTS)
    targets = _first_targets(events.filter(pc.is_in(events["index"], scenes["index"])))
    for scene in scenes.to_pylist():
        event = targets.get(scene["index"])
        t60_s = scene["rt60_broadband_s"]
        window = Window(
            dataset=dataset,
            number=scene["number"],
            start=0,
            direction=None,
            distance_m=math.nan,
            t60_s=math.nan if t60_s is None else t60_s,
            label="",
        )
        if event is None or not _stands(event):
            yield window
            continue
        onset = round(event["wet_onset_s"] * dataset.sample_rate)
        yield replace(
            window,
            start=max(0, min(onset, scene["n_samples"] - samples)),
            direction=direction(event["azimuth_start_deg"], event["elevation_start_deg"]),
            distance_m=event["distance_start_m"],
            label=(event["labels"] or [""])[0],
        )


def _first_targets(events: pa.Table) -> dict[int, dict[str, Any]]:
    """The first target of each scene, by the scene's index."""
    found: dict[int, dict[str, Any]] = {}
    for event in events.filter(pc.equal(events["role"], "target")).to_pylist():
        first = found.get(event["index"])
        if first is None or event["event"] < first["event"]:
            found[event["index"]] = event
    return found


def _stands(event: dict[str, Any]) -> bool:
    if event["azimuth_start_deg"] is None or event["wet_onset_s"] is None:
        return False
    if event["azimuth_end_deg"] is None:
        return True
    start = direction(event["azimuth_start_deg"], event["elevation_start_deg"])
    end = direction(event["azimuth_end_deg"], event["elevation_end_deg"])
    return great_circle_deg(start, end) <= STILL_DEG
