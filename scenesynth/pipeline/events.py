"""What a run tells while it goes, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


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
    """A shard was committed, by this run or another that overlaps with it."""

    shard: int
    scenes: int
    skipped: int
    redraws: int
    n_bytes: int
    audio_s: float
    stages_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ShardFailed:
    """A shard could not be rendered; it is tried again unless it is parked."""

    shard: int
    failures: int
    why: str
    parked: bool


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


def event_dict(event: Event | Outcome) -> dict[str, Any]:
    """Plain data of an event, its kind under "event"."""
    kind = type(event).__name__
    name = "".join("_" + c.lower() if c.isupper() else c for c in kind).lstrip("_")
    return {"event": name, **asdict(event)}
