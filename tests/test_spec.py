"""The scene as plain data: exact, strict and complete."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenesynth.errors import ConfigError
from scenesynth.records import to_plain
from scenesynth.room.model import Air, Room
from scenesynth.scene.spec import (
    ClipRef,
    DiffuseField,
    Emitter,
    Event,
    Keyframe,
    Origin,
    SceneSpec,
    render_key,
)
from scenesynth.spatial.formats import parse_format

INSIDE = st.tuples(st.floats(0.01, 4.9), st.floats(0.01, 3.9), st.floats(0.01, 2.9))
ANGLE = st.floats(-360, 360)
TEXT = st.text(max_size=12)
KEYFRAMES = st.builds(
    Keyframe,
    time_s=st.floats(0.1, 10),  # since the one before; at most 6.5 m apart, so slower than 100 m/s
    position_m=INSIDE,
    yaw_deg=ANGLE,
    pitch_deg=ANGLE,
    roll_deg=ANGLE,
)


def in_a_row(keyframes: list[Keyframe]) -> tuple[Keyframe, ...]:
    """Keyframes at the running sum of their times."""
    times_s = itertools.accumulate(keyframe.time_s for keyframe in keyframes)
    return tuple(
        dataclasses.replace(keyframe, time_s=time_s)
        for keyframe, time_s in zip(keyframes, times_s, strict=True)
    )


PATHS = st.lists(KEYFRAMES, min_size=1, max_size=3).map(in_a_row)
CLIPS = st.builds(
    ClipRef, corpus=TEXT, id=TEXT, digest=TEXT, labels=st.lists(TEXT, max_size=2).map(tuple)
)


@st.composite
def events(draw: Any) -> Event:
    duration_s = draw(st.floats(0.1, 20))
    start_s = draw(st.floats(0, duration_s * 0.9))
    return Event(
        role=draw(st.sampled_from(["target", "interferer", "noise"])),
        clip=draw(CLIPS),
        onset_s=draw(st.floats(0, 1.9)),
        start_s=draw(st.floats(0, 100)),
        duration_s=duration_s,
        active_start_s=start_s,
        active_end_s=duration_s,
        gain=draw(st.floats(1e-6, 1e3)),
        fade_in_s=draw(st.floats(0, 1)),
    )


FIELDS = st.builds(
    DiffuseField,
    id=TEXT,
    colour=st.sampled_from(["white", "pink", "brown"]),
    seed=st.integers(0, 2**32 - 1),
    onset_s=st.floats(0, 1.9),
    duration_s=st.floats(0.1, 20),
    gain=st.floats(1e-6, 1e3),
)


@st.composite
def specs(draw: Any) -> SceneSpec:
    bands = draw(st.integers(1, 7))
    coefficient = st.floats(0, 1)
    room = Room(
        id=draw(TEXT),
        size_m=(5.0, 4.0, 3.0),
        band_hz=tuple(125.0 * 2**n for n in range(bands)),
        absorption=tuple(tuple(draw(coefficient) for _ in range(bands)) for _ in range(6)),
    )
    emitters = st.builds(
        Emitter,
        id=TEXT,
        keyframes=PATHS,
        events=st.lists(events(), min_size=1, max_size=2).map(tuple),
    )
    return SceneSpec(
        origin=Origin(recipe=draw(TEXT), seed=draw(st.integers(0, 2**40))),
        sample_rate=draw(st.integers(8000, 48000)),
        n_samples=draw(st.integers(100000, 10**7)),
        room=room,
        air=Air(temperature_c=draw(st.floats(-40, 60))),
        listener=draw(PATHS),
        emitters=tuple(draw(st.lists(emitters, max_size=2))),
        diffuse=tuple(draw(st.lists(FIELDS, max_size=2))),
        snr_db=draw(st.none() | st.floats(-200, 200)),
        response_s=draw(st.floats(0.01, 10)),
    )


@given(spec=specs())
@settings(max_examples=60)
def test_a_spec_round_trips_exactly_through_json(spec: SceneSpec) -> None:
    text = spec.to_json()
    back = SceneSpec.from_json(text)
    assert back == spec
    assert back.to_json() == text


def hand_made(**changes: Any) -> SceneSpec:
    event = Event(
        role="target",
        clip=ClipRef(corpus="sources", id="a/b", digest="d"),
        onset_s=0.5,
        duration_s=1.0,
        active_start_s=0.0,
        active_end_s=1.0,
    )
    known: dict[str, Any] = {
        "origin": Origin(recipe="r", split="test", index=17),
        "sample_rate": 16000,
        "n_samples": 32000,
        "room": Room(
            id="r/test/0",
            size_m=(5.0, 4.0, 3.0),
            band_hz=(1000.0,),
            absorption=((0.2,),) * 6,
        ),
        "air": Air(),
        "listener": (Keyframe(position_m=(1.0, 1.0, 1.0)),),
        "emitters": (
            Emitter(
                id="target0", keyframes=(Keyframe(position_m=(2.0, 1.0, 1.0)),), events=(event,)
            ),
        ),
        "response_s": 0.4,
    }
    return SceneSpec(**(known | changes))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("colour",), "red", r"colour: unknown key of SceneSpec"),
        (("room", "siz_m"), 1, r"room\.siz_m: unknown key of Room; did you mean 'size_m'\?"),
        (
            ("emitters", 0, "events", 0, "onset_s"),
            "x",
            r"emitters\[0\]\.events\[0\]\.onset_s: got 'x'",
        ),
        (("emitters", 0, "events", 0, "role"), "nois", r"events\[0\]\.role: got 'nois'.*'noise'"),
        (
            ("listener", 0, "position_m"),
            [1, 1],
            r"listener\[0\]\.position_m: got 2 values, must be 3",
        ),
        (
            ("listener", 0, "position_m"),
            [9, 1, 1],
            r"listener\[0\]\.position_m: x = 9 m is not inside",
        ),
        (("emitters", 0, "events", 0, "onset_s"), 2.0, r"must lie before the scene's end at 2 s"),
        (("room", "absorption", 2), [1.3], r"room: absorption of y0 at 1000 Hz = 1\.3"),
        (("schema",), 2, r"schema: got 2, must be one of 1"),
    ],
)
def test_a_wrong_spec_names_the_path(path: tuple[Any, ...], value: Any, message: str) -> None:
    plain = json.loads(hand_made().to_json())
    at = plain
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    with pytest.raises(ConfigError, match=message):
        SceneSpec.from_json(json.dumps(plain))


@pytest.mark.parametrize("key", ["room", "emitters", "response_s", "n_samples"])
def test_a_missing_key_is_named(key: str) -> None:
    plain = to_plain(hand_made())
    del plain[key]
    with pytest.raises(ConfigError, match=f"^{key}: missing key of SceneSpec"):
        SceneSpec.from_json(json.dumps(plain))


def test_the_id_names_split_and_index() -> None:
    assert hand_made().id == "test-00000017"


def test_the_render_key_follows_the_audio_and_not_where_the_spec_came_from() -> None:
    spec = hand_made()
    key = render_key(spec, parse_format("foa"))
    assert (
        render_key(dataclasses.replace(spec, origin=Origin(recipe="other")), parse_format("foa"))
        == key
    )
    assert render_key(spec, parse_format("mono")) != key
    assert render_key(dataclasses.replace(spec, highpass_hz=20.0), parse_format("foa")) != key
    other = dataclasses.replace(spec.room, size_m=(5.0, 4.0, 3.000001))
    assert render_key(dataclasses.replace(spec, room=other), parse_format("foa")) != key


def changed_deep(changes: dict[str, Any]) -> SceneSpec:
    """`hand_made` with values replaced at dotted paths of its JSON."""
    plain = json.loads(hand_made().to_json())
    for path, value in changes.items():
        at: Any = plain
        *steps, last = path.split(".")
        for step in steps:
            at = at[int(step)] if step.isdigit() else at[step]
        at[last] = value
    return SceneSpec.from_json(json.dumps(plain))


CLIP = "emitters.0.events.0.clip"


@pytest.mark.parametrize(
    "changes",
    [
        {"room.id": "other/test/0"},
        {"room.rt60_s": [0.3]},
        {"room.materials": ["brick"] * 6},
        {"emitters.0.id": "talker", "emitters.0.group": "Ann"},
        {f"{CLIP}.id": "moved/b", f"{CLIP}.corpus": "speech", f"{CLIP}.file_digest": "f"},
        {f"{CLIP}.labels": ["dog"], f"{CLIP}.group": "g", f"{CLIP}.fold": "1"},
        {f"{CLIP}.licence": "CC0-1.0", f"{CLIP}.caption": "a bark"},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_names_and_descriptions_leave_the_render_key(changes: dict[str, Any]) -> None:
    foa = parse_format("foa")
    assert render_key(changed_deep(changes), foa) == render_key(hand_made(), foa)


@pytest.mark.parametrize(
    "changes",
    [
        {"sample_rate": 16001},
        {"n_samples": 32001},
        {"room.size_m": [5.0, 4.0, 3.000001]},
        {"room.band_hz": [1001.0]},
        {"room.absorption": [[0.2]] * 5 + [[0.21]]},
        {"air.temperature_c": 21.0},
        {"air.humidity_pct": 51.0},
        {"air.pressure_kpa": 100.0},
        {"air.speed_of_sound_mps": 344.0},
        {"listener.0.position_m": [1.0, 1.0, 1.1]},
        {"listener.0.yaw_deg": 1.0},
        {"listener.0.pitch_deg": 1.0},
        {"listener.0.roll_deg": 1.0},
        {"emitters.0.keyframes.0.position_m": [2.0, 1.0, 1.1]},
        {"emitters.0.events.0.role": "interferer"},
        {f"{CLIP}.digest": "e"},
        {"emitters.0.events.0.onset_s": 0.6},
        {"emitters.0.events.0.start_s": 0.1},
        {"emitters.0.events.0.duration_s": 1.1},
        {"emitters.0.events.0.active_start_s": 0.1},
        {"emitters.0.events.0.active_end_s": 0.9},
        {"emitters.0.events.0.gain": 1.1},
        {"emitters.0.events.0.fade_in_s": 0.1},
        {"emitters.0.events.0.fade_out_s": 0.1},
        {"snr_db": 3.0},
        {"sir_db": 3.0},
        {"snr_reference": "all_channels"},
        {"response_s": 0.41},
        {"highpass_hz": 20.0},
        {"engine": "pyroomacoustics"},
        {"mode": "tail"},
        {"mixing_time_s": 0.1},
        {"displacement_m": 0.1},
        {"scattering": 0.5},
        {"acoustic_seed": 1},
        {"emitters.0.directivity": "cardioid"},
        {"emitters.0.keyframes.0.yaw_deg": 1.0},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_whatever_shapes_the_audio_or_its_levels_is_in_the_render_key(
    changes: dict[str, Any],
) -> None:
    assert render_key(changed_deep(changes), parse_format("foa")) != render_key(
        hand_made(), parse_format("foa")
    )


def test_a_spec_from_before_there_were_modes_still_reads() -> None:
    """What it does not say is what was done then: full order, no displacement, omni sources."""
    plain = json.loads(hand_made().to_json())
    for name in ("mixing_time_s", "displacement_m", "scattering", "acoustic_seed"):
        del plain[name]
    del plain["emitters"][0]["directivity"]
    assert SceneSpec.from_json(json.dumps(plain)) == hand_made()
    assert (hand_made().mode, hand_made().displacement_m) == ("full", 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixing_time_s": 2.0}, r"mixing_time_s = 2\.0; must lie in \[0\.01, 1\]"),
        ({"displacement_m": -0.1}, r"displacement_m = -0\.1; must lie in \[0, 0\.5\]"),
        ({"scattering": 1.1}, r"scattering = 1\.1; must lie in \[0, 1\]"),
        ({"mode": "half"}, "mode: got 'half', must be one of full, tail"),
        ({"emitters.0.directivity": "cardoid"}, "did you mean 'cardioid'"),
    ],
)
def test_impossible_acoustics_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        changed_deep(changes)


def later(time_s: float, *position_m: float) -> dict[str, Any]:
    return {"time_s": time_s, "position_m": list(position_m)}


@pytest.mark.parametrize(
    ("keyframes", "message"),
    [
        ([later(0, 2, 1, 1), later(0, 3, 1, 1)], r"\[1\]\.time_s = 0\.0; must be later"),
        ([later(1, 2, 1, 1), later(0.5, 3, 1, 1)], r"later than the keyframe before, at 1\.0 s"),
        ([later(-0.5, 2, 1, 1), later(1, 3, 1, 1)], r"\[0\]\.time_s = -0\.5; may not be negative"),
        ([later(0, 2, 1, 1), later(1, 3, 1, 3.5)], r"\[1\]\.position_m: z = 3\.5 m is not inside"),
        ([later(0, 2, 1, 1), later(0.01, 4, 1, 1)], r"\[1\]: 2 m in 0\.01 s; must not be faster"),
    ],
)
@pytest.mark.parametrize("name", ["listener", "emitters.0.keyframes"])
def test_keyframes_follow_each_other_inside_the_room(
    name: str, keyframes: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        changed_deep({name: keyframes})
    assert name.replace(".0", "[0]") in str(caught.value)


@pytest.mark.parametrize("field", ["time_s", "yaw_deg", "pitch_deg", "roll_deg"])
def test_keyframes_made_in_python_are_finite(field: str) -> None:
    spec = changed_deep({"listener": [later(0, 2, 1, 1), later(1, 3, 1, 1)]})
    last = dataclasses.replace(spec.listener[1], **{field: float("nan")})
    with pytest.raises(ValueError, match=rf"listener\[1\]\.{field} = nan; must be finite"):
        dataclasses.replace(spec, listener=(spec.listener[0], last))


def test_the_way_between_keyframes_goes_through_no_wall() -> None:
    corners = [[0, 0], [5, 0], [5, 2], [2.5, 2], [2.5, 4], [0, 4]]
    shape = {
        "engine": "pyroomacoustics",
        "mode": "tail",
        "tracing": {},
        "room.outline_m": corners,
        "room.absorption": [[0.2]] * 8,
    }
    around = [later(0, 1, 3, 1), later(1, 1, 1, 1), later(2, 4, 1, 1)]
    assert len(changed_deep({**shape, "listener": around}).listener) == 3
    with pytest.raises(ConfigError, match=r"listener\[1\]\.position_m: e[23] stands between"):
        changed_deep({**shape, "listener": [around[0], around[2]]})
