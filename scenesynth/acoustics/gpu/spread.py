"""Time grids of a chunk of responses, the same bytes whatever ran first.

On a GPU images are added as whole numbers. How many steps make a unit of amplitude is decided per
response and grid from a bound on its largest cell: every image adds its largest amplitude over the
bands, rounded up, to a bin of 8 grid rows, and a cell, which reaches over 6 rows, holds no more
than two neighbouring bins do (no tap of the pulse and no SN3D harmonic exceeds 1). With that bound
at 2^30 steps nothing overflows; the other half of an int32 is for rounding and for what air gives
back to displaced images, a few percent.

A rounding is off by at most half a step, so N images leave an error of at most 6 N / 4 steps^2 in a
column, N / 2 on average: -180 dB of the bound squared times N / 2, which is -136 dB for the 55,000
images of a response of recipe gram and -123 dB for a million. A response whose energy were that of
one cell a tenth of the bound would still have -103 dB; tests hold it below -110 dB.
"""

from __future__ import annotations

import os
from functools import lru_cache

import torch

from scenesynth.acoustics.gpu import tables
from scenesynth.acoustics.gpu.reference import spread_reference
from scenesynth.acoustics.gpu.tables import Images
from scenesynth.acoustics.grids import Grid, Plan, pulse_table
from scenesynth.spatial.ambisonics import recursion_table

BIN_ROWS = 8
"""Rows of a bin of the bound: more than a pulse is wide."""

FULL_SCALE = 2.0**30
"""Steps of the largest cell; the other half of an int32 is for what rounding adds."""

UNIT = 2.0**24
"""Steps of the bound per amplitude of the direct sound."""

BLOCK = 32
"""Images of a row that a program adds at a time."""

CELLS_OF_A_THREAD = 4
"""Cells of its tile that a thread holds; with more, registers run short."""


def has_kernels(device: torch.device) -> bool:
    """Whether Triton's kernels run there: on a GPU, or anywhere in Triton's interpreter."""
    return device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"


class Spreader:
    """Adds the images of one chunk to grids.

    Args:
        directed, displaced, faded: whether any response of the chunk's group is so; a response that
            is not has the same grids either way.
        block, warps: how the kernel is cut; changes no byte.
    """

    def __init__(
        self,
        images: Images,
        *,
        order: int,
        directed: bool,
        displaced: bool,
        faded: bool,
        block: int = BLOCK,
        warps: int | None = None,
    ) -> None:
        self.images, self.order = images, order
        self._block, self._warps = block, warps
        self._flags = {"DIRECTED": directed, "DISPLACED": displaced, "FADED": faded}
        self._kernels = has_kernels(images.offset_m.device)
        self._bins: torch.Tensor | None = None

    def grid(self, plan: Plan, grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
        """One grid of the plan.

        Returns:
            Cells, int32 or float32, of shape [responses, rows, channels, bands], and what one of
            their units is worth, float64 of shape [responses].
        """
        n_bands = len(grid.weights)
        if not self._kernels:
            cells = spread_reference(
                self.images,
                n_rows=grid.n_rows,
                bands=grid.bands,
                shift=grid.shift,
                order=self.order,
            )
            return cells, self.images.numbers.new_ones(len(cells))
        bound = self._bound(plan, grid.shift)
        return self._spread(grid, n_bands, FULL_SCALE / bound), bound / FULL_SCALE

    def _spread(self, grid: Grid, n_bands: int, scale: torch.Tensor) -> torch.Tensor:
        from scenesynth.acoustics.gpu.kernels import spread_kernel

        images = self.images
        n_channels = (self.order + 1) ** 2
        at_once = n_bands * (n_channels if self.order <= 1 else 1)
        columns = 1 << (at_once - 1).bit_length()
        device = images.offset_m.device
        cells = torch.zeros(
            (len(scale), grid.n_rows, n_channels, n_bands), dtype=torch.int32, device=device
        )
        taps, recursion = _constants(self.order, device)
        spread_kernel[self._programs()](
            cells,
            images.offset_m,
            images.amplitude,
            images.facing_m,
            images.mark,
            images.hops,
            images.numbers,
            images.turn,
            images.pattern,
            images.attenuation_per_m,
            scale.to(torch.float32),
            recursion,
            taps,
            *images.reaches,
            grid.n_rows,
            images.amplitude.shape[2],
            grid.bands.start,
            2**grid.shift,
            ORDER=self.order,
            GRID_BANDS=n_bands,
            COLUMNS=columns,
            BLOCK=self._block,
            **self._flags,
            num_warps=self._warps or max(1, columns * self._block // (32 * CELLS_OF_A_THREAD)),
            enable_fp_fusion=False,
        )
        return cells

    def _bound(self, plan: Plan, shift: int) -> torch.Tensor:
        """No cell of a grid exceeds this. Shape: [responses], float64."""
        if self._bins is None:
            self._bins = self.loudness(plan)
        pooled = self._bins.unflatten(1, (-1, 1 << shift)).sum(2)
        pairs = pooled[:, 1:] + pooled[:, :-1]
        return pairs.amax(1).clamp(min=1).to(torch.float64) / self._unit * self.images.pattern_peak

    @property
    def _unit(self) -> torch.Tensor:
        """Steps of the bound per unit of amplitude; no image lies nearer than the direct sound."""
        return UNIT * self.images.numbers[:, tables.NEAREST_M]

    def loudness(self, plan: Plan) -> torch.Tensor:
        """Sum over the images of each bin of fine grid rows. Shape: [responses, bins], int64."""
        from scenesynth.acoustics.gpu.kernels import loudness_kernel

        images = self.images
        coarsest = 1 << max(grid.shift for grid in plan.grids)
        n_bins = coarsest * (2 + plan.grids[0].n_rows // (BIN_ROWS * coarsest))
        device = images.offset_m.device
        sums = torch.zeros((len(images.numbers), n_bins), dtype=torch.int64, device=device)
        loudness_kernel[self._programs()](
            sums,
            images.offset_m,
            images.loudest,
            images.mark,
            images.hops,
            images.numbers,
            *images.reaches,
            n_bins,
            self._unit.to(torch.float32),
            DISPLACED=self._flags["DISPLACED"],
            BIN_ROWS=BIN_ROWS,
            BLOCK=BLOCK,
            num_warps=1,
            enable_fp_fusion=False,
        )
        return sums

    def _programs(self) -> tuple[int, int]:
        reach_x, reach_y, _ = self.images.reaches
        return (2 * reach_x + 1) * (2 * reach_y + 1), len(self.images.numbers)


@lru_cache(maxsize=16)
def _constants(order: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Pulses and the factors of the harmonics on a device."""
    recursion = torch.from_numpy(recursion_table(order)).to(device, torch.float32)
    return torch.from_numpy(pulse_table()).to(device), recursion
