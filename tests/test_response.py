"""Laws of rendered responses, and the oracle."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.signal
from oracle_rir import error_db, oracle_rir

from scenesynth.acoustics.highpass import highpass
from scenesynth.acoustics.response import Response, shoebox_response
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.decay import absorption_for_t60, response_length_s
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room, Vector
from scenesynth.scene.geometry import great_circle_deg, rotation_matrix
from scenesynth.spatial.doa import intensity_direction
from scenesynth.spatial.formats import parse_format

AIR = Air()
C = AIR.speed_of_sound_mps
FS = 32000


def room_of(absorption: Any, size_m: Vector = (4.0, 3.2, 2.5)) -> Room:
    full = np.broadcast_to(np.asarray(absorption, dtype=float), (6, 7))
    return Room(
        id="test",
        size_m=size_m,
        band_hz=OCTAVE_BANDS_HZ,
        absorption=tuple(tuple(float(a) for a in wall) for wall in full),
    )


UNEVEN = room_of(np.random.default_rng(1).uniform(0.05, 0.7, (6, 7)))
SOURCE, LISTENER = (1.1, 0.9, 1.3), (2.7, 2.05, 1.2)


def render(room: Room = UNEVEN, format: str = "foa", **changes: Any) -> Response:
    arguments: dict[str, Any] = {
        "air": AIR,
        "source_m": SOURCE,
        "listener_m": LISTENER,
        "rotation": np.eye(3),
        "sample_rate": FS,
        "length_s": 0.04,
        "highpass_hz": 0.0,
    }
    return shoebox_response(room=room, format=parse_format(format), **(arguments | changes))


def energy(x: np.ndarray) -> float:
    return float(np.sum(np.square(x, dtype=np.float64)))


def level_db(x: np.ndarray, reference: np.ndarray) -> float:
    return 10 * math.log10(max(energy(x), 1e-30) / energy(reference))


@pytest.mark.parametrize(
    ("format", "sample_rate"),
    [
        ("mono", 48000),
        ("foa", 32000),
        ("foa", 22050),
        ("foa", 8000),
        ("hoa2", 16000),
        ("hoa3", 24000),
    ],
)
def test_response_equals_the_exact_sum_of_images(format: str, sample_rate: int) -> None:
    """Uneven walls and bands, air, a turned head; every channel on its own."""
    rotation = rotation_matrix(30, 20, -10)
    bands = [band for band in OCTAVE_BANDS_HZ if band < sample_rate / 2]
    got = render(format=format, sample_rate=sample_rate, rotation=rotation).ir
    want = oracle_rir(
        room=UNEVEN,
        air=AIR,
        source_m=SOURCE,
        listener_m=LISTENER,
        rotation=rotation,
        order=parse_format(format).order,
        sample_rate=sample_rate,
        length_s=0.04,
        attenuation_per_m=energy_attenuation_per_m(np.array(bands), AIR),
    )
    for channel in range(len(want)):
        one = slice(channel, channel + 1)
        assert error_db(got[one], want[one], sample_rate, 0.9 * sample_rate / 2) < -60


def test_response_equals_pyroomacoustics() -> None:
    """One band, no air, its high-pass off and its delay of 40 samples removed."""
    pra = pytest.importorskip("pyroomacoustics", reason="pyroomacoustics is not installed")
    length_s, absorption = 0.05, 0.3
    n = round(length_s * FS)
    got = render(
        Room(id="one", size_m=(4.0, 3.2, 2.5), band_hz=(1000.0,), absorption=((absorption,),) * 6),
        air=replace(AIR, humidity_pct=100.0),
        length_s=length_s,
    ).ir
    got = undo_air(got, energy_attenuation_per_m(1000.0, replace(AIR, humidity_pct=100.0)))
    want = pyroomacoustics_foa(pra, absorption, reach_m=length_s * C)[:, :n]
    cut = n - 64  # images after the end of ours still ring into the end of its response
    assert error_db(got[:, :cut], want[:, :cut], FS, 0.75 * FS / 2) < -50


def undo_air(ir: np.ndarray, attenuation_per_m: float) -> np.ndarray:
    return ir * np.exp(attenuation_per_m * C * np.arange(ir.shape[1]) / FS / 2)


def pyroomacoustics_foa(pra: Any, absorption: float, reach_m: float) -> np.ndarray:
    saved = {name: pra.constants.get(name) for name in ("c", "rir_hpf_enable")}
    try:
        pra.constants.set("c", C)
        pra.constants.set("rir_hpf_enable", False)
        box = pra.ShoeBox(
            [4.0, 3.2, 2.5],
            fs=FS,
            materials=pra.Material(energy_absorption=absorption),
            max_order=3 * (math.ceil(reach_m / 2.5) + 1),
            air_absorption=False,
        )
        box.add_source(SOURCE)
        axes = {"Y": (90, 90), "Z": (0, 0), "X": (0, 90)}
        patterns = [pra.directivities.Omnidirectional()]
        for azimuth, colatitude in axes.values():
            orientation = pra.directivities.DirectionVector(azimuth, colatitude, degrees=True)
            patterns.append(pra.directivities.FigureEight(orientation))
        box.add_microphone_array(np.tile(np.array(LISTENER)[:, None], 4), directivity=patterns)
        box.compute_rir()
        offset = pra.constants.get("frac_delay_length") // 2
        rows = [box.rir[channel][0][offset:] for channel in range(4)]
        shortest = min(map(len, rows))
        return np.stack([row[:shortest] for row in rows])
    finally:
        for name, value in saved.items():
            pra.constants.set(name, value)


def test_anechoic_intensity_points_to_the_source() -> None:
    """1,000 random directions and heads; the label is the geometry's."""
    rng = np.random.default_rng(3)
    room = room_of(1.0, (12.0, 12.0, 12.0))
    worst = 0.0
    for _ in range(1000):
        away = rng.standard_normal(3)
        away *= rng.uniform(0.3, 5.0) / np.linalg.norm(away)
        rotation = rotation_matrix(*rng.uniform(-180, 180, 3))
        response = render(
            room,
            source_m=tuple(6.0 + away),
            listener_m=(6.0, 6.0, 6.0),
            rotation=rotation,
            length_s=0.02,
            highpass_hz=30.0,
        )
        label = rotation.T @ away / np.linalg.norm(away)
        np.testing.assert_allclose(response.direction, label, atol=1e-12)
        estimate = intensity_direction(response.ir, FS)
        worst = max(worst, great_circle_deg(estimate, tuple(label)))
    assert worst < 0.01


