"""Runs the Triton kernels in Triton's interpreter and saves what they gave, for tests/test_gpu.py.

The interpreter has to be chosen before the kernels are imported, hence a process of its own:

    TRITON_INTERPRET=1 python tests/interpreter_cases.py OUT.npz
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from scenesynth.acoustics.gpu import batch
from scenesynth.acoustics.gpu.reference import spread_reference
from scenesynth.acoustics.gpu.spread import Spreader
from scenesynth.acoustics.gpu.tables import Work, image_tables
from scenesynth.acoustics.response import Request, Settled, settle
from scenesynth.acoustics.tail import Seam
from scenesynth.room.model import Air, Room
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.spatial.formats import parse_format

CPU = torch.device("cpu")
SEED = 0xDEADBEEF


def request(format: str, length_s: float, size: float = 1.0, **fields: Any) -> Request:
    """A response at 8 kHz in a box of 3.1 x 2.4 x 2.2 m times `size`.

    Source and listener stand in a corner: eight images lie within 2 m, few cells of the lattice
    away, since programs without an image take the interpreter long as well.
    """
    band_hz = (125.0, 250.0, 500.0, 1000.0, 2000.0)
    walls = np.random.default_rng(round(10 * size)).uniform(0.05, 0.6, (6, len(band_hz)))
    return Request(
        room=Room(
            id="box",
            size_m=(3.1 * size, 2.4 * size, 2.2 * size),
            band_hz=band_hz,
            absorption=tuple(tuple(wall) for wall in walls.tolist()),
        ),
        air=Air(),
        source_m=(2.6 * size, 1.9 * size, 1.8 * size),
        listener_m=(2.8 * size, 2.0 * size, 1.9 * size),
        rotation=rotation_matrix(30, 20, -10),
        format=parse_format(format),
        sample_rate=8000,
        length_s=length_s,
        **fields,
    )


def extended(settled: Settled) -> Settled:
    """With a directivity, and a fade as before a tail but earlier than any tail begins."""
    coefficients = np.array([[0.5, 0.3, 0.1, 0.05, 0.05]] * len(settled.band_hz))
    seam = Seam(start_s=0.001, end_s=0.005)
    return replace(settled, directivity=coefficients, front=(0.6, 0.0, 0.8), seam=seam)


def case(name: str, works: list[Work], order: int, **flags: bool) -> dict[str, np.ndarray]:
    """Cells of every grid: by the kernel at their worth, and by the reference in float64."""
    group = batch.group_of(works[0])
    plan = group.plan()
    images = image_tables(works, 1, CPU)
    spreader = Spreader(images, order=order, **flags)
    out = {}
    for n, grid in enumerate(plan.grids):
        cells, worth = spreader.grid(plan, grid)
        want = spread_reference(
            images,
            n_rows=grid.n_rows,
            bands=grid.bands,
            shift=grid.shift,
            order=order,
            dtype=torch.float64,
        )
        out[f"{name}-{n}-steps"] = cells.numpy()
        out[f"{name}-{n}-worth"] = worth.numpy()
        out[f"{name}-{n}-want"] = want.numpy()
    return out


def main(path: str) -> None:
    """Render, compute, save."""
    batch.ROWS = 2
    plain = {"directed": False, "displaced": False, "faded": False}
    out: dict[str, np.ndarray] = {}
    for format in ("mono", "foa"):
        asked = request(format, 0.005)
        out |= case(f"plain {format}", [Work(asked, settle(asked))], asked.format.order, **plain)
    asked = request("hoa2", 0.004)
    out |= case("plain hoa2", [Work(asked, settle(asked))], 2, **plain)
    asked = request("foa", 0.005, displacement_m=0.2, seed=SEED)
    every = {"directed": True, "displaced": True, "faded": True}
    out |= case("extended foa", [Work(asked, extended(settle(asked)))], 1, **every)
    requests = [request("mono", 0.005), request("mono", 0.005, size=0.8)]
    out["both"] = np.stack([item.channels.numpy() for item in batch.render(requests, CPU)])
    out["alone"] = batch.render(requests[1:], CPU)[0].channels.numpy()
    np.savez(path, **out)


if __name__ == "__main__":
    main(sys.argv[1])
