"""What a recipe can say, as frozen records.

Every field documents itself in its metadata; `scenesynth.scene.recipe_schema` shows that text.
Reading is strict (`scenesynth.records`): unknown keys, missing keys and impossible values are
errors that name the path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, get_args

from scenesynth.distributions import Count, Name, Number, constant, count, within
from scenesynth.records import did_you_mean, to_json
from scenesynth.room.family import RoomFamily
from scenesynth.room.model import OCTAVE_BANDS_HZ
from scenesynth.room.recorded import MIN_DISTANCE_M
from scenesynth.scene.diffuse_records import Diffuse
from scenesynth.scene.motion_records import ListenerMotion, Motion
from scenesynth.scene.spec import Directivity, Engine, Mode, Tracing, misfit

SPLITS: Final = ("train", "valid", "test")
MOST_EVENTS: Final = 256
"""Upper bound of emitters of a layer and of events of an emitter, so that slots never collide."""

ANY_ANGLE: Final = Number("uniform", (-180.0, 180.0))
OMNI: Final = Name(("omni",))
DIRECTIVITY: Final = (
    f"how much the emitters radiate off their front: {', '.join(get_args(Directivity))}"
)

_MEASURED_PLACES = (
    "a measured room has responses for places, none for the ways between them; leave it out (the "
    "listener can turn: listener.motion.turn_deg_s)"
)


def _doc(text: str) -> Mapping[str, Any]:
    return {"doc": text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One split of the data."""

    share: float = field(metadata=_doc("share of the scenes and of the clip groups"))
    rooms: int | None = field(
        default=None,
        metadata=_doc(
            "number of rooms that the split's scenes take turns in; null: a fresh one "
            "for every scene"
        ),
    )

    def __post_init__(self) -> None:
        if self.share <= 0:
            raise ValueError(
                f"share = {self.share}; must be positive (leave the split out instead)"
            )
        if self.rooms is not None and self.rooms < 1:
            raise ValueError(f"rooms = {self.rooms}; must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """The splits; rooms, clip groups and noise clips of one never occur in another."""

    train: Split | None = field(default=None, metadata=_doc("for training"))
    valid: Split | None = field(default=None, metadata=_doc("for choices made while training"))
    test: Split | None = field(default=None, metadata=_doc("for the final figures"))

    def __post_init__(self) -> None:
        if not self.named:
            raise ValueError("no split; give at least one of train, valid, test")

    @property
    def named(self) -> dict[str, Split]:
        """The splits that exist, by name."""
        pairs = ((name, getattr(self, name)) for name in SPLITS)
        return {name: split for name, split in pairs if split is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A rectangular table somewhere in the room."""

    length_m: Number = field(metadata=_doc("length of the top"))
    width_m: Number = field(metadata=_doc("width of the top"))
    height_m: Number = field(default=constant(0.74), metadata=_doc("height of the top"))
    yaw_deg: Number = field(
        default=Number("choice", options=(constant(0), constant(90))),
        metadata=_doc("turn of the long side against the room's x axis"),
    )
    clearance_m: float = field(
        default=1.2, metadata=_doc("least distance of the table's rim from the walls")
    )

    def __post_init__(self) -> None:
        for name in ("length_m", "width_m"):
            within(name, getattr(self, name), 0.1, 50)
        within("height_m", self.height_m, 0.05, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Where the listener is and which way it faces."""

    place: Literal["room", "table"] = field(
        default="room", metadata=_doc("anywhere in the room, or on the table")
    )
    height_m: Number = field(default=constant(1.5), metadata=_doc("height above the floor"))
    wall_margin_m: float = field(default=0.5, metadata=_doc("least distance from every wall"))
    off_centre_m: Number = field(
        default=constant(0), metadata=_doc("on a table: distance from its centre")
    )
    yaw_deg: Number = field(default=ANY_ANGLE, metadata=_doc("turn to the left"))
    pitch_deg: Number = field(default=constant(0), metadata=_doc("nose up"))
    roll_deg: Number = field(default=constant(0), metadata=_doc("left ear up"))
    motion: ListenerMotion | None = field(
        default=None, metadata=_doc("how the listener moves, if at all")
    )

    def __post_init__(self) -> None:
        if self.place == "table" and self.motion is not None and self.motion.path is not None:
            raise ValueError(
                "motion.path is given, but a listener on the table stays in its place; leave it "
                "out, or set place: room"
            )
        within("height_m", self.height_m, 0.01, 100)
        within("off_centre_m", self.off_centre_m, 0, 50)
        if self.wall_margin_m <= 0:
            raise ValueError(f"wall_margin_m = {self.wall_margin_m}; must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where emitters may be; found by a bounded number of tries."""

    distance_m: Number | None = field(
        default=None, metadata=_doc("distance from the listener; null: anywhere in the room")
    )
    height_m: Number = field(
        default=Number("uniform", (0.3, 2.2)), metadata=_doc("height above the floor")
    )
    azimuth_deg: Number | None = field(
        default=None,
        metadata=_doc(
            "direction from the listener's front, +90 = left; null: all round, whatever "
            "way the listener faces"
        ),
    )
    lowest_deg: float = field(default=-90.0, metadata=_doc("lowest elevation from the listener"))
    highest_deg: float = field(default=90.0, metadata=_doc("highest elevation from the listener"))
    from_table_m: Number | None = field(
        default=None,
        metadata=_doc(
            "distance outwards from the table's rim: around the table, all sides; "
            "excludes distance_m and azimuth_deg"
        ),
    )
    wall_margin_m: float = field(default=0.3, metadata=_doc("least distance from every wall"))
    separation_m: float = field(
        default=0.5, metadata=_doc("least distance from the listener and from other emitters")
    )
    separation_deg: float = field(
        default=0.0, metadata=_doc("least angle to other emitters, seen from the listener")
    )
    tries: int = field(default=200, metadata=_doc("positions tried before the scene is redrawn"))

    def __post_init__(self) -> None:
        within("distance_m", self.distance_m, MIN_DISTANCE_M, 500)
        within("height_m", self.height_m, 0.01, 100)
        within("from_table_m", self.from_table_m, 0, 50)
        if self.from_table_m is not None and (self.distance_m or self.azimuth_deg):
            raise ValueError("from_table_m excludes distance_m and azimuth_deg")
        if not -90 <= self.lowest_deg < self.highest_deg <= 90:
            raise ValueError(
                f"lowest_deg = {self.lowest_deg}, highest_deg = {self.highest_deg}; "
                f"must satisfy -90 <= lowest < highest <= 90"
            )
        if self.wall_margin_m <= 0:
            raise ValueError(f"wall_margin_m = {self.wall_margin_m}; must be positive")
        if self.separation_m < 0 or not 0 <= self.separation_deg <= 180:
            raise ValueError(
                f"separation_m = {self.separation_m}, separation_deg = {self.separation_deg}; "
                f"must be >= 0, the angle at most 180"
            )
        if self.distance_m is not None and self.distance_m.high < self.separation_m:
            raise ValueError(
                f"distance_m = {self.distance_m} never reaches separation_m = {self.separation_m}"
            )
        if self.tries < 1:
            raise ValueError(f"tries = {self.tries}; must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When the events of a layer sound."""

    order: Literal["start", "scattered", "turns"] = field(
        default="start",
        metadata=_doc(
            "start: all at the start of the scene; scattered: anywhere in it; turns: one "
            "emitter after the other, as many turns as fit"
        ),
    )
    polyphony: int = field(default=16, metadata=_doc("most events of the layer at once"))
    same_class_overlap: bool = field(
        default=True, metadata=_doc("scattered: whether events that share a label may overlap")
    )
    gap_s: Number = field(
        default=constant(0),
        metadata=_doc(
            "scattered: least pause between events of one emitter; turns: pause before a "
            "turn, negative to overlap the one before"
        ),
    )
    on_full: Literal["drop", "redraw", "error"] = field(
        default="redraw",
        metadata=_doc(
            "scattered events that find no place: leave them out, draw the scene again, "
            "or stop with an error"
        ),
    )

    def __post_init__(self) -> None:
        if self.polyphony < 1:
            raise ValueError(f"polyphony = {self.polyphony}; must be at least 1")
        if self.order == "scattered":
            within("gap_s", self.gap_s, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facing:
    """Where an emitter looks: what its directivity is about, and its pose in the manifest."""

    towards: Literal["listener", "room", "path"] = field(
        default="listener",
        metadata=_doc(
            "what the angles are counted from: the direction to the listener, the room's x axis, "
            "or the way that it goes (what stands: the listener)"
        ),
    )
    yaw_deg: Number = field(
        default=constant(0),
        metadata=_doc("turn to the left; {uniform: [-180, 180]} is any direction"),
    )
    pitch_deg: Number = field(default=constant(0), metadata=_doc("nose up"))

    def __post_init__(self) -> None:
        within("yaw_deg", self.yaw_deg, -360, 360)
        within("pitch_deg", self.pitch_deg, -180, 180)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Emitters that play clips with labels: the targets, or the interferers."""

    corpus: str = field(default="sources", metadata=_doc("name of the corpus"))
    labels: tuple[str, ...] = field(
        default=(), metadata=_doc("only clips with one of these labels; empty: all")
    )
    pick: Literal["random", "each_once"] = field(
        default="random",
        metadata=_doc("each_once: scene i plays clip i of the split, for benchmarks"),
    )
    emitters: Count = field(default=count(1), metadata=_doc("number of emitters"))
    events: Count = field(
        default=count(1), metadata=_doc("events of each emitter (not where they take turns)")
    )
    same_group: bool = field(
        default=False,
        metadata=_doc("whether all clips of an emitter come from one group (a talker)"),
    )
    event_s: Number | None = field(
        default=None, metadata=_doc("longest event; longer clips are cropped; null: the scene")
    )
    level_dbfs: Number = field(
        default=constant(-14), metadata=_doc("RMS of the clip's active region before the room")
    )
    fade_s: float = field(default=0.0, metadata=_doc("linear fades at both ends"))
    placement: Placement = field(default=Placement(), metadata=_doc("where the emitters are"))
    motion: Motion | None = field(default=None, metadata=_doc("how emitters move, if at all"))
    directivity: Name = field(default=OMNI, metadata=_doc(DIRECTIVITY))
    facing: Facing = field(default=Facing(), metadata=_doc("where the emitters look"))
    schedule: Schedule = field(default=Schedule(), metadata=_doc("when the events sound"))

    def __post_init__(self) -> None:
        within("emitters", self.emitters, 0, MOST_EVENTS)
        within("events", self.events, 1, MOST_EVENTS)
        within("event_s", self.event_s, 0.05)
        within("level_dbfs", self.level_dbfs, -120, 20)
        if self.fade_s < 0:
            raise ValueError(f"fade_s = {self.fade_s}; must be 0 or more")
        _check_directivity(self.directivity)
        one = self.emitters.low == self.emitters.high == self.events.low == self.events.high == 1
        if self.pick == "each_once" and not (one and self.schedule.order == "start"):
            raise ValueError(
                "pick: each_once plays one clip a scene; it needs emitters: 1, events: 1 and "
                "schedule.order: start"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Noise: emitters, a diffuse field, or both.

    The events are as long as the scene, or as the clip where that is shorter.
    """

    corpus: str = field(default="noise", metadata=_doc("name of the corpus"))
    labels: tuple[str, ...] = field(
        default=(), metadata=_doc("only clips with one of these labels; empty: all")
    )
    emitters: Count = field(default=count(1), metadata=_doc("number of noise emitters"))
    coherent: bool = field(
        default=False,
        metadata=_doc(
            "true: all emitters play the same segment of the same clip; false: each its "
            "own clip, or at least its own segment"
        ),
    )
    diffuse: Diffuse | None = field(
        default=None, metadata=_doc("noise from all around, if there is any")
    )
    level_dbfs: Number = field(
        default=constant(-14), metadata=_doc("RMS of each clip before the room and the SNR gain")
    )
    fade_s: float = field(default=0.2, metadata=_doc("linear fades at both ends"))
    snr_db: Number = field(metadata=_doc("all wet targets over all wet noise"))
    snr_reference: Literal["omni", "all_channels"] = field(
        default="omni",
        metadata=_doc(
            "where the SNR holds: the pressure at the listener's centre, or the sum over "
            "all channels of the format"
        ),
    )
    placement: Placement = field(default=Placement(), metadata=_doc("where the emitters are"))
    motion: Motion | None = field(default=None, metadata=_doc("how emitters move, if at all"))
    directivity: Name = field(default=OMNI, metadata=_doc(DIRECTIVITY))
    facing: Facing = field(default=Facing(), metadata=_doc("where the emitters look"))

    def __post_init__(self) -> None:
        within("emitters", self.emitters, 0, MOST_EVENTS)
        within("level_dbfs", self.level_dbfs, -120, 20)
        within("snr_db", self.snr_db, -200, 200)
        _check_directivity(self.directivity)
        if self.fade_s < 0:
            raise ValueError(f"fade_s = {self.fade_s}; must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Heads of the library, drawn scene by scene."""

    names: tuple[str, ...] = field(
        metadata=_doc("ids of heads (`scenesynth hrtf list`), all alike; sphere:0.09 is one, too")
    )
    shared: bool = field(
        default=False,
        metadata=_doc(
            "false: each head is in one split only, one to each first, then by shares; true: every "
            "split has all"
        ),
    )

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(
                f"names = [{', '.join(self.names)}]; must be at least one, each named once"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Clean:
    """Scenes without noise, drawn scene by scene."""

    share: float = field(default=0.0, metadata=_doc("share of the scenes without noise"))
    anechoic: bool = field(
        default=False,
        metadata=_doc(
            "whether clean scenes have no room either: the direct sound alone, from the "
            "labelled direction"
        ),
    )

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share = {self.share}; must lie in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A distribution of scenes."""

    name: str = field(default="", metadata=_doc("name; the file's where not stated"))
    description: str = field(metadata=_doc("one line for lists"))
    sample_rate: int = field(default=32000, metadata=_doc("samples per second"))
    duration_s: Number | None = field(
        default=constant(10),
        metadata=_doc("length of a scene; null (with each_once): the clip's own, plus tail_s"),
    )
    tail_s: float = field(
        default=0.5, metadata=_doc("with duration_s: null, time for the reverberation to fade")
    )
    splits: Splits = field(metadata=_doc("splits by name: train, valid, test"))
    rooms: tuple[RoomFamily, ...] = field(metadata=_doc("room families, drawn by weight"))
    listener: Listener = field(default=Listener(), metadata=_doc("the listener"))
    heads: Heads | None = field(
        default=None, metadata=_doc("whose ears hear binaural scenes; null: the default head's")
    )
    table: Table | None = field(default=None, metadata=_doc("a table, if there is one"))
    targets: Layer = field(metadata=_doc("what the labels are about"))
    interferers: Layer | None = field(
        default=None, metadata=_doc("directional sounds that are no targets")
    )
    sir_db: Number | None = field(
        default=None,
        metadata=_doc("all wet targets over all wet interferers; null: their own levels"),
    )
    noise: Noise | None = field(default=None, metadata=_doc("noise, if there is any"))
    clean: Clean = field(default=Clean(), metadata=_doc("scenes without noise"))
    engine: Engine = field(default="shoebox", metadata=_doc("how responses are made"))
    mode: Mode = field(
        default="full",
        metadata=_doc(
            "full: every image within the response; tail: images up to mixing_time_s, then noise "
            "with the level, slope and directions of the later ones"
        ),
    )
    tracing: Tracing | None = field(
        default=None,
        metadata=_doc(
            "engine pyroomacoustics, tail: how far image sources go and how many rays follow; "
            "null: its defaults"
        ),
    )
    mixing_time_s: float = field(
        default=0.08, metadata=_doc("tail: where noise takes over, after emission")
    )
    displacement_m: float = field(
        default=0.1,
        metadata=_doc(
            "images of three reflections and more lie farther by up to this, at random: the spread "
            "of +-5 cm against the sweeping echoes of a perfect box; 0: none"
        ),
    )
    scattering: Number = field(
        default=constant(0),
        metadata=_doc(
            "tail: 0 leaves the late field as uneven over directions as mirror-like walls make it, "
            "1 makes it the same from everywhere"
        ),
    )
    doppler: bool = field(
        default=True,
        metadata=_doc(
            "whether the direct sound of what moves changes its pitch; if not, it keeps the delay "
            "that its event begins with"
        ),
    )
    highpass_hz: float = field(
        default=30.0, metadata=_doc("corner of the responses' causal high-pass; 0: none")
    )

    def __post_init__(self) -> None:
        if not 1000 <= self.sample_rate <= 384000:
            raise ValueError(f"sample_rate = {self.sample_rate}; must lie in [1000, 384000]")
        within("duration_s", self.duration_s, 0.1, 3600)
        if not 0 <= self.tail_s <= 60:
            raise ValueError(f"tail_s = {self.tail_s}; must lie in [0, 60]")
        if not 0 <= self.highpass_hz < self.sample_rate / 4:
            raise ValueError(
                f"highpass_hz = {self.highpass_hz}; must lie in [0, {self.sample_rate / 4:g})"
            )
        if not 0.01 <= self.mixing_time_s <= 1:
            raise ValueError(f"mixing_time_s = {self.mixing_time_s}; must lie in [0.01, 1]")
        if not 0 <= self.displacement_m <= 0.5:
            raise ValueError(f"displacement_m = {self.displacement_m}; must lie in [0, 0.5]")
        within("scattering", self.scattering, 0, 1)
        self._check_rooms()
        self._check_measured()
        self._check_engine()
        self._check_table()
        self._check_layers()

    def _check_rooms(self) -> None:
        names = [family.name for family in self.rooms]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"rooms: got families {names}; must be at least one, names distinct")
        if sum(family.weight for family in self.rooms) <= 0:
            raise ValueError("rooms: all families have weight 0")

    def _check_measured(self) -> None:
        """Measured rooms and the engine that renders them come together."""
        for n, family in enumerate(self.rooms):
            if (family.measured is not None) != (self.engine == "sofa"):
                raise ValueError(
                    f"engine = {self.engine!r} and rooms[{n}] ({family.name}) do not go together: "
                    f"engine sofa renders measured rooms and those alone"
                )
        if self.engine != "sofa":
            return
        if self.table is not None or self.clean.anechoic:
            raise ValueError(
                "engine sofa: a measured room has no table and is not anechoic in some scenes; "
                "leave out table and clean.anechoic"
            )
        if self.listener.motion is not None and self.listener.motion.path is not None:
            raise ValueError(f"listener.motion.path: {_MEASURED_PLACES}")
        for name in ("targets", "interferers", "noise"):
            layer = getattr(self, name)
            if layer is not None and layer.motion is not None:
                raise ValueError(f"{name}.motion: {_MEASURED_PLACES}")
            if layer is not None and layer.directivity != OMNI:
                raise ValueError(
                    f"{name}.directivity = {layer.directivity}: measured responses hold the "
                    f"directivity of their loudspeaker; leave it out"
                )

    def _check_engine(self) -> None:
        """Every family has to be one that the engine can render."""
        for n, family in enumerate(self.rooms):
            scatters = family.scattering.high > 0
            if why := misfit(self.engine, self.mode, self.traced, family.shape, scatters):
                raise ValueError(f"rooms[{n}] ({family.name}): {why}")
        if self.engine == "gpurir" and self.displacement_m:
            raise ValueError(
                f"displacement_m = {self.displacement_m}: gpuRIR cannot displace images; set 0"
            )

    def _check_table(self) -> None:
        layers = [self.targets, self.interferers, self.noise]
        seated = any(layer and layer.placement.from_table_m for layer in layers)
        if self.table is None and (seated or self.listener.place == "table"):
            raise ValueError("table: missing, but the listener or a placement needs one")
        if (
            self.table is not None
            and self.listener.place == "table"
            and self.listener.height_m.low < self.table.height_m.high
        ):
            raise ValueError(
                f"listener.height_m = {self.listener.height_m} can lie below the table's top "
                f"(table.height_m = {self.table.height_m})"
            )

    def _check_layers(self) -> None:
        if self.duration_s is None and self.targets.pick != "each_once":
            raise ValueError("duration_s is null; that needs targets.pick: each_once")
        if self.interferers is not None and self.interferers.pick != "random":
            raise ValueError("interferers.pick: only targets can be picked each_once")
        if self.sir_db is not None and self.interferers is None:
            raise ValueError("sir_db is given, but there are no interferers")
        if self.clean.share > 0 and self.noise is None and not self.clean.anechoic:
            raise ValueError("clean.share is given, but there is no noise to leave out")

    @property
    def traced(self) -> Tracing | None:
        """What `tracing` comes to: its defaults, where the engine traces."""
        if self.engine == "pyroomacoustics" and self.mode == "tail":
            return self.tracing or Tracing()
        return self.tracing

    @property
    def band_hz(self) -> tuple[float, ...]:
        """Bands of the rooms: gpuRIR knows one, for which that of 1 kHz stands."""
        return (1000.0,) if self.engine == "gpurir" else OCTAVE_BANDS_HZ

    @cached_property
    def digest(self) -> str:
        """Digest of the resolved recipe."""
        return hashlib.sha256(to_json(self).encode()).hexdigest()[:32]

    @cached_property
    def shares(self) -> dict[str, float]:
        """Share of every split, adding up to 1."""
        named = self.splits.named
        total = sum(split.share for split in named.values())
        return {name: split.share / total for name, split in named.items()}

    def __hash__(self) -> int:
        return hash(self.digest)


def _check_directivity(directivity: Name) -> None:
    known = get_args(Directivity)
    for name in directivity.options:
        if name not in known:
            raise ValueError(
                f"directivity = {name!r}{did_you_mean(name, known)}; must be one of "
                f"{', '.join(known)}"
            )
