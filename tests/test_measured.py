"""Measured rooms: import, and responses at and between the measured positions."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measured_helpers import (
    AIR,
    LISTENER,
    RATE,
    SOURCES,
    own_response,
    recorded,
    sofa_of,
)
from numpy.typing import NDArray

from scenesynth.acoustics.direct import (
    direct_level,
    direct_ratios,
    direct_spectra,
    direct_time_s,
)
from scenesynth.acoustics.engines import respond, source_order
from scenesynth.acoustics.importing import import_room
from scenesynth.acoustics.response import Response
from scenesynth.errors import ConfigError
from scenesynth.room.measured import MeasuredRoom, find_room, locate_room, open_folder
from scenesynth.room.model import OCTAVE_BANDS_HZ, AssetRef, Room, Vector
from scenesynth.room.sofa import read_sofa
from scenesynth.scene.spec import ClipRef, Emitter, Event, Keyframe, Origin, SceneSpec
from scenesynth.spatial.conventions import AMBISONIC_CONVENTIONS, to_acn_sn3d
from scenesynth.spatial.formats import layout_of, parse_format

RING = tuple(
    (
        LISTENER[0] + 1.5 * math.cos(math.radians(a)),
        LISTENER[1] + 1.5 * math.sin(math.radians(a)),
        1.5,
    )
    for a in range(0, 360, 15)
)


@lru_cache(maxsize=8)
def room_of(sources: tuple[Vector, ...] = SOURCES, format: str = "foa") -> MeasuredRoom:
    return import_room(recorded(sources, format=format), f"own{len(sources)}{format}").room


def spec_in(room: MeasuredRoom, source_m: Vector, listener_m: Vector, **fields: Any) -> SceneSpec:
    """A scene with one emitter, positions as in `recorded`."""
    moved = [
        tuple(float(a + b) for a, b in zip(at, room.card.origin_m, strict=True))
        for at in (source_m, listener_m)
    ]
    event = Event(
        role="target",
        clip=ClipRef(corpus="sources", id="x", digest="x"),
        onset_s=0.0,
        duration_s=0.5,
        active_start_s=0.0,
        active_end_s=0.5,
    )
    turn = {name: fields.pop(name, 0.0) for name in ("yaw_deg", "pitch_deg", "roll_deg")}
    emitter = fields.pop("emitter", {})
    known: dict[str, Any] = {
        "origin": Origin(),
        "sample_rate": RATE,
        "n_samples": RATE,
        "room": Room(
            id="own",
            size_m=room.card.size_m,
            band_hz=OCTAVE_BANDS_HZ,
            absorption=(),
            measured=room.ref,
        ),
        "air": AIR,
        "listener": (Keyframe(position_m=moved[1], **turn),),
        "emitters": (
            Emitter(id="a", keyframes=(Keyframe(position_m=moved[0]),), events=(event,), **emitter),
        ),
        "engine": "sofa",
        "response_s": 0.3,
        "highpass_hz": 0.0,
    }
    return SceneSpec(**(known | fields))


def response_in(
    room: MeasuredRoom,
    source_m: Vector,
    listener_m: Vector = LISTENER,
    format: str = "foa",
    **fields: Any,
) -> Response:
    spec = spec_in(room, source_m, listener_m, **fields)
    return respond(spec, 0, [parse_format(format)])[format]


def off_db(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Energy of the difference after the best gain, in dB."""
    a, b = found.astype(float), wanted.astype(float)
    gain = np.sum(a * b) / np.sum(a * a)
    assert abs(20 * np.log10(gain)) < 0.1
    return float(10 * np.log10(np.sum((gain * a - b) ** 2) / np.sum(b**2)))


@pytest.mark.parametrize(
    "turn",
    [{}, {"yaw_deg": 40.0, "pitch_deg": 20.0, "roll_deg": -30.0}, {"yaw_deg": 180.0}],
)
def test_at_a_measured_place_the_response_is_the_measured_one(turn: dict[str, float]) -> None:
    for format, source in (("foa", SOURCES[1]), ("hoa3", SOURCES[2])):
        room = room_of(format=format)
        wanted = own_response(source, format=format, **turn)
        found = response_in(room, source, format=format, **turn)
        assert off_db(found.ir, wanted) < -50


