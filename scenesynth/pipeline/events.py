"""What a run tells while it goes, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that a user should know."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Started:
    """Rendering begins.

    Attributes:
        scenes: scenes of the dataset; `done` of them were committed before.
        scene_s: expected length of a scene.
    """

    scenes: int
    done: int
    shards: int
    scene_s: float
    workers: int


@dataclass(frozen=True, kw_only=True)
class SceneDone:
    """A scene of a shard that is being rendered in this process."""

    shard: int


@dataclass(frozen=True, kw_only=True)
class ShardDone:
    """A shard was committed, by this run or another that overlaps with it.

    Attributes:
        node: the machine that rendered it.
        bad_clips: by file, how often ("count") it was met and why ("reason") it cannot be used.
    """

    shard: int
    scenes: int
    skipped: int
    redraws: int
    n_bytes: int
    audio_s: float
    stages_s: Mapping[str, float] = field(default_factory=dict)
    node: str = ""
    bad_clips: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


FailureKind = Literal["scene", "timeout", "death", "memory", "io", "other"]
"""A scene that cannot be made; one over its limit; a worker that died; no memory; a file system."""


@dataclass(frozen=True, kw_only=True)
class ShardFailed:
    """A shard could not be rendered; it is tried again unless it is parked."""

    shard: int
    failures: int
    why: str
    parked: bool
    kind: FailureKind = "other"


Event = Notice | Started | SceneDone | ShardDone | ShardFailed
OnEvent = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        state: all is there; or the run was asked to stop and can be resumed; or work failed.
        scenes: scenes that this run committed.
        parked: shards of the dataset that hold nothing because they failed for good.
        message: what went wrong and the way out; "" when nothing did.
        stages_s: processor seconds by stage, over all workers.
        failures: how often shards failed, by kind; most were tried again.
        bad_clips: as in `ShardDone`, of all shards of the dataset; where it is not complete, or a
            commit record cannot be read, of those that this run committed (`bad_clips_of`).
        left: shards of the dataset that this run did not have to render, and nobody has yet.
    """

    state: Literal["done", "drained", "failed"]
    scenes: int
    audio_s: float
    seconds: float
    redraws: int = 0
    skipped: int = 0
    parked: tuple[int, ...] = ()
    message: str = ""
    stages_s: Mapping[str, float] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    bad_clips: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bad_clips_of: Literal["run", "dataset"] = "run"
    left: int = 0


_NAMES: Final = {
    Notice: "notice",
    Started: "started",
    SceneDone: "scene",
    ShardDone: "shard",
    ShardFailed: "failure",
    Outcome: "done",
}


def event_dict(event: Event | Outcome) -> dict[str, Any]:
    """Plain data of an event, its kind under "event" (docs/cluster.md lists them)."""
    return {"event": _NAMES[type(event)], **asdict(event)}
