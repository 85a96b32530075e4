"""What a recipe can say about motion, as frozen records: see `scenesynth.scene.recipe_records`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from scenesynth.distributions import Count, Name, Number, constant, within
from scenesynth.records import did_you_mean

Family = Literal["linear", "circular", "waypoints", "random_walk"]
"""Kinds of paths."""

MOST_CORNERS: Final = 256
SOME_CORNERS: Final = Count(Number("integers", (2.0, 5.0)))

_SHARE = "share of those that move, drawn one by one; the others stand"
_LENGTH = "longest way; null: as far as time allows"
_CORNERS = "waypoints: places on the way, each drawn; the last is where it stops"


def _doc(text: str) -> Mapping[str, Any]:
    return {"doc": text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """How the emitters of a layer move; found by a bounded number of tries."""

    share: float = field(default=1.0, metadata=_doc(_SHARE))
    path: Name = field(
        default=Name(("linear",)),
        metadata=_doc(
            "linear: straight to a drawn place; circular: around the listener, at one distance and "
            "height; waypoints: straight from place to place; random_walk: a smooth random way at "
            "one height"
        ),
    )
    speed_mps: Number | None = field(
        default=Number("uniform", (0.3, 1.5)),
        metadata=_doc("speed along the path (random_walk: the highest); null: no limit"),
    )
    angular_speed_deg_s: Number | None = field(
        default=None,
        metadata=_doc(
            "how fast the direction from the listener's first place may change; a circle has this "
            "speed, other paths are slowed down to keep it; null: no limit"
        ),
    )
    length_m: Number | None = field(default=None, metadata=_doc(_LENGTH))
    turn_deg: Number | None = field(
        default=None, metadata=_doc("circular: longest turn; null: as far as time allows")
    )
    corners: Count = field(default=SOME_CORNERS, metadata=_doc(_CORNERS))
    when: Literal["scene", "events"] = field(
        default="scene", metadata=_doc("moves all the time, or only while its events sound")
    )
    tries: int = field(default=100, metadata=_doc("paths tried before the scene is redrawn"))

    def __post_init__(self) -> None:
        _check_motion(self.share, self.path, get_args(Family), self.corners, self.tries)
        within("speed_mps", self.speed_mps, 0.001, 50)
        within("angular_speed_deg_s", self.angular_speed_deg_s, 0.01, 720)
        within("length_m", self.length_m, 0.01, 10_000)
        within("turn_deg", self.turn_deg, 0.1, 1_000_000)
        if self.speed_mps is None and self.angular_speed_deg_s is None:
            raise ValueError("speed_mps and angular_speed_deg_s are null; give at least one")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerMotion:
    """How the listener walks, turns the head, or both."""

    share: float = field(
        default=1.0, metadata=_doc("share of the scenes in which the listener moves")
    )
    path: Name | None = field(
        default=None,
        metadata=_doc("linear, waypoints or random_walk, at one height; null: stays in its place"),
    )
    speed_mps: Number = field(
        default=Number("uniform", (0.3, 1.5)), metadata=_doc("speed along the path")
    )
    length_m: Number | None = field(default=None, metadata=_doc(_LENGTH))
    corners: Count = field(default=SOME_CORNERS, metadata=_doc(_CORNERS))
    turn_deg_s: Number | None = field(
        default=None, metadata=_doc("speed of head turns, one after the other; null: none")
    )
    yaw_deg: Number = field(
        default=Number("uniform", (-70.0, 70.0)),
        metadata=_doc("where a turn goes to, counted to the left from the first orientation"),
    )
    pitch_deg: Number = field(
        default=constant(0), metadata=_doc("where a turn goes to, up from the first orientation")
    )
    pause_s: Number = field(
        default=Number("uniform", (0.3, 2.0)), metadata=_doc("rest before each turn")
    )
    tries: int = field(default=100, metadata=_doc("paths tried before the scene is redrawn"))

    def __post_init__(self) -> None:
        walks = tuple(name for name in get_args(Family) if name != "circular")
        _check_motion(self.share, self.path, walks, self.corners, self.tries)
        within("speed_mps", self.speed_mps, 0.001, 50)
        within("length_m", self.length_m, 0.01, 10_000)
        within("turn_deg_s", self.turn_deg_s, 0.01, 720)
        within("yaw_deg", self.yaw_deg, -180, 180)
        within("pitch_deg", self.pitch_deg, -90, 90)
        within("pause_s", self.pause_s, 0, 3600)
        if self.path is None and self.turn_deg_s is None:
            raise ValueError("path and turn_deg_s are null; give at least one, or leave out motion")


def _check_motion(
    share: float, path: Name | None, known: tuple[str, ...], corners: Count, tries: int
) -> None:
    """Check what emitters and listener have in common."""
    if not 0 <= share <= 1:
        raise ValueError(f"share = {share}; must lie in [0, 1]")
    for name in path.options if path is not None else ():
        if name not in known:
            raise ValueError(
                f"path = {name!r}{did_you_mean(name, known)}; must be one of {', '.join(known)}"
            )
    within("corners", corners, 1, MOST_CORNERS)
    if tries < 1:
        raise ValueError(f"tries = {tries}; must be at least 1")
