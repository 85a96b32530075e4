"""The checks of the HEAR interface (hearbenchmark.com/hear-api), on an exported encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

from scenesynth.errors import ConfigError  # noqa: E402
from scenesynth.evaluate.encoder import ENCODER_FILE, load_encoder, save_encoder  # noqa: E402
from scenesynth.evaluate.hear import (  # noqa: E402
    HearModel,
    get_scene_embeddings,
    get_timestamp_embeddings,
    load_model,
)
from scenesynth.features.config import FeatureConfig  # noqa: E402
from scenesynth.features.front_end import FrontEnd  # noqa: E402
from scenesynth.models.config import MaeConfig, sized  # noqa: E402
from scenesynth.models.mae import MaskedAutoencoder  # noqa: E402

RATE = 16_000
HOP = 160
WINDOW = 2 * RATE
"""Samples of a window of 200 frames."""

INPUTS = ("mono", "binaural", "foa")
LENGTHS_S = (1.07, 1.98, 2.74, 4.0)
"""Those of hear-validator."""


def features_of(kind: str) -> FeatureConfig:
    return FeatureConfig(
        input=kind,  # type: ignore[arg-type]
        sample_rate=RATE,
        n_fft=512,
        hop=HOP,
        n_mels=32,
        f_max_hz=8000.0,
        intensity="gram" if kind == "foa" else "none",
    )


def config_of(features: FeatureConfig) -> MaeConfig:
    return sized("tiny", channels=features.n_channels, mels=32, frames=200, patch=(16, 4))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of an encoder of each input."""
    root = tmp_path_factory.mktemp("encoders")
    for kind in INPUTS:
        features = features_of(kind)
        config = config_of(features)
        torch.manual_seed(0)
        state = MaskedAutoencoder(config).state_dict()
        save_encoder(root / kind / ENCODER_FILE, features, config, state, {"run": "test"})
    return lambda kind: root / kind


@pytest.fixture(params=INPUTS)
def model(request: pytest.FixtureRequest, exported: Callable[[str], Path]) -> HearModel:
    return load_model(str(exported(request.param)))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_model_states_rate_and_sizes(model: HearModel) -> None:
    assert isinstance(model, torch.nn.Module)
    assert model.sample_rate in (16000, 22050, 32000, 44100, 48000)
    assert isinstance(model.scene_embedding_size, int)
    assert isinstance(model.timestamp_embedding_size, int)


@pytest.mark.parametrize("seconds", LENGTHS_S)
def test_embeddings_have_the_shapes_that_hear_asks_for(model: HearModel, seconds: float) -> None:
    audio = noise(3, round(seconds * RATE))
    scenes = get_scene_embeddings(audio, model)
    steps, times_ms = get_timestamp_embeddings(audio, model)
    assert scenes.dtype == steps.dtype == times_ms.dtype == torch.float32
    assert scenes.shape == (3, model.scene_embedding_size)
    assert steps.shape == (3, times_ms.shape[1], model.timestamp_embedding_size)
    assert bool(scenes.isfinite().all())
    assert bool(steps.isfinite().all())


@pytest.mark.parametrize("seconds", LENGTHS_S)
def test_time_stamps_are_regular_centred_and_within_the_sound(
    model: HearModel, seconds: float
) -> None:
    _, times_ms = get_timestamp_embeddings(noise(2, round(seconds * RATE)), model)
    gaps = times_ms[0].diff()
    assert float(gaps.max() - gaps.min()) < 1e-2  # float32 of milliseconds
    assert float(gaps.mean()) == pytest.approx(40.0)
    # A column of 4 frames at 0, 10, 20 and 30 ms has its centre at 15 ms.
    assert float(times_ms[0, 0]) == pytest.approx(15.0)
    assert float(times_ms.max()) <= 1000 * seconds
    assert float(times_ms.max()) > 1000 * seconds - 40.0 - 1e-3
    assert torch.equal(times_ms[0], times_ms[1])


def test_a_length_that_divides_exactly_gives_no_extra_window(model: HearModel) -> None:
    for windows in (1, 2, 3):
        steps, _ = get_timestamp_embeddings(noise(1, windows * WINDOW), model)
        assert steps.shape[1] == windows * 50


@pytest.mark.parametrize("samples", [1, 7, 100, HOP, 300, 1000])
def test_very_short_sounds_have_at_least_one_step(model: HearModel, samples: int) -> None:
    steps, times_ms = get_timestamp_embeddings(noise(2, samples), model)
    assert steps.shape[1] >= 1
    assert bool(steps.isfinite().all())
    assert float(times_ms.max()) <= 1000 * samples / RATE + 1e-3
    assert get_scene_embeddings(noise(2, samples), model).shape == (2, model.scene_embedding_size)