def arrival_s(ir: np.ndarray) -> float:
    """Delay from the slope of the phase between 2 and 12 kHz."""
    n_fft = 4 * len(ir)
    spectrum = np.fft.rfft(ir, n_fft)
    freq_hz = np.arange(len(spectrum)) * FS / n_fft
    keep = (freq_hz > 2000) & (freq_hz < 12000)
    phase = np.unwrap(np.angle(spectrum[keep]))
    return -np.polyfit(2 * np.pi * freq_hz[keep], phase, 1)[0]


@pytest.mark.parametrize("distance_m", [0.5, 1.0, 2.337, 5.1234])
def test_direct_sound_arrives_after_distance_over_c(distance_m: float) -> None:
    response = render(
        room_of(1.0, (12.0, 12.0, 12.0)),
        source_m=(6.0 + distance_m, 6.0, 6.0),
        listener_m=(6.0, 6.0, 6.0),
        highpass_hz=30.0,
    )
    assert response.direct_delay_s == pytest.approx(distance_m / C)
    assert abs(arrival_s(response.ir[0]) - distance_m / C) < 0.1 / FS


def test_a_source_at_one_metre_gives_one_and_twice_the_distance_six_db_less() -> None:
    """As spectral magnitude at 1 kHz, corrected for the air in between."""
    levels = []
    for distance_m in (1.0, 2.0, 4.0):
        ir = render(
            room_of(1.0, (12.0, 12.0, 12.0)),
            source_m=(6.0, 6.0 + distance_m, 6.0),
            listener_m=(6.0, 6.0, 6.0),
        ).ir[0]
        magnitude = abs(np.fft.rfft(ir, 3200)[100])
        air_db = 10 * math.log10(math.e) * energy_attenuation_per_m(1000.0, AIR) * distance_m
        levels.append(20 * math.log10(magnitude) + air_db)
    np.testing.assert_allclose(levels, [0.0, -6.0206, -12.0412], atol=0.01)


