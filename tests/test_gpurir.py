"""Conversions from the conventions of gpuRIR, against a stand-in that has them."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import fake_gpurir
import numpy as np
import pytest
from oracle_rir import error_db

from scenesynth.acoustics.gpurir import gpu_response
from scenesynth.acoustics.response import Request, shoebox_response
from scenesynth.errors import ConfigError
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.spatial.formats import parse_format

FS = 32000
WALLS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
FOA = parse_format("foa")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpuRIR", fake_gpurir)


def request_of(bands: tuple[float, ...] = (1000.0,), **changes: Any) -> Request:
    known: dict[str, Any] = {
        "room": Room(
            id="box",
            size_m=(4.0, 3.2, 2.5),
            band_hz=bands,
            absorption=tuple((a,) * len(bands) for a in WALLS),
        ),
        "air": Air(),
        "source_m": (1.1, 0.9, 1.3),
        "listener_m": (2.7, 2.05, 1.2),
        "rotation": rotation_matrix(30, 20, -10),
        "format": FOA,
        "sample_rate": FS,
        "length_s": 0.05,
        "highpass_hz": 0.0,
    }
    return Request(**(known | changes))


def ours(request: Request) -> np.ndarray:
    fields = {name: getattr(request, name) for name in Request.__dataclass_fields__}
    return shoebox_response(**fields).ir


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("highpass_hz", [0.0, 30.0])
def test_every_channel_equals_that_of_the_own_engine(highpass_hz: float) -> None:
    """Uneven walls, a turned head, air: scale, signs, axes, delay and high-pass at once."""
    request = request_of(highpass_hz=highpass_hz)
    got, want = gpu_response(request), ours(request)
    assert got.ir.dtype == np.float32
    assert got.ir.shape == want.shape
    cut = want.shape[1] - 150  # images after the end ring into that of a windowed sinc
    for channel in range(4):
        pair = got.ir[channel : channel + 1, :cut], want[channel : channel + 1, :cut]
        assert error_db(*pair, FS, 0.75 * FS / 2) < -50


@pytest.mark.usefixtures("installed")
def test_mono_is_the_first_channel_and_bands_that_are_equal_are_one() -> None:
    foa = gpu_response(request_of()).ir
    np.testing.assert_array_equal(gpu_response(request_of(format=parse_format("mono"))).ir, foa[:1])
    np.testing.assert_allclose(gpu_response(request_of(bands=OCTAVE_BANDS_HZ)).ir, foa)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", ["cardioid", "hypercardioid", "figure8"])
def test_a_directional_source_radiates_as_in_the_own_engine(name: str) -> None:
    request = request_of(directivity=name, front=(0.3, -0.8, 0.2))
    got, want = gpu_response(request).ir, ours(request)
    cut = want.shape[1] - 150
    assert error_db(got[:, :cut], want[:, :cut], FS, 0.75 * FS / 2) < -50


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "tail"}, r"mode = 'tail'; engine gpurir needs full"),
        ({"displacement_m": 0.1}, r"displacement_m = 0\.1; engine gpurir needs 0"),
        ({"format": parse_format("hoa2")}, r"format = 'hoa2'; engine gpurir needs mono or foa"),
        ({"directivity": "subcardioid"}, r"directivity = 'subcardioid'; engine gpurir needs one"),
    ],
)
def test_what_it_cannot_do_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        gpu_response(request_of(**changes))


@pytest.mark.usefixtures("installed")
def test_absorption_that_differs_over_the_bands_is_refused() -> None:
    request = request_of()
    room = replace(request.room, band_hz=(1000.0, 2000.0), absorption=((0.1, 0.2),) * 6)
    with pytest.raises(ConfigError, match=r"absorption of x0 goes from 0\.1 to 0\.2"):
        gpu_response(replace(request, room=room))


def test_without_it_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpuRIR", None)
    with pytest.raises(ConfigError, match=r"pip install git\+https://github.com/DavidDiazGuerra"):
        gpu_response(request_of())
