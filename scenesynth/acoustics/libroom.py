"""The compiled core of pyroomacoustics: image sources and ray tracing in rooms of any shape.

Only its geometry is used. Its Python layer makes responses with an offset of 40 samples, a
zero-phase high-pass and constants that the whole process shares; `scenesynth.acoustics.pyroom`
makes them by the conventions of this package instead. What has to be known of version 0.10:

- The core's random numbers come from one generator per process. It is seeded before every tracing,
  under a lock, so that the same call gives the same rays.
- With image sources up to order n, rays are counted from n reflections on, so that those of order n
  are heard twice. It is told n + 1.
- A scattering wall sends part of a ray's energy to the listener ("diffuse rain") and lets the ray
  go on with all of it; whatever of that the listener meets is too much. A second tracing with the
  same random numbers, deaf to everything but the rain, tells the two apart.
- Geometry is computed in 32 bits: places are right to micrometres.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.room.eyring import surface_areas_m2
from scenesynth.room.model import Room, Vector

MOST_IMAGES = 3_000_000
"""Candidates that are looked at for one response; beyond lie minutes and gigabytes."""

RECEIVER_M = (0.15, 0.5)
"""Least and largest radius of the sphere in which rays are counted; no wall may cut it."""

LEAST_ENERGY = 1e-15
"""Rays are followed until all bands have lost all but this share of their energy."""

_NEVER = 1 << 30
_FLAT_M = 1e-6
_GENERATOR = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Images:
    """Image sources that the listener sees.

    Attributes:
        offset_m: image minus listener. Shape: [n, 3].
        reflection: product of the walls' reflection factors. Shape: [n, bands].
        emission: direction in which the sound leaves the source. Shape: [n, 3].
        order: number of reflections. Shape: [n].
        place: three whole numbers that tell the image from others. Shape: [n, 3].
    """

    offset_m: NDArray[np.float64]
    reflection: NDArray[np.float64]
    emission: NDArray[np.float64]
    order: NDArray[np.int64]
    place: NDArray[np.int64]


def libroom() -> ModuleType:
    """The core.

    Raises:
        ConfigError: it is not installed, or too old.
    """
    try:
        from pyroomacoustics import libroom as core
    except ImportError:
        raise ConfigError(
            "engine pyroomacoustics is not installed; pip install 'pyroomacoustics>=0.10.1'"
        ) from None
    if not hasattr(core, "set_rng_seed"):
        raise ConfigError(
            "this pyroomacoustics is too old: its rays cannot be reproduced; "
            "pip install 'pyroomacoustics>=0.10.1'"
        )
    found: ModuleType = core
    return found


def image_sources(
    room: Room, source_m: Vector, listener_m: Vector, *, n_bands: int, order: int, scattered: bool
) -> Images:
    """Image sources of up to `order` reflections that the listener sees.

    Args:
        scattered: whether what walls scatter is missing from the images, since rays carry it.

    Raises:
        ConfigError: more candidates than `MOST_IMAGES`.
    """
    _check_cost(room, order)
    engine = _engine(room, listener_m, n_bands, order=order, hybrid=scattered)
    engine.image_source_model(np.array(source_m, dtype=np.float32))
    seen = np.array(engine.visible_mics, dtype=bool).reshape(1, -1)[0]
    sources = np.array(engine.sources, dtype=np.float64)[:, seen]
    boxed = room.shape == "shoebox"
    return Images(
        offset_m=sources.T - np.array(listener_m),
        reflection=np.array(engine.attenuations, dtype=np.float64)[:, seen].T,
        emission=np.array(engine.source_directions, dtype=np.float64)[:, seen].T,
        order=np.array(engine.orders, dtype=np.int64)[seen],
        # Millimetres tell images apart and are the same on every machine.
        place=(
            np.array(engine.orders_xyz, dtype=np.int64)[:, seen].T
            if boxed
            else np.round(sources.T * 1e3).astype(np.int64)
        ),
    )


def traced_energy(
    room: Room,
    source_m: Vector,
    listener_m: Vector,
    *,
    above_order: int,
    rays: NDArray[np.float64],
    power: NDArray[np.float64],
    directions: NDArray[np.float64],
    length_s: float,
    bin_s: float,
    speed_of_sound_mps: float,
    seed: int,
) -> NDArray[np.float64]:
    """Energy that reaches the listener by rays, by direction, band and time; without air.

    Sound of more than `above_order` reflections, and what walls scatter at any reflection. An image
    at distance d of reflection factor r counts r^2 / d^2.

    Args:
        rays: directions in which they leave, evenly spread. Shape: [rays, 3].
        power: of each ray, 1 everywhere for an omnidirectional source. Shape: [rays, bands].
        directions: unit vectors; energy goes to the nearest. Shape: [directions, 3].

    Returns:
        Shape: [directions, bands, bins].
    """
    low_m, high_m = RECEIVER_M
    radius_m = min(high_m, max(low_m, room.wall_distance_m(listener_m)))
    n_bins = int(np.ceil(length_s / bin_s))

    def trace(order: int) -> NDArray[np.float64]:
        engine = _engine(
            room,
            listener_m,
            power.shape[1],
            order=order,
            hybrid=True,
            speed_mps=speed_of_sound_mps,
            length_s=n_bins * bin_s,
            bin_s=bin_s,
            radius_m=radius_m,
        )
        engine.microphones[0].set_directions(np.array(directions, dtype=np.float32))
        with _GENERATOR:
            libroom().set_rng_seed(seed)
            engine.ray_tracing(
                np.array(rays, dtype=np.float32),
                np.array(power, dtype=np.float32),
                np.array(source_m, dtype=np.float32),
            )
        parts = [_cut(item.get_hist(), n_bins) for item in engine.microphones[0].histograms]
        return np.stack(parts)

    rows = scattering_rows(room)[:, : power.shape[1]]
    total = trace(above_order + 1)
    if not rows.any():
        return total
    rain = trace(_NEVER)
    # Of what a ray brings after a reflection, the scattered share has come as rain already.
    kept = 1.0 - np.average(rows, axis=0, weights=surface_areas_m2(room))
    return rain + kept[:, None] * np.maximum(total - rain, 0.0)


def scattering_rows(room: Room) -> NDArray[np.float64]:
    """Scattering of every surface and band. Shape: [surfaces, bands]."""
    shape = (len(room.surfaces), len(room.band_hz))
    return np.array(np.broadcast_to(np.array(room.scattering, dtype=np.float64), shape))


def _check_cost(room: Room, order: int) -> None:
    if room.shape == "shoebox":
        n_images = 4 * order**3 / 3
    else:
        n_walls = len(_walls(room))
        n_images = float(n_walls) * float(max(n_walls - 2, 1)) ** (order - 1)
    if n_images > MOST_IMAGES:
        raise ConfigError(
            f"room {room.id}: {order} reflections are {n_images:.2g} candidates for image sources "
            f"in this room; at most {MOST_IMAGES:g}. Lower tracing.image_order, and let rays carry "
            f"the later sound"
        )


def _engine(
    room: Room,
    listener_m: Vector,
    n_bands: int,
    *,
    order: int,
    hybrid: bool,
    speed_mps: float = 343.0,
    length_s: float = 1.0,
    bin_s: float = 1.0,
    radius_m: float = 0.5,
) -> Any:
    """The core's room with one listener; what is about time matters to rays only."""
    core = libroom()
    absorption = np.array(room.absorption, dtype=np.float32)[:, :n_bands]
    scattering = scattering_rows(room)[:, :n_bands].astype(np.float32)
    settings = (speed_mps, order, LEAST_ENERGY, length_s, radius_m, bin_s, hybrid)
    if room.shape == "shoebox":
        size = np.array(room.size_m, dtype=np.float32)
        engine = core.Room(size, absorption.T, scattering.T, [], *settings)
    else:
        corners = _walls(room)
        walls = [
            core.Wall(points.T.astype(np.float32), absorption[surface], scattering[surface], "")
            for surface, points in corners
        ]
        engine = core.Room(walls, _obstructing([points for _, points in corners]), [], *settings)
    engine.add_mic(np.array(listener_m, dtype=np.float32))
    return engine


