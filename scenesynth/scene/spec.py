"""Everything a scene is, as plain data.

A `SceneSpec` is complete: `render_scene(spec, corpora)` needs no recipe, clock or environment. Its
JSON is stored in the manifest and round-trips exactly.

Times are seconds from the start of the scene unless a name says otherwise; positions are metres in
room coordinates; orientation is yaw, pitch, roll in degrees, intrinsic z-y-x (see
`scenesynth.scene.geometry`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal

from scenesynth.corpus.clips import PREPARE_VERSION
from scenesynth.records import from_json, to_json, to_plain
from scenesynth.room.model import Air, AssetRef, Room, Shape, Vector
from scenesynth.spatial.formats import Format

SCHEMA_VERSION: Final = 1

FASTEST_MPS: Final = 100.0
"""Nothing in a scene is faster: sound has to outrun what emits and hears it by far."""

LONGEST_RESPONSE_S: Final = 120.0
"""No room rings longer that anybody wants to hear; memory and time grow with it."""

LEAST_DIFFUSE_CLIP_S: Final = 5.0
"""Least part of a clip that a diffuse field is made of: up to 64 signals (order 7) begin in it,
each 50 ms or more from the others."""

RENDER_VERSION: Final = f"3.{PREPARE_VERSION}"
"""Version of the renderer and of the preparation of clips; another one whenever the same spec would
render to other samples."""

Role = Literal["target", "interferer", "noise"]
ROLES: tuple[Role, ...] = ("target", "interferer", "noise")

Engine = Literal["shoebox", "pyroomacoustics", "gpurir", "sofa"]
Mode = Literal["full", "tail"]
ENGINE_SHAPES: Final[Mapping[Engine, tuple[Shape, ...]]] = {
    "shoebox": ("shoebox",),
    "pyroomacoustics": ("shoebox", "outline", "mesh"),
    "gpurir": ("shoebox",),
    "sofa": ("measured",),
}
"""Rooms that an engine can render."""
Colour = Literal["white", "pink", "brown"]
Directivity = Literal[
    "omni", "subcardioid", "cardioid", "supercardioid", "hypercardioid", "figure8", "speech"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """How engine `pyroomacoustics` makes a response in mode `tail`."""

    image_order: int = field(
        default=3,
        metadata={"doc": "image sources of up to this many reflections; what is later, rays carry"},
    )
    rays: int = field(
        default=5000,
        metadata={"doc": "rays per response; more are smoother and slower; 0: image sources alone"},
    )

    def __post_init__(self) -> None:
        if not 0 <= self.image_order <= 100:
            raise ValueError(f"image_order = {self.image_order}; must lie in [0, 100]")
        if self.rays and not 200 <= self.rays <= 1_000_000:
            raise ValueError(f"rays = {self.rays}; must be 0 or lie in [200, 1000000]")


def misfit(
    engine: Engine, mode: Mode, tracing: Tracing | None, shape: Shape, scattering: bool
) -> str | None:
    """Why an engine cannot render a room, and the way out; None where it can.

    Args:
        scattering: whether the room's surfaces scatter.
    """
    able = [name for name, shapes in ENGINE_SHAPES.items() if shape in shapes]
    if engine not in able:
        return (
            f"engine = {engine!r} renders rooms of shape {', '.join(ENGINE_SHAPES[engine])}, but "
            f"this one is of shape {shape!r}; set engine: {' or '.join(able)}"
        )
    traced = engine == "pyroomacoustics" and mode == "tail"
    if engine == "pyroomacoustics" and mode == "full" and shape != "shoebox":
        return (
            f"mode = 'full' is every image source within the response, which only a shoebox allows "
            f"to count, but this room is of shape {shape!r}; set mode: tail, and tracing"
        )
    if engine == "gpurir" and mode == "tail":
        return (
            "mode = 'tail': gpuRIR's own tail is noise with a seed that cannot be set, another one "
            "for every channel; set mode: full"
        )
    if tracing is not None and not traced:
        return (
            f"tracing is given, but engine = {engine!r} in mode = {mode!r} traces nothing; leave "
            f"it out, or set engine: pyroomacoustics and mode: tail"
        )
    if scattering and not (traced and tracing is not None and tracing.rays):
        return (
            f"its surfaces scatter, which engine = {engine!r} in mode = {mode!r} without rays "
            f"cannot render; set engine: pyroomacoustics, mode: tail and tracing.rays, or "
            f"scattering: 0"
        )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyframe:
    """A pose at a time. One keyframe means still; see `scenesynth.scene.motion` for several."""

    time_s: float = 0.0
    position_m: Vector
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRef:
    """A dry clip by name and content; the corpus of that name has to hold it.

    Attributes:
        corpus: name of the corpus in the `Corpora` at hand ("sources", "noise", ...).
        id: relative id inside the corpus.
        digest: digest of the decoded PCM.
        file_digest: digest of the file's bytes ("" where there is no file).
    """

    corpus: str
    id: str
    digest: str
    file_digest: str = ""
    labels: tuple[str, ...] = ()
    group: str = ""
    fold: str = ""
    licence: str = ""
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One sounding of a clip.

    Attributes:
        onset_s: when the played part starts to sound at the emitter.
        start_s: where in the clip the played part starts.
        duration_s: length of the played part.
        active_start_s, active_end_s: the clip's active region inside the played part, in seconds
            from `onset_s`; labels follow it.
        gain: linear factor on the decoded clip.
        fade_in_s, fade_out_s: linear fades at the ends of the played part.
    """

    role: Role
    clip: ClipRef
    onset_s: float
    start_s: float = 0.0
    duration_s: float
    active_start_s: float
    active_end_s: float
    gain: float = 1.0
    fade_in_s: float = 0.0
    fade_out_s: float = 0.0

    def __post_init__(self) -> None:
        if self.onset_s < 0 or self.start_s < 0:
            raise ValueError(
                f"onset_s = {self.onset_s}, start_s = {self.start_s}; neither may be negative"
            )
        if self.duration_s <= 0:
            raise ValueError(f"duration_s = {self.duration_s}; must be positive")
        if not 0 <= self.active_start_s < self.active_end_s <= self.duration_s + 1e-9:
            raise ValueError(
                f"active_start_s = {self.active_start_s}, active_end_s = {self.active_end_s}; "
                f"must satisfy 0 <= start < end <= duration_s = {self.duration_s}"
            )
        if self.gain <= 0:
            raise ValueError(f"gain = {self.gain}; must be positive")
        if min(self.fade_in_s, self.fade_out_s) < 0:
            raise ValueError("fade_in_s and fade_out_s may not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitter:
    """Something that sounds at a place: a talker, a loudspeaker, a machine.

    Attributes:
        group: what the emitter is, across its events (a speaker); "" where unknown.
        directivity: how much it radiates off its front, which its pose turns.
    """

    id: str
    group: str = ""
    directivity: Directivity = "omni"
    keyframes: tuple[Keyframe, ...]
    events: tuple[Event, ...]

    def __post_init__(self) -> None:
        if not self.keyframes:
            raise ValueError(f"emitter {self.id}: keyframes is empty; one keyframe means still")
        if not self.events:
            raise ValueError(f"emitter {self.id}: events is empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffuseField:
    """Noise from all around: an isotropic field at the listener.

    It is what is there, so no response of the room is applied to it; and it is the same from every
    direction, so it stays what it is when the listener turns.

    Attributes:
        clip, colour: what it sounds like; one of the two.
        seed: of its independent signals: coloured noise, or where in the clip each begins; see
            `scenesynth.render.diffuse`.
        start_s, length_s: part of the clip that the signals are taken from; 0 without a clip.
        onset_s, duration_s: when the field is there.
        gain: linear factor on the decoded clip; of a colour, the RMS of the pressure.
        ratio_db: requested ratio of its energy to that of the wet noise of all emitters, in the
            pressure, over the scene; None leaves it at its gain.
        fade_in_s, fade_out_s: linear fades at both ends.
    """

    id: str
    clip: ClipRef | None = None
    colour: Colour | None = None
    seed: int
    start_s: float = 0.0
    length_s: float = 0.0
    onset_s: float = 0.0
    duration_s: float
    gain: float = 1.0
    ratio_db: float | None = None
    fade_in_s: float = 0.0
    fade_out_s: float = 0.0

    def __post_init__(self) -> None:
        if (self.clip is None) == (self.colour is None):
            raise ValueError(f"diffuse field {self.id}: must have a clip or a colour, and not both")
        if self.clip is not None and not self.length_s >= LEAST_DIFFUSE_CLIP_S:
            raise ValueError(
                f"diffuse field {self.id}: length_s = {self.length_s}; must be at least "
                f"{LEAST_DIFFUSE_CLIP_S:g} s of clip {self.clip.id}, for its signals are different "
                f"parts of it"
            )
        if self.clip is None and (self.start_s or self.length_s):
            raise ValueError(
                f"diffuse field {self.id}: start_s and length_s are parts of a clip; leave them out"
            )
        if min(self.seed, self.start_s, self.onset_s, self.fade_in_s, self.fade_out_s) < 0:
            raise ValueError(
                f"diffuse field {self.id}: seed, start_s, onset_s, fade_in_s and fade_out_s may "
                f"not be negative"
            )
        if self.duration_s <= 0 or self.gain <= 0:
            raise ValueError(
                f"diffuse field {self.id}: duration_s = {self.duration_s}, gain = {self.gain}; "
                f"both must be positive"
            )

    @property
    def role(self) -> Role:
        """What it is in the scene."""
        return "noise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a spec came from. It does not change a sample of the audio."""

    recipe: str = ""
    seed: int = 0
    split: str = "train"
    index: int = 0
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSpec:
    """A scene.

    Attributes:
        n_samples: length of the scene at `sample_rate`.
        listener: pose keyframes of the listener.
        diffuse: noise that comes from nowhere in particular, beside that of emitters.
        snr_db: requested ratio of all wet targets to all wet noise; None without one of them.
        sir_db: requested ratio of all wet targets to all wet interferers; None leaves their own
            levels.
        snr_reference: where that energy is measured: the omnidirectional pressure at the
            listener's centre, or the sum over all channels of the format (GRAM).
        engine, mode: how responses are made; `full` is every image within `response_s`, `tail` has
            images up to `mixing_time_s` and the statistics of the later ones from there on.
        tracing: how `pyroomacoustics` does that instead; None for other engines and modes.
        response_s: length of the impulse responses.
        highpass_hz: corner of the causal high-pass of the responses; 0 for none.
        displacement_m: images of three reflections and more lie farther by up to this, at random,
            against the sweeping echoes of a regular lattice.
        scattering: 0 leaves the late field of `tail` as uneven over directions as specular walls
            make it, 1 makes it isotropic.
        acoustic_seed: of displacements and of the late field's noise.
        head: whose ears the format "binaural" has; None for the package's own head.
        doppler: whether the direct sound of what moves changes its pitch; if not, it keeps the
            delay that its event begins with.
    """

    schema: Literal[1] = SCHEMA_VERSION
    origin: Origin
    sample_rate: int
    n_samples: int
    room: Room
    air: Air
    listener: tuple[Keyframe, ...]
    emitters: tuple[Emitter, ...]
    diffuse: tuple[DiffuseField, ...] = ()
    snr_db: float | None = None
    sir_db: float | None = None
    snr_reference: Literal["omni", "all_channels"] = "omni"
    engine: Engine = "shoebox"
    mode: Mode = "full"
    tracing: Tracing | None = None
    response_s: float
    mixing_time_s: float = 0.08
    highpass_hz: float = 30.0
    displacement_m: float = 0.0
    scattering: float = 0.0
    acoustic_seed: int = 0
    head: AssetRef | None = None
    doppler: bool = True

    def __post_init__(self) -> None:
        if self.sample_rate <= 0 or self.n_samples <= 0:
            raise ValueError(
                f"sample_rate = {self.sample_rate}, n_samples = {self.n_samples}; "
                f"both must be positive"
            )
        if not 0 < self.response_s <= LONGEST_RESPONSE_S:
            raise ValueError(
                f"response_s = {self.response_s}; must lie in (0, {LONGEST_RESPONSE_S:g}]. Ask for "
                f"a shorter response, or for walls that absorb more"
            )
        if not 0.01 <= self.mixing_time_s <= 1:
            raise ValueError(f"mixing_time_s = {self.mixing_time_s}; must lie in [0.01, 1]")
        if not 0 <= self.displacement_m <= 0.5:
            raise ValueError(f"displacement_m = {self.displacement_m}; must lie in [0, 0.5]")
        if not 0 <= self.scattering <= 1:
            raise ValueError(f"scattering = {self.scattering}; must lie in [0, 1]")
        if self.engine == "pyroomacoustics" and self.mode == "tail" and self.tracing is None:
            raise ValueError("tracing is missing; engine pyroomacoustics needs it in mode tail")
        shape, scatters = self.room.shape, self.room.scatters
        if why := misfit(self.engine, self.mode, self.tracing, shape, scatters):
            raise ValueError(f"room {self.room.id}: {why}")
        if not self.listener:
            raise ValueError("listener is empty; one keyframe means still")
        self._check_path("listener", self.listener)
        for n, emitter in enumerate(self.emitters):
            self._check_path(f"emitters[{n}].keyframes", emitter.keyframes)
            for m, event in enumerate(emitter.events):
                if event.onset_s >= self.duration_s:
                    raise ValueError(
                        f"emitters[{n}].events[{m}].onset_s = {event.onset_s}; "
                        f"must lie before the scene's end at {self.duration_s:g} s"
                    )
        self._check_diffuse()

    def _check_diffuse(self) -> None:
        """Check that fields begin inside the scene and that there is what they are relative to."""
        localised = any(e.role == "noise" for emitter in self.emitters for e in emitter.events)
        for n, item in enumerate(self.diffuse):
            if item.onset_s >= self.duration_s:
                raise ValueError(
                    f"diffuse[{n}].onset_s = {item.onset_s}; must lie before the scene's end at "
                    f"{self.duration_s:g} s"
                )
            if item.ratio_db is not None and not localised:
                raise ValueError(
                    f"diffuse[{n}].ratio_db = {item.ratio_db} is relative to the noise of "
                    f"emitters, but none has any; leave it out"
                )

    def _check_path(self, name: str, keyframes: tuple[Keyframe, ...]) -> None:
        """Check that times rise and that the way between keyframes stays in the room."""
        for n, keyframe in enumerate(keyframes):
            for item in ("time_s", "yaw_deg", "pitch_deg", "roll_deg"):
                if not math.isfinite(value := getattr(keyframe, item)):
                    raise ValueError(f"{name}[{n}].{item} = {value}; must be finite")
            if why := self.room.outside(keyframe.position_m):
                raise ValueError(f"{name}[{n}].position_m: {why} (room {self.room.id})")
        if keyframes[0].time_s < 0:
            raise ValueError(f"{name}[0].time_s = {keyframes[0].time_s}; may not be negative")
        for n, (before, after) in enumerate(pairwise(keyframes), start=1):
            lasts_s = after.time_s - before.time_s
            if lasts_s <= 0:
                raise ValueError(
                    f"{name}[{n}].time_s = {after.time_s}; must be later than the keyframe before, "
                    f"at {before.time_s} s"
                )
            way_m = math.dist(before.position_m, after.position_m)
            if way_m > FASTEST_MPS * lasts_s:
                raise ValueError(
                    f"{name}[{n}]: {way_m:g} m in {lasts_s:g} s; must not be faster than "
                    f"{FASTEST_MPS:g} m/s"
                )
            # A box is convex: the way between two points inside is inside too.
            if way_m and (surface := self.room.blocked(before.position_m, after.position_m)):
                raise ValueError(
                    f"{name}[{n}].position_m: {surface} stands between it and the keyframe before "
                    f"(room {self.room.id}); add keyframes that go around it"
                )

    @property
    def id(self) -> str:
        """Name of the scene in its dataset, such as `train-00000017`."""
        return f"{self.origin.split}-{self.origin.index:08d}"

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate

    def to_json(self) -> str:
        """Canonical JSON; `from_json` gives back an equal spec."""
        return to_json(self)

    @classmethod
    def from_json(cls, text: str) -> SceneSpec:
        """Inverse of `to_json`.

        Raises:
            ConfigError: unknown, missing or wrong fields, named by path.
        """
        return from_json(cls, text)


def render_key(spec: SceneSpec, item: Format) -> str:
    """Digest of all that decides the audio of one format: spec, clips' content, render version.

    A head decides only what its ears hear, and microphones are known by what they are.

    Where the spec came from (recipe, seed, index, split, attempt), names and descriptions are left
    out, so that neither the edit of a recipe nor a moved or relabelled clip changes the keys of
    scenes that sound as before.
    """
    payload = json.dumps(
        {"spec": _audible(spec, item), "format": _heard_by(item), "render": RENDER_VERSION},
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(payload.encode()).hexdigest()[:32]


def _heard_by(item: Format) -> str:
    return item.name if item.array is None else f"mic {item.array.digest}"


def _audible(spec: SceneSpec, item: Format) -> dict[str, Any]:
    """The spec as plain data without what changes no sample of a format."""
    plain: dict[str, Any] = to_plain(spec)
    del plain["origin"]
    head = plain.pop("head")
    if item.kind == "binaural":
        plain["head"] = head and head["digest"]
    for name in ("id", "rt60_s", "materials"):
        del plain["room"][name]
    for name in ("mesh", "measured"):
        if plain["room"][name] is not None:
            plain["room"][name] = plain["room"][name]["digest"]
    for emitter in plain["emitters"]:
        del emitter["id"], emitter["group"]
        for event in emitter["events"]:
            event["clip"] = event["clip"]["digest"]
    for noise in plain["diffuse"]:
        del noise["id"]
        noise["clip"] = noise["clip"] and noise["clip"]["digest"]
    if not plain["diffuse"]:  # as before there was any, so that keys stay what they are
        del plain["diffuse"]
    return plain
