"""What moves, measured from rendered audio: no clicks, pitch, direction, level, reverberation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from measured_helpers import LISTENER
from numpy.typing import NDArray
from oracle_render import relative_error_db
from scipy.signal import hilbert
from scipy.signal.windows import kaiser
from test_measured import RING, room_of, spec_in

from scenesynth.acoustics import shoebox
from scenesynth.acoustics.receivers import receiver_of
from scenesynth.render.motion import (
    STEP_DEG,
    STEP_M,
    Moving,
    delayed,
    listening_convolution,
    moving_convolution,
    node_times,
)
from scenesynth.render.renderer import render_scene
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room, Vector
from scenesynth.scene.motion import Path, angles_rad, heard, travel_s
from scenesynth.scene.spec import (
    ClipRef,
    Directivity,
    Emitter,
    Event,
    Keyframe,
    Origin,
    Role,
    SceneSpec,
)
from scenesynth.spatial.formats import layout_of, parse_format
from scenesynth.store.schema import Scene

RATE = 24_000
AIR = Air()
C = AIR.speed_of_sound_mps
EAR: Vector = (5.0, 5.0, 1.5)
HERE = (Keyframe(position_m=EAR),)
Signal = NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    """The one clip of a scene, whatever its name."""

    samples: Signal

    def load(self, ref: ClipRef, sample_rate: int, start: int = 0, stop: int | None = None) -> Any:
        assert sample_rate == RATE
        return self.samples[start:stop]


def noise(seconds: float, up_to_hz: float = 0.85 * RATE / 2) -> Clip:
    """White up to a frequency; delays are flat up to 0.9 of Nyquist."""
    n = round(seconds * RATE)
    spectrum = np.fft.rfft(0.1 * np.random.default_rng(1).standard_normal(n))
    spectrum[np.fft.rfftfreq(n, 1 / RATE) > up_to_hz] = 0
    return Clip(np.fft.irfft(spectrum, n).astype(np.float32))


def tone(freq_hz: float, seconds: float) -> Clip:
    return Clip(
        np.sin(2 * np.pi * freq_hz * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)
    )


def box(absorption: float = 1.0, size_m: Vector = (10.0, 10.0, 3.0)) -> Room:
    return Room(
        id="box",
        size_m=size_m,
        band_hz=OCTAVE_BANDS_HZ,
        absorption=((absorption,) * len(OCTAVE_BANDS_HZ),) * 6,
    )


def emitter(
    keyframes: Sequence[Keyframe],
    seconds: float,
    onset_s: float = 0.1,
    role: Role = "target",
    directivity: Directivity = "omni",
) -> Emitter:
    event = Event(
        role=role,
        clip=ClipRef(corpus="sources", id="x", digest="x"),
        onset_s=onset_s,
        duration_s=seconds,
        active_start_s=0.0,
        active_end_s=seconds,
    )
    return Emitter(id=role, keyframes=tuple(keyframes), events=(event,), directivity=directivity)


def scene(*emitters: Emitter, seconds: float, **fields: Any) -> SceneSpec:
    """Anechoic unless told otherwise."""
    known: dict[str, Any] = {"room": box(), "response_s": 0.06, "listener": HERE}
    return SceneSpec(
        origin=Origin(),
        sample_rate=RATE,
        n_samples=round(seconds * RATE),
        air=AIR,
        emitters=emitters,
        **(known | fields),
    )


def at(place: Sequence[float], time_s: float = 0.0, **pose: float) -> Keyframe:
    """A pose by its way from EAR."""
    x, y, z = (float(a + b) for a, b in zip(EAR, place, strict=True))
    return Keyframe(time_s=time_s, position_m=(x, y, z), **pose)


def passing(speed_mps: float, by_m: float = 1.0, seconds: float = 1.6) -> tuple[Keyframe, ...]:
    half_m = speed_mps * seconds / 2
    return at((-half_m, by_m, 0.0)), at((half_m, by_m, 0.0), seconds)


def circle(
    deg_s: float, first_deg: float = 0.0, radius_m: float = 1.5, seconds: float = 1.6
) -> tuple[Keyframe, ...]:
    times_s = np.linspace(0, seconds, round(seconds / 0.02) + 1)
    angles = np.radians(first_deg + deg_s * times_s)
    return tuple(
        at((radius_m * math.cos(a), radius_m * math.sin(a), 0.0), float(t))
        for t, a in zip(times_s, angles, strict=True)
    )


def audio(spec: SceneSpec, clip: Clip, format: str = "foa") -> Signal:
    return render_scene(spec, clip, format=format).audio_by_format[format]


def moving(spec: SceneSpec, format: str = "foa", index: int = 0) -> Moving:
    return Moving.of(layout_of([parse_format(format)]), spec, index)


def still(spec: SceneSpec, position_m: Vector, **listener: float) -> SceneSpec:
    """The same scene with its first emitter at a place, before a listener who stands."""
    (first, *others) = spec.emitters
    return replace(
        spec,
        emitters=(replace(first, keyframes=(Keyframe(position_m=position_m),)), *others),
        listener=(replace(spec.listener[0], time_s=0.0, **listener),),
    )


def level_db(signal: NDArray[Any]) -> float:
    return float(10 * np.log10(np.mean(np.square(signal, dtype=np.float64)) + 1e-30))


def direction(foa: NDArray[Any]) -> NDArray[np.float64]:
    """Of the mean intensity. Shape: [3]."""
    w, y, z, x = np.asarray(foa, np.float64)
    vector = np.array([np.sum(w * x), np.sum(w * y), np.sum(w * z)])
    return vector / np.linalg.norm(vector)


def windows(spec: SceneSpec, found: Scene, hop_s: float = 0.1) -> list[tuple[float, slice]]:
    """Middles and samples of the frames that lie inside the direct sound of the first event."""
    (row, *_) = found.events
    start_s = row["wet_onset_s"]
    stop_s = min(row["dry_offset_s"] + row["direct_delay_s"], spec.duration_s)
    ks = range(math.ceil(start_s / hop_s + 0.1), math.floor(stop_s / hop_s - 0.1))
    n = round(hop_s * RATE)
    return [((k + 0.5) * hop_s, slice(k * n, (k + 1) * n)) for k in ks]


# Kernels of the motion: delays, windows, nodes.


@pytest.mark.parametrize("slope", [0.0, 0.003, -0.02])
def test_a_delayed_tone_is_the_tone_at_the_delayed_times(slope: float) -> None:
    n = np.arange(4000)
    delays = 37.3 + slope * n
    for freq_hz in (500.0, 6000.0, 10_500.0):
        found = delayed(tone(freq_hz, 5000 / RATE).samples, delays)
        wanted = np.sin(2 * np.pi * freq_hz * (n - delays) / RATE)
        assert relative_error_db(found[200:], wanted[200:]) < -75


def test_delays_reach_beyond_both_ends_into_silence() -> None:
    found = delayed(np.ones(50, np.float32), np.full(400, 100.0))
    assert np.abs(found[:68]).max() == 0
    assert np.abs(found[182:]).max() == 0
    assert found[120] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("convolution", [moving_convolution, listening_convolution])
@pytest.mark.parametrize("taps", [1, 7, 300])
def test_convolutions_that_change_are_the_sums_that_they_stand_for(
    convolution: Any, taps: int
) -> None:
    rng = np.random.default_rng(taps)
    dry = rng.standard_normal(500).astype(np.float32)
    responses = rng.standard_normal((5, 2, taps)).astype(np.float32)
    nodes = np.array([-40.0, 20.25, 130.0, 131.5, 640.0])
    found = convolution(dry, responses, nodes)
    length = len(dry) + taps - 1
    places = np.arange(len(dry) if convolution is moving_convolution else length)
    wanted = np.zeros((2, length))
    for k, response in enumerate(responses):
        window = np.interp(places, nodes, np.eye(5)[k])
        for c in range(2):
            if convolution is moving_convolution:
                wanted[c] += np.convolve(window * dry, response[c])
            else:
                wanted[c] += window * np.convolve(dry, response[c])
    assert relative_error_db(found, wanted) < -120


@pytest.mark.parametrize("convolution", [moving_convolution, listening_convolution])
def test_equal_responses_at_all_nodes_are_one_convolution(convolution: Any) -> None:
    rng = np.random.default_rng(2)
    dry = rng.standard_normal(3000).astype(np.float32)
    response = rng.standard_normal((1, 1, 100)).astype(np.float32)
    found = convolution(dry, np.repeat(response, 6, axis=0), np.linspace(100, 2900, 6))
    assert relative_error_db(found[0], np.convolve(dry, response[0, 0])) < -120


@pytest.mark.parametrize("speed_mps", [0.3, 8.0])
def test_neither_place_nor_direction_changes_by_more_than_a_step_between_nodes(
    speed_mps: float,
) -> None:
    emitter_path = Path.of(passing(speed_mps, 0.4))
    listener = Path.of((at((0, 0, 0)), at((0.2, -0.2, 0), 1.6, yaw_deg=170, pitch_deg=30)))
    times_s = node_times(emitter_path, listener, 0.0, 1.6, C)
    assert (times_s[0], times_s[-1]) == (0.0, 1.6)
    arrived_s = times_s + travel_s(emitter_path, listener, times_s, C)
    vectors = heard(emitter_path, listener, arrived_s, C).relative_m
    assert np.degrees(angles_rad(vectors[1:], vectors[:-1])).max() < 1.05 * STEP_DEG
    ways = np.linalg.norm(np.diff(emitter_path.positions(times_s), axis=0), axis=1)
    assert ways.max() < 1.001 * STEP_M


# A path that is none, and one of a millimetre.


def test_a_path_that_is_a_point_gives_the_bytes_of_a_still_source() -> None:
    place = at((1.2, 0.7, 0.3), yaw_deg=30)
    path = [replace(place, time_s=t) for t in (0.0, 0.2, 1.0)]
    listener = [Keyframe(time_s=t, position_m=EAR, yaw_deg=20) for t in (0.0, 0.5)]
    names = ("foa", "binaural", "mic")
    one, other = (
        render_scene(
            scene(emitter(keyframes, 0.3), seconds=0.5, listener=tuple(ears), room=box(0.4)),
            noise(0.3),
            formats=names,
        )
        for keyframes, ears in ((path, listener), (path[:1], listener[:1]))
    )
    for name in names:
        assert one.audio_by_format[name].tobytes() == other.audio_by_format[name].tobytes()


@pytest.mark.parametrize("format", ["foa", "binaural", "mic"])
def test_a_millimetre_of_way_hardly_differs_from_standing(format: str) -> None:
    path = (at((1.2, 0.7, 0.3)), at((1.2, 0.701, 0.3), 0.4))
    spec = scene(emitter(path, 0.3), seconds=0.5, room=box(0.4, (8.0, 7.0, 3.0)), response_s=0.15)
    # Even 1 mm turns the phase of 12 kHz by 13 degrees.
    clip = noise(0.3, 1500.0)
    wanted = audio(still(spec, path[0].position_m), clip, format)
    assert relative_error_db(audio(spec, clip, format), wanted) < -40


# No clicks, and the pitch of what passes.


def impurity_db(signal: NDArray[Any], freq_hz: float, half_hz: float) -> float:
    """Energy farther than `half_hz` from a tone over that of the tone, all channels together."""
    n = signal.shape[1]
    spectra = np.fft.rfft(signal * kaiser(n, 20.0), axis=1)
    power = np.sum(np.abs(spectra) ** 2, axis=0)
    near = np.abs(np.fft.rfftfreq(n, 1 / RATE) - freq_hz) < half_hz
    return float(10 * np.log10(power[~near].sum() / power[near].sum()))


PATHS = {
    "passing by": (passing(1.0), 1.0),
    "passing by at half a metre": (passing(1.0, 0.5), 1.0),
    "circle": (circle(40.0), 1.0),
    "fast": (passing(8.0, 2.0, 1.2), 8.0),
}


@pytest.mark.parametrize("doppler", [True, False])
@pytest.mark.parametrize("freq_hz", [1000.0, 6000.0])
@pytest.mark.parametrize("name", PATHS)
def test_tones_on_the_way_stay_clean(name: str, freq_hz: float, doppler: bool) -> None:
    keyframes, speed_mps = PATHS[name]
    seconds = keyframes[-1].time_s - 0.1
    spec = scene(emitter(keyframes, seconds), seconds=seconds + 0.2, doppler=doppler)
    found = audio(spec, tone(freq_hz, seconds))[:, round(0.3 * RATE) : round(seconds * RATE)]
    assert impurity_db(found, freq_hz, freq_hz * speed_mps / C + 60) < -65


@pytest.mark.parametrize("format", ["binaural", "mic"])
def test_tones_on_the_way_stay_clean_at_ears_and_microphones(format: str) -> None:
    spec = scene(emitter(passing(1.0), 1.5), seconds=1.7)
    found = audio(spec, tone(6000.0, 1.5), format)[:, round(0.3 * RATE) : round(1.5 * RATE)]
    assert impurity_db(found, 6000.0, 80.0) < -60


@pytest.mark.parametrize("doppler", [True, False])
def test_nothing_jumps_at_the_nodes(doppler: bool) -> None:
    """What three samples in a row of a tone leave over, s[n - 1] - 2 cos(w) s[n] + s[n + 1]."""
    spec = scene(emitter(passing(1.0, 0.5), 1.5), seconds=1.7, doppler=doppler)
    signal = audio(spec, tone(1000.0, 1.5))[0].astype(np.float64)
    left_over = signal[:-2] - 2 * np.cos(2 * np.pi * 1000 / RATE) * signal[1:-1] + signal[2:]
    inside = np.abs(left_over[round(0.15 * RATE) : round(1.55 * RATE)])
    nodes = np.rint(moving(spec).arrived_s * RATE).astype(int) - round(0.15 * RATE)
    nodes = nodes[(nodes > 5) & (nodes < len(inside) - 5)]
    assert len(nodes) > 20
    around = max(inside[n - 3 : n + 4].max() for n in nodes)
    assert around <= inside.max()
    # A jump by a hundredth of the amplitude of 2 would leave 0.02; a shift of pitch leaves less.
    assert inside.max() < 2e-3


def closing(place: NDArray[np.float64], velocity: NDArray[np.float64], time_s: float) -> float:
    """Of a source on a straight way past EAR: received over emitted frequency at a time.

    The emission time t' solves c (t - t') = |p + v t'|; its derivative is the ratio.
    """
    a = float(velocity @ velocity) - C**2
    b = float(place @ velocity) + C**2 * time_s
    c = float(place @ place) - C**2 * time_s**2
    left = (-b + math.sqrt(b * b - a * c)) / a
    left = left if left < time_s else (-b - math.sqrt(b * b - a * c)) / a
    away = place + velocity * left
    unit = away / np.linalg.norm(away)
    return 1 / (1 + float(unit @ velocity) / C)


@pytest.mark.parametrize("speed_mps", [1.0, 8.0])
@pytest.mark.parametrize("doppler", [True, False])
def test_the_pitch_follows_the_radial_speed(speed_mps: float, doppler: bool) -> None:
    keyframes = passing(speed_mps, 1.0, 1.1)
    spec = scene(emitter(keyframes, 1.0), seconds=1.2, doppler=doppler)
    signal = audio(spec, tone(2000.0, 1.0))[0]
    phase = np.unwrap(np.angle(hilbert(signal.astype(np.float64))))
    place = np.subtract(keyframes[0].position_m, EAR)
    velocity = np.array([speed_mps, 0.0, 0.0])
    n = 240  # 10 ms
    for time_s in np.arange(0.2, 1.0, 0.05):
        first = round(time_s * RATE)
        freq_hz = (phase[first + n] - phase[first]) / (2 * np.pi) * RATE / n
        ratios = [closing(place, velocity, (first + k) / RATE) for k in range(0, n + 1, 24)]
        wanted_hz = 2000.0 * (float(np.mean(ratios)) if doppler else 1.0)
        assert freq_hz == pytest.approx(wanted_hz, rel=5e-4)


# Directions and levels.


def worst_deg(spec: SceneSpec, clip: Clip) -> float:
    """Largest angle between intensity and where the emitter is heard, over the frames."""
    found = render_scene(spec, clip)
    frames = windows(spec, found)
    paths = Path.of(spec.emitters[0].keyframes), Path.of(spec.listener)
    middles = heard(*paths, [middle for middle, _ in frames], C).relative_m
    foa = found.audio_by_format["foa"]
    vectors = np.array([direction(foa[:, span]) for _, span in frames])
    assert len(frames) >= 3
    return float(np.degrees(angles_rad(vectors, middles)).max())


WALK = (at((-0.3, 0.0, 0.0)), at((0.4, -0.2, 0.0), 1.0, yaw_deg=60, pitch_deg=15))
MOVES: dict[str, tuple[Sequence[Keyframe], Sequence[Keyframe]]] = {
    "passing by": (passing(1.0), HERE),
    "circle at the back": (circle(40.0, 160.0), HERE),
    "both move": (passing(1.0, 1.5), WALK),
    "the listener alone": ((at((1.2, 0.8, -0.4)),), WALK),
    "keyframes end before the event": (passing(1.0, 1.0, 0.5), HERE),
    "keyframes begin after it": (
        (at((1.0, -0.5, 0.2), 0.5), at((0.0, -1.0, 0.2), 1.2)),
        HERE,
    ),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("doppler", [True, False])
def test_directions_are_within_a_degree_of_what_is_heard(name: str, doppler: bool) -> None:
    keyframes, listener = MOVES[name]
    spec = scene(emitter(keyframes, 1.2), seconds=1.5, listener=tuple(listener), doppler=doppler)
    assert worst_deg(spec, noise(1.2)) < 1


def test_a_fast_source_is_where_it_is_heard() -> None:
    """At 8 m/s and 2.5 m it sweeps 18 degrees in a frame, louder where it is nearer."""
    spec = scene(emitter(passing(8.0, 2.5, 1.0), 0.8), seconds=1.1)
    assert worst_deg(spec, noise(0.8)) < 1


def test_ears_hear_the_side_that_a_source_is_on() -> None:
    spec = scene(emitter(circle(60.0, -50.0), 1.4), seconds=1.6)
    found = render_scene(spec, noise(1.4), format="binaural")
    ears = found.audio_by_format["binaural"].astype(np.float64)
    path = Path.of(spec.emitters[0].keyframes)
    signs = []
    for middle_s, span in windows(spec, found):
        left, right = (ears[c, span] for c in range(2))
        lags = np.arange(-20, 21)
        likeness = [float(left[30:-30] @ np.roll(right, -k)[30:-30]) for k in lags]
        x, y, _ = heard(path, Path.of(HERE), [middle_s], C).relative_m[0]
        itd_s = lags[int(np.argmax(likeness))] / RATE
        angle = math.atan2(y, x)
        signs.append(angle > 0)
        # Woodworth: a / c (angle + sin(angle)), with 0.3 ms for the coarse lags and the head.
        assert itd_s == pytest.approx(0.0875 / C * (angle + math.sin(angle)), abs=1.5e-4)
    assert {True, False} == set(signs)


@lru_cache(maxsize=1)
def steering() -> tuple[NDArray[np.float64], NDArray[np.complexfloating]]:
    """Directions around the horizon, one a degree, and what microphones make of them."""
    angles = np.radians(np.arange(-180, 180))
    directions = np.stack([np.cos(angles), np.sin(angles), np.zeros(360)], axis=1)
    item = receiver_of(parse_format("mic"), None, 4, RATE, AIR)
    return directions, item.responses(directions, 2400)


def test_microphones_hear_the_direction_of_a_source() -> None:
    spec = scene(emitter(circle(40.0, 70.0), 1.0), seconds=1.2)
    found = render_scene(spec, noise(1.0), format="mic")
    mic = found.audio_by_format["mic"]
    path = Path.of(spec.emitters[0].keyframes)
    directions, steered = steering()
    bins = slice(60, 300)  # 600 to 3000 Hz
    for middle_s, span in windows(spec, found):
        spectra = np.fft.rfft(mic[:, span] * np.hanning(2400), axis=1)[:, bins]
        matched = np.abs(np.einsum("ncf,cf->nf", steered[:, :, bins].conj(), spectra)) ** 2
        fit = np.sum(matched / np.sum(np.abs(steered[:, :, bins]) ** 2, axis=1), axis=1)
        wanted = heard(path, Path.of(HERE), [middle_s], C).relative_m[0]
        assert np.degrees(angles_rad(directions[int(np.argmax(fit))], wanted)) < 2


def test_levels_follow_one_over_distance() -> None:
    keyframes = at((0.8, 0.0, 0.0)), at((4.0, 0.0, 0.0), 1.6)
    spec = scene(emitter(keyframes, 1.4), seconds=1.7)
    found = render_scene(spec, tone(1000.0, 1.4))
    paths = Path.of(keyframes), Path.of(HERE)
    levels = [
        level_db(found.audio_by_format["foa"][0, span])
        + 20 * math.log10(heard(*paths, [middle], C).delay_s[0] * C)
        for middle, span in windows(spec, found)
    ]
    assert np.ptp(levels) < 0.15
    assert np.mean(levels) == pytest.approx(-3.01, abs=0.1)


def test_a_directional_source_that_turns_on_the_spot_is_heard_to_turn() -> None:
    """A cardioid that turns from the listener: 0.5 (1 + cos)."""
    turns = tuple(at((2.0, 0.0, 0.0), t, yaw_deg=180 - 100 * t) for t in (0.0, 0.7, 1.4))
    spec = scene(emitter(turns, 1.3, directivity="cardioid"), seconds=1.5)
    found = render_scene(spec, tone(1000.0, 1.3))
    for middle_s, span in windows(spec, found):
        angle = math.radians(100 * (middle_s - 2.0 / C))
        wanted_db = 20 * math.log10(0.5 * (1 + math.cos(angle)) / 2.0) - 3.01
        assert level_db(found.audio_by_format["foa"][0, span]) == pytest.approx(wanted_db, abs=0.2)


# Listeners who turn.


def turning(deg_s: float, seconds: float) -> tuple[Keyframe, ...]:
    times_s = np.linspace(0, seconds, 5)
    return tuple(
        Keyframe(time_s=float(t), position_m=EAR, yaw_deg=deg_s * float(t)) for t in times_s
    )


@pytest.mark.parametrize("format", ["foa", "binaural", "mic"])
def test_turning_is_a_source_going_round_the_other_way(format: str) -> None:
    round_it = circle(-40.0, 50.0, seconds=1.2)
    going = scene(emitter(round_it, 1.0), seconds=1.2)
    turned = scene(emitter(round_it[:1], 1.0), seconds=1.2, listener=turning(40.0, 1.2))
    # They turn at the ear's time, and the source went round a travel time of 4.4 ms before.
    late = tuple(replace(k, time_s=k.time_s + 1.5 / C) for k in turned.listener)
    turned = replace(turned, listener=late)
    clip = noise(1.0)
    assert relative_error_db(audio(turned, clip, format), audio(going, clip, format)) < -45


@pytest.mark.parametrize("mode", ["full", "tail"])
def test_turning_turns_the_whole_room_by_the_second_and_costs_one_response(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = scene(
        emitter([at((1.5, 0.5, 0.2))], 0.6),
        seconds=1.2,
        room=box(0.25, (8.0, 7.0, 3.0)),
        response_s=0.5,
        listener=turning(90.0, 1.2),
        mode=mode,
    )
    clip = noise(0.6)
    stands = audio(replace(spec, listener=HERE), clip)
    asked = []
    respond = shoebox.respond

    def counted(*given: Any) -> Any:
        asked.append(given)
        return respond(*given)

    monkeypatch.setattr(shoebox, "respond", counted)
    found = audio(spec, clip)
    assert len(asked) == 1
    angle = np.radians(90.0 * np.arange(spec.n_samples) / RATE)
    w, y, z, x = stands
    wanted = np.stack(
        [w, y * np.cos(angle) - x * np.sin(angle), z, x * np.cos(angle) + y * np.sin(angle)]
    )
    assert relative_error_db(found, wanted) < -60
    tail = slice(round(0.8 * RATE), None)
    assert relative_error_db(found[:, tail], wanted[:, tail]) < -50


# Rooms.

LIVE = box(0.2, (8.0, 7.5, 3.2))


@lru_cache(maxsize=2)
def strolling(mode: str = "tail") -> tuple[SceneSpec, Scene]:
    """A slow source 3 m away in a reverberant room."""
    keyframes = at((-2.5, 1.8, 0.2)), at((-1.9, 1.8, 0.2), 1.6)
    spec = scene(emitter(keyframes, 1.6, 0.0), seconds=2.0, room=LIVE, response_s=0.6, mode=mode)
    return spec, render_scene(spec, noise(1.6))


@pytest.mark.parametrize("mode", ["full", "tail"])
def test_reverberation_of_what_moves_is_as_strong_as_of_what_stands(mode: str) -> None:
    """But for what fading between places loses where they sound unlike, as reflections do whose
    waves are shorter than twice their distance: a third of the energy, 1.8 dB."""
    spec, found = strolling(mode)
    way = moving(spec)
    reverberant = moving_convolution(noise(1.6).samples, way.rest, way.emitted_s * RATE)
    low, high = [], []
    for time_s in (0.4, 0.8, 1.2):
        span = slice(round((time_s - 0.15) * RATE), round((time_s + 0.15) * RATE))
        place = Path.of(spec.emitters[0].keyframes).pose(time_s).position_m
        alone = moving(replace(spec, emitters=(_nudged(spec.emitters[0], place),)))
        wanted = moving_convolution(noise(1.6).samples, alone.rest, alone.emitted_s * RATE)
        a, b = (bands_db(one[:, span]) for one in (reverberant, wanted))
        low.append(a[0] - b[0])
        high.append(a[1] - b[1])
        stands = audio(still(spec, place), noise(1.6))[:, span]
        all_of_it = found.audio_by_format["foa"][:, span]
        assert level_db(all_of_it) == pytest.approx(level_db(stands), abs=1.5)
    assert np.abs(low).max() < 1.2
    assert -2.6 < min(high) <= max(high) < 0.5


def bands_db(signal: Signal) -> tuple[float, float]:
    """Energy below 1.5 kHz and above 3.5 kHz."""
    power = np.sum(np.abs(np.fft.rfft(signal, axis=1)) ** 2, axis=0)
    freq_hz = np.fft.rfftfreq(signal.shape[1], 1 / RATE)
    low, high = power[freq_hz < 1500].sum(), power[freq_hz > 3500].sum()
    return float(10 * np.log10(low)), float(10 * np.log10(high))


def _nudged(given: Emitter, place: Vector) -> Emitter:
    """At a place, moving by a tenth of a millimetre so that it counts as moving."""
    x, y, z = place
    path = (Keyframe(position_m=place), Keyframe(time_s=9.0, position_m=(x + 1e-4, y, z)))
    return replace(given, keyframes=path)


def test_in_a_measured_room_a_source_that_has_stopped_sounds_as_one_that_stood_there() -> None:
    room = room_of(RING)
    stands = replace(spec_in(room, RING[2], LISTENER), n_samples=RATE)
    (place,) = stands.emitters[0].keyframes
    x, y, z = place.position_m
    way = [
        replace(place, time_s=t, position_m=(x + a - RING[2][0], y + b - RING[2][1], z))
        for t, (a, b, _) in zip((0.0, 0.1, 0.2), RING[:3], strict=True)
    ]
    goes = replace(stands, emitters=(replace(stands.emitters[0], keyframes=tuple(way)),))
    assert Moving.of(layout_of([parse_format("foa")]), goes, 0).direct is None
    found, wanted = (audio(spec, noise(0.5)) for spec in (goes, stands))
    assert direction_error_deg(goes, found[:, round(0.01 * RATE) : round(0.03 * RATE)], 0.02) < 25
    after = slice(round(0.51 * RATE), round(0.8 * RATE))
    assert relative_error_db(found[:, after], wanted[:, after]) < -100
    assert relative_error_db(found[:, : round(0.2 * RATE)], wanted[:, : round(0.2 * RATE)]) > -20


def direction_error_deg(spec: SceneSpec, foa: Signal, time_s: float) -> float:
    """Between intensity and where the first emitter is heard at a time."""
    paths = Path.of(spec.emitters[0].keyframes), Path.of(spec.listener)
    wanted = heard(*paths, [time_s], C).relative_m[0]
    return float(np.degrees(angles_rad(direction(foa), wanted)))


def test_tails_ring_out_beyond_the_event() -> None:
    spec, found = strolling()
    place = spec.emitters[0].keyframes[-1].position_m
    stands = audio(still(spec, place), noise(1.6))
    for start_s in (1.62, 1.7, 1.8):
        span = slice(round(start_s * RATE), round((start_s + 0.1) * RATE))
        tails = (level_db(one[0, span]) for one in (found.audio_by_format["foa"], stands))
        assert next(tails) == pytest.approx(next(tails), abs=1.5)
    assert found.events[0]["wet_offset_s"] > 1.7


def test_all_formats_together_are_each_of_them_alone() -> None:
    names = ("foa", "binaural", "mic", "mono")
    spec = scene(
        emitter(passing(1.0, 0.8, 0.5), 0.3),
        seconds=0.6,
        room=box(0.4, (8.0, 7.0, 3.0)),
        response_s=0.12,
        mode="tail",
        listener=(Keyframe(position_m=EAR), Keyframe(time_s=0.5, position_m=EAR, yaw_deg=20)),
    )
    together = render_scene(spec, noise(0.3), formats=names).audio_by_format
    for name in names:
        assert together[name].tobytes() == audio(spec, noise(0.3), name).tobytes()


def test_the_requested_ratio_is_met_by_what_moves() -> None:
    walks = emitter(passing(1.0, 1.0, 1.0), 0.8)
    fan = emitter((at((2.0, -1.0, 0.0)), at((1.0, -2.0, 0.3), 1.0)), 0.7, 0.2, "noise")
    spec = scene(walks, fan, seconds=1.2, room=box(0.4), response_s=0.2, snr_db=7.0)
    found = render_scene(spec, noise(0.8))
    assert found.row["snr_achieved_db"] == pytest.approx(7.0, abs=0.01)
    alone = audio(replace(spec, emitters=(walks,)), noise(0.8))
    rest = found.audio_by_format["foa"] - alone
    row = found.events[1]
    span = slice(round(row["wet_onset_s"] * RATE), round(row["wet_offset_s"] * RATE))
    assert level_db(alone[0, span]) - level_db(rest[0, span]) == pytest.approx(7.0, abs=0.05)


# Events at the edges.


def onset_s(signal: Signal) -> float:
    """Where a signal first comes within 20 dB of its peak."""
    size = np.abs(signal)
    return int(np.argmax(size > 0.1 * size.max())) / RATE


@pytest.mark.parametrize("doppler", [True, False])
@pytest.mark.parametrize(
    ("keyframes", "listener"),
    [
        (passing(1.0), HERE),
        (passing(8.0, 1.0, 1.2), HERE),
        ((at((3.0, 1.0, 0.0)), at((1.0, -1.0, 0.5), 1.0)), WALK),
        ((at((1.2, 0.8, -0.4)),), WALK),
    ],
)
@pytest.mark.parametrize(("starts_s", "lasts_s"), [(0.0, 0.02), (0.437, 0.02), (0.6, 0.5)])
def test_sounds_begin_where_their_labels_say(
    keyframes: Sequence[Keyframe],
    listener: Sequence[Keyframe],
    starts_s: float,
    lasts_s: float,
    doppler: bool,
) -> None:
    """Short ones, ones that begin on the way, and ones that the scene's end cuts."""
    spec = scene(
        emitter(keyframes, lasts_s, starts_s),
        seconds=0.9,
        listener=tuple(listener),
        doppler=doppler,
    )
    found = render_scene(spec, tone(3000.0, lasts_s))
    (row,) = found.events
    foa = found.audio_by_format["foa"]
    assert foa.shape == (4, spec.n_samples)
    assert onset_s(foa[0]) == pytest.approx(row["wet_onset_s"], abs=1e-3)
    end_s = min(row["dry_offset_s"] + row["direct_delay_s"], spec.duration_s)
    span = slice(round(row["wet_onset_s"] * RATE), round(end_s * RATE))
    vector = direction(foa[:, span][:, : round(0.02 * RATE)])
    paths = Path.of(keyframes), Path.of(listener)
    wanted = heard(*paths, [row["wet_onset_s"] + min(0.01, lasts_s / 2)], C).relative_m[0]
    assert np.degrees(angles_rad(vector, wanted)) < 2


