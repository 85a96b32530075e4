"""Rendering on a device: the same responses and scenes as on the CPU, whatever else is in a batch.

Without a GPU the same code runs in torch on the CPU, and the Triton kernels in the interpreter.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from oracle_rir import error_db, oracle_rir
from test_render import CLIPS, emitter, event, noise_at, scene, target

from scenesynth.acoustics.highpass import highpass
from scenesynth.acoustics.response import Request, shoebox_responses
from scenesynth.cli import main
from scenesynth.errors import ClipError, ConfigError, ContentError
from scenesynth.render.energy import Energy
from scenesynth.render.renderer import render_scene
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.scene.spec import SceneSpec
from scenesynth.spatial.formats import parse_format
from scenesynth.store.schema import Scene

torch = pytest.importorskip("torch", reason="torch is not installed")

from interpreter_cases import request as small_request  # noqa: E402

from scenesynth.acoustics.gpu import batch  # noqa: E402
from scenesynth.acoustics.gpu.device import torch_device  # noqa: E402
from scenesynth.acoustics.gpu.spectra import highpass_in_time  # noqa: E402
from scenesynth.render.batch import render_scenes  # noqa: E402
from scenesynth.render.device.energy import SignalEnergies, ask  # noqa: E402

CPU = torch.device("cpu")
AIR = Air()
FULL_SCALE = 2**30


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of four, so that a test's few responses fill more than one."""
    monkeypatch.setattr(batch, "ROWS", 4)


def difference_db(got: NDArray[Any], want: NDArray[Any]) -> float:
    error = np.sum(np.square(got - want, dtype=np.float64))
    return 10 * math.log10(max(error, 1e-300) / np.sum(np.square(want, dtype=np.float64)))


def request(n: int, format: str = "foa", sample_rate: int = 16000, **fields: Any) -> Request:
    """The n-th of many rooms, places, heads and lengths."""
    rng = np.random.default_rng(n)
    size_m = rng.uniform([3.0, 2.5, 2.2], [6.0, 5.0, 3.5])
    band_hz = tuple(band for band in OCTAVE_BANDS_HZ if band < sample_rate / 2)
    walls = rng.uniform(0.1, 0.7, (6, len(band_hz)))
    places = size_m * rng.uniform(0.15, 0.85, (2, 3))
    known: dict[str, Any] = {
        "length_s": float(rng.uniform(0.06, 0.16)),
        "rotation": rotation_matrix(*rng.uniform(-180, 180, 3)),
    }
    return Request(
        room=Room(
            id=f"room-{n}",
            size_m=tuple(size_m.tolist()),
            band_hz=band_hz,
            absorption=tuple(tuple(wall) for wall in walls.tolist()),
        ),
        air=AIR,
        source_m=tuple(places[0].tolist()),
        listener_m=tuple(places[1].tolist()),
        format=parse_format(format),
        sample_rate=sample_rate,
        **(known | fields),
    )


FULL = [
    request(0),
    request(1),
    request(2, "mono"),
    request(3, "hoa3", 8000),
    request(4, highpass_hz=0.0),
    request(5, length_s=0.02, sample_rate=32000),
]
EXTENDED = [
    request(6, mode="tail", length_s=0.3, seed=7),
    request(7, mode="tail", length_s=0.25, scattering=0.5, mixing_time_s=0.05, seed=2**32 - 1),
    request(8, "hoa2", mode="tail", length_s=0.2, seed=1),
    request(9, displacement_m=0.1, seed=123456789),
    request(10, directivity="cardioid", front=(1.0, -2.0, 0.5)),
    request(
        11,
        directivity="speech",
        front=(0.0, 1.0, 0.0),
        displacement_m=0.05,
        mode="tail",
        length_s=0.2,
    ),
]


@pytest.mark.parametrize("requests", [FULL, EXTENDED], ids=["full", "extended"])
def test_responses_are_those_of_the_cpu(requests: list[Request]) -> None:
    got = batch.shoebox_responses(requests, CPU, threads=2)
    for one, a, b in zip(requests, got, shoebox_responses(requests), strict=True):
        assert a.ir.shape == b.ir.shape, one.room.id
        assert a.ir.dtype == np.float32
        for channel, want in zip(a.ir, b.ir, strict=True):
            assert difference_db(channel, want) < -80, one.room.id
        assert a.direct_delay_s == b.direct_delay_s
        assert a.mixing_time_s == b.mixing_time_s
        assert a.measured.drr_db == pytest.approx(b.measured.drr_db, abs=1e-3)


