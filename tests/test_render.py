"""Laws of rendered scenes, measured from the audio."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle_render import (
    energy_end_float64,
    intensity_direction_deg,
    relative_error_db,
    wet_events_float64,
)

from scenesynth.acoustics.engines import respond
from scenesynth.errors import ClipError, ConfigError, ContentError
from scenesynth.render.memory import keep_freed_memory
from scenesynth.render.renderer import render_scene
from scenesynth.room.model import Air, Room, Vector
from scenesynth.scene.geometry import azimuth_elevation, from_listener, to_listener
from scenesynth.scene.spec import (
    ClipRef,
    Emitter,
    Event,
    Keyframe,
    Origin,
    Role,
    SceneSpec,
    render_key,
)
from scenesynth.spatial.formats import parse_format
from scenesynth.store.schema import Scene, events_schema, scenes_schema, table_of

RATE = 16_000
LISTENER = Keyframe(position_m=(3.0, 2.5, 1.5), yaw_deg=40.0, pitch_deg=10.0, roll_deg=-5.0)


@dataclass(frozen=True)
class Clips:
    """Clips by id: the least that a renderer needs."""

    samples: Mapping[str, NDArray[np.float32]]

    def load(
        self, ref: ClipRef, sample_rate: int, start: int = 0, stop: int | None = None
    ) -> NDArray[np.float32]:
        assert sample_rate == RATE
        return self.samples[ref.id][start:stop]


def noise(seed: int, seconds: float, level: float = 0.1) -> NDArray[np.float32]:
    n = round(seconds * RATE)
    return (level * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)


CLIPS = Clips(
    {
        "long": noise(1, 2.0),
        "short": noise(2, 0.3),
        "other": noise(3, 2.0),
        "hum": noise(4, 2.0, 0.05),
        "click": np.eye(1, RATE // 10, dtype=np.float32)[0],
        "tone": np.sin(2 * np.pi * 1000 / RATE * np.arange(RATE)).astype(np.float32),
    }
)


def room(absorption: float = 0.5, bands: int = 6) -> Room:
    return Room(
        id="box",
        size_m=(6.0, 5.0, 3.0),
        band_hz=tuple(125.0 * 2**n for n in range(bands)),
        absorption=((absorption,) * bands,) * 6,
    )


def event(clip: str, onset_s: float = 0.1, role: Role = "target", **fields: float) -> Event:
    duration_s = fields.pop("duration_s", len(CLIPS.samples[clip]) / RATE)
    values = {"active_start_s": 0.0, "active_end_s": duration_s} | fields
    reference = ClipRef(corpus="sources", id=clip, digest=f"digest of {clip}", labels=(clip,))
    return Event(role=role, clip=reference, onset_s=onset_s, duration_s=duration_s, **values)


def emitter(name: str, position_m: Vector, *events: Event) -> Emitter:
    return Emitter(id=name, keyframes=(Keyframe(position_m=position_m),), events=events)


def scene(*emitters: Emitter, seconds: float = 1.0, **fields: object) -> SceneSpec:
    values = {"room": room(), "response_s": 0.15} | fields
    return SceneSpec(
        origin=Origin(recipe="test", index=7),
        sample_rate=RATE,
        n_samples=round(seconds * RATE),
        air=Air(),
        listener=(LISTENER,),
        emitters=emitters,
        **values,
    )


def target(*events: Event) -> Emitter:
    return emitter("talker", (1.0, 4.0, 1.2), *(events or (event("long"),)))


def noise_at(position_m: Vector = (5.0, 1.0, 2.0), *events: Event) -> Emitter:
    return emitter("fan", position_m, *(events or (event("hum", 0.0, "noise"),)))


def parts_float64(spec: SceneSpec, rendered: Scene, format_name: str = "foa") -> NDArray:
    """Oracle of every event at its final gain. Shape: [events, channels, samples]."""
    wet = wet_events_float64(spec, CLIPS.samples, format_name)
    gains = [
        row["gain"] / e.gain
        for row, e in zip(
            rendered.events, (e for m in spec.emitters for e in m.events), strict=True
        )
    ]
    return wet * np.array(gains)[:, None, None]


def of_role(rendered: Scene, role: str) -> list[int]:
    return [n for n, row in enumerate(rendered.events) if row["role"] == role]


def test_audio_equals_the_sum_of_float64_convolutions() -> None:
    spec = scene(
        target(
            event("long", 0.2, start_s=0.1, duration_s=0.4, fade_in_s=0.05, fade_out_s=0.1),
            event("short", 0.65, gain=0.5),
        ),
        noise_at((5.0, 1.0, 2.0)),
        noise_at((2.0, 1.0, 0.5), event("other", 0.3, "noise", duration_s=0.2, fade_in_s=0.15)),
        snr_db=12.0,
    )
    rendered = render_scene(spec, CLIPS)
    assert rendered.audio.shape == (4, RATE)
    assert rendered.audio.dtype == np.float32
    expected = parts_float64(spec, rendered).sum(axis=0)
    for got, reference in zip(rendered.audio, expected, strict=True):
        assert relative_error_db(got, reference) < -110


def test_targets_alone_and_noise_alone_add_up_to_the_mixture() -> None:
    talker, fan = target(), noise_at()
    both = render_scene(scene(talker, fan, snr_db=3.0), CLIPS)
    (loudness,) = (row["gain"] for row in both.events if row["role"] == "noise")
    at_level = replace(fan, events=(replace(fan.events[0], gain=loudness),))
    apart = [render_scene(scene(alone), CLIPS).audio for alone in (talker, at_level)]
    assert relative_error_db(apart[0] + apart[1], both.audio) < -120


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    snr_db=st.floats(-10, 40),
    onsets=st.lists(st.floats(0.0, 0.35), min_size=1, max_size=3),
    noise_onset=st.floats(0.0, 0.4),
    noise_s=st.floats(0.02, 0.5),
    gain=st.floats(0.01, 10.0),
    yaw=st.floats(-180, 180),
)
def test_the_achieved_snr_is_the_requested_one(
    snr_db: float, onsets: list[float], noise_onset: float, noise_s: float, gain: float, yaw: float
) -> None:
    sources = [
        emitter(f"t{n}", (1.0 + n, 4.0, 1.0), event("short", onset, gain=gain))
        for n, onset in enumerate(onsets)
    ]
    fans = [
        noise_at((5.0, 1.0 + n, 2.0), event("hum", noise_onset, "noise", duration_s=noise_s))
        for n in range(2)
    ]
    spec = replace(
        scene(*sources, *fans, seconds=0.5, response_s=0.05, snr_db=snr_db),
        listener=(replace(LISTENER, yaw_deg=yaw),),
    )
    # A target that is over before the noise begins leaves nothing to take a ratio of.
    assume(min(onsets) < noise_onset + noise_s and max(onsets) + 0.25 > noise_onset)
    rendered = render_scene(spec, CLIPS)
    wet = parts_float64(spec, rendered)
    noises = of_role(rendered, "noise")
    start = round(min(rendered.events[n]["wet_onset_s"] for n in noises) * RATE)
    stop = round(max(rendered.events[n]["wet_offset_s"] for n in noises) * RATE)
    sums = [wet[of_role(rendered, role)].sum(axis=0) for role in ("target", "noise")]
    for n_channels, column in ((1, "snr_achieved_db"), (4, "snr_foa_db")):
        energy = [np.sum(np.square(part[:n_channels, start:stop])) for part in sums]
        oracle_db = 10 * math.log10(energy[0] / energy[1])
        assert rendered.row[column] == pytest.approx(oracle_db, abs=0.01)
        if n_channels == 1:
            assert oracle_db == pytest.approx(snr_db, abs=0.05)


def test_mixing_does_not_turn_the_noise() -> None:
    spec = scene(target(), noise_at(), room=room(1.0), snr_db=5.0)
    rendered = render_scene(spec, CLIPS)
    noise_part = rendered.audio - render_scene(replace(spec, emitters=(target(),)), CLIPS).audio
    expected = to_listener((5.0, 1.0, 2.0), LISTENER)[:2]
    assert intensity_direction_deg(noise_part) == pytest.approx(expected, abs=1.0)


def test_one_gain_serves_every_format() -> None:
    spec = scene(target(), noise_at(), snr_db=8.0)
    alone = {name: render_scene(spec, CLIPS, format=name) for name in ("mono", "foa", "hoa2")}
    together = render_scene(spec, CLIPS, formats=("mono", "foa", "hoa2"))
    for name, one in alone.items():
        samples = together.audio_by_format[name]
        assert samples.tobytes() == one.audio.tobytes()
        assert together.row[f"snr_{name}_db"] == one.row[f"snr_{name}_db"]
        assert together.row[f"peak_{name}"] == np.abs(samples).max()
        assert together.row[f"render_key_{name}"] == render_key(spec, parse_format(name))
        assert together.events == one.events
    assert np.array_equal(alone["mono"].audio, alone["foa"].audio[:1])
    with pytest.raises(ValueError, match="mono, foa, hoa2"):
        _ = together.audio


def test_scenes_do_not_depend_on_order_or_threads() -> None:
    specs = [scene(target(), noise_at((2.0 + 0.3 * n, 1.0, 2.0)), snr_db=5.0 * n) for n in range(4)]
    first = [render_scene(spec, CLIPS).audio.tobytes() for spec in specs]
    again = [render_scene(spec, CLIPS).audio.tobytes() for spec in reversed(specs)]
    with ThreadPoolExecutor(2) as pool:
        threaded = list(pool.map(lambda spec: render_scene(spec, CLIPS).audio.tobytes(), specs))
    assert first == again[::-1] == threaded


@settings(max_examples=40, deadline=None)
@given(
    azimuth=st.floats(-180, 180), elevation=st.floats(-35, 35), distance=st.floats(0.3, 1.4),
    pose=st.tuples(st.floats(-180, 180), st.floats(-60, 60), st.floats(-90, 90)),
)  # fmt: skip
def test_anechoic_intensity_points_to_the_label(
    azimuth: float, elevation: float, distance: float, pose: tuple[float, float, float]
) -> None:
    yaw, pitch, roll = pose
    level = replace(LISTENER, yaw_deg=0.0, pitch_deg=0.0, roll_deg=0.0)
    where = from_listener(azimuth, elevation, distance, level)
    turned = replace(LISTENER, yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll)
    spec = scene(
        emitter("e", where, event("short", 0.0)), room=room(1.0), seconds=0.3, response_s=0.05
    )
    rendered = render_scene(replace(spec, listener=(turned,)), CLIPS)
    (row,) = rendered.events
    label = (row["azimuth_start_deg"], row["elevation_start_deg"])
    heard = intensity_direction_deg(rendered.audio)
    cosine = np.clip(np.dot(unit(*label), unit(*heard)), -1, 1)
    assert np.degrees(np.arccos(cosine)) < 0.1
    assert row["distance_start_m"] == pytest.approx(distance)


def unit(azimuth_deg: float, elevation_deg: float) -> NDArray[np.float64]:
    a, e = np.radians([azimuth_deg, elevation_deg])
    return np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0])
def test_sound_begins_at_the_wet_onset(distance: float) -> None:
    where = (LISTENER.position_m[0] - distance, *LISTENER.position_m[1:])
    spec = scene(emitter("e", where, event("click", 0.2)), room=room(1.0), highpass_hz=0.0)
    rendered = render_scene(spec, CLIPS, format="mono")
    (row,) = rendered.events
    assert row["wet_onset_s"] == pytest.approx(0.2 + distance / Air().speed_of_sound_mps, abs=1e-9)
    assert abs(np.argmax(np.abs(rendered.audio[0])) - row["wet_onset_s"] * RATE) <= 1


def test_full_scale_at_one_metre_is_one_in_the_pressure_and_halves_per_doubling() -> None:
    peaks = []
    for distance in (0.5, 1.0, 2.0):
        where = (LISTENER.position_m[0] - distance, *LISTENER.position_m[1:])
        source = emitter("e", where, event("tone", 0.0))
        spec = scene(source, room=room(1.0), highpass_hz=0.0)
        steady = render_scene(spec, CLIPS).audio[0, RATE // 4 : RATE // 2]
        peaks.append(math.sqrt(2 * np.mean(np.square(steady, dtype=np.float64))))
    assert peaks[1] == pytest.approx(1.0, rel=0.005)
    for near, far in pairwise(peaks):
        assert 20 * math.log10(near / far) == pytest.approx(6.02, abs=0.05)


def test_loud_scenes_are_not_limited() -> None:
    quiet = render_scene(scene(target()), CLIPS)
    loud = render_scene(scene(target(event("long", gain=64.0))), CLIPS)
    assert np.array_equal(loud.audio, quiet.audio * np.float32(64.0))
    assert loud.row["peak_foa"] > 1.0


def test_the_room_rings_on_after_the_dry_end() -> None:
    spec = scene(target(event("short", 0.1)), room=room(0.2), response_s=0.4)
    rendered = render_scene(spec, CLIPS)
    (row,) = rendered.events
    dry_end = round((row["dry_offset_s"] + row["direct_delay_s"]) * RATE)
    assert row["dry_offset_s"] == pytest.approx(0.4)
    after = rendered.audio[0, dry_end : dry_end + RATE // 10]
    assert np.sum(np.square(after)) > 1e-3 * np.sum(np.square(rendered.audio[0]))
    assert row["wet_offset_s"] > row["dry_offset_s"] + 0.1


@pytest.mark.parametrize(
    ("clip", "onset_s", "absorption"),
    [("short", 0.1, 0.2), ("short", 0.5, 0.7), ("click", 0.3, 0.4), ("short", 0.65, 0.2)],
)
def test_the_wet_offset_is_60_db_down_the_backward_integral(
    clip: str, onset_s: float, absorption: float
) -> None:
    spec = scene(target(event(clip, onset_s)), room=room(absorption), response_s=0.4)
    (row,) = render_scene(spec, CLIPS).events
    whole = wet_events_float64(spec, CLIPS.samples, "mono", 3 * RATE)[0, 0]
    expected = min(energy_end_float64(whole, 60.0) / RATE, 1.0)
    assert row["wet_offset_s"] == pytest.approx(expected, abs=1.5 / RATE)


def test_an_event_is_cut_by_the_scenes_end() -> None:
    spec = scene(target(event("long", 0.6)))
    rendered = render_scene(spec, CLIPS)
    (row,) = rendered.events
    assert (row["dry_offset_s"], row["wet_offset_s"]) == (1.0, 1.0)
    assert (row["frame_start"], row["frame_stop"]) == (6, 10)
    expected = wet_events_float64(spec, CLIPS.samples, "foa").sum(axis=0)
    assert relative_error_db(rendered.audio, expected) < -110


def test_ratios_are_null_without_targets_or_noise() -> None:
    for spec in (scene(target()), scene(noise_at()), scene()):
        row = render_scene(spec, CLIPS).row
        assert row["snr_requested_db"] is None
        assert row["snr_achieved_db"] is None
        assert row["snr_foa_db"] is None
        assert row["sir_achieved_db"] is None


def test_a_scene_without_events_is_silent() -> None:
    rendered = render_scene(scene(), CLIPS)
    assert not rendered.audio.any()
    assert (rendered.events, rendered.row["peak_foa"], rendered.row["n_events"]) == ((), 0.0, 0)


def test_without_a_request_levels_are_left_alone_and_measured() -> None:
    spec = scene(target(), noise_at())
    rendered = render_scene(spec, CLIPS)
    assert [row["gain"] for row in rendered.events] == [1.0, 1.0]
    assert 0 < rendered.row["snr_achieved_db"] < 20


def test_interferers_have_their_own_ratio() -> None:
    rival = emitter("rival", (1.0, 1.0, 1.0), event("other", 0.3, "interferer", duration_s=0.4))
    spec = scene(target(), rival, noise_at(), snr_db=20.0, sir_db=-6.0)
    rendered = render_scene(spec, CLIPS)
    without = render_scene(replace(spec, emitters=(target(), noise_at())), CLIPS)
    assert rendered.events[2]["gain"] == without.events[1]["gain"]
    row = rendered.events[1]
    span = slice(round(row["wet_onset_s"] * RATE), round(row["wet_offset_s"] * RATE))
    energies = np.sum(np.square(parts_float64(spec, rendered)[:2, 0, span]), axis=1)
    assert 10 * math.log10(energies[0] / energies[1]) == pytest.approx(-6.0, abs=0.05)
    assert rendered.row["sir_achieved_db"] == pytest.approx(-6.0, abs=0.01)
    assert rendered.row["snr_achieved_db"] == pytest.approx(20.0, abs=0.01)
    assert [rendered.row[f"n_{x}"] for x in ("targets", "interferers", "noise")] == [1, 1, 1]
    assert rendered.row["max_polyphony"] == 2


def test_grams_ratio_sums_over_first_order_whatever_is_rendered() -> None:
    spec = scene(target(), noise_at(), snr_db=10.0, snr_reference="all_channels")
    foa = render_scene(spec, CLIPS)
    mono = render_scene(spec, CLIPS, format="mono")
    energies = [
        np.sum(np.square(part[:, slice(*span_of_noise(foa))])) for part in parts_float64(spec, foa)
    ]
    assert 10 * math.log10(energies[0] / energies[1]) == pytest.approx(10.0, abs=0.05)
    assert foa.row["snr_achieved_db"] == foa.row["snr_foa_db"] == pytest.approx(10.0, abs=0.01)
    assert mono.row["snr_achieved_db"] == foa.row["snr_achieved_db"]
    assert np.array_equal(mono.audio, foa.audio[:1])


def span_of_noise(rendered: Scene) -> tuple[int, int]:
    rows = [rendered.events[n] for n in of_role(rendered, "noise")]
    return (
        round(min(row["wet_onset_s"] for row in rows) * RATE),
        round(max(row["wet_offset_s"] for row in rows) * RATE),
    )


def test_level_and_local_snr_are_those_of_the_events_own_sound() -> None:
    spec = scene(
        target(event("short", 0.1, gain=0.5), event("short", 0.55)), noise_at(), snr_db=10.0
    )
    rendered = render_scene(spec, CLIPS)
    wet = parts_float64(spec, rendered)[:, 0]
    for n, row in enumerate(rendered.events):
        span = slice(round(row["wet_onset_s"] * RATE), round(row["wet_offset_s"] * RATE))
        rms = np.sqrt(np.mean(np.square(wet[n, span])))
        assert row["level_db"] == pytest.approx(20 * math.log10(rms), abs=0.01)
    for n in (0, 1):
        row = rendered.events[n]
        span = slice(round(row["wet_onset_s"] * RATE), round(row["wet_offset_s"] * RATE))
        energies = np.sum(np.square(wet[[n, 2], span]), axis=1)
        assert row["local_snr_db"] == pytest.approx(
            10 * math.log10(energies[0] / energies[1]), abs=0.01
        )
    assert rendered.events[2]["local_snr_db"] is None


def test_rows_are_those_of_the_tables_and_carry_the_measured_room() -> None:
    spec = scene(noise_at(), target(), room=room(0.3), response_s=0.5, snr_db=10.0)
    rendered = render_scene(spec, CLIPS, formats=("foa", "mono"))
    assert table_of([rendered.row], scenes_schema(["foa", "mono"])).num_rows == 1
    assert table_of(rendered.events, events_schema()).num_rows == 2
    measured = respond(spec, 1, [parse_format("mono")])["mono"].measured
    assert rendered.row["rt60_measured_s"] == rendered.events[1]["rt60_s"]
    assert rendered.row["rt60_measured_s"] == pytest.approx(list(measured.rt60_s), rel=1e-3)
    assert rendered.row["drr_db"] == pytest.approx(measured.drr_db, abs=0.01)
    assert rendered.events[0]["drr_db"] != rendered.events[1]["drr_db"]
    assert rendered.row["listener_quaternion"][0] > 0
    assert SceneSpec.from_json(rendered.spec_json) == spec
    (pose,) = rendered.events[1]["trajectory"]
    assert (pose["x"], pose["y"], pose["z"], pose["qw"]) == (1.0, 4.0, 1.2, 1.0)
    (pose,) = rendered.row["listener_trajectory"]
    assert [pose[axis] for axis in "xyz"] == rendered.row["listener_position_m"]
    assert [pose[f"q{part}"] for part in "wxyz"] == rendered.row["listener_quaternion"]


def test_what_stands_is_heard_from_one_place() -> None:
    (row,) = render_scene(scene(target()), CLIPS).events
    (entry,) = row["heard"]
    vector = [entry[axis] for axis in "xyz"]
    assert entry["time_s"] == row["wet_onset_s"]
    assert math.hypot(*vector) == pytest.approx(row["distance_start_m"])
    assert azimuth_elevation(tuple(vector)) == pytest.approx(
        (row["azimuth_start_deg"], row["elevation_start_deg"])
    )
    assert row["azimuth_end_deg"] == row["azimuth_start_deg"]


def test_wrong_options_are_named() -> None:
    with pytest.raises(ConfigError, match="device = 'tpu'; must be cpu, cuda"):
        render_scene(scene(target()), CLIPS, device="tpu")
    with pytest.raises(ConfigError, match="'stereo'"):
        render_scene(scene(target()), CLIPS, format="stereo")
    with pytest.raises(ConfigError, match="formats is empty"):
        render_scene(scene(target()), CLIPS, formats=())


def test_a_clip_shorter_than_its_event_is_named() -> None:
    too_long = event("short", 0.1, start_s=0.2, duration_s=0.3)
    with pytest.raises(ClipError, match=r"emitter talker, event 0: clip short .* ends at 0.3000 s"):
        render_scene(scene(target(too_long)), CLIPS)
    by_rounding = event("short", 0.1, duration_s=0.3 + 0.5e-3)
    assert render_scene(scene(target(by_rounding)), CLIPS).events[0]["dry_onset_s"] == 0.1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_clip_that_is_not_finite_is_named(bad: float) -> None:
    broken = Clips({"short": np.where(np.arange(4800) == 9, np.float32(bad), np.float32(0.1))})
    with pytest.raises(ClipError, match=r"clip short of corpus sources .* not finite"):
        render_scene(scene(target(event("short"))), broken)


def test_audio_that_overflows_is_a_content_error() -> None:
    with pytest.raises(ContentError), np.errstate(all="ignore"):
        render_scene(scene(target(event("long", gain=1e38))), CLIPS)


def test_a_silent_clip_is_a_content_error() -> None:
    silent = Clips({"short": np.zeros(4800, np.float32)})
    with pytest.raises(ContentError, match="emitter talker, event 0"):
        render_scene(scene(target(event("short"))), silent)


@pytest.mark.parametrize("noise_onset_s", [0.15, 0.9])
def test_a_ratio_of_parts_that_never_meet_is_a_content_error(noise_onset_s: float) -> None:
    """Also where only the rounding of a shared transform is left of the target."""
    late_noise = noise_at((5.0, 1.0, 2.0), event("hum", noise_onset_s, "noise", duration_s=0.04))
    spec = scene(target(event("click", 0.0)), late_noise, room=room(1.0), snr_db=10.0)
    spec = replace(spec, highpass_hz=0.0, n_samples=round((noise_onset_s + 0.05) * RATE))
    with pytest.raises(ContentError, match="targets over the span of the noise"):
        render_scene(spec, CLIPS)


def test_memory_is_kept_only_on_request_and_changes_no_sample() -> None:
    before = render_scene(scene(target()), CLIPS).audio.tobytes()
    assert keep_freed_memory() in (True, False)
    assert render_scene(scene(target()), CLIPS).audio.tobytes() == before
