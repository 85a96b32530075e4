"""One impulse response: from a place in a room to a listener, in a format.

Sample 0 is the emission: the direct sound arrives at distance / c. Amplitude falls as 1 / d, and a
source at 1 m gives 1.0 in W (on its axis, where it is directional). Directions are those of the
listener's frame.

Mode `full` is every image within the response. Mode `tail` is every image up to the mixing time,
then noise with the statistics of the later ones (`scenesynth.acoustics.tail`) and their mean
(`scenesynth.acoustics.pileup`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from scenesynth.acoustics.arrivals import AxisTable, room_tables
from scenesynth.acoustics.directivity import pattern
from scenesynth.acoustics.early import Early, early_of_box
from scenesynth.acoustics.grids import GUARD, MAX_BANDS, make_plan
from scenesynth.acoustics.highpass import highpass
from scenesynth.acoustics.measure import Acoustics, measure
from scenesynth.acoustics.pileup import pile_up
from scenesynth.acoustics.spread_cpu import channel_spectra
from scenesynth.acoustics.tail import Field, Seam, add_noise, late_field, octant_mean, octant_power
from scenesynth.errors import ConfigError
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.model import Air, Room, Shape, Vector
from scenesynth.scene.spec import Directivity, Mode
from scenesynth.spatial.formats import Format
from scenesynth.timing import stage

_IDENTITY = np.eye(3)

MIN_DISTANCE_M = 0.05
"""Closer than this a point source is no model of anything, and 1 / d runs away."""

FADE_S = 0.005
"""Length of the cross-fade between images and noise, its middle at the mixing time."""

MOST_IMAGES = 5e9
"""More image sources of a shoebox than this take minutes: a slip, or a case for mode `tail`."""

LEAST_AFTER_DIRECT_S = 0.02
"""Images rule for at least this long after the direct sound, however late that arrives."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Response:
    """A rendered response.

    Attributes:
        ir: float32. Shape: [channels, samples].
        direct_delay_s: distance / c.
        direction: unit vector towards the source in the listener's frame.
        measured: reverberation times and ratios of the W channel.
        mixing_time_s: where noise takes over from images; None where it does not.
        early: the arrivals of few reflections that the response holds, found when asked for; None
            where the engine does not know them apart.
    """

    ir: NDArray[np.float32]
    direct_delay_s: float
    distance_m: float
    direction: Vector
    measured: Acoustics
    mixing_time_s: float | None = None
    early: Callable[[], Early] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """What `shoebox_response` is asked for.

    Attributes:
        rotation: listener-to-room matrix. Shape: [3, 3].
        length_s: length of the response; it has to hold the direct sound.
        highpass_hz: corner of the causal second-order high-pass, which comes last; 0 for none.
        mixing_time_s: in mode `tail`: after emission, or 20 ms after the direct sound if that is
            later. A response that ends before it is one of images only.
        scattering: in mode `tail`: 0 leaves the late field as uneven over directions as specular
            walls make it, 1 makes it isotropic.
        directivity: how much the source radiates off its front.
        front: where a directional source looks, a vector of the room of any length.
        displacement_m: images of three reflections and more lie farther by up to this.
        seed: 32 bits, of displacements and noise.
    """

    room: Room
    air: Air
    source_m: Vector
    listener_m: Vector
    rotation: ArrayLike
    format: Format
    sample_rate: int
    length_s: float
    highpass_hz: float = 30.0
    mode: Mode = "full"
    mixing_time_s: float = 0.08
    scattering: float = 0.0
    directivity: Directivity = "omni"
    front: Vector | None = None
    displacement_m: float = 0.0
    seed: int = 0


def shoebox_responses(requests: Sequence[Request], threads: int = 1) -> list[Response]:
    """Responses of unequal rooms, lengths and formats, each as if it were rendered alone.

    Args:
        threads: how many are rendered at a time, each on one thread; the kernels and transforms
            leave the interpreter free.

    Raises:
        ValueError: see `shoebox_response`.
    """
    if threads < 1:
        raise ValueError(f"threads = {threads}; must be at least 1")
    if threads == 1 or len(requests) < 2:
        return [_respond(request) for request in requests]
    with ThreadPoolExecutor(min(threads, len(requests))) as pool:
        return list(pool.map(_respond, requests))


