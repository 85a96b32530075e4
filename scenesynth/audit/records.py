"""What an audit looked at, what it concluded, and what is wrong with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

Status = Literal["passed", "failed", "noted", "skipped"]
"""A check that found nothing wrong; that found a fault; that has something to tell which is no
fault; that could not be made, for the reason its summary gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        what: in a sentence, with the value and what it should be.
        scene, index: the scene's id and its number in the column `index`, if it is about one.
        clip: corpus and clip, as `corpus:id`, if one is to blame.
        key: the file inside the dataset, if one is damaged.
        shard: where all scenes of a shard are affected.
    """

    what: str
    scene: str = ""
    index: int | None = None
    clip: str = ""
    key: str = ""
    shard: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A question that was asked of a dataset, and the answer.

    Attributes:
        name: stable and short, such as `snr`; what JSON and exit messages call it.
        title: the question for people.
        summary: the answer in a sentence, with its figures.
        looked, of: how many of how many `unit` were looked at.
        figures: the answer's numbers as plain data, for JSON.
    """

    name: str
    title: str
    status: Status
    summary: str
    looked: int = 0
    of: int = 0
    unit: str = "scenes"
    findings: tuple[Finding, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """An audit of one dataset.

    Attributes:
        uri: of the dataset.
        n_scenes: usable scenes: rendered, and neither skipped nor excluded.
        n_promised: scenes that the extents promise.
        running: whether it is still being rendered.
        identity: dataset.json as plain data.
        scenes, events: rows of the tables that were looked at, without the specs.
        heard: a row for each scene whose audio was listened to, with the column `index`.
        drawn: scenes of the same recipe drawn anew, the same columns as `scenes` as far as the
            recipe alone decides them; what the distributions are compared with. None where they
            could not be drawn, or the scenes were not drawn from the recipe as it stands.
        drawn_events: their events, with the columns of `events` that the spec decides.
        drawn_clips: whether they play the dataset's own clips; if not, everything in them that
            depends on clips (classes, groups, onsets) is that of others, and is null.
    """

    uri: str
    seed: int
    n_scenes: int
    n_promised: int
    running: bool
    identity: Mapping[str, Any]
    checks: tuple[Check, ...]
    scenes: pa.Table
    events: pa.Table
    heard: pa.Table
    drawn: pa.Table | None
    drawn_events: pa.Table | None = None
    drawn_clips: bool = False

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that found a fault."""
        return tuple(check for check in self.checks if check.status == "failed")
