"""Laws of the images' sum: directional sources, displaced images, faded ends, many bands."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import scipy.fft
from oracle_rir import displaced_share, error_db, oracle_rir

from scenesynth.acoustics import grids
from scenesynth.acoustics.arrivals import room_tables
from scenesynth.acoustics.directivity import pattern
from scenesynth.acoustics.grids import MAX_BANDS, make_plan
from scenesynth.acoustics.spread_cpu import channel_spectra
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room, Vector
from scenesynth.scene.geometry import rotation_matrix

AIR = Air()
C = AIR.speed_of_sound_mps
FS = 16000
BANDS = OCTAVE_BANDS_HZ[:6]
SOURCE, LISTENER = (1.1, 0.9, 1.3), (2.7, 2.05, 1.2)
AWAY = np.subtract(SOURCE, LISTENER)
TO_LISTENER: Vector = tuple((-AWAY / np.linalg.norm(AWAY)).tolist())
ASKEW: Vector = tuple((np.array([2.0, -1.0, 0.5]) / math.sqrt(5.25)).tolist())


def room_of(absorption: Any, size_m: Vector = (4.0, 3.2, 2.5), band_hz: Any = BANDS) -> Room:
    walls = np.broadcast_to(np.asarray(absorption, dtype=float), (6, len(band_hz)))
    return Room(
        id="test", size_m=size_m, band_hz=band_hz, absorption=tuple(map(tuple, walls.tolist()))
    )


UNEVEN = room_of(np.random.default_rng(1).uniform(0.05, 0.7, (6, 6)))


def images(
    room: Room = UNEVEN,
    *,
    source_m: Vector = SOURCE,
    listener_m: Vector = LISTENER,
    length_s: float = 0.03,
    sample_rate: int = FS,
    order: int = 1,
    rotation: Any = None,
    directivity: str | None = None,
    front: Vector | None = None,
    **extras: Any,
) -> np.ndarray:
    """Sum of the images of a room. Shape: [(order + 1)^2, samples]."""
    n = round(length_s * sample_rate)
    plan = make_plan(sample_rate, n, room.band_hz)
    radius_m = n / sample_rate * C
    if directivity:
        extras["directivity"] = pattern(directivity, room.band_hz)
    spectra = channel_spectra(
        plan,
        room_tables(room, source_m, listener_m, radius_m, front),
        radius_m=radius_m,
        rotation=np.eye(3) if rotation is None else rotation,
        order=order,
        attenuation_per_m=energy_attenuation_per_m(np.array(room.band_hz), AIR),
        speed_of_sound_mps=C,
        **extras,
    )
    return scipy.fft.irfft(spectra, n=plan.n_fft, axis=1)[:, :n]


def exact(room: Room = UNEVEN, **changes: Any) -> np.ndarray:
    arguments: dict[str, Any] = {
        "air": AIR,
        "source_m": SOURCE,
        "listener_m": LISTENER,
        "rotation": np.eye(3),
        "order": 1,
        "sample_rate": FS,
        "length_s": 0.03,
        "attenuation_per_m": energy_attenuation_per_m(np.array(room.band_hz), AIR),
    }
    return oracle_rir(room=room, **(arguments | changes))


def level_db(x: np.ndarray, reference: np.ndarray) -> float:
    return 10 * math.log10(max(np.sum(np.square(x)), 1e-30) / np.sum(np.square(reference)))


def worst_error_db(got: np.ndarray, want: np.ndarray, sample_rate: int = FS) -> float:
    """Of the channels, each by itself, up to 0.9 of Nyquist."""
    return max(
        error_db(got[c : c + 1], want[c : c + 1], sample_rate, 0.45 * sample_rate)
        for c in range(len(want))
    )


@pytest.mark.parametrize(
    ("directivity", "displacement_m", "fade_m"),
    [
        ("subcardioid", 0.0, None),
        ("cardioid", 0.0, None),
        ("supercardioid", 0.0, None),
        ("hypercardioid", 0.0, None),
        ("figure8", 0.0, None),
        ("speech", 0.0, None),
        (None, 0.08, None),
        (None, 0.0, (4.0, 8.0)),
        ("speech", 0.08, (4.0, 8.0)),
    ],
)
def test_images_equal_the_exact_sum(
    directivity: str | None, displacement_m: float, fade_m: tuple[float, float] | None
) -> None:
    extras = {"displacement_m": displacement_m, "fade_m": fade_m}
    rotation = rotation_matrix(30, 20, -10)
    front = ASKEW if directivity else None
    got = images(directivity=directivity, front=front, rotation=rotation, seed32=77, **extras)
    coefficients = pattern(directivity, BANDS) if directivity else None
    want = exact(directivity=coefficients, front=ASKEW, rotation=rotation, seed=77, **extras)
    assert worst_error_db(got, want) < -80


def test_more_bands_than_seven_take_a_fourth_grid() -> None:
    band_hz = (31.5, 63.0, *OCTAVE_BANDS_HZ, 16000.0)
    room = room_of(np.random.default_rng(5).uniform(0.05, 0.7, (6, 10)), band_hz=band_hz)
    assert len(make_plan(48000, 100, band_hz).grids) == 4
    front, seed = ASKEW, 5
    got = images(
        room, sample_rate=48000, directivity="speech", front=front, displacement_m=0.05,
        seed32=seed, order=0,
    )  # fmt: skip
    want = exact(
        room, sample_rate=48000, directivity=pattern("speech", band_hz), front=front,
        displacement_m=0.05, seed=seed, order=0,
    )  # fmt: skip
    assert worst_error_db(got, want, 48000) < -74


@pytest.mark.parametrize("n_bands", [1, 2, 3, 4])
def test_few_bands_leave_grids_out(n_bands: int) -> None:
    room = room_of(0.3, band_hz=BANDS[-n_bands:])
    assert len(make_plan(FS, 100, room.band_hz).grids) == (1, 2, 2, 3)[n_bands - 1]
    assert worst_error_db(images(room), exact(room)) < -80


def test_too_many_bands_are_refused() -> None:
    with pytest.raises(ValueError, match="12 bands; at most 11"):
        make_plan(48000, 100, tuple(10.0 * 2**n for n in range(MAX_BANDS + 1)))


def test_only_the_highest_band_needs_the_full_rate() -> None:
    grids_at_32k = make_plan(32000, 16000, OCTAVE_BANDS_HZ).grids
    assert [grid.bands for grid in grids_at_32k] == [slice(6, 7), slice(4, 6), slice(0, 4)]
    assert [grid.shift for grid in grids_at_32k] == [0, 1, 3]
    for grid in grids_at_32k:
        length_s = grid.n_rows / grid.rate_hz
        assert length_s == make_plan(32000, 16000, OCTAVE_BANDS_HZ).n_fft / 32000
        assert grid.n_rows % 2 == 0


def test_the_pulse_s_spectrum_is_that_of_the_pulse() -> None:
    t = np.linspace(-3, 3, 60001)
    for cycles in (0.0, 0.1, 0.25, 1 / 3):
        want = np.trapezoid(grids.pulse(t) * np.cos(2 * np.pi * cycles * t), t)
        assert grids.pulse_spectrum(np.array([cycles]))[0] == pytest.approx(want, abs=1e-5)


def test_an_image_faces_the_listener_as_the_mirrored_source_does() -> None:
    """By unfolding: the path by the floor leaves the source downwards."""
    x, y, z = room_tables(UNEVEN, SOURCE, LISTENER, 20.0, ASKEW)
    near = [int(np.flatnonzero(table.index == 0)[0]) for table in (x, y)]
    floor = int(np.flatnonzero(z.index == -1)[0])
    assert z.offset_m[floor] == pytest.approx(-SOURCE[2] - LISTENER[2])
    way = np.array([*np.subtract(LISTENER, SOURCE)[:2], -SOURCE[2] - LISTENER[2]])
    facing = x.facing_m[near[0]] + y.facing_m[near[1]] + z.facing_m[floor]
    assert facing == pytest.approx(way @ np.array(ASKEW))


def test_an_omnidirectional_pattern_is_none() -> None:
    plain = images()
    assert level_db(images(directivity="omni", front=ASKEW) - plain, plain) < -120


def test_a_source_that_looks_at_the_listener_has_its_direct_sound_whole() -> None:
    dry = room_of(1.0)
    plain = images(dry)
    for name in ("cardioid", "figure8", "speech"):
        faced = images(dry, directivity=name, front=TO_LISTENER)
        assert level_db(faced - plain, plain) < -110


@pytest.mark.parametrize("name", ["subcardioid", "cardioid", "figure8"])
def test_a_source_that_looks_away_loses_its_direct_sound_as_predicted(name: str) -> None:
    dry = room_of(1.0)
    plain = images(dry)
    away: Vector = tuple(-v for v in TO_LISTENER)
    behind = 2 * {"subcardioid": 0.7, "cardioid": 0.5, "figure8": 0.0}[name] - 1
    turned = images(dry, directivity=name, front=away)
    assert level_db(turned - behind * plain, plain) < -110


def test_swapping_places_changes_nothing_of_the_pressure() -> None:
    there, back = images()[0], images(source_m=LISTENER, listener_m=SOURCE)[0]
    assert level_db(there - back, there) < -80


@pytest.mark.parametrize("directivity", [None, "speech"])
def test_a_mirrored_room_flips_left_and_right_only(directivity: str | None) -> None:
    walls = [UNEVEN.absorption[n] for n in (0, 1, 3, 2, 4, 5)]
    flip = lambda p: (p[0], 3.2 - p[1], p[2])  # noqa: E731
    front = ASKEW if directivity else None
    turned = (ASKEW[0], -ASKEW[1], ASKEW[2]) if directivity else None
    original = images(directivity=directivity, front=front)
    other = images(
        room_of(walls), source_m=flip(SOURCE), listener_m=flip(LISTENER),
        directivity=directivity, front=turned,
    )  # fmt: skip
    assert level_db(original * np.array([[1], [-1], [1], [1]]) - other, original) < -80


def test_energy_falls_with_absorption_whatever_the_source() -> None:
    for extras in ({"directivity": "speech", "front": ASKEW}, {"displacement_m": 0.08}):
        energies = [
            np.sum(np.square(images(room_of(a), length_s=0.1, **extras)[0]))
            for a in (0.0, 0.1, 0.3, 0.6, 1.0)
        ]
        assert energies == sorted(energies, reverse=True)


def test_no_displacement_is_none_whatever_the_seed() -> None:
    np.testing.assert_array_equal(images(displacement_m=0.0, seed32=9), images())


def test_displacement_leaves_images_of_one_reflection_where_they_are() -> None:
    dry = room_of(np.where(np.arange(6)[:, None] < 5, 1.0, 0.0))  # one live wall: two images
    moved = images(dry, displacement_m=0.08, seed32=3)
    np.testing.assert_array_equal(moved, images(dry))
    assert level_db(images(displacement_m=0.08, seed32=3) - images(), images()) > -20


def test_displacement_sends_nothing_ahead_of_the_direct_sound() -> None:
    """As without it, a ripple of the bands' weights stays: below -60 dB 2 ms ahead."""
    room = room_of(np.random.default_rng(1).uniform(0.05, 0.7, (6, 7)), band_hz=OCTAVE_BANDS_HZ)
    moved = images(room, sample_rate=32000, length_s=0.2, displacement_m=0.1, seed32=3)[0]
    direct = int(np.linalg.norm(AWAY) / C * 32000)
    assert level_db(moved[: direct - 64], moved[direct - 2 : direct + 4]) < -60


