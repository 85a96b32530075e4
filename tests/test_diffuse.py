"""Diffuse noise as it is heard: powers, coherences, levels, and what decides every sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
from corpus_helpers import write
from measured_helpers import LISTENER as MEASURED_LISTENER
from measured_helpers import SOURCES
from numpy.typing import NDArray
from test_measured import room_of, spec_in

from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ClipError, ConfigError, ContentError
from scenesynth.render.diffuse import (
    MOST_SIGNALS,
    coloured_noise,
    looped,
    signal_starts,
)
from scenesynth.render.renderer import render_scene
from scenesynth.room.model import Air, Room
from scenesynth.scene.parts import clip_reference
from scenesynth.scene.spec import (
    ClipRef,
    Colour,
    DiffuseField,
    Emitter,
    Event,
    Keyframe,
    Origin,
    Role,
    SceneSpec,
    render_key,
)
from scenesynth.spatial.array_response import diffuse_covariance
from scenesynth.spatial.arrays import load_array
from scenesynth.spatial.ears import ear_responses
from scenesynth.spatial.formats import parse_format
from scenesynth.spatial.grids import sphere_grid
from scenesynth.spatial.heads import load_head
from scenesynth.store.frames import frame_table
from scenesynth.store.schema import Scene, events_schema, scenes_schema, table_of

RATE = 16_000
LISTENER = Keyframe(position_m=(3.0, 2.5, 1.5), yaw_deg=40.0)
BOX = Room(
    id="box",
    size_m=(6.0, 5.0, 3.0),
    band_hz=tuple(125.0 * 2**n for n in range(6)),
    absorption=((0.5,) * 6,) * 6,
)


@dataclass(frozen=True)
class Clips:
    """Clips by id."""

    samples: Mapping[str, NDArray[np.float32]]

    def load(
        self, ref: ClipRef, sample_rate: int, start: int = 0, stop: int | None = None
    ) -> NDArray[np.float32]:
        assert sample_rate == RATE
        return self.samples[ref.id][start:stop]


def noise(seed: int, seconds: float, level: float = 0.1) -> NDArray[np.float32]:
    n = round(seconds * RATE)
    return (level * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)


def gap(seconds: float) -> NDArray[np.float32]:
    """20 s of noise with a silence."""
    signal = noise(8, 20.0)
    signal[RATE : RATE + round(seconds * RATE)] = 0
    return signal


CLIPS = Clips(
    {
        "voice": noise(1, 0.8),
        "hum": noise(2, 2.0),
        "anti-hum": -noise(2, 2.0),
        "bed": noise(3, 6.0),
        "long bed": noise(4, 40.0),
        "cut short": noise(3, 5.9),
        "broken": np.full(6 * RATE, np.nan, np.float32),
        "gap": gap(3.0),
        "silence": np.zeros(6 * RATE, np.float32),
    }
)


def reference(clip: str) -> ClipRef:
    return ClipRef(corpus="noise", id=clip, digest=f"digest of {clip}", labels=("rain",))


def coloured(colour: Colour = "white", **fields: Any) -> DiffuseField:
    return DiffuseField(**({"id": "air", "colour": colour, "seed": 7, "duration_s": 1.0} | fields))


def played(clip: str | ClipRef = "bed", length_s: float = 6.0, **fields: Any) -> DiffuseField:
    ref = reference(clip) if isinstance(clip, str) else clip
    values = {"id": "bed", "seed": 7, "length_s": length_s, "duration_s": 1.0} | fields
    return DiffuseField(clip=ref, **values)


def emitter(clip: str, role: Role, onset_s: float = 0.1) -> Emitter:
    duration_s = min(len(CLIPS.samples[clip]) / RATE, 0.8)
    event = Event(
        role=role,
        clip=reference(clip),
        onset_s=onset_s,
        duration_s=duration_s,
        active_start_s=0.0,
        active_end_s=duration_s,
    )
    place = (1.0, 4.0, 1.2) if role == "target" else (5.0, 1.0, 2.0)
    return Emitter(id=role, keyframes=(Keyframe(position_m=place),), events=(event,))


TALKER, FAN = emitter("voice", "target"), emitter("hum", "noise", 0.0)


def scene(*parts: Emitter | DiffuseField, seconds: float = 1.0, **fields: Any) -> SceneSpec:
    values: dict[str, Any] = {"listener": (LISTENER,), "response_s": 0.1} | fields
    return SceneSpec(
        origin=Origin(recipe="test", index=7),
        sample_rate=RATE,
        n_samples=round(seconds * RATE),
        room=BOX,
        air=Air(),
        emitters=tuple(part for part in parts if isinstance(part, Emitter)),
        diffuse=tuple(part for part in parts if isinstance(part, DiffuseField)),
        **values,
    )


def correlations(signals: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Powers, and correlation coefficients without those of signals with themselves."""
    covariance = np.cov(signals.astype(np.float64), bias=True)
    power = np.diag(covariance)
    return power, covariance / np.sqrt(np.outer(power, power)) - np.eye(len(power))