@pytest.mark.parametrize("highpass_hz", [0.0, 30.0])
def test_no_energy_before_the_direct_sound(highpass_hz: float) -> None:
    """Pulses are band-limited and band weights have zero phase, so a ripple stays.

    2 ms ahead it is below -60 dB of the direct sound, with walls that differ by band as here.
    """
    response = render(UNEVEN, length_s=0.2, highpass_hz=highpass_hz)
    direct = int(response.direct_delay_s * FS)
    ahead = response.ir[:, : direct - round(0.002 * FS)]
    at_direct = response.ir[0, direct - 2 : direct + 4]
    assert level_db(ahead[0], at_direct) < -60


def test_swapping_source_and_listener_changes_nothing() -> None:
    there, back = render().ir[0], render(source_m=LISTENER, listener_m=SOURCE).ir[0]
    assert level_db(there - back, there) < -70


def test_a_mirrored_room_flips_left_and_right_only() -> None:
    size = UNEVEN.size_m
    mirrored = replace(UNEVEN, absorption=tuple(UNEVEN.absorption[n] for n in (0, 1, 3, 2, 4, 5)))
    flip = lambda p: (p[0], size[1] - p[1], p[2])  # noqa: E731
    original = render().ir
    other = render(mirrored, source_m=flip(SOURCE), listener_m=flip(LISTENER)).ir
    assert level_db(original * np.array([[1], [-1], [1], [1]]) - other, original) < -70


def test_turning_the_head_turns_the_directions() -> None:
    straight, turned = render().ir, render(rotation=rotation_matrix(90, 0, 0)).ir
    expected = straight[[0, 3, 2, 1]] * np.array([[1], [-1], [1], [1]])
    assert level_db(turned - expected, straight) < -100


def test_moving_away_by_eight_samples_shifts_by_eight_samples() -> None:
    room = room_of(1.0, (12.0, 12.0, 12.0))
    step_m = 8 * C / FS
    near, far = (
        render(room, source_m=(8.0 + step, 6.0, 6.0), listener_m=(6.0, 6.0, 6.0)).ir[0]
        for step in (0.0, step_m)
    )
    air = math.exp(-energy_attenuation_per_m(1000.0, AIR) * step_m / 2)
    scaled = near[:-8] * (2.0 / (2.0 + step_m)) * air
    assert level_db(far[8:] - scaled, far) < -55  # air differs a little over the bands


def test_equal_bands_are_as_good_as_one() -> None:
    dry = replace(AIR, speed_of_sound_mps=C)
    many = render(room_of(0.3), air=dry).ir
    for band_hz in ((125.0, 250.0), OCTAVE_BANDS_HZ[:4]):
        room = room_of(0.3)
        few = replace(
            room, band_hz=band_hz, absorption=tuple(w[: len(band_hz)] for w in room.absorption)
        )
        got = render(few, air=dry).ir
        low = error_db(got, many.astype(np.float64), FS, band_hz[-1])
        assert low < -60


def test_energy_falls_with_absorption() -> None:
    energies = [energy(render(room_of(a), length_s=0.1).ir[0]) for a in (0.0, 0.1, 0.3, 0.6, 1.0)]
    assert energies == sorted(energies, reverse=True)


def test_absorption_of_one_band_acts_on_that_band() -> None:
    walls = np.full((6, 7), 0.1)
    walls[:, 5] = 0.9
    live, damped = (
        render(room_of(0.1), length_s=0.1).ir[0],
        render(room_of(walls), length_s=0.1).ir[0],
    )
    spectra = [np.abs(np.fft.rfft(ir)) ** 2 for ir in (live, damped)]
    freq_hz = np.arange(len(spectra[0])) * FS / len(live)
    at_4k, at_1k = abs(freq_hz - 4000) < 300, abs(freq_hz - 1000) < 300
    assert spectra[1][at_4k].sum() < 0.3 * spectra[0][at_4k].sum()
    assert spectra[1][at_1k].sum() == pytest.approx(spectra[0][at_1k].sum(), rel=1e-3)


def test_the_highpass_is_a_causal_butterworth() -> None:
    plain, filtered = (render(room_of(0.1), length_s=0.3, highpass_hz=f).ir for f in (0.0, 30.0))
    b, a = scipy.signal.butter(2, 30.0, "highpass", fs=FS)
    expected = scipy.signal.lfilter(b, a, plain.astype(np.float64), axis=1)
    assert level_db(filtered - expected, expected) < -120
    assert abs(filtered[0].sum()) < 0.05 * abs(plain[0].sum())


