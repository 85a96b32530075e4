"""Rooms of any shape: images and rays of pyroomacoustics by the conventions of this package."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracle_rir import error_db
from room_helpers import BOX, mesh_room, plan_room, write_box_obj

pytest.importorskip("pyroomacoustics", reason="pyroomacoustics is not installed")

from scenesynth.acoustics import tail
from scenesynth.acoustics.engines import emitter_seed, respond
from scenesynth.acoustics.libroom import image_sources, traced_energy
from scenesynth.acoustics.pyroom import _sphere, traced_response
from scenesynth.acoustics.response import Request, Response, shoebox_response
from scenesynth.acoustics.simulate import simulate_rir
from scenesynth.errors import ConfigError
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room
from scenesynth.scene.geometry import great_circle_deg, rotation_matrix
from scenesynth.scene.spec import (
    ClipRef,
    Emitter,
    Event,
    Keyframe,
    Origin,
    SceneSpec,
    Tracing,
)
from scenesynth.spatial.doa import intensity_direction
from scenesynth.spatial.formats import parse_format

FS = 32000
SOURCE, LISTENER = (1.1, 0.9, 1.3), (2.7, 2.05, 1.2)
UNEVEN = np.random.default_rng(1).uniform(0.05, 0.7, (6, 7))
ONE_BAND = np.array([[0.1], [0.2], [0.3], [0.4], [0.5], [0.6]])
IMAGES = Tracing(image_order=3, rays=0)


def box(absorption: Any, **fields: Any) -> Room:
    bands = (1000.0,) if np.shape(absorption)[-1] == 1 else OCTAVE_BANDS_HZ
    return Room(
        id="box",
        size_m=(4.0, 3.2, 2.5),
        band_hz=bands,
        absorption=tuple(tuple(map(float, row)) for row in absorption),
        **fields,
    )


def request_of(room: Room, **changes: Any) -> Request:
    known: dict[str, Any] = {
        "room": room,
        "air": Air(),
        "source_m": SOURCE,
        "listener_m": LISTENER,
        "rotation": rotation_matrix(30, 20, -10),
        "format": parse_format("foa"),
        "sample_rate": FS,
        "length_s": 0.05,
        "highpass_hz": 0.0,
    }
    return Request(**(known | changes))


def ours(request: Request) -> Response:
    return shoebox_response(
        **{name: getattr(request, name) for name in Request.__dataclass_fields__}
    )


@pytest.mark.parametrize("absorption", [ONE_BAND, UNEVEN], ids=["one band", "seven bands"])
@pytest.mark.parametrize("format", ["foa", "hoa3"])
def test_all_images_of_a_box_are_those_of_the_own_engine(absorption: Any, format: str) -> None:
    """Every channel on its own, to what the single precision of the core leaves."""
    request = request_of(box(absorption), format=parse_format(format))
    got, want = traced_response(request, None), ours(request)
    assert got.ir.shape == want.ir.shape
    for channel in range(len(want.ir)):
        one = slice(channel, channel + 1)
        assert error_db(got.ir[one], want.ir[one], FS, 0.75 * FS / 2) < -65
    assert got.direction == want.direction
    assert got.direct_delay_s == want.direct_delay_s


@pytest.mark.parametrize(
    "changes",
    [
        {"displacement_m": 0.08, "seed": 2**31 + 5},
        {"directivity": "cardioid", "front": (0.2, -1.0, 0.3)},
        {"directivity": "speech", "front": (-1.0, 0.5, 0.0)},
    ],
    ids=["displaced", "cardioid", "speech"],
)
def test_displacement_and_directivity_are_those_of_the_own_engine(changes: dict[str, Any]) -> None:
    request = request_of(box(UNEVEN), **changes)
    got, want = traced_response(request, None).ir, ours(request).ir
    assert error_db(got, want, FS, 0.75 * FS / 2) < -65


def test_a_box_as_a_floor_plan_or_a_mesh_is_the_same_room(tmp_path: Path) -> None:
    """Images of up to three reflections; edges and faces carry their own wall's absorption."""
    walls = dict(zip(("x0", "x1", "y0", "y1", "z0", "z1"), UNEVEN, strict=True))
    order = ("y0", "x1", "y1", "x0", "z0", "z1")
    plan = plan_room(BOX, np.array([walls[name] for name in order]))
    mesh = mesh_room(write_box_obj(tmp_path / "box.obj", (4.0, 3.2, 2.5)), UNEVEN)
    want = traced_response(request_of(box(UNEVEN)), IMAGES).ir
    for room in (plan, mesh):
        got = traced_response(request_of(room), IMAGES).ir
        assert error_db(got, want, FS, FS / 2) < -70  # single precision, by another way