def test_a_sound_is_embedded_alike_alone_and_in_company(model: HearModel) -> None:
    audio = noise(5, 3 * RATE)
    together = get_scene_embeddings(audio, model)
    alone = torch.cat([get_scene_embeddings(some, model) for some in audio.split(1)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_no_sounds_give_no_embeddings(model: HearModel) -> None:
    assert get_scene_embeddings(noise(0, RATE), model).shape == (0, model.scene_embedding_size)


def test_an_event_is_in_the_steps_that_are_stamped_with_its_time(model: HearModel) -> None:
    quiet = 1e-3 * noise(1, 4 * RATE)
    loud = quiet.clone()
    at_s = 2.5
    loud[:, round(at_s * RATE) : round(at_s * RATE) + 200] += noise(1, 200, seed=1)
    changed = [get_timestamp_embeddings(audio, model)[0] for audio in (quiet, loud)]
    _, times_ms = get_timestamp_embeddings(quiet, model)
    distance = (changed[0] - changed[1]).norm(dim=2)[0]
    assert float(times_ms[0, distance.argmax()]) == pytest.approx(1000 * at_s, abs=40.0)


def test_one_channel_is_given_to_both_ears(exported: Callable[[str], Path]) -> None:
    model = load_model(str(exported("binaural")))
    mono = noise(2, RATE)
    both = torch.stack([mono, mono], dim=1)
    torch.testing.assert_close(get_scene_embeddings(mono, model), get_scene_embeddings(both, model))


def test_one_channel_is_w_and_nothing_else(exported: Callable[[str], Path]) -> None:
    model = load_model(str(exported("foa")))
    mono = noise(2, RATE)
    ambisonic = torch.zeros(2, 4, RATE)
    ambisonic[:, 0] = mono
    found = get_scene_embeddings(ambisonic, model)
    torch.testing.assert_close(get_scene_embeddings(mono, model), found)
    torch.testing.assert_close(get_scene_embeddings(mono[:, None], model), found)


@pytest.mark.parametrize("shape", [(2, 3, 1000), (1000,), (2, 0), (1, 1, 1, 100)])
def test_other_shapes_are_refused(model: HearModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="audio has"):
        get_scene_embeddings(torch.zeros(shape), model)


@pytest.mark.parametrize("audio", [noise(1, 500).short(), noise(1, 500).numpy(), [[0.0]]])
def test_what_is_no_tensor_of_floats_is_refused(model: HearModel, audio: Any) -> None:
    with pytest.raises(TypeError, match=r"must be a tensor of floating-point numbers in \[-1, 1\]"):
        get_scene_embeddings(audio, model)


def test_sounds_that_are_not_finite_are_named(model: HearModel) -> None:
    audio = noise(3, 500)
    audio[1, 7] = float("nan")
    with pytest.raises(ValueError, match=r"audio\[1\] holds samples that are not finite"):
        get_scene_embeddings(audio, model)


def test_an_exported_encoder_is_the_model_it_was_made_from(exported: Callable[[str], Path]) -> None:
    features = features_of("foa")
    torch.manual_seed(0)
    whole = MaskedAutoencoder(config_of(features)).eval()
    front_end = FrontEnd(features)
    audio = noise(2, 4, WINDOW)
    with torch.inference_mode():
        expected = whole.encode(front_end(audio)[..., :200]).steps
    steps, _ = get_timestamp_embeddings(audio, load_model(str(exported("foa"))))
    assert torch.equal(steps, expected)


def test_the_file_describes_itself(exported: Callable[[str], Path]) -> None:
    encoder = load_encoder(exported("foa"))
    assert encoder.front_end.config == features_of("foa")
    assert encoder.model.config == config_of(features_of("foa"))
    assert encoder.origin == {"run": "test"}


def test_weights_that_lack_or_are_left_over_are_refused(
    exported: Callable[[str], Path], tmp_path: Path
) -> None:
    features = features_of("mono")
    config = config_of(features)
    deeper = replace(config, encoder=replace(config.encoder, depth=config.encoder.depth + 1))
    path = tmp_path / "kept.safetensors"
    path.write_bytes(b"an earlier encoder")
    for of, told in ((deeper, config), (config, deeper)):
        with pytest.raises(ConfigError, match="do not fit"):
            save_encoder(path, features, told, MaskedAutoencoder(of).state_dict(), {})
    assert path.read_bytes() == b"an earlier encoder"


def changed(exported: Callable[[str], Path], path: Path, change: Callable[[bytes], bytes]) -> Path:
    """A copy of an encoder with other bytes."""
    path.write_bytes(change((exported("mono") / ENCODER_FILE).read_bytes()))
    return path


def test_a_wrong_byte_in_the_weights_is_found(
    exported: Callable[[str], Path], tmp_path: Path
) -> None:
    file = changed(
        exported, tmp_path / "e.safetensors", lambda b: b[:-50] + bytes([b[-50] ^ 1]) + b[-49:]
    )
    with pytest.raises(ConfigError, match=r"e\.safetensors: is damaged \(the hash"):
        load_model(str(file))


@pytest.mark.parametrize(
    ("there", "instead"), [(b'"features"', b'"featurez"'), (b'"origin":"{', b'"origin":"[')]
)
def test_damaged_metadata_are_told(
    exported: Callable[[str], Path], tmp_path: Path, there: bytes, instead: bytes
) -> None:
    file = changed(exported, tmp_path / "e", lambda b: b.replace(there, instead, 1))
    with pytest.raises(ConfigError, match="is damaged"):
        load_model(str(file))


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="scenesynth export"):
        load_model(str(tmp_path))
    torn = tmp_path / ENCODER_FILE
    torn.write_bytes(b"\x10\x00\x00")
    with pytest.raises(ConfigError, match="no safetensors file"):
        load_model(str(tmp_path))
    torn.write_bytes(safetensors_torch.save({"x": torch.zeros(1)}))
    with pytest.raises(ConfigError, match="no encoder of this version"):
        load_model(str(torn))