def test_labels_are_those_of_the_audio() -> None:
    room = room_of()
    found = response_in(room, SOURCES[3], yaw_deg=70.0, pitch_deg=-15.0)
    time_s = direct_time_s(found.ir[0], RATE)
    ratios = direct_ratios(direct_spectra(found.ir, RATE, time_s))
    heard = ratios[[3, 1, 2]] / np.linalg.norm(ratios[1:])
    assert math.degrees(math.acos(min(1.0, float(heard @ found.direction)))) < 0.5
    assert abs(time_s - found.direct_delay_s) * RATE < 0.05
    assert found.distance_m == pytest.approx(math.dist(SOURCES[3], LISTENER))
    assert found.measured.direct_delay_s == found.direct_delay_s


def test_mono_is_the_first_channel_of_ambisonics() -> None:
    room = room_of()
    whole = response_in(room, SOURCES[0])
    np.testing.assert_array_equal(response_in(room, SOURCES[0], format="mono").ir, whole.ir[:1])


def test_another_rate_changes_neither_level_nor_time() -> None:
    room = room_of()
    found = response_in(room, SOURCES[4], sample_rate=32000, n_samples=32000).ir
    wanted = own_response(SOURCES[4], sample_rate=32000)
    n = 2**15
    band = slice(round(200 * n / 32000), round(9000 * n / 32000))
    a, b = (np.fft.rfft(x.astype(float), n, axis=1)[:, band] for x in (found, wanted))
    gain = abs(np.vdot(a, b) / np.vdot(a, a))
    assert abs(20 * np.log10(gain)) < 0.1
    assert 10 * np.log10(np.sum(abs(gain * a - b) ** 2) / np.sum(abs(b) ** 2)) < -45


def between(n: int, share: float) -> Vector:
    x, y, z = ((1 - share) * a + share * b for a, b in zip(RING[n], RING[n + 1], strict=True))
    return (x, y, z)


def energy_db(ir: NDArray[Any], start_s: float, stop_s: float) -> float:
    return float(10 * np.log10(np.sum(ir[0, int(start_s * RATE) : int(stop_s * RATE)] ** 2.0)))


@pytest.mark.parametrize(("n", "share"), [(0, 0.5), (3, 0.3), (10, 0.8)])
def test_between_measured_places_direct_sound_and_reverberation_hold(n: int, share: float) -> None:
    source = between(n, share)
    found = response_in(room_of(RING), source, yaw_deg=25.0)
    wanted = own_response(source, yaw_deg=25.0)
    at_s = found.direct_delay_s
    spectra = direct_spectra(found.ir, RATE, at_s)
    ratios = direct_ratios(spectra)
    heard = ratios[[3, 1, 2]] / np.linalg.norm(ratios[1:])
    assert math.degrees(math.acos(min(1.0, float(heard @ found.direction)))) < 0.5
    assert abs(direct_time_s(found.ir[0], RATE) - at_s) * RATE < 0.1
    assert 20 * math.log10(direct_level(spectra[:1]) * found.distance_m) == pytest.approx(
        0, abs=0.2
    )
    late = energy_db(found.ir, 0.08, 0.25) - energy_db(wanted, 0.08, 0.25)
    assert abs(late) < 1.0


def test_interpolation_is_continuous_at_a_measured_place() -> None:
    room = room_of(RING)
    at = response_in(room, RING[5]).ir
    near = response_in(room, between(5, 0.027)).ir  # 1.06 cm away, where interpolation begins
    late = slice(round(0.02 * RATE), None)
    difference = np.sum((near[0, late] - at[0, late]) ** 2.0) / np.sum(at[0, late] ** 2.0)
    assert (
        difference < 0.06
    )  # the neighbour's share of the late energy, 0.027, and its surroundings