def test_images_of_an_l_shape_are_those_of_pyroomacoustics() -> None:
    """Its own responses, its high-pass off and its delay of 40 samples removed."""
    pra = pytest.importorskip("pyroomacoustics")
    room = plan_room(absorption=0.3, band_hz=(1000.0,))
    source, listener = (5.1, 0.9, 1.3), (1.2, 2.05, 1.2)
    request = request_of(
        room,
        source_m=source,
        listener_m=listener,
        length_s=0.1,
        format=parse_format("mono"),
        air=replace(Air(), humidity_pct=100.0),
    )
    got = traced_response(request, IMAGES).ir
    saved = {name: pra.constants.get(name) for name in ("c", "rir_hpf_enable")}
    try:
        pra.constants.set("c", Air().speed_of_sound_mps)
        pra.constants.set("rir_hpf_enable", False)
        walls = pra.Material(energy_absorption=0.3)
        theirs = pra.Room.from_corners(
            np.array(room.outline_m).T, fs=FS, max_order=3, materials=walls, air_absorption=False
        )
        theirs.extrude(2.5, materials=walls)
        theirs.add_source(source)
        theirs.add_microphone(listener)
        theirs.compute_rir()
        offset = pra.constants.get("frac_delay_length") // 2
        want = np.zeros_like(got)
        rir = theirs.rir[0][0][offset:]
        want[0, : len(rir)] = rir[: want.shape[1]]
    finally:
        for name, value in saved.items():
            pra.constants.set(name, value)
    way_m = np.arange(got.shape[1]) / FS * Air().speed_of_sound_mps
    from scenesynth.room.air import energy_attenuation_per_m

    lost = float(energy_attenuation_per_m(1000.0, replace(Air(), humidity_pct=100.0)))
    assert error_db(got * np.exp(0.5 * lost * way_m), want, FS, 0.75 * FS / 2) < -50


@pytest.mark.parametrize("distance_m", [0.5, 1.0, 2.0, 3.9])
def test_the_direct_sound_is_where_and_as_loud_as_the_label_says(distance_m: float) -> None:
    """Within a sample, 1 degree and 1 %; a room that absorbs everything has nothing else."""
    away = np.array([0.8, 0.5, 0.2]) / np.linalg.norm([0.8, 0.5, 0.2])
    listener = np.array([0.6, 0.7, 1.0])
    request = request_of(
        plan_room(absorption=1.0, band_hz=(1000.0,)),
        listener_m=tuple(listener),
        source_m=tuple(listener + distance_m * away),
    )
    response = traced_response(request, Tracing())
    peak = int(np.argmax(np.abs(response.ir[0])))
    assert abs(peak - response.direct_delay_s * FS) <= 1
    assert response.direct_delay_s == pytest.approx(distance_m / Air().speed_of_sound_mps)
    level = np.linalg.norm(response.ir[0].astype(float)) / math.sqrt(0.95)
    assert level == pytest.approx(1 / distance_m, rel=0.02)
    estimate = intensity_direction(response.ir, FS, band_hz=(500, 4000))
    assert great_circle_deg(estimate, response.direction) < 1
    expected = np.asarray(request.rotation).T @ away
    np.testing.assert_allclose(response.direction, expected, atol=1e-9)


def l_request(**changes: Any) -> Request:
    known: dict[str, Any] = {
        "source_m": (5.1, 0.9, 1.3),
        "listener_m": (1.2, 2.05, 1.2),
        "length_s": 0.3,
        "seed": 7,
    }
    return request_of(plan_room(absorption=0.2, scattering=0.3), **(known | changes))


def test_the_same_request_gives_the_same_bytes_whatever_was_traced_before() -> None:
    first = traced_response(l_request(), Tracing(rays=500)).ir
    traced_response(l_request(seed=8), Tracing(rays=300))
    again = traced_response(l_request(), Tracing(rays=500)).ir
    other = traced_response(l_request(seed=8), Tracing(rays=500)).ir
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_a_lower_format_is_the_first_channels_of_a_higher_one() -> None:
    high = traced_response(l_request(format=parse_format("hoa2")), Tracing(rays=500)).ir
    low = traced_response(l_request(), Tracing(rays=500)).ir
    np.testing.assert_array_equal(high[:4], low)


