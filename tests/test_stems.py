"""Laws of stems as they are rendered: they add up to the mixture, in every format."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from measured_helpers import LISTENER, SOURCES
from numpy.typing import NDArray
from oracle_render import convolve_float64, play_float64, relative_error_db
from test_measured import room_of, spec_in
from test_render import CLIPS, RATE, emitter, event, noise_at, room, scene, target

from scenesynth.acoustics.engines import respond, respond_along
from scenesynth.errors import ConfigError
from scenesynth.render.motion import Moving
from scenesynth.render.renderer import layout_for, render_scene
from scenesynth.scene.spec import Emitter, Event, Keyframe, SceneSpec
from scenesynth.spatial.formats import parse_format, parse_formats
from scenesynth.store.schema import STEM_KINDS, Scene, parse_stems

FORMATS = ["mono", "foa", "binaural", "mic"]
WET = ("direct", "early", "late")


def other(*events: Event) -> Emitter:
    return emitter("other", (4.5, 4.0, 1.0), *events)


def walker(*events: Event) -> Emitter:
    path = (
        Keyframe(position_m=(1.0, 4.0, 1.2)),
        Keyframe(time_s=1.0, position_m=(1.5, 4.0, 1.2)),
    )
    return Emitter(id="walker", keyframes=path, events=events)


STILL = scene(
    target(),
    noise_at(),
    other(
        event("short", 0.4, "interferer", gain=0.7, fade_in_s=0.05, fade_out_s=0.1),
        event("other", 0.6, "interferer"),
    ),
    snr_db=10.0,
    sir_db=3.0,
)
MOVING = scene(walker(event("long")), other(event("short", 0.4, "interferer")), noise_at())
OF_TWO_ROLES = scene(
    target(event("short", 0.1), event("other", 0.5, "interferer"), event("hum", 0.0, "noise")),
    other(event("long", 0.2)),
    snr_db=5.0,
    sir_db=-3.0,
)
TURNING = replace(
    scene(target(), noise_at()),
    listener=(
        Keyframe(position_m=(3.0, 2.5, 1.5)),
        Keyframe(time_s=0.5, position_m=(3.0, 2.5, 1.5), yaw_deg=20.0),
    ),
)
SCENES = {
    "still": STILL,
    "moving": MOVING,
    "without doppler": replace(MOVING, doppler=False),
    "of two roles": OF_TWO_ROLES,
    "turning": TURNING,
    "first order reference": replace(STILL, snr_reference="all_channels"),
}


def rendered(spec: SceneSpec, stems: tuple[str, ...] = ("all",)) -> Scene:
    return render_scene(spec, CLIPS, formats=FORMATS, stems=stems)


@pytest.fixture(scope="module")
def still() -> Scene:
    return rendered(STILL)


def total(stems: dict[str, NDArray[np.float32]]) -> NDArray[np.float64]:
    parts = [stems[kind].sum(axis=0, dtype=np.float64) for kind in (*WET, "noise")]
    return np.sum(parts, axis=0)


@pytest.mark.parametrize("spec", SCENES.values(), ids=SCENES)
def test_stems_add_up_to_the_mixture_in_every_format(spec: SceneSpec) -> None:
    found = rendered(spec)
    assert list(found.stems_by_format) == FORMATS
    for name, audio in found.audio_by_format.items():
        stems = found.stems_by_format[name]
        assert {stems[kind].shape[1:] for kind in stems} == {audio.shape}
        assert relative_error_db(total(stems), audio) < -110


def test_a_mixture_is_the_same_to_the_bit_whatever_stems_are_asked_for(still: Scene) -> None:
    for stems in ((), ("noise", "late")):
        found = rendered(STILL, stems)
        assert found.row == still.row
        for name in FORMATS:
            np.testing.assert_array_equal(found.audio_by_format[name], still.audio_by_format[name])


def test_a_stem_is_the_same_to_the_bit_whatever_else_is_asked_for(still: Scene) -> None:
    found = rendered(STILL, ("late", "dry", "noise"))
    np.testing.assert_array_equal(found.dry, still.dry)
    for name in FORMATS:
        assert list(found.stems_by_format[name]) == ["late", "noise"]
        for kind, signal in found.stems_by_format[name].items():
            np.testing.assert_array_equal(signal, still.stems_by_format[name][kind])


def test_without_stems_there_are_none() -> None:
    found = rendered(STILL, ())
    assert (found.stems_by_format, found.dry) == ({}, None)
    assert {row["stem"] for row in found.events} == {None}
    assert {row["stem"] for row in rendered(STILL, ("noise",)).events} == {None}


def test_slots_are_emitters_of_targets_and_interferers_in_order(still: Scene) -> None:
    rows = {row["emitter"]: row["stem"] for row in still.events}
    assert rows == {"talker": 0, "fan": None, "other": 1}
    assert still.stems_by_format["foa"]["direct"].shape == (2, 4, RATE)
    assert still.stems_by_format["foa"]["noise"].shape == (1, 4, RATE)
    assert [row["stem"] for row in rendered(OF_TWO_ROLES).events] == [0, 0, None, 1]


def test_a_slot_holds_its_emitter_and_nothing_else() -> None:
    alone = rendered(replace(STILL, emitters=STILL.emitters[:1], snr_db=None, sir_db=None))
    both = rendered(STILL)
    for name in FORMATS:
        slot = sum(both.stems_by_format[name][kind][0].astype(np.float64) for kind in WET)
        assert relative_error_db(slot, alone.audio_by_format[name]) < -110


def test_dry_is_what_is_played_where_it_is_played_at_its_gain(still: Scene) -> None:
    assert still.dry is not None
    gains = [row["gain"] for row in still.events]
    expected = np.zeros((2, RATE))
    for number, (slot, at) in enumerate([(0, (0, 0)), (None, (1, 0)), (1, (2, 0)), (1, (2, 1))]):
        played = STILL.emitters[at[0]].events[at[1]]
        dry = play_float64(played, CLIPS.samples[played.clip.id], RATE)
        start = round(played.onset_s * RATE)
        n = min(len(dry), RATE - start)
        if slot is not None:
            expected[slot, start : start + n] += gains[number] / played.gain * dry[:n]
    assert relative_error_db(still.dry, expected) < -110


def test_dry_through_the_response_is_direct_and_early_and_late(still: Scene) -> None:
    assert still.dry is not None
    for slot, index in enumerate((0, 2)):
        responses = respond(STILL, index, [parse_format(name) for name in FORMATS])
        for name, stems in still.stems_by_format.items():
            wet = [
                convolve_float64(still.dry[slot], channel, 0, RATE)
                for channel in responses[name].ir
            ]
            got = np.sum([stems[kind][slot].astype(np.float64) for kind in WET], axis=0)
            assert relative_error_db(got, wet) < -110


def test_the_direct_stem_is_the_scene_without_walls() -> None:
    for spec in (scene(target()), scene(walker(event("long")))):
        alone = rendered(replace(spec, room=room(1.0)), ())
        found = rendered(spec, ("direct",))
        for name in FORMATS:
            direct = found.stems_by_format[name]["direct"][0]
            assert relative_error_db(direct, alone.audio_by_format[name]) < -60


def test_a_click_is_early_for_50_ms_and_late_from_then_on() -> None:
    spec = scene(target(event("click", 0.1, active_end_s=0.01)))
    found = rendered(spec, WET)
    arrival_s = found.events[0]["wet_onset_s"]
    after_s = np.arange(RATE) / RATE - arrival_s
    for name in FORMATS:
        stems = found.stems_by_format[name]
        peak = np.abs(stems["direct"]).max()
        # Transforms of blocks leave -120 dB of a sound beside it.
        assert np.abs(stems["late"][..., after_s < 0.047]).max() < 1e-6 * peak
        assert np.abs(stems["early"][..., after_s > 0.053]).max() < 1e-6 * peak
        assert np.abs(stems["late"][..., after_s > 0.053]).max() > 1e-3 * peak


def test_moving_responses_that_know_no_arrivals_are_parted_too() -> None:
    layout = layout_for(MOVING, parse_formats(FORMATS))
    own = Moving.of(layout, MOVING, 0)
    poses = [
        (own.paths[0].pose(float(left)), own.paths[1].pose(float(came)))
        for left, came in zip(own.emitted_s, own.arrived_s, strict=True)
    ]
    irs = np.stack([response.ir for response in respond_along(layout, MOVING, 0, poses)])
    moving = replace(own, direct=None, rest=irs)
    dry = CLIPS.samples["long"]
    whole, _ = moving.hear(dry, 1600)
    parts = dict(moving.hear_parts(WET, dry, 1600))
    assert list(parts) == list(WET)
    heard = np.sum([part.channels.astype(np.float64) for part in parts.values()], axis=0)
    assert relative_error_db(heard, whole.channels) < -110


def test_of_all_responses_along_a_way_only_those_of_onsets_keep_their_samples() -> None:
    own = Moving.of(layout_for(MOVING, parse_formats(["foa"])), MOVING, 0)
    onsets_s = [event.onset_s for event in MOVING.emitters[0].events]
    assert all(own.response_at(onset_s).ir.any() for onset_s in onsets_s)
    assert sum(response.ir.size > 0 for response in own.responses) == len(onsets_s)
    assert len(own.responses) == len(own.rest) > len(onsets_s)


def test_stems_in_a_measured_room_add_up_too() -> None:
    spec = spec_in(room_of(), SOURCES[0], LISTENER, sample_rate=RATE, n_samples=RATE)
    spec = replace(spec, emitters=(replace(spec.emitters[0], events=(event("long"),)),))
    found = rendered(spec)
    for name, audio in found.audio_by_format.items():
        stems = found.stems_by_format[name]
        assert relative_error_db(total(stems), audio) < -110
        assert all(stems[kind].any() for kind in WET)


def test_noise_alone_has_no_slots_and_is_the_mixture() -> None:
    found = rendered(scene(noise_at()))
    assert found.dry is not None
    assert found.dry.shape == (0, RATE)
    for name, audio in found.audio_by_format.items():
        assert found.stems_by_format[name]["late"].shape == (0, *audio.shape)
        np.testing.assert_array_equal(found.stems_by_format[name]["noise"][0], audio)


def test_without_noise_its_stem_is_silent() -> None:
    found = rendered(scene(target()))
    assert not found.stems_by_format["foa"]["noise"].any()


def test_kinds_are_put_in_order_and_all_means_all() -> None:
    assert parse_stems(["all"]) == parse_stems(["dry", "all"]) == STEM_KINDS
    assert parse_stems(["noise", "direct", "noise"]) == ("direct", "noise")
    assert parse_stems([]) == ()


def test_an_unknown_kind_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"stems: 'earli' is not known; did you mean 'early'\?"):
        rendered(STILL, ("direct", "earli"))


def test_batches_on_devices_refuse_stems() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from scenesynth.render.batch import render_scenes

    with pytest.raises(ConfigError, match="stems direct are rendered on the CPU alone; use device"):
        render_scenes([STILL], CLIPS, device="cpu", stems=("direct",))
