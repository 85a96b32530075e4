"""Measures rendering on a device: rates, where the time goes, floors, accuracy, stability.

Times are medians of runs after a warm-up, between CUDA events recorded on an idle device, so that
what the host does in between counts. Scenes come from a recipe; what is timed as "scenes" is
responses, convolution, levels and mixing with the dry signals on the device already, and as
"rendered" everything that `render_scenes` does, with labels and audio on the host.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scenesynth.acoustics.gpu.batch import (
    Group,
    fetched,
    group_of,
    length_bucket,
    render,
)
from scenesynth.acoustics.gpu.late import late_noise
from scenesynth.acoustics.gpu.spectra import highpass_in_time, images_in_time
from scenesynth.acoustics.gpu.spread import Spreader, has_kernels
from scenesynth.acoustics.gpu.tables import Work as ResponseWork
from scenesynth.acoustics.gpu.tables import image_tables
from scenesynth.acoustics.noise import BLOCK
from scenesynth.acoustics.response import Request, field_of, settle, shoebox_responses
from scenesynth.acoustics.simd import TAPS
from scenesynth.render.batch import (
    alike,
    answered,
    load,
    mixed,
    render_scenes,
    requests_of,
    works_of,
)
from scenesynth.render.device.convolve import upload
from scenesynth.render.device.scenes import Work
from scenesynth.render.renderer import Clips, render_scene
from scenesynth.scene.spec import Mode, SceneSpec
from scenesynth.spatial.formats import parse_format

Say = Callable[[str], None]
SWEEP = ((16, 1), (16, 2), (32, 1), (32, 2), (32, 4), (32, 8), (64, 4), (64, 8))
"""Images and warps of a program of the spread kernel, tried on the widest grid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What is measured, and how long.

    Attributes:
        specs: as many scenes as the largest batch has.
        seconds: about how long the measurements of rates take together.
        compared: scenes that are also rendered on the CPU.
    """

    specs: Sequence[SceneSpec]
    corpora: Clips
    format: str
    batches: Sequence[int]
    seconds: float
    device: torch.device
    threads: int
    compared: int = 4

    def run(self, say: Say) -> dict[str, Any]:
        """All measurements, as plain data."""
        out: dict[str, Any] = {"machine": machine(self.device), "modes": {}}
        each_s = self.seconds / (2 * len(self.batches) * 3)
        modes: tuple[Mode, ...] = ("full", "tail")
        for mode in modes:
            specs = [replace(spec, mode=mode) for spec in self.specs]
            say(f"{mode}: rates")
            rates = [self._rates(specs[:n], each_s) for n in self.batches]
            say(f"{mode}: breakdown, accuracy, stability")
            out["modes"][mode] = {
                "batches": rates,
                "chunk": self._chunk(specs),
                "accuracy": self._accuracy(specs[: self.compared]),
                "stable": self._stable(specs),
            }
        say("floors")
        out["floors"] = self._floors()
        for mode in modes:
            self._roofline(out["modes"][mode], out["floors"])
        return out

    def _timed(self, function: Callable[[], object], seconds: float) -> float:
        """Median seconds of a call."""
        function()
        times: list[float] = []
        end = time.monotonic() + seconds
        while len(times) < 3 or time.monotonic() < end:
            times.append(once(function, self.device))
        return statistics.median(times)

    def _works(self, specs: Sequence[SceneSpec]) -> list[Work]:
        """Scenes with their responses and clips."""
        works = works_of(specs, [parse_format(self.format)])
        for work, answers in zip(works, answered(works, self.device, self.threads), strict=True):
            load(work, self.corpora, answers)
        return [work for work in works if work.failure is None]

    def _rates(self, specs: Sequence[SceneSpec], seconds: float) -> dict[str, Any]:
        works = self._works(specs)
        requests = requests_of(works)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        response_s = self._timed(lambda: render(requests, self.device, self.threads), seconds)
        groups = [[works[n] for n in numbers] for numbers in alike(works)]
        dry = [upload([s.played for w in g for s in w.sounds], self.device) for g in groups]

        def scenes() -> None:
            render(requests, self.device, self.threads)
            for group, flat in zip(groups, dry, strict=True):
                mixed(group, self.device, flat)

        def rendered() -> None:
            render_scenes(
                specs, self.corpora, self.format, device=str(self.device), threads=self.threads
            )

        scene_s, whole_s = self._timed(scenes, seconds), self._timed(rendered, seconds)
        peak = torch.cuda.max_memory_allocated(self.device) if dry[0].is_cuda else None
        return {
            "scenes": len(works),
            "responses": len(requests),
            "responses_per_s": len(requests) / response_s,
            "scenes_per_s": len(works) / scene_s,
            "rendered_per_s": len(works) / whole_s,
            "response_s": response_s,
            "scene_s": scene_s,
            "peak_memory_bytes": peak,
            **work_of(requests),
        }

    def _chunk(self, specs: Sequence[SceneSpec]) -> dict[str, Any]:
        """Milliseconds of the steps of one full chunk of the commonest length."""
        works = [
            ResponseWork(request, settle(request))
            for request in requests_of(works_of(specs, [parse_format(self.format)]))
        ]
        ((group, _),) = Counter(group_of(work) for work in works).most_common(1)
        rows, plan = group.rows(), group.plan()
        chunk = [work for work in works if group_of(work) == group][:rows]
        images = image_tables(chunk, rows, self.device)

        def spreader(**cut: int) -> Spreader:
            return Spreader(
                images,
                order=group.order,
                directed=group.directed,
                displaced=group.displaced,
                faded=group.faded,
                **cut,
            )

        ready = spreader()
        steps: dict[str, Callable[[], object]] = {
            "tables": lambda: image_tables(chunk, rows, self.device)
        }
        if has_kernels(self.device):
            steps["bound"] = lambda: ready.loudness(plan)
        for grid in plan.grids:
            name = f"spread, {len(grid.weights)} bands at 1/{1 << grid.shift}"
            steps[name] = partial(ready.grid, plan, grid)
        steps["spread and transforms"] = lambda: images_in_time(ready, plan)
        ir = torch.zeros((rows, (group.order + 1) ** 2, group.n_samples), device=self.device)
        ends = torch.full((rows,), group.n_samples, device=self.device)
        steps["high-pass"] = lambda: highpass_in_time(
            ir, ends, group.highpass_hz, group.sample_rate
        )
        if group.faded:
            self._add_tail_steps(steps, group, chunk)
        out: dict[str, Any] = {"rows": rows, "used": len(chunk), "n_images": group.n_images}
        out["ms"] = {name: 1e3 * self._timed(step, 0.1) for name, step in steps.items()}
        if self.device.type == "cuda":
            widest = max(plan.grids, key=lambda grid: len(grid.weights))
            out["sweep_ms"] = {}
            for block, warps in SWEEP:
                cut = partial(spreader(block=block, warps=warps).grid, plan, widest)
                out["sweep_ms"][f"{block} images, {warps} warps"] = 1e3 * self._timed(cut, 0.1)
        return out

    def _add_tail_steps(
        self, steps: dict[str, Callable[[], object]], group: Group, chunk: Sequence[ResponseWork]
    ) -> None:
        fields = [field_of(*work) for work in chunk]
        seams = [work.settled.seam for work in chunk if work.settled.seam]
        n_blocks = -(-group.n_samples // BLOCK)
        steps["tail, on the host"] = lambda: [field_of(*work) for work in chunk]
        steps["tail"] = lambda: late_noise(
            fields, seams, group.rows(), n_blocks, group.sample_rate, group.band_hz, self.device
        )

    def _accuracy(self, specs: Sequence[SceneSpec]) -> dict[str, float]:
        """Largest differences from the CPU, in dB of the energy."""
        requests = requests_of(works_of(specs, [parse_format(self.format)]))
        on_device = fetched([item.channels for item in render(requests, self.device)])
        on_cpu = [response.ir for response in shoebox_responses(requests)]
        scenes = render_scenes(specs, self.corpora, self.format, device=str(self.device))
        pairs = [
            (scene, render_scene(spec, self.corpora, self.format))
            for scene, spec in zip(scenes, specs, strict=True)
            if not isinstance(scene, Exception)
        ]
        snr = [(a.row["snr_achieved_db"], b.row["snr_achieved_db"]) for a, b in pairs]
        return {
            "responses_db": max(map(difference_db, on_device, on_cpu)),
            "scenes_db": max(difference_db(a.audio, b.audio) for a, b in pairs),
            "snr_db": max((abs(a - b) for a, b in snr if a is not None), default=0.0),
        }

    def _stable(self, specs: Sequence[SceneSpec]) -> dict[str, bool]:
        """Whether the smallest batch has the same bytes in a second run, and in a larger batch."""
        few = specs[: self.batches[0]]
        first, again, among = (
            digests(render_scenes(some, self.corpora, self.format, device=str(self.device)))
            for some in (few, few, specs[: 4 * len(few)])
        )
        return {"over_runs": first == again, "over_batches": first == among[: len(first)]}

    def _floors(self) -> dict[str, float | None]:
        """Bytes copied and whole numbers added per second, at best."""
        n = (1 << 28) if self.device.type == "cuda" else 1 << 22
        here = torch.zeros(n, dtype=torch.float32, device=self.device)
        there = torch.empty_like(here)
        copy_s = self._timed(lambda: there.copy_(here), 0.2)
        return {"copy_bytes_per_s": 8 * n / copy_s, "additions_per_s": self._additions_per_s()}

    def _additions_per_s(self) -> float | None:
        if self.device.type != "cuda":
            return None
        from scenesynth.render.device.floors import (
            COLUMNS,
            IMAGES,
            REGION_ROWS,
            ROUNDS,
            additions_kernel,
        )

        cells = torch.zeros((REGION_ROWS, COLUMNS), dtype=torch.int32, device=self.device)
        programs = 1 << 14
        constants = (REGION_ROWS, COLUMNS, IMAGES, ROUNDS)
        seconds = self._timed(lambda: additions_kernel[(programs,)](cells, *constants), 0.2)
        return programs * ROUNDS * IMAGES * COLUMNS / seconds

    def _roofline(self, mode: dict[str, Any], floors: dict[str, float | None]) -> None:
        """Add to every batch how many times the floor its responses take."""
        for batch in mode["batches"]:
            floor_s = batch["bytes"] / (floors["copy_bytes_per_s"] or 1.0)
            if floors["additions_per_s"]:
                floor_s += batch["additions"] / floors["additions_per_s"]
                batch["floor_s"] = floor_s
                batch["response_time_over_floor"] = batch["response_s"] / floor_s


def once(function: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, from an idle device to an idle device."""
    if device.type != "cuda":
        began = time.perf_counter()
        function()
        return time.perf_counter() - began
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    start.record()
    function()
    stop.record()
    torch.cuda.synchronize(device)
    return float(start.elapsed_time(stop)) / 1e3


