"""Responses to many requests: sorted into groups of like shape, rendered chunk by chunk.

Which group a request belongs to, and so every length, follows from the request alone. A chunk has
the same number of rows however many of them are used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from scenesynth.acoustics.gpu.late import late_noise
from scenesynth.acoustics.gpu.spectra import highpass_in_time, images_in_time
from scenesynth.acoustics.gpu.spread import Spreader
from scenesynth.acoustics.gpu.tables import Work, image_tables, upload
from scenesynth.acoustics.grids import GUARD, Plan, make_plan
from scenesynth.acoustics.noise import BLOCK
from scenesynth.acoustics.response import (
    Request,
    Response,
    Settled,
    field_of,
    measured_response,
    pile_up_of,
    settle,
)

T = TypeVar("T")

ROWS = 16
"""Responses of a chunk: enough to fill a GPU, few enough for their grids to stay in its cache."""

CHUNK_BYTES = 1 << 29
"""A chunk's largest grid stays below this, if need be with fewer rows."""


class Rendered(NamedTuple):
    """A response on the device. Shape of `channels`: [channels, samples], float32."""

    settled: Settled
    channels: torch.Tensor


class Group(NamedTuple):
    """What the responses of a chunk have in common; lengths are in samples and rounded up."""

    sample_rate: int
    order: int
    band_hz: tuple[float, ...]
    n_images: int
    n_samples: int
    highpass_hz: float
    directed: bool
    displaced: bool
    faded: bool

    def plan(self) -> Plan:
        """Tables of the transforms, those of the CPU."""
        return make_plan(self.sample_rate, self.n_images, self.band_hz)

    def rows(self) -> int:
        """Responses per chunk."""
        columns = (self.order + 1) ** 2 * 4
        largest = max(grid.n_rows * len(grid.weights) for grid in self.plan().grids)
        at_most = CHUNK_BYTES // (columns * largest)
        return max(1, min(ROWS, 1 << max(at_most.bit_length() - 1, 0)))


def shoebox_responses(
    requests: Sequence[Request], device: torch.device, threads: int = 1
) -> list[Response]:
    """Responses of unequal rooms, lengths and formats, each as if it were rendered alone.

    Args:
        threads: on the host, for what is measured of them.

    Raises:
        ValueError: see `scenesynth.acoustics.response.shoebox_response`.
    """
    rendered = render(requests, device, threads)
    irs = fetched([item.channels for item in rendered])

    def response(n: int) -> Response:
        return measured_response(requests[n], rendered[n].settled, irs[n])

    return mapped(response, range(len(requests)), threads)


def render(requests: Sequence[Request], device: torch.device, threads: int = 1) -> list[Rendered]:
    """Responses that stay on the device, nothing measured, without waiting for it."""
    works = [Work(request, settle(request)) for request in requests]
    groups: dict[Group, list[int]] = defaultdict(list)
    for n, work in enumerate(works):
        groups[group_of(work)].append(n)
    out: dict[int, Rendered] = {}
    for group, members in groups.items():
        for chunk in _chunks(members, group.rows()):
            ir = _render_chunk(group, [works[n] for n in chunk], device, threads)
            for row, n in enumerate(chunk):
                settled = works[n].settled
                out[n] = Rendered(settled, ir[row, :, : settled.n_samples])
    return [out[n] for n in range(len(works))]


def fetched(tensors: Sequence[torch.Tensor]) -> list[NDArray[np.float32]]:
    """Float32 tensors as arrays on the host, brought over at once."""
    if not tensors:
        return []
    flat = torch.cat([tensor.flatten() for tensor in tensors]).cpu().numpy()
    ends = np.cumsum([tensor.numel() for tensor in tensors])
    return [
        part.reshape(tensor.shape)
        for part, tensor in zip(np.split(flat, ends[:-1]), tensors, strict=True)
    ]


def length_bucket(n: int) -> int:
    """The next length of 1024, 1536, 2048, 3072, 4096...: at most half of `n` is added."""
    power = 1024
    while power < n:
        if n <= power * 3 // 2:
            return power * 3 // 2
        power *= 2
    return power


def mapped(function: Callable[[int], T], items: Sequence[int], threads: int) -> list[T]:
    """`[function(item) for item in items]` on some threads."""
    if threads == 1 or len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


def group_of(work: Work) -> Group:
    """The group of a request, which follows from it alone."""
    request, settled = work
    return Group(
        sample_rate=request.sample_rate,
        order=request.format.order,
        band_hz=settled.band_hz,
        n_images=length_bucket(settled.n_images),
        n_samples=length_bucket(settled.n_samples),
        highpass_hz=request.highpass_hz,
        directed=settled.directivity is not None,
        displaced=request.displacement_m > 0,
        faded=settled.seam is not None,
    )


def _chunks(members: list[int], rows: int) -> Iterator[list[int]]:
    for first in range(0, len(members), rows):
        yield members[first : first + rows]


def _render_chunk(
    group: Group, works: Sequence[Work], device: torch.device, threads: int
) -> torch.Tensor:
    """Shape: [rows, channels, group.n_samples]; samples after a response's end are 0."""
    rows, plan = group.rows(), group.plan()
    images = image_tables(works, rows, device)
    spreader = Spreader(
        images,
        order=group.order,
        directed=group.directed,
        displaced=group.displaced,
        faded=group.faded,
    )
    ir = images_in_time(spreader, plan)
    # What the first image rings ahead lies at the very end.
    ir = _cut(ir[..., : plan.n_fft - GUARD // 2], group.n_samples)
    if group.faded:
        fields = mapped(lambda n: field_of(*works[n]), range(len(works)), threads)
        seams = [work.settled.seam for work in works if work.settled.seam]
        n_blocks = -(-group.n_samples // BLOCK)
        noise = late_noise(fields, seams, rows, n_blocks, group.sample_rate, group.band_hz, device)
        ir = ir + noise[..., : group.n_samples]
        ir[:, 0] += upload(_swells(works, rows, group.n_samples), device)
    lengths = torch.tensor([work.settled.n_samples for work in works] + [0] * (rows - len(works)))
    return highpass_in_time(ir, lengths.to(device), group.highpass_hz, group.sample_rate)


def _swells(works: Sequence[Work], rows: int, n_samples: int) -> NDArray[np.float32]:
    """The mean pressure that goes on after the images of each response. Shape: [rows, n_samples].

    It needs no cut at a response's own end: the high-pass sees to that.
    """
    out = np.zeros((rows, n_samples), dtype=np.float32)
    for row, work in enumerate(works):
        first, swell = pile_up_of(*work)
        into = out[row, first : first + len(swell)]
        into += swell[: len(into)]
    return out


def _cut(ir: torch.Tensor, n_samples: int) -> torch.Tensor:
    """`n_samples` of the last axis, with zeros where there are fewer."""
    missing = n_samples - ir.shape[-1]
    return torch.nn.functional.pad(ir, (0, missing)) if missing > 0 else ir[..., :n_samples]