@pytest.mark.parametrize(
    ("source", "listener", "message"),
    [
        ((2.6, 2.3, 2.4), LISTENER, "the source at .* is off the measured positions"),
        ((2.6, 2.3, 1.9), LISTENER, "is off the measured positions; the nearest is"),
        (RING[0], (2.9, 2.3, 1.4), "the listener at .* is off the measured positions"),
        (between(0, 0.5), (2.9, 2.3, 1.4), "neither the source at .* nor the listener at"),
    ],
)
def test_off_the_measured_places_is_an_error(
    source: Vector, listener: Vector, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        response_in(room_of((*RING, (2.6, 2.3, 2.6))), source, listener)


@pytest.mark.parametrize("convention", AMBISONIC_CONVENTIONS)
def test_every_convention_is_found_and_converted(convention: Any) -> None:
    n = 4 if convention == "wxyz-sn3d" else 16
    given = recorded(format="foa" if n == 4 else "hoa3")
    back = np.linalg.inv(to_acn_sn3d(convention, n)).astype(np.float32)
    imported = import_room(replace(given, responses=back @ given.responses), f"c-{convention}")
    assert imported.fit is not None
    assert imported.fit.convention == imported.room.card.convention == convention
    assert imported.fit.error_deg < 0.1
    ratio = imported.room.response(2) * imported.room.pairs.gain[2]
    assert off_db(ratio, given.responses[2]) < -100
    assert imported.room.pairs.gain[0] == pytest.approx(1, abs=0.01) or convention == "fuma"


def test_directions_that_do_not_tell_the_order_are_refused() -> None:
    third = 1.4 / math.sqrt(3)
    diagonal = tuple(
        (LISTENER[0] + k * third, LISTENER[1] + k * third, LISTENER[2] + k * third)
        for k in (0.5, 1.0, 1.5)
    )
    with pytest.raises(ConfigError, match="the order of the channels cannot be told"):
        import_room(recorded(diagonal), "diagonal")
    stated = import_room(recorded(diagonal), "diagonal", ambisonics="acn-sn3d")
    assert stated.room.card.convention == "acn-sn3d"


def test_a_factor_between_conventions_is_refused() -> None:
    given = recorded()
    odd = given.responses * np.array([1, 1.3, 1.3, 1.3], dtype=np.float32)[:, None]
    with pytest.raises(ConfigError, match=r"first order over W is 1\.3"):
        import_room(replace(given, responses=odd), "odd")


def test_positions_in_other_axes_are_refused_with_the_axes_that_fit() -> None:
    given = recorded()
    clockwise = given.source_m * (1, -1, 1), given.listener_m * (1, -1, 1)
    with pytest.raises(ConfigError, match="with --axes x,-y,z they would"):
        import_room(replace(given, source_m=clockwise[0], listener_m=clockwise[1]), "clockwise")


def test_microphones_that_pass_for_ambisonics_are_refused() -> None:
    given = recorded(anechoic=True)
    capsules = np.repeat(given.responses[:, :1], 4, axis=1)
    with pytest.raises(ConfigError, match="these microphones and no Ambisonics"):
        import_room(replace(given, responses=capsules, convention="acn-sn3d"), "mics")


def test_a_stated_convention_that_does_not_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="states acn-n3d, but its direct sounds say otherwise"):
        import_room(replace(recorded(), convention="acn-n3d"), "wrong")


def test_sources_relative_to_the_listener_are_noticed() -> None:
    given = recorded()
    imported = import_room(replace(given, source_m=given.source_m - given.listener_m), "relative")
    np.testing.assert_allclose(imported.room.pairs.distance_m, room_of().pairs.distance_m)
    assert any("relative to the listener" in note for note in imported.room.card.notes)


@pytest.mark.parametrize(
    ("shift_s", "meaning"),
    [(0.0, "with the distance"), (0.004, "with the distance"), (None, "without the distance")],
)
def test_delays_with_or_without_the_distance_give_the_same_room(
    shift_s: float | None, meaning: str
) -> None:
    given = recorded()
    away = np.linalg.norm(given.source_m - given.listener_m, axis=1)
    late_s = np.full(len(away), shift_s) if shift_s is not None else 0.02 - away / 343.2
    # Delays as a file may state them, of which some are not whole samples.
    moved = replace(given, delay=np.repeat(late_s[:, None] * RATE, 4, axis=1))
    room = import_room(moved, "late").room
    assert room.card.onset.startswith(meaning)
    assert off_db(response_in(room, SOURCES[5]).ir, own_response(SOURCES[5])) < -45


def test_channels_of_different_delays_are_brought_into_step() -> None:
    given = recorded()
    delay = np.tile([0.0, 3.0, 1.5, 0.0], (len(SOURCES), 1))
    early = np.fft.rfft(given.responses.astype(float), axis=2)
    turn = np.exp(2j * np.pi * np.fft.rfftfreq(given.responses.shape[2]) * delay[:, :, None])
    shifted = np.fft.irfft(early * turn, n=given.responses.shape[2], axis=2).astype(np.float32)
    room = import_room(replace(given, responses=shifted, delay=delay), "staggered").room
    assert off_db(response_in(room, SOURCES[0]).ir, own_response(SOURCES[0])) < -40