def test_a_response_does_not_depend_on_its_batch() -> None:
    requests = [request(n) for n in range(6)] + EXTENDED
    among = batch.shoebox_responses(requests, CPU)
    for n in (0, 5, 6, 9, 11):
        (alone,) = batch.shoebox_responses([requests[n]], CPU)
        assert np.array_equal(alone.ir, among[n].ir), n
    backwards = batch.shoebox_responses(requests[::-1], CPU)[::-1]
    assert all(np.array_equal(a.ir, b.ir) for a, b in zip(among, backwards, strict=True))


def test_responses_equal_the_exact_sum_of_images() -> None:
    one = request(1, "hoa2", length_s=0.03, highpass_hz=0.0)
    (got,) = batch.shoebox_responses([one], CPU)
    band_hz = np.array(one.room.band_hz)
    want = oracle_rir(
        room=one.room,
        air=AIR,
        source_m=one.source_m,
        listener_m=one.listener_m,
        rotation=np.array(one.rotation),
        order=2,
        sample_rate=one.sample_rate,
        length_s=one.length_s,
        attenuation_per_m=energy_attenuation_per_m(band_hz, AIR),
    )
    for channel in range(len(want)):
        row = slice(channel, channel + 1)
        assert error_db(got.ir[row], want[row], one.sample_rate, 0.9 * 8000) < -60


def test_the_highpass_is_the_recursive_one() -> None:
    noise = np.random.default_rng(0).standard_normal((3, 2, 2048)).astype(np.float32) + 1
    lengths = [2048, 1500, 900]
    for corner_hz in (30.0, 5.0, 0.0):
        got = highpass_in_time(torch.from_numpy(noise), torch.tensor(lengths), corner_hz, 8000)
        for signal, n, out in zip(noise, lengths, got.numpy(), strict=True):
            want = highpass(signal, n, corner_hz, 8000)
            assert difference_db(out[:, :n], want) < -100
            assert not out[:, n:].any()


def test_lengths_are_rounded_up_by_at_most_half() -> None:
    lengths = [batch.length_bucket(n) for n in range(1, 20000, 7)]
    for n, length in zip(range(1, 20000, 7), lengths, strict=True):
        assert n <= length <= max(1024, 1.5 * n)
    assert len(set(lengths)) == 10
    assert batch.length_bucket(1536) == 1536


# Triton.


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, NDArray[Any]]:
    """What the kernels gave in the interpreter."""
    pytest.importorskip("triton", reason="triton is not installed")
    path = tmp_path_factory.mktemp("interpreter") / "cases.npz"
    script = Path(__file__).with_name("interpreter_cases.py")
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(script), str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(np.load(path))


CASES = ["plain mono", "plain foa", "plain hoa2", "extended foa"]


@pytest.mark.parametrize("grid", [0, 1, 2])
@pytest.mark.parametrize("case", CASES)
def test_the_kernel_spreads_as_the_reference_does(
    interpreted: Mapping[str, NDArray[Any]], case: str, grid: int
) -> None:
    """Rounding to whole steps stays below -100 dB, and no cell comes near the end of int32."""
    steps, worth, want = (
        interpreted[f"{case}-{grid}-{name}"] for name in ("steps", "worth", "want")
    )
    assert steps.dtype == np.int32
    assert np.abs(steps).max() <= FULL_SCALE
    assert np.abs(steps[0]).max() > FULL_SCALE / 64
    got = steps[0] * worth[0]
    assert difference_db(got, want[0]) < -110


def test_the_kernel_gives_the_responses_of_the_cpu(
    interpreted: Mapping[str, NDArray[Any]],
) -> None:
    requests = [small_request("mono", 0.005), small_request("mono", 0.005, size=0.8)]
    for got, want in zip(interpreted["both"], shoebox_responses(requests), strict=True):
        assert difference_db(got, want.ir) < -80
    assert np.array_equal(interpreted["both"][1], interpreted["alone"])