def work_of(requests: Sequence[Request]) -> dict[str, int]:
    """Images of some responses, the additions that they take, and bytes moved at least.

    Images are the sphere's volume over the room's. Bytes are those of tensors that are written and
    read once by every step: cells zeroed and read, columns written, transformed (read and written)
    and their spectra read; the sum's inverse transform, and two more for the high-pass.
    """
    images = additions = moved = 0
    for request in requests:
        settled = settle(request)
        room_m3 = float(np.prod(request.room.size_m))
        inside = round(4 / 3 * np.pi * settled.radius_m**3 / room_m3)
        n_channels = request.format.n_channels
        plan = Group.plan(group_of(ResponseWork(request, settled)))
        images += inside
        additions += inside * TAPS * n_channels * len(settled.band_hz)
        cells = sum(grid.n_rows * len(grid.weights) for grid in plan.grids)
        samples = length_bucket(settled.n_samples)
        moved += 4 * n_channels * (6 * cells + 2 * plan.n_fft + 6 * samples)
    return {"images": images, "additions": additions, "bytes": moved}


def machine(device: torch.device) -> dict[str, Any]:
    """What it was measured on."""
    out: dict[str, Any] = {"device": str(device), "torch": torch.__version__}
    if device.type == "cuda":
        import triton

        card = torch.cuda.get_device_properties(device)
        out |= {
            "name": card.name,
            "multiprocessors": card.multi_processor_count,
            "memory_bytes": card.total_memory,
            "l2_bytes": getattr(card, "L2_cache_size", None),
            "cuda": torch.version.cuda,
            "triton": triton.__version__,
        }
    return out


def digests(scenes: Sequence[Any]) -> list[str]:
    """Of the audio of each scene, or of its error."""
    return [
        str(scene)
        if isinstance(scene, Exception)
        else hashlib.sha256(scene.audio.tobytes()).hexdigest()
        for scene in scenes
    ]


def difference_db(got: NDArray[np.float32], want: NDArray[np.float32]) -> float:
    """Energy of the difference over that of `want`."""
    error = np.sum(np.square(got - want, dtype=np.float64))
    return float(10 * np.log10(max(error, 1e-300) / np.sum(np.square(want, dtype=np.float64))))