@pytest.mark.parametrize(
    "item",
    [coloured("white"), coloured("pink"), played(), played("long bed", 40.0)],
    ids=["white", "pink", "short clip", "long clip"],
)
def test_first_order_channels_have_a_third_of_the_pressure_and_no_correlation(
    item: DiffuseField,
) -> None:
    spec = scene(replace(item, duration_s=20.0), seconds=20)
    power, off = correlations(render_scene(spec, CLIPS).audio)
    np.testing.assert_allclose(power[1:] / power[0], 1 / 3, rtol=0.05)
    assert np.abs(off).max() < 0.03


def test_every_degree_has_its_share_of_power() -> None:
    spec = scene(coloured(duration_s=8.0), seconds=8)
    power, off = correlations(render_scene(spec, CLIPS, format="hoa7").audio)
    degree = np.floor(np.sqrt(np.arange(64)))
    np.testing.assert_allclose(power * (2 * degree + 1), 1.0, rtol=0.02)
    assert np.abs(off).max() < 0.02


def test_noise_is_another_signal_in_every_channel_and_scene() -> None:
    """Others play one signal from all channels, or the same noise in every scene."""
    for item in (coloured("pink"), played()):
        one, two = (render_scene(scene(replace(item, seed=seed)), CLIPS).audio for seed in (1, 2))
        _, off = correlations(np.concatenate([one, two]))
        assert np.abs(off).max() < 0.15


def test_parts_of_a_real_recording_are_nearly_independent(real_audio: Path) -> None:
    """Outdoor ambience of 10 s, every channel of a scene of 10 s being all of it, shifted."""
    corpora = Corpora.open(noise=[real_audio / "ambience_scikit_maad"])
    long = [clip for clip in corpora["noise"].clips if clip.duration_s > 9.9]
    assert len(long) > 10
    for clip in long[:4]:
        start_s = np.ceil(clip.active_start_s * RATE) / RATE
        item = played(
            clip=clip_reference("noise", clip),
            start_s=start_s,
            length_s=np.floor((clip.active_end_s - start_s) * RATE) / RATE,
            duration_s=10.0,
        )
        power, off = correlations(render_scene(scene(item, seconds=10), corpora).audio)
        np.testing.assert_allclose(power[1:] / power[0], 1 / 3, rtol=1e-3)
        assert np.abs(off).max() < 0.15


@pytest.fixture(scope="module")
def minute() -> Scene:
    """White noise for a minute: to ears, and to microphones."""
    spec = scene(coloured(duration_s=60.0), seconds=60)
    return render_scene(spec, CLIPS, formats=("binaural", "mic"))