def test_rays_call_the_kernels_of_tails_as_tails_do() -> None:
    """With whole arrays, so that what is compiled beforehand serves them too."""
    traced_response(l_request(), Tracing(rays=300))
    for kernel in (tail._factor, tail._add_noise):
        for signature in kernel.signatures:
            assert {getattr(kind, "layout", "C") for kind in signature} == {"C"}
        assert len(kernel.signatures) == 1


def test_nothing_precedes_the_direct_sound() -> None:
    """But for the ringing of the octave bands, of which the images have as much without rays."""
    with_rays = traced_response(l_request(), Tracing(rays=1000))
    without = traced_response(l_request(), IMAGES).ir
    before = math.floor(with_rays.direct_delay_s * FS)
    assert (
        np.abs(with_rays.ir[:, : before - 32]).max() < 2 * np.abs(without[:, : before - 32]).max()
    )


def test_turning_the_listener_turns_the_field() -> None:
    """A quarter turn to the left makes the sound from the left that from the front."""
    still = traced_response(l_request(rotation=np.eye(3)), Tracing(rays=500)).ir
    turned = traced_response(l_request(rotation=rotation_matrix(90, 0, 0)), Tracing(rays=500)).ir
    np.testing.assert_allclose(turned[[0, 2]], still[[0, 2]], atol=1e-6)
    np.testing.assert_allclose(turned[3], still[1], atol=1e-5)
    np.testing.assert_allclose(turned[1], -still[3], atol=1e-5)


def rays_against_images(room: Room, above: int) -> np.ndarray:
    """Energy of rays over that of images, per 20 ms."""
    bin_s, speed_mps, n = 0.02, 343.0, 10
    images = image_sources(
        room, SOURCE, LISTENER, n_bands=1, order=int(n * bin_s * speed_mps * 0.6) + 3,
        scattered=False,
    )  # fmt: skip
    late = images.order > above
    distance_m = np.linalg.norm(images.offset_m[late], axis=1)
    energy = images.reflection[late, 0] ** 2 / distance_m**2
    edges = np.arange(n + 1) * bin_s * speed_mps
    want = np.histogram(distance_m, bins=edges, weights=energy)[0]
    got = trace(room, above, n * bin_s, bin_s, 20000).sum(axis=0)[0]
    return got[1:] / want[1:]


def trace(room: Room, above: int, length_s: float, bin_s: float, rays: int) -> np.ndarray:
    return traced_energy(
        room,
        SOURCE,
        LISTENER,
        above_order=above,
        rays=_sphere(rays),
        power=np.ones((rays, 1)),
        directions=_sphere(60),
        length_s=length_s,
        bin_s=bin_s,
        speed_of_sound_mps=343.0,
        seed=1,
    )


@pytest.mark.parametrize("above", [1, 3])
def test_rays_bring_the_energy_of_the_images_that_are_left_out(above: int) -> None:
    """No reflection is heard twice or not at all between images and rays."""
    ratio = rays_against_images(box(np.full((6, 1), 0.2)), above)
    np.testing.assert_allclose(ratio, 1, atol=0.1)


def test_scattered_energy_is_counted_once() -> None:
    """Walls that scatter everything make a diffuse field: 4 pi c / V per second, decaying.

    Eyring's exponent for the little absorption that keeps the field diffuse; the core alone would
    give twice as much.
    """
    room = box(np.full((6, 1), 0.05), scattering=1.0)
    bin_s, volume, area = 0.04, 4 * 3.2 * 2.5, 2 * (4 * 3.2 + 4 * 2.5 + 3.2 * 2.5)
    got = trace(room, 0, 0.4, bin_s, 4000).sum(axis=0)[0]
    time_s = (np.arange(10) + 0.5) * bin_s
    rate = 343.0 * area * math.log(1 - 0.05) / (4 * volume)
    want = 4 * np.pi * 343.0 / volume * np.exp(rate * time_s) * bin_s
    np.testing.assert_allclose(got[2:] / want[2:], 1, atol=0.12)


def test_a_wall_in_between_is_refused_by_name() -> None:
    request = request_of(plan_room(), source_m=(5.0, 2.0, 1.0), listener_m=(1.0, 4.5, 1.5))
    with pytest.raises(ValueError, match=r"room plan: e[23] stands between source_m = \(5\.0"):
        traced_response(request, IMAGES)


def test_more_images_than_are_feasible_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"9 reflections are .* Lower tracing\.image_order"):
        traced_response(request_of(plan_room()), Tracing(image_order=9))