def test_a_stray_direct_sound_follows_the_others() -> None:
    given = recorded()
    broken = given.responses.copy()
    broken[3] *= 0.05  # an obstructed source: a loud reflection comes first over the threshold
    broken[3, :, 700] += 3.0
    room = import_room(replace(given, responses=broken), "stray").room
    whole = room_of()
    assert "1 of 7 corrected" in room.card.onset
    assert abs(room.pairs.direct_s[3] - whole.pairs.direct_s[3]) * RATE < 0.1


@pytest.mark.parametrize(("level", "off"), [("room", 6.0), ("pair", 0.0), ("keep", 12.0)])
def test_levels_are_those_asked_for(level: Any, off: float) -> None:
    given = recorded()
    louder = given.responses * np.float32(10 ** (6 / 20))
    louder[2] *= np.float32(10 ** (6 / 20))
    room = import_room(replace(given, responses=louder), f"level-{level}", level=level).room
    found = response_in(room, SOURCES[2])
    spectra = direct_spectra(found.ir, RATE, found.direct_delay_s)
    assert 20 * math.log10(direct_level(spectra[:1]) * found.distance_m) == pytest.approx(
        off, abs=0.1
    )
    assert room.card.calibrated == (level == "keep")


def test_the_orientation_at_the_recording_is_taken_out() -> None:
    turns = [(25.0 * n, 5.0 * n, -7.0 * n) for n in range(len(SOURCES))]
    from scenesynth.scene.geometry import rotation_matrix

    responses = np.stack(
        [
            own_response(source, yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll)
            for source, (yaw, pitch, roll) in zip(SOURCES, turns, strict=True)
        ]
    )
    given = recorded(rotation=np.stack([rotation_matrix(*turn) for turn in turns]))
    room = import_room(replace(given, responses=responses), "turning").room
    for n in (2, 5):
        assert off_db(response_in(room, SOURCES[n]).ir, own_response(SOURCES[n])) < -50


@pytest.mark.parametrize("swapped", [False, True])
def test_the_left_ear_is_the_one_that_leads_on_the_left(swapped: bool) -> None:
    ears = [
        np.concatenate(
            [
                own_response(source, (LISTENER[0], LISTENER[1] + side, LISTENER[2]), format="mono")
                for side in (0.09, -0.09)
            ]
        )
        for source in SOURCES
    ]
    stacked = np.stack(ears)[:, ::-1] if swapped else np.stack(ears)
    given = replace(recorded(), responses=stacked, channels="ears", delay=np.zeros((7, 2)))
    room = import_room(given, f"ears-{swapped}").room
    np.testing.assert_array_equal(room.response(3), ears[3])
    assert any("swapped" in note for note in room.card.notes) == swapped
    with pytest.raises(ConfigError, match=r"holds two ears, which give no mono.*'binaural'"):
        response_in(room, SOURCES[0], format="mono")


def test_a_capsule_at_the_centre_gives_mono_and_nothing_else() -> None:
    capsules = np.array([[0.05, 0, 0], [0, 0, 0], [0, 0.05, 0]])
    responses = np.stack(
        [
            np.concatenate(
                [
                    own_response(
                        source,
                        (LISTENER[0] + x, LISTENER[1] + y, LISTENER[2] + z),
                        format="mono",
                    )
                    for x, y, z in capsules
                ]
            )
            for source in SOURCES
        ]
    )
    given = replace(
        recorded(),
        responses=responses,
        channels="mics",
        capsules_m=capsules,
        delay=np.zeros((7, 3)),
    )
    room = import_room(given, "array").room
    assert room.card.omni == 1
    wanted = own_response(SOURCES[1], format="mono")
    assert off_db(response_in(room, SOURCES[1], format="mono").ir, wanted) < -50
    with pytest.raises(
        ConfigError, match=r"holds 3 microphones, which give no foa.*mono can be had"
    ):
        response_in(room, SOURCES[1])