@pytest.mark.parametrize("order", [0, 1, 3])
def test_the_kernels_compile_for_hopper(order: int) -> None:
    """Down to machine code for compute capability 9.0, which needs no GPU; nothing is spilled."""
    pytest.importorskip("triton", reason="triton is not installed")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from scenesynth.acoustics.gpu.kernels import spread_kernel

    constants = {
        "ORDER": order,
        "GRID_BANDS": 3,
        "COLUMNS": 16 if order == 1 else 4,
        "BLOCK": 32,
        "DIRECTED": True,
        "DISPLACED": True,
        "FADED": True,
    }
    pointers = {
        "*i32": ("cells", "mark", "hops"),
        "*fp64": ("offset", "numbers", "turn", "attenuation"),
        "*fp32": ("amplitude", "facing", "pattern", "scale", "recursion", "taps"),
    }
    kinds = {name: kind for kind, names in pointers.items() for name in names}
    signature = {
        name: "constexpr" if name in constants else kinds.get(name, "i32")
        for name in spread_kernel.arg_names
    }
    compiled = compile(
        ASTSource(fn=spread_kernel, signature=signature, constexprs=constants),
        target=GPUTarget("cuda", 90, 32),
        options={"num_warps": 2, "enable_fp_fusion": False},
    )
    assert len(compiled.asm["cubin"]) > 1000
    assert ".local" not in compiled.asm["ptx"]


# Scenes.


def specs() -> list[SceneSpec]:
    """Unequal scenes: several events per emitter and role, other lengths, nothing at all."""
    two = target(event("long", 0.1, duration_s=0.5), event("short", 0.65, gain=0.5))
    second = emitter("phone", (2.0, 1.0, 0.5), event("other", 0.3, "interferer", duration_s=0.4))
    hum = noise_at((5.0, 1.0, 2.0))
    both = noise_at((4.0, 4.0, 1.0), event("hum", 0.0, "noise"), event("other", 0.2, "noise"))
    return [
        scene(two, hum, snr_db=10.0),
        scene(two, second, hum, both, snr_db=3.0, sir_db=6.0, response_s=0.2),
        scene(target(), both, snr_db=0.0, snr_reference="all_channels"),
        scene(target(event("click", 0.3)), seconds=0.5),
        scene(hum, snr_db=5.0),
        scene(),
    ]


def assert_alike(got: Scene, want: Scene) -> None:
    """Audio within -80 dB, rows within what that means."""
    assert got.audio_by_format.keys() == want.audio_by_format.keys()
    for name, audio in want.audio_by_format.items():
        assert got.audio_by_format[name].shape == audio.shape
        assert got.audio_by_format[name].dtype == np.float32
        if audio.any():
            assert difference_db(got.audio_by_format[name], audio) < -80
        else:
            assert not got.audio_by_format[name].any()
    for a, b in zip([got.row, *got.events], [want.row, *want.events], strict=True):
        assert a.keys() == b.keys()
        for column, value in b.items():
            if isinstance(value, float):
                assert a[column] == pytest.approx(value, rel=1e-4, abs=1e-4), column
            elif isinstance(value, list) and not any(isinstance(item, dict) for item in value):
                assert_numbers_alike(a[column], value, column)
            else:
                assert a[column] == value, column


def assert_numbers_alike(got: list[Any], want: list[Any], column: str) -> None:
    for a, b in zip(got, want, strict=True):
        assert a == (pytest.approx(b, rel=1e-4, abs=1e-4) if isinstance(b, float) else b), column


def test_scenes_are_those_of_the_cpu() -> None:
    formats = ("foa", "mono")
    got = render_scenes(specs(), CLIPS, formats=formats, device="cpu")
    for one, spec in zip(got, specs(), strict=True):
        assert isinstance(one, Scene)
        assert_alike(one, render_scene(spec, CLIPS, formats=formats))


def test_a_scene_does_not_depend_on_its_batch() -> None:
    some = specs()
    among = render_scenes(some, CLIPS, device="cpu", threads=2)
    for n in (1, 3):
        (alone,) = render_scenes(some[n : n + 1], CLIPS, device="cpu")
        assert np.array_equal(alone.audio, among[n].audio)
        assert alone.row == among[n].row
        assert alone.events == among[n].events


def test_a_scene_at_fault_leaves_the_others_alone() -> None:
    good = specs()[0]
    short = scene(target(event("long", 0.0, duration_s=3.0)), seconds=4.0)
    silent = scene(target(event("short", 0.1)), noise_at(), snr_db=300.0)
    late = scene(target(event("short", 0.999)), noise_at(), snr_db=0.0)
    got = render_scenes([short, good, late, silent], CLIPS, device="cpu")
    assert isinstance(got[0], ClipError)
    assert_alike(got[1], render_scene(good, CLIPS))
    assert isinstance(got[2], ContentError)
    with pytest.raises(ContentError) as wanted:
        render_scene(late, CLIPS)
    assert str(got[2]) == str(wanted.value)
    assert_alike(got[3], render_scene(silent, CLIPS))