def _walls(room: Room) -> list[tuple[int, NDArray[np.float64]]]:
    """Surface and corners of every wall of a room that is no box, as seen from outside."""
    if room.mesh is not None:
        from scenesynth.room.mesh import load_mesh

        mesh = load_mesh(room.mesh)
        return list(zip(mesh.group.tolist(), mesh.triangles, strict=True))
    assert room.outline_m is not None
    height_m = room.size_m[2]
    plan = np.array(room.outline_m)
    low = np.column_stack([plan, np.zeros(len(plan))])
    high = np.column_stack([plan, np.full(len(plan), height_m)])
    n = len(plan)
    sides = [
        (k, np.stack([low[k], low[(k + 1) % n], high[(k + 1) % n], high[k]])) for k in range(n)
    ]
    return [*sides, (n, low[::-1]), (n + 1, high)]


def _obstructing(walls: list[NDArray[np.float64]]) -> list[int]:
    """Walls that can stand between two points inside: all but those on the convex hull."""
    corners = np.concatenate(walls)
    found = []
    for number, points in enumerate(walls):
        normal = np.cross(points[1:-1] - points[0], points[2:] - points[0]).sum(axis=0)
        beyond = (corners - points[0]) @ (normal / np.linalg.norm(normal))
        if beyond.max() > _FLAT_M:
            found.append(number)
    return found


def _cut(histogram: NDArray[np.float32], n_bins: int) -> NDArray[np.float64]:
    """The first bins; the core makes rooms for one more, and doubles where that is too few."""
    out = np.zeros((len(histogram), n_bins))
    n = min(n_bins, histogram.shape[1])
    out[:, :n] = histogram[:, :n]
    return out