def test_a_floor_plan_has_no_full_lattice() -> None:
    with pytest.raises(ValueError, match="of shape 'outline'; must be shoebox"):
        traced_response(request_of(plan_room()), None)


def test_displacement_is_that_of_the_own_engine_and_spares_early_images() -> None:
    room = plan_room(BOX, absorption=0.3, band_hz=(1000.0,))
    still, moved, again = (
        traced_response(request_of(room, displacement_m=d, seed=5), IMAGES).ir
        for d in (0.0, 0.08, 0.08)
    )
    np.testing.assert_array_equal(moved, again)
    third_s = 0.0125  # before the first image of three reflections
    n = round(third_s * FS) - 64
    assert error_db(moved[:, :n], still[:, :n], FS, 0.75 * FS / 2) < -30
    assert error_db(moved, still, FS, 0.75 * FS / 2) > -20


@pytest.mark.parametrize("name", ["cardioid", "figure8"])
def test_a_directional_source_weights_every_image_by_where_it_leaves(name: str) -> None:
    """On axis as loud as an omnidirectional one; nothing at the null."""
    towards = np.subtract(LISTENER, SOURCE)
    null = -towards if name == "cardioid" else np.cross(towards, (0, 0, 1))
    silent = box(np.ones((6, 1)))
    omni, front, back = (
        traced_response(request_of(silent, directivity=d, front=tuple(f)), None).ir
        for d, f in (("omni", towards), (name, towards), (name, null))
    )
    np.testing.assert_allclose(front, omni, atol=1e-6)
    assert np.abs(back).max() < 1e-5 * np.abs(omni).max()


def spec_of(room: Room, **changes: Any) -> SceneSpec:
    event = Event(
        role="target",
        clip=ClipRef(corpus="sources", id="a", digest="0"),
        onset_s=0.0,
        duration_s=0.5,
        active_start_s=0.0,
        active_end_s=0.5,
    )
    pose = Keyframe(position_m=(5.1, 0.9, 1.3))
    known: dict[str, Any] = {
        "origin": Origin(),
        "sample_rate": 16000,
        "n_samples": 16000,
        "room": room,
        "air": Air(),
        "listener": (Keyframe(position_m=(1.2, 2.05, 1.2), yaw_deg=40.0),),
        "emitters": (Emitter(id="e", keyframes=(pose,), events=(event,)),),
        "engine": "pyroomacoustics",
        "mode": "tail",
        "tracing": Tracing(rays=300),
        "response_s": 0.2,
        "acoustic_seed": 11,
    }
    return SceneSpec(**(known | changes))


def test_a_spec_that_names_the_engine_is_rendered_by_it() -> None:
    spec = spec_of(plan_room(scattering=0.2))
    assert SceneSpec.from_json(spec.to_json()) == spec
    got = respond(spec, 0, [parse_format("foa"), parse_format("mono")])
    want = traced_response(
        request_of(
            spec.room,
            source_m=(5.1, 0.9, 1.3),
            listener_m=(1.2, 2.05, 1.2),
            rotation=rotation_matrix(40, 0, 0),
            sample_rate=16000,
            length_s=0.2,
            highpass_hz=30.0,
            seed=emitter_seed(11, 0),
        ),
        Tracing(rays=300),
    )
    np.testing.assert_array_equal(got["foa"].ir, want.ir)
    np.testing.assert_array_equal(got["mono"].ir, want.ir[:1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "shoebox", "tracing": None}, "set engine: pyroomacoustics"),
        ({"mode": "full", "tracing": None}, "mode = 'full' .* set mode: tail, and tracing"),
        ({"tracing": None}, "tracing is missing"),
        (
            {"tracing": Tracing(rays=0)},
            r"surfaces scatter, .* set .* tracing\.rays, or scattering: 0",
        ),
    ],
)
def test_a_spec_that_no_engine_could_render_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        spec_of(plan_room(scattering=0.2), **changes)


def test_one_response_needs_no_recipe_to_trace_rays() -> None:
    ir = simulate_rir(
        room_m=(4, 3.2, 2.5),
        source_m=SOURCE,
        listener_m=LISTENER,
        absorption=0.5,
        length_s=0.1,
        engine="pyroomacoustics",
        mode="tail",
    )
    assert ir.shape == (4, 3200)
    assert np.abs(ir[0, 2000:]).max() > 0


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(ConfigError, match=r"pip install 'pyroomacoustics>=0\.10\.1'"):
        traced_response(request_of(plan_room()), IMAGES)
