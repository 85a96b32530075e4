"""Laws of listening for an audit: planted faults are named by their own check, and by no other."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from audit_sound_helpers import (
    checks_of,
    failed,
    heard_as,
    labelled_as,
    louder_noise,
    only,
    rendered_as,
    rewritten,
    slower,
    with_stem,
)
from numpy.typing import NDArray
from pipeline_helpers import RATE, RECIPE, make_recipe, plan_of
from scipy.signal import ShortTimeFFT, fftconvolve
from scipy.signal.windows import hann

from scenesynth.audit.bearings import unaccused
from scenesynth.audit.decay import decay_ratio
from scenesynth.audit.diagnosis import diagnosed, faults_of, rendering_checks
from scenesynth.audit.explain import Explained, Parts, explained
from scenesynth.audit.hypotheses import hypotheses
from scenesynth.audit.records import Finding
from scenesynth.audit.signals import signal_checks, signal_of
from scenesynth.audit.sound import HEARD, listen, sound_checks
from scenesynth.audit.votes import votes_of
from scenesynth.corpus.corpora import Corpora
from scenesynth.localization.directions import to_angles, to_vectors
from scenesynth.localization.onsets import (
    BAND_EDGES_HZ,
    HOP_S,
    ONSET_RATIO,
    REVERBERANT_DECAY_DB_PER_S,
    rise,
    short_time,
)
from scenesynth.pipeline.driver import run
from scenesynth.spatial.formats import parse_format
from scenesynth.store.exclude import ExcludeList, add_list
from scenesynth.store.reader import open_dataset
from scenesynth.store.schema import STEM_KINDS, Scene

Audio = NDArray[np.float32]
Change = Callable[[Scene], Scene]

FOA, BINAURAL = parse_format("foa"), parse_format("binaural")


def rendered(root: Path, corpora: Corpora, scenes: int = 16, **options: object) -> Path:
    """Scenes of a second in a room that rings for a third of one, in shards of eight."""
    rooms = [RECIPE["rooms"][0] | {"decay": {"rt60_s": {"uniform": [0.3, 0.4]}}}]
    recipe = make_recipe(duration_s=1.0, rooms=rooms, noise={"snr_db": {"uniform": [15, 25]}})
    options = {"recipe": recipe, "shard_scenes": 8, "scenes": scenes} | options
    assert run(plan_of(root, corpora, **options)).state == "done"
    return root


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory, corpora: Corpora) -> Path:
    return rendered(tmp_path_factory.mktemp("clean") / "ds", corpora)


def swapped(*order: int) -> Change:
    return heard_as(lambda audio: audio[list(order)])


def at_gains(*gains: float) -> Change:
    return heard_as(lambda audio: audio * np.float32(gains)[:, None])


def test_a_clean_dataset_raises_no_alarm(clean: Path, corpora: Corpora) -> None:
    checks = checks_of(clean, corpora)
    assert {check.status for check in checks.values()} == {"passed", "skipped"}
    assert [name for name, check in checks.items() if check.status == "skipped"] == ["stems"]
    assert checks["rendering"].looked == 16
    assert checks["directions"].figures["foa"]["median_error_deg"] < 5


SHARD = [
    (at_gains(1, -1, 1, 1), "directions", "left and right are swapped (median error"),
    (swapped(0, 3, 2, 1), "directions", "channels X and Y are swapped (median error"),
    (swapped(0, 3, 1, 2), "directions", "channels are in the order W, X, Y, Z (median error"),
    (labelled_as(lambda azimuth: -azimuth), "directions", "left and right are swapped (median"),
    (labelled_as(lambda azimuth: azimuth + 90), "directions", "azimuths are 90 degrees too large"),
    (at_gains(1, 1, 0, 1), "channels", "channel Z is dead"),
    (heard_as(lambda audio: audio[[0, 1, 1, 3]]), "channels", "channels Y and Z are the same"),
    (heard_as(lambda audio: 0 * audio), "silence", "foa is silent"),
    (
        heard_as(lambda audio: np.clip(audio, -0.3 * audio.max(), 0.3 * audio.max())),
        "clipping",
        "is clipped",
    ),
    (heard_as(lambda audio: audio + 0.2 * audio.std()), "dc", "has an offset in W"),
]


@pytest.mark.parametrize(("change", "check", "what"), SHARD)
def test_a_fault_of_a_shard_is_named_without_clips(
    tmp_path: Path, clean: Path, change: Change, check: str, what: str
) -> None:
    checks = checks_of(rewritten(clean, tmp_path / "ds", change, [1]))
    allowed = {check, "directions"} if check == "channels" else {check}
    assert check in failed(checks)
    assert {*failed(checks)} <= allowed
    assert any(what in finding.what for finding in checks[check].findings)
    assert {finding.shard for finding in checks[check].findings} == {1}
    assert {checks[name].status for name in ("rendering", "levels", "snr", "t60")} == {"skipped"}
    assert "give --sources and --noise" in checks["snr"].summary


SCENE = [
    (rendered_as, louder_noise(3.0), "snr", "noise is 3.0 dB louder than its spec says"),
    (rendered_as, slower(1.3), "t60", "% slower than its spec says"),
    (rendered_as, slower(0.7), "t60", "% faster than its spec says"),
]


@pytest.mark.parametrize(("change", "check", "what"), [item[1:] for item in SCENE])
def test_audio_that_is_not_what_its_spec_gives_is_explained(
    tmp_path: Path,
    clean: Path,
    corpora: Corpora,
    change: Callable[[dict[str, object]], None],
    check: str,
    what: str,
) -> None:
    root = rewritten(clean, tmp_path / "ds", rendered_as(change, corpora), [0])
    checks = checks_of(root, corpora)
    assert failed(checks) == [check]
    assert all(what in finding.what for finding in checks[check].findings)
    assert {finding.index for finding in checks[check].findings} == {*range(8)}


def test_a_fault_of_one_scene_is_not_one_of_its_shard(tmp_path: Path, clean: Path) -> None:
    root = rewritten(clean, tmp_path / "ds", only(3, heard_as(lambda audio: 0 * audio)), [0])
    (finding,) = checks_of(root)["silence"].findings
    assert (finding.index, finding.shard) == (3, None)


def test_labels_of_one_scene_that_its_spec_does_not_give(
    tmp_path: Path, clean: Path, corpora: Corpora
) -> None:
    change = only(3, labelled_as(lambda azimuth: -azimuth))
    checks = checks_of(rewritten(clean, tmp_path / "ds", change), corpora)
    assert failed(checks) == ["directions"]
    assert {finding.index for finding in checks["directions"].findings} == {3}


def test_mirrored_labels_of_one_scene_are_heard(tmp_path: Path, clean: Path) -> None:
    """Of those whose source is at a side, and whose estimate is sure."""
    heard = listen(open_dataset(clean), range(16)).to_pylist()
    clear = [
        row["index"]
        for row in heard
        for bearing in row["bearings"]
        if bearing["confidence"] > 0.95
        and bearing["error_deg"] < 3
        and 20 < abs(bearing["label_azimuth_deg"]) < 160
    ]
    if not clear:
        pytest.fail("no scene of this dataset is clear enough for the law to be tested")
    change = only(clear[0], labelled_as(lambda azimuth: -azimuth))
    check = checks_of(rewritten(clean, tmp_path / "ds", change))["directions"]
    assert check.status == "failed"
    assert [finding.index for finding in check.findings] == [clear[0]]
    assert "left and right are swapped" in check.findings[0].what


def test_a_fault_of_all_shards_is_one_finding(tmp_path: Path, clean: Path) -> None:
    check = checks_of(rewritten(clean, tmp_path / "ds", at_gains(1, -1, 1, 1)))["directions"]
    (finding,) = check.findings
    assert "foa in all shards: left and right are swapped" in finding.what
    assert finding.shard is None


def test_what_is_accused_as_a_whole_is_not_accused_again_scene_by_scene() -> None:
    scenes = [Finding(what="too loud", index=index, shard=index // 4) for index in (8, 20)]
    assert unaccused(scenes, []) == scenes
    assert unaccused(scenes, [Finding(what="swapped", shard=2)]) == scenes[1:]
    assert unaccused(scenes, [Finding(what="swapped")]) == []


def test_n3d_is_noted(tmp_path: Path, clean: Path) -> None:
    checks = checks_of(rewritten(clean, tmp_path / "ds", at_gains(1, *[3**0.5] * 3)))
    assert checks["normalisation"].status == "noted"
    assert "N3D has 3" in checks["normalisation"].summary


def test_swapped_ears_and_microphones_are_named(tmp_path: Path, corpora: Corpora) -> None:
    root = rendered(tmp_path / "ds", corpora, 8, formats=["binaural", "mic"])
    for name in ("binaural", "mic"):
        change = heard_as(lambda audio: audio[[1, 0, *range(2, len(audio))]], name)
        check = checks_of(rewritten(root, tmp_path / name, change))["directions"]
        (finding,) = check.findings
        what = "left and right" if name == "binaural" else "channels M1 and M2"
        assert f"{name} in all shards: {what} are swapped" in finding.what


def test_stems_that_are_not_those_of_the_audio(tmp_path: Path, corpora: Corpora) -> None:
    root = rendered(tmp_path / "ds", corpora, 3, shard_scenes=3, stems=STEM_KINDS)
    assert checks_of(root)["stems"].status == "passed"
    louder = with_stem("noise", lambda noise: 2**0.5 * noise)
    checks = checks_of(rewritten(root, tmp_path / "louder", louder))
    assert failed(checks) == ["stems"]
    told = " ".join(finding.what for finding in checks["stems"].findings)
    assert "noise is 3.0 dB quieter" in told
    assert "its stems have an SNR of" in told


def test_samples_that_are_not_finite_are_counted_and_nothing_else_is_said(
    clean: Path, corpora: Corpora
) -> None:
    dataset = open_dataset(clean)
    scene = heard_as(lambda audio: np.where(np.arange(audio.shape[1]) < 5, np.nan, audio))(
        dataset[0]
    )
    row = {"why": "", "scene": scene.id, "index": 0, "shard": 0, "stems": None, "bearings": []}
    row |= {"signals": [signal_of(scene.audio, FOA, scene.row)]}
    row |= diagnosed(scene, corpora, dataset.info)
    faults = faults_of([row])
    checks = [*signal_checks([row], 1), *rendering_checks([row], 1, faults, frozenset([0]))]
    assert failed({check.name: check for check in checks}) == ["samples"]
    assert "foa has 20 samples that are not finite" in checks[4].findings[0].what


def test_a_damaged_shard_has_rows_that_say_why(tmp_path: Path, clean: Path) -> None:
    root = rewritten(clean, tmp_path / "ds", lambda scene: scene, [])
    path = root / "data.zarr/foa/audio/c/1/0/0"
    path.write_bytes(path.read_bytes()[:-1])
    add_list(root, ExcludeList(action="exclude", scenes={9: "train-00000009"}, reason="test"))
    dataset = open_dataset(root)
    heard = listen(dataset, range(len(dataset)))
    assert heard.schema == HEARD
    assert heard["index"].to_pylist() == [*range(9), *range(10, 16)]
    assert [bool(why) for why in heard["why"].to_pylist()] == [False] * 8 + [True] * 7
    assert "committed were" in heard["why"][8].as_py()
    assert [dataset.index_of(n) for n in (0, 8, 9)] == [0, 8, 10]
    checks = {c.name: c for c in sound_checks(dataset, dataset.scenes, dataset.events, heard)}
    assert failed(checks) == []
    assert checks["silence"].looked == 8


def test_processes_hear_what_one_hears(clean: Path, corpora: Corpora) -> None:
    dataset, done = open_dataset(clean), []
    one = listen(dataset, range(16), corpora=corpora, rerender=2)
    two = listen(
        dataset,
        range(16),
        corpora=corpora,
        rerender=2,
        processes=2,
        on_progress=lambda n, of: done.append((n, of)),
    )
    assert two == one
    assert done == [(8, 16), (16, 16)]


class Fatal:
    """Ends the process that it is unpickled in."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (9,)

    def __call__(self, *given: object) -> None:
        """Never comes to it."""