def exact(name: str, freq_hz: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Covariance of a receiver in an isotropic field. Shape: [channels, channels, f]."""
    if name == "mic":
        return diffuse_covariance(load_array("mic"), freq_hz, Air().speed_of_sound_mps)
    directions, weights = sphere_grid(20)
    head = load_head("kemar").at_rate(RATE)
    fine = 4
    ears = ear_responses(head, directions, fine * 2 * (len(freq_hz) - 1))[..., ::fine]
    return np.einsum("ncf,n,ndf->cdf", ears, weights, ears.conj(), optimize=True)


@pytest.mark.parametrize("name", ["binaural", "mic"])
def test_coherences_and_levels_are_those_of_theory(minute: Scene, name: str) -> None:
    audio = minute.audio_by_format[name].astype(np.float64)
    # scipy's csd(x, y) is conj(X) Y.
    freq_hz, found = scipy.signal.csd(audio[None], audio[:, None], fs=RATE, nperseg=256)
    expected = exact(name, freq_hz)
    judged = (freq_hz >= 200) & (freq_hz <= 0.9 * RATE / 2)
    levels, true_levels = (np.einsum("ccf->cf", c[..., judged]).real for c in (found, expected))
    coherence, true_coherence = (
        c[..., judged] / np.sqrt(level[:, None] * level)
        for c, level in ((found, levels), (expected, true_levels))
    )
    assert np.abs(coherence - true_coherence).max() < 0.05
    level_db = 10 * np.log10(levels * RATE / 2 / true_levels)
    assert np.abs(level_db).max() < 0.5


@pytest.mark.parametrize(
    ("colour", "slope_db"), [("white", 0.0), ("pink", -3.01), ("brown", -6.02)]
)
def test_colours_have_their_slopes_and_unit_power(colour: Colour, slope_db: float) -> None:
    signal = coloured_noise(colour, 3, 0, 30 * RATE, RATE).astype(np.float64)
    assert np.mean(signal**2) == pytest.approx(1.0, rel=0.05)
    freq_hz, power = scipy.signal.welch(signal, RATE, nperseg=4096)
    octaves = [power[(freq_hz >= f) & (freq_hz < 2 * f)].mean() for f in 100 * 2.0 ** np.arange(6)]
    np.testing.assert_allclose(np.diff(10 * np.log10(octaves)), slope_db, atol=0.4)
    assert power[freq_hz < 8].max() < 0.02 * power.max()


def test_coloured_noise_is_gaussian() -> None:
    signal = coloured_noise("white", 3, 0, 10 * RATE, RATE).astype(np.float64)
    assert np.mean(signal**4) == pytest.approx(3.0, abs=0.1)
    assert np.mean(signal**3) == pytest.approx(0.0, abs=0.05)


def test_signals_of_a_clip_begin_far_apart() -> None:
    for seed in range(40):
        starts = signal_starts(seed, 5 * RATE - round(0.1 * RATE)) / RATE
        for n_signals, least_s in ((4, 1.17), (25, 0.13), (MOST_SIGNALS, 0.05)):
            places = np.sort(starts[:n_signals])
            apart = np.diff(np.append(places, places[0] + 4.9))
            assert apart.min() > least_s


def test_a_loop_goes_on_where_it_ends() -> None:
    part = np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE).astype(np.float32)
    loop = looped(part, 800)
    assert len(loop) == RATE - 800
    assert np.abs(np.diff(np.append(loop, loop[0]))).max() < 0.06
    assert np.array_equal(loop[800:], part[800 : RATE - 800])
    hiss = looped(noise(5, 4.0), 800)
    assert np.mean(hiss[:800] ** 2) == pytest.approx(np.mean(hiss[800:] ** 2), rel=0.2)


FORMATS = ("mono", "foa", "hoa2", "binaural", "mic")


@pytest.mark.parametrize("item", [coloured("brown"), played()], ids=["colour", "clip"])
def test_formats_together_are_those_alone(item: DiffuseField) -> None:
    spec = scene(TALKER, FAN, replace(item, ratio_db=3.0, fade_in_s=0.1), snr_db=6.0)
    together = render_scene(spec, CLIPS, formats=FORMATS)
    for name in FORMATS:
        alone = render_scene(spec, CLIPS, format=name)
        assert alone.audio.tobytes() == together.audio_by_format[name].tobytes()
        assert alone.events == together.events
    again = render_scene(spec, CLIPS, formats=FORMATS[::-1])
    for name in FORMATS:
        assert again.audio_by_format[name].tobytes() == together.audio_by_format[name].tobytes()


def parts_of_the_pressure(spec: SceneSpec) -> dict[str, NDArray[np.float64]]:
    """Each part's pressure at its final gain, by rendering it alone."""
    rendered = render_scene(spec, CLIPS)
    whole = rendered.audio[0].astype(np.float64)
    found = {}
    for row, item in zip(rendered.events, (*spec.emitters, *spec.diffuse), strict=True):
        if isinstance(item, DiffuseField):
            alone = scene(replace(item, gain=row["gain"], ratio_db=None))
        else:
            alone = scene(replace(item, events=(replace(item.events[0], gain=row["gain"]),)))
        found[row["emitter"]] = render_scene(alone, CLIPS).audio[0].astype(np.float64)
    assert np.abs(sum(found.values()) - whole).max() < 1e-4 * np.abs(whole).max()
    return found


@pytest.mark.parametrize("item", [coloured("pink"), played(onset_s=0.2)], ids=["colour", "clip"])
@pytest.mark.parametrize("ratio_db", [-6.0, 0.0, 9.5])
def test_one_snr_holds_for_all_noise_and_the_ratio_inside_it(
    item: DiffuseField, ratio_db: float
) -> None:
    spec = scene(TALKER, FAN, replace(item, ratio_db=ratio_db), snr_db=4.0)
    parts = parts_of_the_pressure(spec)
    energy = {name: float(np.sum(part**2)) for name, part in parts.items()}
    ratio = 10 * math.log10(energy[item.id] / energy["noise"])
    assert ratio == pytest.approx(ratio_db, abs=0.05)
    rendered = render_scene(spec, CLIPS)
    assert rendered.row["snr_achieved_db"] == pytest.approx(4.0, abs=0.05)
    start = round(min(e["wet_onset_s"] for e in rendered.events if e["role"] == "noise") * RATE)
    stop = round(max(e["wet_offset_s"] for e in rendered.events if e["role"] == "noise") * RATE)
    signal, other = (
        float(np.sum(part[start:stop] ** 2))
        for part in (parts["target"], parts["noise"] + parts[item.id])
    )
    assert 10 * math.log10(signal / other) == pytest.approx(4.0, abs=0.05)


def test_diffuse_noise_alone_has_the_snr() -> None:
    spec = scene(TALKER, coloured("pink"), snr_db=11.0)
    rendered = render_scene(spec, CLIPS, formats=("foa", "binaural"))
    assert rendered.row["snr_achieved_db"] == pytest.approx(11.0, abs=0.05)
    assert rendered.row["n_noise"] == 1
    assert rendered.events[0]["local_snr_db"] is not None
    alone = scene(TALKER)
    left = rendered.audio_by_format["foa"][0] - render_scene(alone, CLIPS).audio[0]
    energies = [
        np.sum(np.square(x, dtype=float)) for x in (render_scene(alone, CLIPS).audio[0], left)
    ]
    assert 10 * math.log10(energies[0] / energies[1]) == pytest.approx(11.0, abs=0.05)


def test_a_field_without_a_ratio_keeps_its_level() -> None:
    rendered = render_scene(scene(FAN, coloured(gain=0.01)), CLIPS)
    assert rendered.events[1]["level_db"] == pytest.approx(-40.0, abs=0.2)
    assert rendered.events[1]["gain"] == pytest.approx(0.01)


def test_a_field_lasts_as_long_as_it_says_and_fades() -> None:
    item = coloured(onset_s=0.25, duration_s=0.5, fade_in_s=0.1, fade_out_s=0.2)
    for name in ("foa", "binaural"):
        audio = render_scene(scene(item), CLIPS, format=name).audio
        assert not audio[:, : RATE // 4].any()
        assert not audio[:, 3 * RATE // 4 :].any()
    (row,) = render_scene(scene(item), CLIPS).events
    assert row["wet_onset_s"] == 0.25
    assert 0.7 < row["wet_offset_s"] <= 0.75
    assert row["frame_start"] in (2, 3)
    late = coloured(onset_s=0.9, duration_s=5.0)
    assert render_scene(scene(late), CLIPS).events[0]["wet_offset_s"] == 1.0


def test_a_turn_of_the_listener_changes_nothing() -> None:
    turned = (replace(LISTENER, yaw_deg=-100.0, pitch_deg=20.0),)
    walks = (LISTENER, replace(LISTENER, time_s=1.0, position_m=(3.5, 2.5, 1.5)))
    one, *others = (
        render_scene(scene(coloured(), listener=way), CLIPS).audio.tobytes()
        for way in ((LISTENER,), turned, walks)
    )
    assert others == [one, one]


def test_ears_in_a_measured_room_hear_the_field_in_the_order_of_the_room() -> None:
    measured = spec_in(room_of(), SOURCES[0], MEASURED_LISTENER, sample_rate=RATE, n_samples=RATE)
    spec = replace(measured, emitters=(), diffuse=(coloured(),))
    found = render_scene(spec, CLIPS, formats=("foa", "binaural"))
    box = render_scene(scene(coloured()), CLIPS, formats=("foa", "binaural"))
    assert np.array_equal(found.audio_by_format["foa"], box.audio_by_format["foa"])
    levels = [np.std(one.audio_by_format["binaural"]) for one in (found, box)]
    assert levels[0] == pytest.approx(levels[1], rel=0.05)


def test_rows_say_what_a_field_is_and_leave_directions_empty() -> None:
    spec = scene(TALKER, played(), coloured("pink", id="hiss"), snr_db=3.0)
    rendered = render_scene(spec, CLIPS)
    _, bed, hiss = rendered.events
    assert [bed["emitter"], bed["role"], bed["clip"], bed["labels"]] == [
        *("bed", "noise", "bed"),
        ["rain"],
    ]
    assert [hiss["emitter"], hiss["clip"], hiss["caption"]] == ["hiss", None, "pink noise"]
    for row in (bed, hiss):
        for name in ("azimuth_start_deg", "distance_end_m", "heard", "trajectory", "drr_db"):
            assert row[name] is None
        assert row["level_db"] is not None
        assert row["local_snr_db"] is None
    table = table_of(rendered.events, events_schema())
    assert table["elevation_start_deg"].null_count == 2
    table_of([rendered.row | {"gain_foa": 1.0}], scenes_schema(["foa"]))
    assert rendered.row["drr_db"] is not None
    labels = frame_table(table.to_pylist(), spec.n_samples, RATE)
    assert labels.active[1:].all()
    assert np.isnan(labels.azimuth_deg[1:]).all()
    assert np.isnan(labels.distance_m[1:]).all()
    assert np.isfinite(labels.azimuth_deg[0, labels.active[0]]).all()


def test_a_scene_of_nothing_but_diffuse_noise_has_no_acoustics() -> None:
    rendered = render_scene(scene(coloured()), CLIPS)
    table = table_of([rendered.row | {"gain_foa": 1.0}], scenes_schema(["foa"]))
    assert table["rt60_broadband_s"].to_pylist() == table["snr_achieved_db"].to_pylist() == [None]


def test_the_render_key_follows_what_is_heard_and_nothing_else() -> None:
    foa = parse_format("foa")
    spec = scene(TALKER, FAN, played(ratio_db=0.0))

    def key(**changes: Any) -> str:
        return render_key(replace(spec, diffuse=(replace(spec.diffuse[0], **changes),)), foa)

    renamed = replace(reference("bed"), id="other/bed", labels=("hail",), caption="rain")
    assert key(id="other", clip=renamed) == render_key(spec, foa)
    others = [
        key(seed=8),
        key(gain=2.0),
        key(ratio_db=1.0),
        key(clip=replace(reference("bed"), digest="another")),
        key(clip=None, length_s=0.0, colour="pink"),
        key(clip=None, length_s=0.0, colour="white"),
        render_key(replace(spec, diffuse=()), foa),
    ]
    assert len({*others, render_key(spec, foa)}) == len(others) + 1


def test_specs_from_before_there_was_diffuse_noise_are_read() -> None:
    plain = scene(TALKER).to_json()
    assert '"diffuse":[],' in plain
    assert SceneSpec.from_json(plain.replace('"diffuse":[],', "")) == scene(TALKER)


@pytest.mark.parametrize("item", [coloured("brown", gain=0.5), played(ratio_db=2.5)])
def test_a_field_round_trips_through_json(item: DiffuseField) -> None:
    spec = scene(FAN, item)
    assert SceneSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": None}, "must have a clip or a colour"),
        ({"clip": reference("bed"), "length_s": 9.0}, "and not both"),
        ({"colour": None, "clip": reference("bed"), "length_s": 4.0}, r"length_s = 4\.0.*5 s"),
        ({"length_s": 4.0}, "parts of a clip; leave them out"),
        ({"seed": -1}, "may not be negative"),
        ({"gain": 0.0}, "gain = 0.0; both must be positive"),
    ],
)
def test_impossible_fields_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coloured(**changes)


def test_a_field_has_to_begin_in_the_scene_and_to_have_what_it_is_relative_to() -> None:
    with pytest.raises(ValueError, match=r"diffuse\[0\]\.onset_s = 1\.0; must lie before"):
        scene(coloured(onset_s=1.0))
    with pytest.raises(ValueError, match=r"diffuse\[0\]\.ratio_db = 3\.0 is relative to"):
        scene(TALKER, coloured(ratio_db=3.0))
    with pytest.raises(ConfigError, match=r"diffuse\[0\]\.colour.*'violet'"):
        SceneSpec.from_json(scene(coloured()).to_json().replace('"white"', '"violet"'))


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (played("cut short"), ClipError, r"clip cut short of corpus noise ends at 5\.9"),
        (played("broken"), ClipError, "field bed: clip broken .* not finite"),
        (played("gap", 20.0), ContentError, r"silent for 1 s from \d\.\d\d s on"),
        (played("silence"), ContentError, "field bed: its clip is silent"),
    ],
)
def test_clips_that_no_field_can_be_made_of_are_named(
    item: DiffuseField, error: type[Exception], message: str
) -> None:
    for name in ("mono", "hoa4"):
        with pytest.raises(error, match=message):
            render_scene(scene(item), CLIPS, format=name)