def test_energies_are_those_of_the_host() -> None:
    rng = np.random.default_rng(5)
    decay = np.exp(-np.arange(5000) / rng.uniform(100, 2000, (4, 1)))
    signals = (rng.standard_normal((4, 5000)) * decay).astype(np.float32)
    signals[3, :2000] = 0
    signals[2, 1700:] = 0
    energies = SignalEnergies(torch.from_numpy(signals))
    ends = energies.end(60.0).tolist()
    spans = [(0, 5000), (-5, 128), (127, 129), (300, 300), (2000, 9000), (4990, 4999), (1700, 5000)]
    (answers,) = ask([(energies, [(row, span) for row in range(4) for span in spans])])
    for row, signal in enumerate(signals):
        host = Energy(signal)
        assert ends[row] == host.end(60.0)
        for n, span in enumerate(spans):
            answer = answers[row * len(spans) + n]
            # Both sum cells in float32.
            assert answer == pytest.approx(host.between(*span), rel=1e-6, abs=2e-6 * host.total)


# The command, and devices that are not there.


def test_a_device_that_is_not_there_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="sees no CUDA device"):
        torch_device("cuda")
    with pytest.raises(ConfigError, match="sees no CUDA device"):
        render_scene(specs()[0], CLIPS, device="cuda")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"pip install 'scenesynth\[gpu\]'"):
        torch_device("cuda")


def test_the_benchmark_says_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = CliRunner().invoke(main, ["bench", "gpu"])
    assert done.exit_code == 1
    assert "sees no CUDA device" in done.stderr


def test_the_benchmark_runs_on_the_cpu(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    arguments = ["bench", "gpu", "--device", "cpu", "--batch", "1,2", "--seconds", "0"]
    arguments += ["--set", "duration_s=1", "--set", "sample_rate=8000", "--set", "clean.share=0"]
    arguments += ["--set", "rooms.0.decay.rt60_s=0.2"]
    done = CliRunner().invoke(main, [*arguments, "--threads", "1", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "from the CPU" in done.stdout
    results = json.loads(out.read_text())
    assert results["machine"]["device"] == "cpu"
    for mode in ("full", "tail"):
        found = results["modes"][mode]
        assert [b["scenes"] for b in found["batches"]] == [1, 2]
        assert all(b["scenes_per_s"] > 0 and b["images"] > 0 for b in found["batches"])
        assert found["stable"] == {"over_runs": True, "over_batches": True}
        assert found["accuracy"]["responses_db"] < -80
        assert found["accuracy"]["scenes_db"] < -80


# On a GPU.

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@needs_cuda
@pytest.mark.gpu
def test_cuda_gives_the_responses_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "ROWS", 16)
    requests = [*FULL, *EXTENDED]
    device = torch_device("cuda")
    got = batch.shoebox_responses(requests, device)
    for one, a, b in zip(requests, got, shoebox_responses(requests), strict=True):
        assert difference_db(a.ir, b.ir) < -80, one.room.id
    for n, again in enumerate(batch.shoebox_responses(requests[::-1], device)[::-1]):
        assert np.array_equal(again.ir, got[n].ir), n


@needs_cuda
@pytest.mark.gpu
def test_cuda_gives_the_scenes_of_the_cpu() -> None:
    got = render_scenes(specs(), CLIPS, device="cuda")
    for spec, one in zip(specs(), got, strict=True):
        assert isinstance(one, Scene)
        assert_alike(one, render_scene(spec, CLIPS))
    alone = render_scene(specs()[1], CLIPS, device="cuda")
    assert np.array_equal(alone.audio, got[1].audio)
    assert alone.row == got[1].row


@needs_cuda
@pytest.mark.gpu
def test_cuda_renders_a_longer_room_in_whole_numbers() -> None:
    """Half a second at 32 kHz, where cells hold thousands of images."""
    long = replace(request(20, sample_rate=32000), length_s=0.5)
    (got,) = batch.shoebox_responses([long], torch_device("cuda"))
    (want,) = shoebox_responses([long])
    assert difference_db(got.ir, want.ir) < -80