def test_channels_are_filtered_alike_side_by_side_and_alone() -> None:
    channels = np.random.default_rng(0).standard_normal((6, 500)).astype(np.float32)
    together = highpass(channels, 400, 30.0, FS)
    alone = [highpass(channel[None], 400, 30.0, FS)[0] for channel in channels]
    np.testing.assert_array_equal(together, alone)


def test_every_format_is_a_view_of_the_same_response() -> None:
    """To the byte, so that a format rendered alone equals the same one rendered with others."""
    highest = render(format="hoa3", highpass_hz=30.0).ir
    for name in ("mono", "foa", "hoa1", "hoa2"):
        alone = render(format=name, highpass_hz=30.0).ir
        np.testing.assert_array_equal(alone, highest[: len(alone)])


def test_bytes_do_not_depend_on_threads() -> None:
    places = [(1.0 + 0.1 * n, 1.5, 1.2) for n in range(8)]
    one_by_one = [render(source_m=place).ir.tobytes() for place in places]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda place: render(source_m=place).ir.tobytes(), places))
    assert together == one_by_one


def test_a_longer_response_begins_like_the_shorter() -> None:
    short, long = render(length_s=0.06).ir, render(length_s=0.11).ir
    n = short.shape[1] - 320  # low bands of later images, with zero phase, reach 10 ms ahead
    assert level_db(long[:, :n] - short[:, :n], short) < -60


def gram_like_rooms(n: int) -> list[tuple[Room, float, Vector, Vector]]:
    rng = np.random.default_rng(20)
    out = []
    for _ in range(n):
        size = (rng.uniform(3, 10), rng.uniform(3, 8), rng.uniform(2.4, 4))
        t60_s = rng.uniform(0.2, 0.5)
        walls = absorption_for_t60(
            size, [t60_s] * 7, OCTAVE_BANDS_HZ, AIR, rng.uniform(0.5, 1.5, 6)
        )
        while True:
            source, listener = (tuple(rng.uniform(0.3, np.array(size) - 0.3)) for _ in range(2))
            if math.dist(source, listener) > 1.0:
                break
        out.append((room_of(walls, size), t60_s, source, listener))
    return out


def test_measured_t60_is_the_requested() -> None:
    errors = []
    for room, t60_s, source, listener in gram_like_rooms(60):
        response = render(
            room,
            "mono",
            source_m=source,
            listener_m=listener,
            length_s=response_length_s(room, AIR),
            highpass_hz=30.0,
        )
        errors.append(abs(response.measured.rt60_broadband_s / t60_s - 1))
    assert np.median(errors) < 0.03
    assert np.percentile(errors, 95) < 0.10


def test_the_response_length_does_not_bias_t30() -> None:
    for room, _, source, listener in gram_like_rooms(6):
        length_s = response_length_s(room, AIR)
        short, long = (
            render(room, "mono", source_m=source, listener_m=listener, length_s=s, highpass_hz=30.0)
            for s in (length_s, 2 * length_s)
        )
        got, want = short.measured.rt60_broadband_s, long.measured.rt60_broadband_s
        assert got == pytest.approx(want, rel=0.01)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"source_m": (4.0, 1.0, 1.0)}, r"source_m = .* outside room test: x = 4 m is not inside"),
        ({"listener_m": (1.0, -1.0, 1.0)}, r"listener_m = .* y = -1 m"),
        ({"source_m": (math.nan, 1.0, 1.0)}, r"source_m = .*must be finite"),
        ({"source_m": LISTENER}, r"0 m apart; must be at least 0\.05 m"),
        ({"length_s": 0.001}, r"length_s = 0\.001 ends before the direct sound"),
        ({"sample_rate": 200}, r"sample_rate = 200 Hz is too low.*use more than 250 Hz"),
        ({"rotation": np.ones((3, 3))}, "orthonormal"),
        ({"highpass_hz": 9000.0}, r"highpass_hz = 9000; must be 0 \(none\) or lie below 8000 Hz"),
        ({"highpass_hz": -1.0}, "highpass_hz = -1"),
    ],
)
def test_bad_input_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        render(**changes)


def test_bands_that_are_no_octaves_are_refused() -> None:
    room = Room(
        id="thirds", size_m=(4, 3, 2.5), band_hz=(100.0, 125.0), absorption=((0.1, 0.1),) * 6
    )
    with pytest.raises(ValueError, match=r"room thirds: band_hz .* octave bands"):
        render(room)
