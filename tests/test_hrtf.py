"""Measured heads: the one that comes along, those of SOFA files, and the library of both."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click.testing
import numpy as np
import pytest
from head_helpers import RATE, apart_db, erb_levels_db, itd_us, rings, sphere_sofa, turned
from measured_helpers import Sofa

from scenesynth.cli import main
from scenesynth.data import data_root
from scenesynth.errors import ConfigError
from scenesynth.spatial.ambisonics import spherical_harmonics
from scenesynth.spatial.ears import diffuse_field_response, ear_responses
from scenesynth.spatial.head_grid import build_grid
from scenesynth.spatial.head_kernels import combine, locate
from scenesynth.spatial.head_measure import arrays_of, onsets, sphere_onset_s, tell_ears
from scenesynth.spatial.head_sofa import read_head_sofa
from scenesynth.spatial.heads import Card, add_head, head_ids, load_head, make_head, read_card
from scenesynth.spatial.hrtf import MeasuredHead, head_of
from scenesynth.spatial.sphere_head import SphereHead

N_FFT = 1024


@pytest.fixture(scope="module")
def kemar() -> MeasuredHead:
    head = load_head("kemar")
    assert isinstance(head, MeasuredHead)
    return head


@pytest.fixture(scope="session")
def hrtf_files(real_audio: Path) -> Path:
    if not (real_audio / "hrtf").is_dir():
        pytest.skip(f"needs HRTF sets in {real_audio / 'hrtf'}")
    return real_audio / "hrtf"


@pytest.fixture
def own_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCENESYNTH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hrtf"


def from_sofa(path: Path) -> MeasuredHead:
    sofa = read_head_sofa(path)
    return head_of(arrays_of(sofa, tell_ears(sofa))[0], "head")


def subset(head: MeasuredHead, rows: np.ndarray) -> MeasuredHead:
    return replace(
        head,
        directions=head.directions[rows],
        hrir=head.hrir[rows],
        delay_s=head.delay_s[rows],
    )


# --- the set that comes along ---


def test_the_head_that_comes_along_needs_no_h5py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    head = load_head("kemar")
    assert (head.sample_rate, len(head.directions), head.n_taps) == (44100, 710, 512)


def test_its_samples_are_the_originals(kemar: MeasuredHead, hrtf_files: Path) -> None:
    card, arrays = make_head(hrtf_files / "MIT_KEMAR_normal_pinna.sofa", "kemar")
    shipped = read_card(data_root() / "hrtf" / "kemar.yaml")
    assert card.sha256 == shipped.sha256
    original = read_head_sofa(hrtf_files / "MIT_KEMAR_normal_pinna.sofa")
    np.testing.assert_allclose(kemar.directions, original.directions, atol=1e-8)
    gained = original.responses * float(arrays["gain"])
    assert apart_db(kemar.hrir, gained) < -140


def test_its_card_says_what_it_is_and_may_be_used_for(kemar: MeasuredHead) -> None:
    folder = data_root() / "hrtf"
    card = read_card(folder / "kemar.yaml")
    assert "Gardner" in card.citation
    assert "no restrictions on use" in card.licence
    assert "no restrictions on use" in (folder / "kemar.licence.txt").read_text()
    assert card.symmetric
    assert card.lowest_elevation_deg == -40
    assert kemar.digest == card.sha256[:32]
    assert (folder / card.file).stat().st_size < 800_000


# --- interpolation ---


def test_a_measured_direction_gives_the_measurement(kemar: MeasuredHead) -> None:
    spectra = ear_responses(kemar, kemar.directions, N_FFT)
    lead = round(-kemar.start_s * kemar.sample_rate)
    found = np.roll(np.fft.irfft(spectra), lead, axis=2)[:, :, : kemar.n_taps]
    assert apart_db(found, kemar.hrir) < -120


def held_out_errors(head: MeasuredHead, seed: int) -> tuple[float, float]:
    """Mean error of a fifth of the directions from the others: dB per ERB band, and us."""
    order = np.random.default_rng(seed).permutation(len(head.directions))
    kept, left_out = np.split(order, [len(order) * 4 // 5])
    targets = head.directions[np.sort(left_out)]
    found = ear_responses(subset(head, np.sort(kept)), targets, 2048)
    measured = ear_responses(head, targets, 2048)
    levels = [erb_levels_db(x, head.sample_rate) for x in (found, measured)]
    delays = [itd_us(x, head.sample_rate) for x in (found, measured)]
    return float(np.abs(levels[0] - levels[1]).mean()), float(np.abs(delays[0] - delays[1]).mean())


def test_directions_between_measured_ones_are_heard_where_they_are(kemar: MeasuredHead) -> None:
    level_db, delay_us = held_out_errors(kemar, 0)
    assert level_db < 0.4
    assert delay_us < 5


def test_the_same_holds_for_a_set_of_the_whole_sphere(hrtf_files: Path) -> None:
    level_db, delay_us = held_out_errors(from_sofa(hrtf_files / "HRIR_L2702.sofa"), 0)
    assert level_db < 0.4
    assert delay_us < 5


def test_mirrored_directions_of_a_symmetric_head_give_mirrored_ears(kemar: MeasuredHead) -> None:
    directions = turned(200)
    found = ear_responses(kemar, directions, N_FFT)
    mirrored = ear_responses(kemar, directions * (1, -1, 1), N_FFT)
    np.testing.assert_array_equal(mirrored[:, ::-1], found)


@pytest.mark.parametrize("id", ["kemar", "sphere"])
def test_a_direction_sounds_the_same_in_any_company(id: str) -> None:
    head = load_head(id)
    directions = turned(37)
    together = ear_responses(head, directions, N_FFT)
    alone = [ear_responses(head, directions[n : n + 1], N_FFT)[0] for n in range(37)]
    np.testing.assert_array_equal(together, alone)
    assert ear_responses(head, np.empty((0, 3)), N_FFT).shape == (0, 2, N_FFT // 2 + 1)


def test_responses_change_steadily_with_direction(kemar: MeasuredHead) -> None:
    """Also across the hole below and over the edges of triangles."""
    azimuth, elevation = (
        np.radians(np.linspace(0, 720, 4000)),
        np.radians(np.linspace(90, -90, 4000)),
    )
    flat = np.cos(elevation)
    path = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=1)
    spectra = ear_responses(kemar, path, 512)[:, :, :200]
    steps = np.abs(np.diff(spectra, axis=0)).max(axis=(1, 2))
    assert steps.max() < 0.05 * np.abs(spectra).max()


def test_below_the_lowest_ring_the_hole_is_known_and_filled(kemar: MeasuredHead) -> None:
    directions = np.array([[0.0, 0.0, -1.0], [0.6, 0.0, -0.8], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert kemar.grid.surround(directions)[2].tolist() == [True, True, False, False]
    assert kemar.grid.missing_share == pytest.approx((1 - np.sin(np.radians(40))) / 2, abs=0.01)
    below = ear_responses(kemar, directions[:1], N_FFT)[0]
    np.testing.assert_allclose(below[0], below[1], atol=1e-6)
    ring = kemar.directions[:, 2] < -0.64
    level_db = 10 * np.log10((np.abs(below) ** 2).mean())
    around_db = 10 * np.log10(
        (np.abs(ear_responses(kemar, kemar.directions[ring], N_FFT)) ** 2).mean()
    )
    assert level_db == pytest.approx(around_db, abs=4)


def test_wrong_arguments_are_named(kemar: MeasuredHead) -> None:
    with pytest.raises(ValueError, match="length of 2"):
        ear_responses(kemar, [[2.0, 0, 0]], N_FFT)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        ear_responses(kemar, [1.0, 0, 0], N_FFT)
    with pytest.raises(ValueError, match="responses of 512 samples"):
        ear_responses(kemar, [[1.0, 0, 0]], 256)


def test_every_kernel_is_compiled_once() -> None:
    for head in (load_head("kemar"), load_head("kemar").at_rate(24000), SphereHead()):
        ear_responses(head, turned(2), 2048)
    assert (len(locate.signatures), len(combine.signatures)) == (1, 1)


# --- rate, time and level ---


@pytest.mark.parametrize("sample_rate", [16000, 24000, 48000])
def test_at_another_rate_the_spectra_are_the_same(kemar: MeasuredHead, sample_rate: int) -> None:
    other = kemar.at_rate(sample_rate)
    assert (other.sample_rate, other.digest) == (sample_rate, kemar.digest)
    freq_hz = np.arange(200, 0.9 * min(sample_rate, 44100) / 2, 200)

    def spectra(head: MeasuredHead) -> np.ndarray:
        time_s = head.start_s + np.arange(head.n_taps) / head.sample_rate
        turns = np.exp(-2j * np.pi * np.outer(time_s, freq_hz))
        return head.hrir[::24].astype(np.float64) @ turns

    assert apart_db(spectra(other), spectra(kemar)) < -65


def test_at_its_own_rate_a_head_is_itself(kemar: MeasuredHead) -> None:
    assert kemar.at_rate(44100) is kemar
    assert kemar.at_rate(24000) is kemar.at_rate(24000)


def test_sound_is_at_the_centre_of_the_head_at_time_0(kemar: MeasuredHead) -> None:
    mean_s = (kemar.delay_s.mean(axis=1) * kemar.grid.areas).sum() / (4 * np.pi)
    expected_s = sphere_onset_s(kemar.sample_rate)
    assert mean_s == pytest.approx(expected_s, abs=0.5 / kemar.sample_rate)
    in_front = kemar.delay_s[(kemar.directions @ (1, 0, 0)).argmax()]
    assert abs(in_front).max() < 1e-4


def test_the_level_in_a_diffuse_field_is_0_db(kemar: MeasuredHead) -> None:
    n_fft = 4096
    found = diffuse_field_response(kemar, n_fft)
    freq_hz = np.arange(n_fft // 2 + 1) * kemar.sample_rate / n_fft
    inside = (freq_hz >= 200) & (freq_hz <= 8000)
    level = np.average(found[inside] ** 2, weights=1 / freq_hz[inside])
    assert 10 * np.log10(level) == pytest.approx(0, abs=0.1)


def test_onsets_are_found_between_samples() -> None:
    n = np.arange(200)
    late = np.array([20.0, 20.25, 20.5])
    pulses = np.exp(-(((n - late[:, None]) / 2) ** 2))
    found = onsets(pulses, 1000)
    np.testing.assert_allclose(np.diff(found), 0.25e-3, atol=5e-6)


# --- the mesh of directions ---


@pytest.mark.parametrize("lowest_deg", [-80, -40])
def test_areas_cover_the_sphere_and_integrate_harmonics(lowest_deg: int) -> None:
    directions = rings(10, lowest_deg)
    grid = build_grid(directions)
    assert grid.areas.sum() == pytest.approx(4 * np.pi)
    if lowest_deg == -80:
        mean = grid.areas @ spherical_harmonics(directions, 2) / (4 * np.pi)
        np.testing.assert_allclose(mean, [1, *[0] * 8], atol=0.01)


def test_every_direction_lies_in_its_triangle() -> None:
    grid = build_grid(rings())
    directions = turned(2000)
    vertices, weights, _ = grid.surround(directions)
    assert (weights >= 0).all()
    found = (weights[:, :, None] * grid.vertices[vertices]).sum(axis=1)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(found, directions, atol=1e-12)


@pytest.mark.parametrize(
    ("directions", "problem"),
    [
        (rings()[:1], "1 directions that lie in a plane"),
        (rings(20, 0)[1:19], "18 directions that lie in a plane"),
        (turned(40) * (0.2, 1, 1) + (1.5, 0, 0), "leave one half of the sphere open"),
    ],
)
def test_directions_that_do_not_surround_the_head_are_refused(
    directions: np.ndarray, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        build_grid(directions / np.linalg.norm(directions, axis=1, keepdims=True))


# --- SOFA files ---


def test_a_measured_sphere_is_the_sphere(tmp_path: Path) -> None:
    head = from_sofa(sphere_sofa().write(tmp_path / "a.sofa"))
    targets = rings()
    found = ear_responses(head, targets, N_FFT)
    exact = ear_responses(SphereHead(sample_rate=RATE), targets, N_FFT)
    freq_hz = np.arange(N_FFT // 2 + 1) * RATE / N_FFT
    match = np.sum(found[:, :, :100] * np.conj(exact[:, :, :100]), axis=(0, 1))
    late_s = -np.polyfit(freq_hz[1:100], np.unwrap(np.angle(match))[1:], 1)[0] / (2 * np.pi)
    assert abs(late_s) < 0.6 / RATE  # the origin is a whole sample
    assert apart_db(found * np.exp(2j * np.pi * freq_hz * late_s), exact) < -25


def swap_channels(sofa: Sofa) -> None:
    sofa.set("Data.IR", sofa.variables["Data.IR"][0][:, ::-1])


def swap_receivers(sofa: Sofa) -> None:
    sofa.place("ReceiverPosition", sofa.variables["ReceiverPosition"][0][::-1])


def test_the_left_ear_is_the_one_that_leads_on_the_left(tmp_path: Path) -> None:
    plain = from_sofa(sphere_sofa().write(tmp_path / "plain.sofa"))
    mirrored = sphere_sofa()
    swap_channels(mirrored)
    sofa = read_head_sofa(mirrored.write(tmp_path / "mirrored.sofa"))
    ears = tell_ears(sofa)
    assert ears.left_channel == 1
    assert "channels exchanged" in ears.how
    assert ears.how.endswith("against the header")
    np.testing.assert_array_equal(head_of(arrays_of(sofa, ears)[0], "x").hrir, plain.hrir)


def test_a_header_that_is_wrong_about_the_ears_is_noted(tmp_path: Path) -> None:
    wrong = sphere_sofa()
    swap_receivers(wrong)
    ears = tell_ears(read_head_sofa(wrong.write(tmp_path / "a.sofa")))
    assert ears.left_channel == 0
    assert ears.how.endswith("against the header")


def same_ears(sofa: Sofa) -> None:
    sofa.set("Data.IR", np.repeat(sofa.variables["Data.IR"][0][:, :1], 2, axis=1))


def in_front_only(sofa: Sofa) -> None:
    places = sofa.variables["SourcePosition"][0]
    kept = np.abs(places[:, 1]) < 0.5
    sofa.place("SourcePosition", places[kept])
    sofa.set("Data.IR", sofa.variables["Data.IR"][0][kept])


def scrambled(sofa: Sofa) -> None:
    order = np.random.default_rng(3).permutation(len(rings()))
    sofa.set("Data.IR", sofa.variables["Data.IR"][0][order])


@pytest.mark.parametrize("spoil", [same_ears, in_front_only, scrambled])
def test_ears_that_cannot_be_told_apart_are_refused(
    spoil: Callable[[Sofa], None], tmp_path: Path
) -> None:
    sofa = sphere_sofa()
    spoil(sofa)
    with pytest.raises(ConfigError, match="the ears cannot be told apart"):
        tell_ears(read_head_sofa(sofa.write(tmp_path / "a.sofa")))


def test_delays_of_the_header_are_delays_of_the_responses(tmp_path: Path) -> None:
    plain = sphere_sofa()
    late = sphere_sofa()
    delay = np.tile([3.0, 5.0], (len(rings()), 1))
    late.set("Data.Delay", delay)
    found = read_head_sofa(late.write(tmp_path / "a.sofa")).responses
    given = read_head_sofa(plain.write(tmp_path / "b.sofa")).responses
    n = given.shape[2]
    np.testing.assert_allclose(found[:, 0, :n], given[:, 0], atol=1e-12)
    np.testing.assert_allclose(found[:, 1, 2 : n + 2], given[:, 1], atol=1e-12)


def test_of_several_distances_the_farthest_counts(tmp_path: Path) -> None:
    sofa = sphere_sofa()
    places, responses = (sofa.variables[name][0] for name in ("SourcePosition", "Data.IR"))
    sofa.place("SourcePosition", np.concatenate([places / 4, places]))
    sofa.set("Data.IR", np.concatenate([responses * 9, responses]))
    read = read_head_sofa(sofa.write(tmp_path / "a.sofa"))
    arrays, notes = arrays_of(read, tell_ears(read))
    plain = from_sofa(sphere_sofa().write(tmp_path / "b.sofa"))
    np.testing.assert_array_equal(head_of(arrays, "x").hrir, plain.hrir)
    assert f"{len(places)} measurements" in notes[0]


def test_responses_are_kept_with_16_bits_below_each_peak(tmp_path: Path) -> None:
    read = read_head_sofa(sphere_sofa().write(tmp_path / "a.sofa"))
    arrays, _ = arrays_of(read, tell_ears(read))
    assert apart_db(head_of(arrays, "x").hrir, read.responses * float(arrays["gain"])) < -75


def drop(name: str) -> Callable[[Sofa], None]:
    return lambda sofa: sofa.variables.pop(name) and None


def put(name: str, value: object, **attributes: str) -> Callable[[Sofa], None]:
    return lambda sofa: sofa.set(name, value, **attributes)


def attribute(name: str, value: str) -> Callable[[Sofa], None]:
    return lambda sofa: sofa.attributes.update({name: value})


def hole(value: float) -> Callable[[Sofa], None]:
    def spoil(sofa: Sofa) -> None:
        data = sofa.variables["Data.IR"][0]
        data[7, 1] = value

    return spoil


def one_receiver(sofa: Sofa) -> None:
    sofa.set("Data.IR", sofa.variables["Data.IR"][0][:, :1])


SPOILT = {
    "another convention": (attribute("SOFAConventions", "SingleRoomSRIR"), "SingleRoomSRIR; heads"),
    "no convention": (attribute("SOFAConventions", ""), "is HDF5 but no SOFA file"),
    "one receiver": (one_receiver, r"expected \[measurements, 2 ears, samples\]"),
    "no responses": (drop("Data.IR"), "has no Data.IR"),
    "no positions": (drop("SourcePosition"), "has no SourcePosition"),
    "no unit": (put("SourcePosition", rings()), "of no type in no unit"),
    "radians": (
        put("SourcePosition", rings(), Type="spherical", Units="radian, radian, metre"),
        "spherical in radian, radian, metre",
    ),
    "rate without unit": (put("Data.SamplingRate", [48000]), "Data.SamplingRate is in no unit"),
    "two rates": (put("Data.SamplingRate", [8000, 9000], Units="hertz"), "expected one whole"),
    "not finite": (hole(np.nan), r"Data.IR\[7\] holds values that are not finite; 1 of"),
    "silent": (hole(0.0), r"Data.IR\[7\] is silent at an ear; 1 of"),
    "a turned listener": (put("ListenerView", [[0, 1, 0]]), "only a listener that looks along x"),
    "a source in the head": (put("SourcePosition", 0 * rings()), "is the listener's own place"),
    "a wild delay": (put("Data.Delay", [[0, 1e9]]), "no head is so large"),
    "a room": (put("Data.IR", np.ones((len(rings()), 2, 3000))), "are a room's, not a head's"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_file_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    spoil, reason = SPOILT[name]
    sofa = sphere_sofa()
    spoil(sofa)
    with pytest.raises(ConfigError, match=reason):
        read_head_sofa(sofa.write(tmp_path / "a.sofa"))


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = sphere_sofa().write(tmp_path / "a.sofa")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ConfigError, match="is no SOFA file, or a damaged one"):
        read_head_sofa(path)
    with pytest.raises(ConfigError, match="no such file"):
        read_head_sofa(tmp_path / "b.sofa")


# --- the library ---


def added(folder: Path, tmp_path: Path, id: str = "own") -> Card:
    card, arrays = make_head(sphere_sofa().write(tmp_path / "own.sofa"), id, licence="CC0")
    return read_card(add_head(card, arrays, folder))


def test_an_added_head_is_found_by_id_and_digest(own_library: Path, tmp_path: Path) -> None:
    card = added(own_library, tmp_path)
    assert head_ids() == ("kemar", "own", "sphere")
    head = load_head("own")
    assert load_head("own", head.digest) is head
    assert (head.digest, card.licence) == (card.sha256[:32], "CC0")
    with pytest.raises(ConfigError, match="at hand only with digest"):
        load_head("own", "0" * 32)


def test_folders_of_the_environment_are_looked_through(
    own_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added(tmp_path / "shared", tmp_path)
    assert "own" not in head_ids()
    monkeypatch.setenv("SCENESYNTH_HRTF", str(tmp_path / "shared"))
    assert load_head("own").id == "own"


def test_the_same_set_again_is_no_change_and_another_is_refused(
    own_library: Path, tmp_path: Path
) -> None:
    assert added(own_library, tmp_path) == added(own_library, tmp_path)
    card, arrays = make_head(tmp_path / "own.sofa", "own")
    with pytest.raises(ConfigError, match="is another set already"):
        add_head(replace(card, sha256="0" * 64), arrays, own_library)


@pytest.mark.parametrize("id", ["", "sphere", "a/b", "A", "-x", ".x"])
def test_ids_that_cannot_be_are_refused(id: str, own_library: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^id "):
        added(own_library, tmp_path, id)


def test_an_unknown_head_is_answered_with_the_known_ones(own_library: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'kemar'\?; heads: kemar, sphere"):
        load_head("kemarr")


def test_a_damaged_set_is_refused(own_library: Path, tmp_path: Path) -> None:
    card = added(own_library, tmp_path)
    file = own_library / card.file
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="cannot be read"):
        load_head("own")
    other, arrays = make_head(tmp_path / "own.sofa", "other")
    arrays["lead"] = arrays["lead"] + 1
    add_head(other, arrays, own_library)
    with pytest.raises(ConfigError, match="is damaged, or not the set of its card"):
        load_head("other")


# --- the commands ---


def call(*arguments: object) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, ["hrtf", *map(str, arguments)])


def test_list_names_every_head(own_library: Path, tmp_path: Path) -> None:
    added(own_library, tmp_path)
    (own_library / "broken.yaml").write_text("id: 3")
    text = call("list").stdout
    for line in ("kemar   MIT KEMAR", "own ", "sphere  a rigid sphere", "broken  cannot be used"):
        assert f"  {line}" in text
    heads = json.loads(call("list", "--json").stdout)["heads"]
    assert [head["id"] for head in heads] == ["kemar", "own", "sphere"]


def test_show_gives_numbers_and_a_picture(tmp_path: Path) -> None:
    result = call("show", "kemar", "--png", tmp_path / "a.png")
    assert result.exit_code == 0
    assert "18 % of the sphere is missing (elevations -90 to -40" in result.stdout
    assert "exact mirror images" in result.stdout
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    plain = json.loads(call("show", "sphere", "--json").stdout)
    left = plain["azimuth_deg"].index(90)
    assert plain["itd_us"][left] == pytest.approx(608, abs=20)
    assert plain["ild_db"][left] > 10


@pytest.mark.parametrize("id", ["kemar", "sphere"])
def test_check_passes_what_comes_along(id: str) -> None:
    result = call("check", id)
    assert result.exit_code == 0
    assert result.stdout.endswith(f"{id}: passed\n")


def test_check_notes_mirrored_channels(tmp_path: Path) -> None:
    sofa = sphere_sofa()
    swap_channels(sofa)
    result = call("check", sofa.write(tmp_path / "a.sofa"))
    assert result.exit_code == 0
    assert "(channels exchanged), against the header" in result.stdout


def test_check_names_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    upper = rings(20, 20)
    result = call("check", sphere_sofa(upper).write(tmp_path / "a.sofa"))
    assert result.exit_code == 1
    assert "FAILED coverage: " in result.stdout
    flat = sphere_sofa(rings(20, 0)[1:19])
    result = call("check", flat.write(tmp_path / "b.sofa"))
    assert result.exit_code == 1
    assert "18 directions that lie in a plane" in result.stdout
    (tmp_path / "c.sofa").write_bytes(b"nothing")
    assert call("check", tmp_path / "c.sofa").exit_code == 1


def test_check_of_the_surrey_head_finds_it_mirrored(real_audio: Path) -> None:
    path = real_audio / "rir" / "UniS_Anechoic_BRIR_48k.sofa"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    result = call("check", path)
    assert result.exit_code == 1
    assert "channel 1 is the left ear" in result.stdout
    assert "37 directions that lie in a plane" in result.stdout


def test_check_finds_a_damaged_set(own_library: Path, tmp_path: Path) -> None:
    card = added(own_library, tmp_path)
    (own_library / card.file).write_bytes(b"")
    result = call("check", "own")
    assert result.exit_code == 1
    assert "FAILED" in result.stdout


def test_check_of_an_unknown_id_is_a_wrong_command() -> None:
    result = call("check", "kemarr")
    assert result.exit_code == 2
    assert "did you mean 'kemar'?" in result.stderr


def test_add_puts_a_file_into_the_library(own_library: Path, tmp_path: Path) -> None:
    path = sphere_sofa().write(tmp_path / "My Head.sofa")
    licence = tmp_path / "licence.txt"
    licence.write_text("free")
    result = call("add", path, "--licence", "CC BY 4.0", "--licence-file", licence)
    assert result.exit_code == 0
    assert result.stdout.startswith("added my-head\n")
    assert (own_library / "my-head.licence.txt").read_text() == "free"
    assert "CC BY 4.0" in call("show", "my-head").stdout
    assert call("check", "my-head").exit_code == 0


def test_add_refuses_what_check_fails(own_library: Path, tmp_path: Path) -> None:
    result = call("add", sphere_sofa(rings(20, 20)).write(tmp_path / "a.sofa"))
    assert result.exit_code == 2
    assert "of the sphere is missing" in result.stderr
    assert not own_library.exists()