def test_a_higher_order_than_the_files_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"holds Ambisonics of order 1.*use mono, foa"):
        response_in(room_of(), SOURCES[0], format="hoa2")


def test_a_directivity_on_top_of_the_measured_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="a measured response holds its loudspeaker's"):
        response_in(room_of(), SOURCES[0], emitter={"directivity": "cardioid"})


def test_a_room_is_known_by_its_content(tmp_path: Path) -> None:
    room = room_of()
    assert locate_room(room.ref).digest == room.digest == find_room(room.card.name).digest
    again = import_room(recorded(format="foa"), room.card.name).room
    assert again.digest == room.digest
    with pytest.raises(ConfigError, match=r"is in none of .*Import it again"):
        locate_room(AssetRef(id=room.card.name, digest="0" * 32))
    with pytest.raises(ConfigError, match=r"no measured room 'own7fox'; did you mean 'own7foa'"):
        find_room("own7fox")


def test_a_damaged_response_is_noticed_when_it_is_read() -> None:
    room = import_room(recorded(SOURCES[:3]), "damaged").room
    path = room.folder / "responses.npy"
    raw = bytearray(path.read_bytes())
    raw[-400] ^= 1
    path.write_bytes(raw)
    fresh = replace(room)
    fresh.response(0)
    with pytest.raises(ConfigError, match="response 2 differs from what was imported"):
        fresh.response(2)
    path.write_bytes(raw[:-4000])
    with pytest.raises(ConfigError, match="import the room again"):
        replace(room).response(0)


def test_an_edited_card_is_noticed() -> None:
    room = import_room(recorded(SOURCES[:3]), "edited").room
    card = room.folder / "room.json"
    card.write_text(card.read_text().replace('"licence":""', '"licence":"CC0"'))
    open_folder.cache_clear()
    with pytest.raises(ConfigError, match="was changed after it was imported"):
        open_folder(room.folder)
    import shutil

    shutil.rmtree(room.folder)


@pytest.mark.parametrize("name", ["", ".", "a/b", "a@b", "a\nb", " a", "a" * 201, "\udce4"])
def test_a_name_that_no_folder_or_recipe_could_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"own: name .*; give another one \(--name\)"):
        import_room(recorded(SOURCES[:3]), name)


def test_a_silent_pressure_channel_is_refused() -> None:
    given = recorded(SOURCES[:3])
    given.responses[1, 0] = 0
    with pytest.raises(ConfigError, match="response 1: channel 0 is silent"):
        import_room(given, "silent")


def test_source_and_listener_at_one_place_are_refused() -> None:
    given = recorded(SOURCES[:3])
    at_one = given.source_m.copy()
    at_one[1] = LISTENER
    with pytest.raises(ConfigError, match="response 1: source and listener are 0 m apart"):
        import_room(
            replace(
                given,
                source_m=at_one,
                channels="mics",
                responses=given.responses[:, :1],
                delay=given.delay[:, :1],
            ),
            "near",
        )


def test_from_own_rendering_through_sofa_to_a_scene(tmp_path: Path) -> None:
    path = sofa_of(recorded()).write(tmp_path / "house.sofa")
    room = import_room(read_sofa(path), "house").room
    assert room.card.source == "house.sofa"
    found = response_in(room, SOURCES[6], yaw_deg=-35.0, roll_deg=12.0)
    assert off_db(found.ir, own_response(SOURCES[6], yaw_deg=-35.0, roll_deg=12.0)) < -50


def test_real_ears_are_told_apart(real_audio: Path) -> None:
    rooms = {
        name: import_room(read_sofa(real_audio / name), Path(name).stem).room.card
        for name in ("hrtf/MIT_KEMAR_normal_pinna.sofa", "rir/UniS_Anechoic_BRIR_48k.sofa")
    }
    swapped = [any("swapped" in note for note in card.notes) for card in rooms.values()]
    assert swapped == [False, True]  # the second is known to have the right ear first


def test_rooms_without_directions_make_no_ears_and_no_microphones() -> None:
    spec = spec_in(room_of(format="mono"), SOURCES[0], LISTENER)
    assert source_order(layout_of([parse_format("mono")]), spec) == 0
    for name in ("binaural", "mic"):
        with pytest.raises(ConfigError, match=rf"no directions, which format {name} is made of"):
            source_order(layout_of([parse_format(name)]), spec)
