"""Log-mel, intensity vectors and interaural differences: one front end for training and serving."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.features.config import AXES, FEATURES, FeatureConfig, feature_preset
from scenesynth.records import from_json, from_plain, to_json
from scenesynth.spatial.ambisonics import spherical_harmonics

torch = pytest.importorskip("torch", reason="torch is not installed")

from scenesynth.features.front_end import FrontEnd  # noqa: E402
from scenesynth.features.mel import hz_to_mel, mel_filters, mel_to_hz  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")

DEFINITIONS = [name for name in AXES if name != "none"]
DIRECTIONS_DEG = [(0, 0), (90, 0), (-90, 0), (180, 0), (30, 20), (-110, -35), (135, 60), (0, 90)]

Array = NDArray[np.float64]


def foa_config(intensity: str, **changes: object) -> FeatureConfig:
    plain = {"input": "foa", "intensity": intensity, "log_eps": 1e-6, **changes}
    return from_plain(FeatureConfig, plain)


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0.0, 0.1, shape).astype(np.float32)


def features_of(config: FeatureConfig, waveform: NDArray[np.float32]) -> Array:
    """Of one waveform [channels, samples]; shape [n_channels, n_mels, frames]."""
    return FrontEnd(config)(torch.from_numpy(waveform)[None])[0].double().numpy()


def spectra_by_sums(waveform: NDArray[np.float32], config: FeatureConfig) -> NDArray[np.complex128]:
    """Short-time spectra as sums of cosines and sines, with no FFT. Shape: [C, bins, frames]."""
    n, half = config.n_fft, config.n_fft // 2
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
    basis = np.exp(-2j * np.pi * np.outer(np.arange(half + 1), np.arange(n)) / n)
    padded = np.concatenate(
        [waveform[:, half:0:-1], waveform, waveform[:, -2 : -half - 2 : -1]], axis=1
    ).astype(np.float64)
    starts = range(0, waveform.shape[1] + 1, config.hop)
    return np.stack([(padded[:, s : s + n] * window) @ basis.T for s in starts], axis=-1)


def filters_by_loops(config: FeatureConfig) -> Array:
    """Triangles of the HTK Book, bin by bin."""

    def mel(freq_hz: float) -> float:
        return 1127.01048 * float(np.log(1 + freq_hz / 700))

    low, high = mel(config.f_min_hz), mel(config.f_max_hz)
    edges_hz = [
        700 * (np.exp((low + (high - low) * m / (config.n_mels + 1)) / 1127.01048) - 1)
        for m in range(config.n_mels + 2)
    ]
    filters = np.zeros((config.n_mels, config.n_fft // 2 + 1))
    for m in range(config.n_mels):
        below, centre, above = edges_hz[m : m + 3]
        for k in range(filters.shape[1]):
            freq_hz = k * config.sample_rate / config.n_fft
            if below < freq_hz <= centre:
                filters[m, k] = (freq_hz - below) / (centre - below)
            elif centre < freq_hz < above:
                filters[m, k] = (above - freq_hz) / (above - centre)
    return filters


def intensity_by_formula(spectra: NDArray[np.complex128], name: str) -> Array:
    """Each definition as its source writes it; W, Y, Z, X in. Shape: [3, bins, frames]."""
    w, y, z, x = spectra
    ix, iy, iz = ((np.conj(w) * a).real for a in (x, y, z))
    w2 = abs(w) ** 2
    a2 = abs(x) ** 2 + abs(y) ** 2 + abs(z) ** 2
    eps = 1e-6
    if name == "gram":
        return np.stack([2 * iy, 2 * iz, 2 * ix]) / (eps + w2 + a2)
    if name == "dcase2020":
        return np.stack([ix, iy, iz]) / (np.sqrt(ix**2 + iy**2 + iz**2) + eps)
    if name == "dcase2021":
        return np.stack([ix, iy, iz]) / (eps + (w2 + a2) / 2)
    if name == "dcase2022":
        return np.stack([iy, iz, ix]) / (eps + w2 + a2 / 3)
    assert name == "psel"
    return np.stack([iy, iz, ix]) / (eps + np.sqrt(ix**2 + iy**2 + iz**2))


def plane_wave(azimuth_deg: float, elevation_deg: float, n: int = 4000) -> NDArray[np.float32]:
    azimuth, elevation = np.radians([azimuth_deg, elevation_deg])
    unit = [
        np.cos(azimuth) * np.cos(elevation),
        np.sin(azimuth) * np.cos(elevation),
        np.sin(elevation),
    ]
    gains = spherical_harmonics(np.asarray(unit), 1)
    return (gains[:, None] * noise(1, n)).astype(np.float32)


def xyz(features: Array, config: FeatureConfig) -> Array:
    """The intensity channels in the order x, y, z, by their names."""
    names = list(config.channel_names)
    return features[[names.index(f"intensity_{axis}") for axis in "xyz"]]


def test_mel_scale_has_its_anchor_and_its_inverse() -> None:
    assert hz_to_mel(1000.0) == pytest.approx(1000.0, abs=0.02)
    freq_hz = np.array([0.0, 50.0, 1234.5, 16000.0])
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(freq_hz)), freq_hz, atol=1e-9)


def test_mel_filters_are_the_triangles_of_htk() -> None:
    config = FEATURES["gram-mono"]
    filters = mel_filters(config)
    np.testing.assert_allclose(filters, filters_by_loops(config), atol=1e-6)
    sums = filters.sum(axis=1)
    assert (round(sums.min(), 2), round(sums.max(), 1)) == (0.39, 12.5)  # as in GRAM's


def test_log_mel_is_that_of_explicit_sums() -> None:
    config = FEATURES["gram-binaural"]
    waveform = noise(2, 3300)
    power = abs(spectra_by_sums(waveform, config)) ** 2
    expected = np.log(filters_by_loops(config) @ power + 1e-5)
    np.testing.assert_allclose(features_of(config, waveform), expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize("bands", ["sum", "mean"])
@pytest.mark.parametrize("name", DEFINITIONS)
def test_intensity_is_that_of_explicit_formulas(name: str, bands: str) -> None:
    config = foa_config(name, intensity_bands=bands)
    waveform = noise(4, 2000)
    weights = filters_by_loops(config)
    if bands == "mean":
        weights = weights / weights.sum(axis=1, keepdims=True)
    expected = weights @ intensity_by_formula(spectra_by_sums(waveform, config), name)
    found = features_of(config, waveform)
    assert found.shape == (7, 128, 7)
    np.testing.assert_allclose(found[4:], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("azimuth_deg", "elevation_deg"), DIRECTIONS_DEG)
@pytest.mark.parametrize("name", DEFINITIONS)
def test_intensity_of_a_plane_wave_points_to_its_source(
    name: str, azimuth_deg: float, elevation_deg: float
) -> None:
    config = foa_config(name)
    mean = xyz(features_of(config, plane_wave(azimuth_deg, elevation_deg)), config).mean((1, 2))
    azimuth, elevation = np.radians([azimuth_deg, elevation_deg])
    unit = [
        np.cos(azimuth) * np.cos(elevation),
        np.sin(azimuth) * np.cos(elevation),
        np.sin(elevation),
    ]
    np.testing.assert_allclose(mean / np.linalg.norm(mean), unit, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "sn3d", "n3d"),
    [
        ("gram", 1.0, 0.8660),
        ("dcase2020", 1, 1),
        ("dcase2021", 1.0, 0.8660),
        ("dcase2022", 0.75, 0.8660),
        ("psel", 1, 1),
    ],
)
def test_intensity_of_a_plane_wave_has_the_length_of_its_definition(
    name: str, sn3d: float, n3d: float
) -> None:
    config = foa_config(name, ratio_eps=1e-12)
    wave = plane_wave(30, 20)
    for waveform, length in ((wave, sn3d), (wave * np.float32([[1]] + 3 * [[3**0.5]]), n3d)):
        lengths = np.linalg.norm(xyz(features_of(config, waveform), config), axis=0)
        np.testing.assert_allclose(lengths, length, atol=2e-4)


def test_summed_bands_lengthen_intensity_by_the_sum_of_their_filter() -> None:
    config = replace(FEATURES["gram-foa"], ratio_eps=1e-12)
    assert config.intensity_bands == "sum"
    lengths = np.linalg.norm(xyz(features_of(config, plane_wave(30, 20)), config), axis=0)
    sums = mel_filters(config).sum(axis=1)[:, None]
    np.testing.assert_allclose(lengths / sums, 1.0, atol=2e-4)


def test_intensity_of_a_diffuse_field_is_short() -> None:
    config = foa_config("gram")
    field = noise(4, 32000) * np.float32([[1]] + 3 * [[3**-0.5]])
    assert np.linalg.norm(xyz(features_of(config, field), config).mean((1, 2))) < 0.05


def test_another_channel_order_gives_the_same_features_by_name() -> None:
    stored, fuma_order = foa_config("gram"), foa_config("gram", channel_order=["W", "X", "Y", "Z"])
    waveform = noise(4, 2000)
    ours = dict(zip(stored.channel_names, features_of(stored, waveform), strict=True))
    theirs = features_of(fuma_order, waveform[[0, 3, 1, 2]])
    for name, channel in zip(fuma_order.channel_names, theirs, strict=True):
        np.testing.assert_allclose(channel, ours[name], rtol=0, atol=1e-5)


def test_channel_names_state_their_order() -> None:
    assert FEATURES["gram-foa"].channel_names == (
        *("logmel_W", "logmel_Y", "logmel_Z", "logmel_X"),
        *("intensity_y", "intensity_z", "intensity_x"),
    )
    assert foa_config("dcase2020").channel_names[4:] == (
        *("intensity_x", "intensity_y", "intensity_z"),
    )
    assert FEATURES["gram-mono"].channel_names == ("logmel_omni",)
    assert FEATURES["binaural-phase"].channel_names == (
        *("logmel_left", "logmel_right", "ipd_cos", "ipd_sin", "ild_db"),
    )


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_frames_are_one_and_one_a_hop(name: str) -> None:
    config = FEATURES[name]
    front_end = FrontEnd(config)
    for n_samples in (config.min_samples, 639, 640, 3200, config.samples(12)):
        found = front_end(torch.zeros(2, len(config.channel_order), n_samples))
        assert found.shape == (2, config.n_channels, 128, 1 + n_samples // 320)
        assert found.shape[-1] == config.frames(n_samples)
        assert torch.isfinite(found).all()
    assert config.frames(config.samples(200)) == 200


def ears(delay_samples: int, right_gain: float) -> NDArray[np.float32]:
    """A source on the left: the right ear hears it later and softer."""
    left = noise(1, 6000)
    right = right_gain * np.roll(left, delay_samples, axis=1)
    return np.concatenate([left, right]).astype(np.float32)


def test_a_source_on_the_left_has_positive_level_and_phase_differences() -> None:
    config = FEATURES["binaural-phase"]
    cos, sin, ild_db = features_of(config, ears(5, 0.5))[2:, :, 2:-2]
    assert ild_db.min() > 2.0
    assert np.mean(ild_db) == pytest.approx(20 * np.log10(2), abs=0.05)
    centre_hz = mel_filters(config) @ np.arange(513) / mel_filters(config).sum(1) * 32000 / 1024
    expected = 2 * np.pi * centre_hz * 5 / 32000
    for band in range(4, 60, 5):  # below half a period
        assert np.arctan2(sin[band], cos[band]).mean() == pytest.approx(expected[band], abs=0.1)


def test_swapped_ears_negate_phase_and_level() -> None:
    config = FEATURES["binaural-phase"]
    swapped = replace(config, channel_order=("right", "left"))
    waveform = ears(5, 0.5)
    one, other = features_of(config, waveform)[2:], features_of(swapped, waveform)[2:]
    np.testing.assert_allclose(other[0], one[0], atol=1e-5)
    np.testing.assert_allclose(other[1:], -one[1:], atol=1e-4)


def test_scales_multiply_each_channel() -> None:
    plain = FeatureConfig(input="binaural", phase="ipd_ild")
    scales = (0.1, 0.2, 3.0, 4.0, 0.5)
    audio = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 2, 4000))).float()
    expected = FrontEnd(plain)(audio) * torch.tensor(scales)[:, None, None]
    assert torch.equal(FrontEnd(replace(plain, scales=scales))(audio), expected)


def test_phase_of_a_band_weighs_bins_with_their_energy() -> None:
    config = FEATURES["binaural-phase"]
    waveform = noise(2, 2000)
    left, right = spectra_by_sums(waveform, config)
    cross = filters_by_loops(config) @ (left * np.conj(right))
    found = features_of(config, waveform)
    np.testing.assert_allclose(found[2], cross.real / (abs(cross) + 1e-6), atol=1e-4)
    np.testing.assert_allclose(found[3], cross.imag / (abs(cross) + 1e-6), atol=1e-4)


def test_features_are_float32_under_autocast_and_from_half_precision() -> None:
    front_end = FrontEnd(FEATURES["gram-foa"])
    waveform = torch.from_numpy(noise(1, 4, 2000))
    expected = front_end(waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = front_end(waveform)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    assert front_end(waveform.half()).dtype == torch.float32


def test_a_front_end_has_nothing_to_train_or_to_load() -> None:
    front_end = FrontEnd(FEATURES["gram-binaural"])
    assert list(front_end.parameters()) == []
    assert front_end.state_dict() == {}


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_presets_round_trip(name: str) -> None:
    config = feature_preset(name)
    assert config is FEATURES[name]
    assert from_json(FeatureConfig, to_json(config)) == config


def test_presets_have_the_epsilons_of_gram() -> None:
    assert {FEATURES[f"gram-{name}"].log_eps for name in ("mono", "binaural")} == {1e-5}
    assert FEATURES["gram-foa"].log_eps == 1e-6


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"input": "stereo"}, "input: got 'stereo', must be one of mono, binaural, foa"),
        ({"input": "mono", "n_mel": 64}, "n_mel: unknown key.*did you mean 'n_mels'"),
        ({"input": "foa", "intensity": "dcase2024"}, "did you mean 'dcase202"),
        ({"input": "binaural", "intensity": "gram"}, "needs input 'foa', not 'binaural'"),
        ({"input": "foa", "phase": "ipd_ild"}, "needs input 'binaural', not 'foa'"),
        ({"input": "foa", "channel_order": ["W", "X", "Y"]}, r"must be \['W', 'Y', 'Z', 'X'\]"),
        ({"input": "mono", "sample_rate": 24000}, "16000.0 lies above the Nyquist frequency 12000"),
        ({"input": "mono", "f_min_hz": 16000}, "f_min_hz = 16000.0; .*below f_max_hz"),
        ({"input": "mono", "n_fft": 1023}, "n_fft = 1023; must be even"),
        ({"input": "mono", "hop": 1025}, "hop = 1025; must be from 1 to n_fft = 1024"),
        ({"input": "mono", "n_mels": 0}, "n_mels = 0; must be at least 1"),
        ({"input": "mono", "log_eps": 0}, "log_eps = 0.0; must be above 0"),
        ({"input": "binaural", "scales": [1]}, r"1 numbers; .* 2 channels \(logmel_left"),
        ({"input": "mono", "scales": [0]}, "scales has 0.0; all must be above 0"),
        ({"input": "mono", "sample_rate": 0}, "sample_rate = 0; must be at least 1 Hz"),
    ],
)
def test_a_wrong_record_is_refused_by_name(plain: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_plain(FeatureConfig, plain)


def test_records_built_in_code_are_checked_as_well() -> None:
    with pytest.raises(ConfigError, match=r"input = 'binaurl'; .*did you mean 'binaural'"):
        FeatureConfig(input="binaurl")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"intensity = 'grm'; .*did you mean 'gram'"):
        FeatureConfig(input="foa", intensity="grm")  # type: ignore[arg-type]


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"features = 'gram-fao'; .*did you mean 'gram-foa'"):
        feature_preset("gram-fao")


def test_a_band_without_bins_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no bin of n_fft = 512 falls into band \d+ .*62.5 Hz"):
        FrontEnd(FeatureConfig(input="mono", n_fft=512))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 2, 4000), r"has 2 channels; input 'foa' has 4: W, Y, Z, X"),
        ((4, 4000), r"must be \[batch, channels, samples\]"),
        ((1, 4, 512), r"has 512 samples; must have at least 513"),
    ],
)
def test_a_wrong_waveform_is_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FrontEnd(FEATURES["gram-foa"])(torch.zeros(shape))


def test_whole_numbers_are_no_waveform() -> None:
    with pytest.raises(TypeError, match=r"int16.*batch.waveform\(\)"):
        FrontEnd(FEATURES["gram-mono"])(torch.zeros(1, 1, 4000, dtype=torch.int16))