def test_an_event_that_the_scene_cuts_is_the_beginning_of_the_whole() -> None:
    whole = scene(emitter(passing(1.0), 1.2), seconds=1.6)
    cut = replace(whole, n_samples=round(0.8 * RATE))
    found = audio(cut, noise(1.2))
    assert relative_error_db(found, audio(whole, noise(1.2))[:, : cut.n_samples]) < -60


@pytest.mark.parametrize("doppler", [True, False])
def test_label_times_are_those_of_the_sound_that_is_rendered(doppler: bool) -> None:
    leaving = (at((1.0, 0.0, 0.0)), at((4.5, 0.0, 0.0), 1.2))
    late = emitter(leaving, 1.0, onset_s=0.0)
    quiet, loud = 0.6, np.ones(round(0.4 * RATE), np.float32)
    clip = Clip(np.concatenate([np.zeros(round(quiet * RATE), np.float32), loud]))
    (sounding,) = late.events
    spec = scene(
        replace(late, events=(replace(sounding, active_start_s=quiet),)),
        seconds=1.3,
        doppler=doppler,
        highpass_hz=0.0,
    )
    rendered = render_scene(spec, clip, format="mono")
    (row,) = rendered.events
    pressure = np.abs(rendered.audio[0])
    first_s, last_s = np.flatnonzero(pressure > 0.5 * pressure.max())[[0, -1]] / RATE
    assert row["wet_onset_s"] == pytest.approx(first_s, abs=0.001)
    end_s = row["dry_offset_s"] + row["direct_delay_s"]
    moved_s = 0.0 if not doppler else 0.4 * 3.5 / 1.2 / C
    assert end_s + moved_s == pytest.approx(last_s, abs=0.001)