def test_displacements_are_uniform_and_differ_by_seed_and_image() -> None:
    """Within four standard deviations of independent draws, in the octant of positive indices.

    Images whose indices differ in the sign of two odd ones have the same share.
    """
    indices = [n for n in itertools.product(range(13), repeat=3) if sum(n) > 2]
    for seed in (1, 2, 12345, 2**32 - 1):
        shares, others = (
            np.array([displaced_share(n, which) for n in indices]) for which in (seed, seed ^ 3)
        )
        assert np.all((shares >= 0) & (shares < 1))
        counts = np.histogram(shares, bins=10, range=(0, 1))[0]
        assert np.all(abs(counts / len(shares) - 0.1) < 4 * math.sqrt(0.09 / len(shares)))
        assert abs(np.corrcoef(shares, others)[0, 1]) < 4 / math.sqrt(len(shares))
        assert len(set(shares)) > 0.999 * len(shares)
    assert displaced_share((3, 1, 2), 1) == displaced_share((-3, -1, 2), 1)


def flatness(response: np.ndarray, sample_rate: int) -> float:
    """Mean spectral flatness of Hann-windowed stretches of 32 ms from 60 to 250 ms, over 100 Hz."""
    width = round(0.032 * sample_rate)
    values = []
    for start in range(round(0.06 * sample_rate), round(0.25 * sample_rate) - width, width // 2):
        power = np.abs(np.fft.rfft(response[start : start + width] * np.hanning(width))) ** 2
        freq_hz = np.arange(len(power)) * sample_rate / width
        power = power[(freq_hz > 100) & (freq_hz < 0.45 * sample_rate)]
        values.append(np.exp(np.mean(np.log(power))) / np.mean(power))
    return float(np.mean(values))


def test_displacement_breaks_up_sweeping_echoes() -> None:
    """Late spectra of the lattice are less flat than those of noise (about 0.56)."""
    room = room_of(0.2, size_m=(5.0, 4.0, 3.0))
    places = {"source_m": (2.0, 1.5, 1.5), "listener_m": (3.5, 2.5, 1.2)}
    plain, moved = (
        np.mean([flatness(c, FS) for c in images(room, length_s=0.26, order=1, **places, **extras)])
        for extras in ({}, {"displacement_m": 0.08, "seed32": 4})
    )
    assert plain < moved
    assert moved > 0.53


def test_a_fade_leaves_what_is_before_it_and_nothing_after() -> None:
    """At the middle of the fade half of the power is left."""
    dry = room_of(1.0)
    distance_m = float(np.linalg.norm(AWAY))
    plain = images(dry)
    before = images(dry, fade_m=(distance_m + 0.1, distance_m + 1))
    np.testing.assert_array_equal(before, plain)
    middle = images(dry, fade_m=(distance_m - 1, distance_m + 1))
    assert level_db(middle - math.sqrt(0.5) * plain, plain) < -110
    assert not np.any(images(dry, fade_m=(distance_m - 1, distance_m - 0.1)))


def test_lower_orders_are_the_first_channels_of_higher_ones() -> None:
    extras: dict[str, Any] = {
        "directivity": "speech", "front": ASKEW, "displacement_m": 0.08, "fade_m": (4.0, 8.0),
        "rotation": rotation_matrix(10, 20, 30),
    }  # fmt: skip
    highest = images(order=4, **extras)
    for order in range(4):
        np.testing.assert_array_equal(images(order=order, **extras), highest[: (order + 1) ** 2])


def test_bytes_do_not_depend_on_threads() -> None:
    def render(n: int) -> bytes:
        place = (1.0 + 0.1 * n, 1.5, 1.2)
        extras: dict[str, Any] = {"directivity": "cardioid", "front": ASKEW, "seed32": n}
        return images(source_m=place, displacement_m=0.08, length_s=0.1, **extras).tobytes()

    one_by_one = [render(n) for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(render, range(8))) == one_by_one


@pytest.mark.parametrize(
    ("extras", "match"),
    [
        ({"directivity": "cardioid"}, "a directivity needs a source with a front"),
        ({"displacement_m": -0.1}, r"displacement_m = -0\.1; must lie in \[0, "),
        ({"displacement_m": 3.0}, r"displacement_m = 3; must lie in \[0, 2\.7"),
        ({"displacement_m": math.nan}, "displacement_m = nan"),
        ({"fade_m": (3.0, 3.0)}, r"fade_m = \(3\.0, 3\.0\); must be two distances"),
    ],
)
def test_bad_input_is_refused(extras: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        images(**extras)


def test_images_beyond_the_plan_are_refused() -> None:
    plan = make_plan(FS, 1024, BANDS)
    with pytest.raises(ValueError, match=r"radius_m = 100 is \d+ samples away; the plan holds"):
        channel_spectra(
            plan,
            room_tables(UNEVEN, SOURCE, LISTENER, 100.0),
            radius_m=100.0,
            rotation=np.eye(3),
            order=0,
            attenuation_per_m=np.zeros(6),
            speed_of_sound_mps=C,
        )