def test_a_process_that_is_killed_is_told_in_one_line(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scenesynth.audit.sound._begin", Fatal())
    with pytest.raises(ChildProcessError, match=r"killed, .* fewer --workers than 2"):
        listen(open_dataset(clean), range(16), processes=2)


@pytest.mark.parametrize("name", ["foa", "mic"])
def test_every_hypothesis_is_recognised_from_estimates(name: str) -> None:
    item = parse_format(name)
    random = np.random.default_rng(0)
    labels = random.standard_normal((12, 3))
    for hypothesis in hypotheses(item):
        heard = to_angles(labels @ hypothesis.turn.T)
        label = to_angles(labels)
        bearings = [
            {
                "label_azimuth_deg": label[0][n],
                "label_elevation_deg": label[1][n],
                "estimated_azimuth_deg": heard[0][n],
                "estimated_elevation_deg": heard[1][n],
            }
            for n in range(len(labels))
        ]
        best = votes_of(item, bearings).best
        assert (best.name if best else "") == hypothesis.name


def test_channels_of_a_turned_field_are_named_as_its_directions_are() -> None:
    """What `explained` says of channels is what `hypotheses` says of directions."""
    waves = np.random.default_rng(1).standard_normal((3, 500))
    places = to_vectors(np.array([20.0, 130.0, -100.0]), np.array([10.0, -30.0, 50.0]))

    def field(vectors: NDArray[np.float64]) -> Audio:
        gains = np.column_stack([np.ones(3), vectors[:, 1], vectors[:, 2], vectors[:, 0]])
        return (gains.T @ waves).astype(np.float32)

    for hypothesis in hypotheses(FOA)[1:]:
        found = explained(field(places @ hypothesis.turn.T), parts_of(field(places)), FOA, RATE)
        assert hypothesis.name in [fault.what for fault in found.faults]


def parts_of(near: Audio, late: Audio | None = None, noise: Audio | None = None) -> Parts:
    nothing = np.zeros_like(near)
    return Parts(
        near=near,
        late=nothing if late is None else late,
        noise=nothing if noise is None else noise,
    )


def told(found: Explained) -> list[str]:
    return [f"{fault.check}: {fault.what}" for fault in found.faults]


def test_gains_delays_and_channels_are_explained() -> None:
    near, late, noise = np.random.default_rng(2).standard_normal((3, 2, 4000)).astype(np.float32)
    parts = parts_of(near, late, noise)
    assert told(explained(near + late + noise, parts, BINAURAL, RATE)) == []
    assert told(explained(near + late + 2 * noise, parts, BINAURAL, RATE)) == [
        "snr: noise is 6.0 dB louder than its spec says, SNR off by -6.0 dB"
    ]
    assert told(explained(near + 0.5 * late + noise, parts, BINAURAL, RATE)) == [
        "t60: late reverberation is 6.0 dB quieter than its spec says"
    ]
    # Late sound that is next to nothing, as in an anechoic room, has no level to be wrong.
    dry = parts_of(near, 1e-5 * late, 0 * noise)
    assert told(explained(0.5 * near, dry, BINAURAL, RATE)) == [
        "levels: targets are 6.0 dB quieter than their spec says"
    ]
    assert told(explained(0.5 * parts.mixture, parts, BINAURAL, RATE)) == [
        "levels: targets are 6.0 dB quieter than their spec says"
    ]
    shifted = np.roll(parts.mixture, 16, axis=1)
    shifted[:, :16] = 0
    assert told(explained(shifted, parts, BINAURAL, RATE)) == ["levels: starts 1.00 ms too late"]
    assert told(explained(parts.mixture[::-1], parts, BINAURAL, RATE)) == [
        "directions: left and right are swapped"
    ]
    assert told(explained(-parts.mixture, parts, BINAURAL, RATE)) == [
        "channels: all channels have the opposite sign"
    ]
    assert told(explained(parts.mixture * [[1], [0]], parts, BINAURAL, RATE)) == [
        "channels: channel right is dead"
    ]
    assert told(explained(parts.mixture * [[1], [2]], parts, BINAURAL, RATE)) == [
        "channels: beside left, right is 6.0 dB louder than it should be"
    ]


@pytest.mark.parametrize("ratio", [0.7, 0.9, 1.0, 1.3, 2.0])
def test_a_decay_is_told_from_what_plays_and_what_is_heard(ratio: float) -> None:
    random = np.random.default_rng(3)
    time_s = np.arange(RATE) / RATE
    noise = random.standard_normal((2, RATE))

    def responses(t60_s: float) -> list[Audio]:
        decays = noise * 10 ** (-3 * np.maximum(time_s - 0.01, 0) / t60_s) * (time_s >= 0.01)
        return [decay.astype(np.float32) for decay in decays]

    dry = [(random.standard_normal(2 * RATE) * gate).astype(np.float32) for gate in _gates()]
    bed = random.standard_normal(2 * RATE).astype(np.float32)
    heard = sum(
        fftconvolve(sound, response)[: 2 * RATE]
        for sound, response in zip(dry, responses(0.5 * ratio), strict=True)
    )
    found = decay_ratio(
        (heard + 1.2 * bed).astype(np.float32),
        dry,
        responses(0.5),
        [0.01, 0.01],
        bed,
        t60_s=0.5,
        sample_rate=RATE,
    )
    assert found == pytest.approx(ratio, rel=0.04)


def _gates() -> NDArray[np.float64]:
    time_s = np.arange(2 * RATE) / RATE
    return np.stack([(time_s < 0.6), (time_s > 0.4) & (time_s < 1.1)]).astype(float)


def test_short_time_spectra_are_those_of_scipy() -> None:
    audio = np.random.default_rng(4).standard_normal((2, RATE)).astype(np.float32)
    found = short_time(audio, RATE)
    window, hop = round(0.008 * RATE), round(HOP_S * RATE)
    stft = ShortTimeFFT(hann(window, sym=False), hop, RATE, mfft=window)
    inside = (stft.f >= BAND_EDGES_HZ[0]) & (stft.f < BAND_EDGES_HZ[-2])  # Nyquist ends the last
    expected = np.abs(stft.stft(audio))[:, inside]
    assert np.allclose(np.abs(found.spectra), expected, atol=1e-4 * expected.max())


def test_what_rises_is_more_than_what_was_there_and_has_decayed() -> None:
    energy = np.random.default_rng(5).exponential(size=(3, 200)) ** 4
    energy[:, 50:60] = 0
    keep = 10 ** (-REVERBERANT_DECAY_DB_PER_S * HOP_S / 10)
    expected, held = np.zeros_like(energy), energy[:, 0]
    for t in range(1, energy.shape[1]):
        held = held * keep
        expected[:, t] = np.maximum(energy[:, t] - ONSET_RATIO * held, 0)
        held = np.maximum(held, energy[:, t])
    assert np.allclose(rise(energy), expected, rtol=1e-9, atol=1e-12)