def test_a_clip_that_is_gone_or_damaged_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "rain" / "bed.wav", noise(3, 6.0))
    write(tmp_path / "rain" / "other.wav", noise(4, 6.0))
    corpora = Corpora.open(sources=[tmp_path], noise=[tmp_path])
    clip = clip_reference("noise", corpora["noise"].get("rain/bed.wav"))
    gone = replace(clip, id="rain/none.wav")
    with pytest.raises(ConfigError, match=r"corpus noise: no clip 'rain/none\.wav'"):
        render_scene(scene(replace(played(), clip=gone)), corpora)
    changed = replace(clip, digest="of other samples")
    with pytest.raises(ClipError, match="was made from other samples"):
        render_scene(scene(replace(played(), clip=changed)), corpora)
    path.write_bytes(b"no audio at all")
    with pytest.raises(ClipError, match=r"bed\.wav"):
        render_scene(scene(replace(played(), clip=clip)), corpora)


def test_emitters_that_cancel_each_other_give_no_ratio() -> None:
    against = replace(FAN, events=(replace(FAN.events[0], clip=reference("anti-hum")),))
    with pytest.raises(ContentError, match=r"field air: the noise of emitters is silent.* 2 dB"):
        render_scene(scene(FAN, against, coloured(ratio_db=2.0)), CLIPS)


def test_the_noise_stem_holds_diffuse_noise_too() -> None:
    spec = scene(TALKER, FAN, coloured("pink", ratio_db=3.0), played(), snr_db=2.0)
    names = ("foa", "binaural", "mic")
    rendered = render_scene(spec, CLIPS, formats=names, stems=("all",))
    assert [row["stem"] for row in rendered.events] == [0, None, None, None]
    for name in names:
        stems = rendered.stems_by_format[name]
        assert stems["noise"].shape[0] == 1
        rest = rendered.audio_by_format[name] - sum(stem.sum(axis=0) for stem in stems.values())
        assert np.abs(rest).max() < 1e-5 * np.abs(rendered.audio_by_format[name]).max()
    alone = render_scene(spec, CLIPS, formats=names)
    assert alone.audio_by_format["mic"].tobytes() == rendered.audio_by_format["mic"].tobytes()


def test_diffuse_noise_is_refused_on_a_device() -> None:
    pytest.importorskip("torch")
    from scenesynth.render.batch import render_scenes

    with pytest.raises(ConfigError, match="diffuse noise is rendered on the CPU alone"):
        render_scenes([scene(coloured())], CLIPS, device="cpu")