def shoebox_response(
    *,
    room: Room,
    air: Air,
    source_m: Vector,
    listener_m: Vector,
    rotation: ArrayLike,
    format: Format,
    sample_rate: int,
    length_s: float,
    highpass_hz: float = 30.0,
    mode: Mode = "full",
    mixing_time_s: float = 0.08,
    scattering: float = 0.0,
    directivity: Directivity = "omni",
    front: Vector | None = None,
    displacement_m: float = 0.0,
    seed: int = 0,
) -> Response:
    """Response by image sources, to the end or up to the mixing time; arguments as in `Request`.

    Raises:
        ValueError: a position outside the room or on a wall, source and listener at one place, no
            band below Nyquist, a response that ends before the direct sound, a directional source
            without a front, a number out of range.
    """
    return _respond(
        Request(
            room=room,
            air=air,
            source_m=source_m,
            listener_m=listener_m,
            rotation=rotation,
            format=format,
            sample_rate=sample_rate,
            length_s=length_s,
            highpass_hz=highpass_hz,
            mode=mode,
            mixing_time_s=mixing_time_s,
            scattering=scattering,
            directivity=directivity,
            front=front,
            displacement_m=displacement_m,
            seed=seed,
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Settled:
    """What a request comes to, whatever renders it.

    Attributes:
        rotation: listener-to-room matrix. Shape: [3, 3].
        direction: unit vector towards the source in the listener's frame.
        band_hz: the room's bands below Nyquist.
        seam: where noise takes over, or None where images go on to the end.
        n_samples: length of the response.
        n_images: length of what images make of it.
        radius_m: images up to this distance belong to it.
        attenuation_per_m: energy attenuation of air. Shape: [bands].
        front: unit vector in which a directional source looks, else None.
        directivity: amplitude over the cosine to the front, else None. Shape: [bands, 5].
    """

    rotation: NDArray[np.float64]
    distance_m: float
    direct_delay_s: float
    direction: Vector
    band_hz: tuple[float, ...]
    seam: Seam | None
    n_samples: int
    n_images: int
    radius_m: float
    attenuation_per_m: NDArray[np.float64]
    front: Vector | None
    directivity: NDArray[np.float64] | None


def settle(request: Request, shapes: Sequence[Shape] = ("shoebox",)) -> Settled:
    """Check a request and work out what follows from it.

    Args:
        shapes: of rooms that can be rendered.

    Raises:
        ValueError: see `shoebox_response`.
    """
    room = request.room
    if room.shape not in shapes:
        raise ValueError(
            f"room {room.id} is of shape {room.shape!r}; must be {' or '.join(shapes)}"
        )
    turn = np.array(request.rotation, dtype=np.float64)
    away = np.subtract(request.source_m, request.listener_m)
    distance_m = float(np.linalg.norm(away))
    rate, speed_mps = request.sample_rate, request.air.speed_of_sound_mps
    direct_delay_s = distance_m / speed_mps
    band_hz = _usable_bands(request.room, rate)
    _check(request, turn, distance_m)
    seam = _seam(request, direct_delay_s)
    n_samples = round(request.length_s * rate)
    n_images = math.ceil(seam.end_s * rate) if seam else n_samples
    radius_m = n_images / rate * speed_mps
    if room.shape == "shoebox":
        _check_images(request, radius_m)
    x, y, z = turn.T @ away / distance_m
    front = directivity = None
    if request.directivity != "omni":
        directivity, front = pattern(request.directivity, band_hz), _unit(request.front)
    return Settled(
        rotation=turn,
        distance_m=distance_m,
        direct_delay_s=direct_delay_s,
        direction=(float(x), float(y), float(z)),
        band_hz=band_hz,
        seam=seam,
        n_samples=n_samples,
        n_images=n_images,
        radius_m=radius_m,
        attenuation_per_m=_attenuation_per_m(band_hz, request.air),
        front=front,
        directivity=directivity,
    )


def measured_response(
    request: Request,
    settled: Settled,
    ir: NDArray[np.float32],
    early: Callable[[], Early] | None = None,
) -> Response:
    """A rendered response [channels, samples] with what is known and measured of it."""
    seam = settled.seam
    with stage("measure"):
        measured = measure(ir[0], request.sample_rate, settled.band_hz, settled.direct_delay_s)
    return Response(
        ir=ir,
        direct_delay_s=settled.direct_delay_s,
        distance_m=settled.distance_m,
        direction=settled.direction,
        measured=measured,
        mixing_time_s=(seam.start_s + seam.end_s) / 2 if seam else None,
        early=early,
    )


def _respond(request: Request) -> Response:
    settled = settle(request)
    tables = room_tables(
        request.room, request.source_m, request.listener_m, settled.radius_m, settled.front
    )
    ir = _render(request, settled, tables)
    return measured_response(request, settled, ir, partial(_early, request, settled, tables))


def _seam(request: Request, direct_delay_s: float) -> Seam | None:
    """Where noise takes over, or None where images go on to the end."""
    if request.mode == "full":
        return None
    middle_s = max(request.mixing_time_s, direct_delay_s + LEAST_AFTER_DIRECT_S)
    start_s = middle_s - FADE_S / 2
    return Seam(start_s=start_s, end_s=start_s + FADE_S) if start_s < request.length_s else None


Tables = tuple[AxisTable, AxisTable, AxisTable]


def _render(request: Request, settled: Settled, tables: Tables) -> NDArray[np.float32]:
    """Images, noise and mean after them, and the high-pass over all. Shape: [channels, samples]."""
    rate, speed_mps = request.sample_rate, request.air.speed_of_sound_mps
    seam, n_samples = settled.seam, settled.n_samples
    plan = make_plan(rate, settled.n_images, settled.band_hz)
    spectra = channel_spectra(
        plan,
        tables,
        radius_m=settled.radius_m,
        rotation=settled.rotation,
        order=request.format.order,
        attenuation_per_m=settled.attenuation_per_m,
        speed_of_sound_mps=speed_mps,
        directivity=settled.directivity,
        displacement_m=request.displacement_m,
        seed32=request.seed,
        fade_m=_fade_m(request, settled),
    )
    ir = scipy.fft.irfft(spectra, n=plan.n_fft, axis=1, workers=1)
    if seam:
        # Low bands ring on beyond the last image; what the first ring ahead lies at the very end.
        images = ir[:, : plan.n_fft - GUARD // 2]
        ir = np.zeros((len(images), n_samples), dtype=np.float32)
        n = min(n_samples, images.shape[1])
        ir[:, :n] = images[:, :n]
        add_noise(ir, field_of(request, settled), rate, settled.band_hz)
        first, swell = pile_up_of(request, settled)
        into = ir[0, first : first + len(swell)]
        into += swell[: len(into)]
    return highpass(ir, n_samples, request.highpass_hz, rate)


def _early(request: Request, settled: Settled, tables: Tables) -> Early:
    """The early arrivals of a response, with the amplitudes that they have in it."""
    return early_of_box(
        tables,
        radius_m=settled.radius_m,
        rotation=settled.rotation,
        attenuation_per_m=settled.attenuation_per_m,
        speed_of_sound_mps=request.air.speed_of_sound_mps,
        band_hz=settled.band_hz,
        directivity=settled.directivity,
        fade_m=_fade_m(request, settled),
    )


def _fade_m(request: Request, settled: Settled) -> tuple[float, float] | None:
    """Distances between which images give way to noise."""
    if settled.seam is None:
        return None
    speed_mps = request.air.speed_of_sound_mps
    return settled.seam.start_s * speed_mps, settled.seam.end_s * speed_mps


def field_of(request: Request, settled: Settled) -> Field:
    """The noise that follows the images of a response in mode `tail`."""
    assert settled.seam is not None
    return late_field(
        request.format.n_channels,
        settled.n_samples,
        room=request.room,
        band_hz=settled.band_hz,
        attenuation_per_m=settled.attenuation_per_m,
        speed_of_sound_mps=request.air.speed_of_sound_mps,
        rotation=settled.rotation,
        sample_rate=request.sample_rate,
        seam=settled.seam,
        scattering=request.scattering,
        source_power=source_power(settled),
        seed=request.seed,
    )


def pile_up_of(request: Request, settled: Settled) -> tuple[int, NDArray[np.float32]]:
    """The mean pressure that goes on after the images of a response in mode `tail`."""
    assert settled.seam is not None
    mean = None
    if settled.directivity is not None and settled.front is not None:
        mean = octant_mean(settled.directivity, settled.front)
    return pile_up(
        request.room,
        settled.attenuation_per_m,
        request.air.speed_of_sound_mps,
        request.sample_rate,
        settled.seam,
        mean,
    )


def source_power(settled: Settled) -> NDArray[np.float64] | None:
    """What a directional source sends into the late field; None for an omnidirectional one."""
    if settled.directivity is None or settled.front is None:
        return None
    return octant_power(settled.directivity, settled.front)


def _check_images(request: Request, radius_m: float) -> None:
    """Check that the images within a radius can be counted through: their ellipsoid of indices."""
    n_images = math.pi / 6 * math.prod(1 + 2 * radius_m / length for length in request.room.size_m)
    if n_images > MOST_IMAGES:
        way_out = (
            "use mode 'tail', or a shorter response (length_s)"
            if request.mode == "full"
            else "use a larger room, or a shorter mixing_time_s"
        )
        raise ConfigError(
            f"room {request.room.id}: {' x '.join(f'{v:g}' for v in request.room.size_m)} m has "
            f"{n_images:.2g} image sources within {radius_m:.4g} m, as mode {request.mode!r} with "
            f"length_s = {request.length_s:g} asks for; at most {MOST_IMAGES:g}. To go on, "
            f"{way_out}"
        )


def _unit(front: Vector | None) -> Vector:
    x, y, z = front or (0.0, 0.0, 0.0)
    length = math.hypot(x, y, z)
    return (x / length, y / length, z / length)


def _usable_bands(room: Room, sample_rate: int) -> tuple[float, ...]:
    """The bands of the room that lie below Nyquist."""
    n = _n_usable(room.band_hz, sample_rate)
    if n is None:
        raise ValueError(
            f"room {room.id}: band_hz = {room.band_hz}; must be up to {MAX_BANDS} octave bands, "
            f"each twice the one before"
        )
    if n == 0:
        raise ValueError(
            f"sample_rate = {sample_rate} Hz is too low: no band of room {room.id} lies below "
            f"Nyquist (lowest is {room.band_hz[0]:g} Hz); use more than {2 * room.band_hz[0]:g} Hz"
        )
    return room.band_hz[:n]


@lru_cache(maxsize=64)
def _n_usable(band_hz: tuple[float, ...], sample_rate: int) -> int | None:
    """How many bands lie below Nyquist; None where they are no octave bands."""
    ratios = np.diff(np.log2(band_hz))
    if len(band_hz) > MAX_BANDS or np.any(np.abs(ratios - 1.0) > 0.02):
        return None
    return sum(band < sample_rate / 2 for band in band_hz)


@lru_cache(maxsize=256)
def _attenuation_per_m(band_hz: tuple[float, ...], air: Air) -> NDArray[np.float64]:
    return energy_attenuation_per_m(band_hz, air)


def _check(request: Request, rotation: NDArray[np.float64], distance_m: float) -> None:
    room, air, length_s = request.room, request.air, request.length_s
    for name in ("source_m", "listener_m"):
        position = getattr(request, name)
        if not all(math.isfinite(value) for value in position):
            raise ValueError(f"{name} = {position}; must be finite")
        if why := room.outside(position):
            raise ValueError(f"{name} = {position} lies outside room {room.id}: {why}")
    if distance_m < MIN_DISTANCE_M:
        raise ValueError(
            f"source_m and listener_m are {distance_m:.9g} m apart; must be at least "
            f"{MIN_DISTANCE_M} m, since nearer no direction is known"
        )
    if rotation.shape != (3, 3) or not (abs(rotation @ rotation.T - _IDENTITY) <= 1e-6).all():
        raise ValueError(f"rotation must be an orthonormal [3, 3] matrix, got {rotation.tolist()}")
    if length_s * air.speed_of_sound_mps <= distance_m:
        raise ValueError(
            f"length_s = {length_s:g} ends before the direct sound arrives at "
            f"{distance_m / air.speed_of_sound_mps:.4g} s; make it longer"
        )
    front = request.front
    if request.directivity != "omni" and not (
        front and all(math.isfinite(v) for v in front) and any(front)
    ):
        raise ValueError(
            f"front = {front}; a source of directivity {request.directivity!r} needs the vector in "
            f"which it looks"
        )
    for name, low, high in (
        ("mixing_time_s", 0.01, 1.0),
        ("scattering", 0.0, 1.0),
        ("displacement_m", 0.0, 0.5),
        ("seed", 0, 2**32 - 1),
    ):
        if not low <= (value := getattr(request, name)) <= high:
            raise ValueError(f"{name} = {value}; must lie in [{low}, {high}]")
