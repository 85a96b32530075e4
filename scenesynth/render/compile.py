"""First-time compilation of everything that rendering and writing call."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scenesynth.acoustics import compile as acoustics
from scenesynth.render.convolve import Term, block_spectra, convolve_sum, plan, response_spectra
from scenesynth.render.motion import delayed
from scenesynth.store.arrays import CODECS, quantise


def ensure_compiled(announce: Callable[[str], None] | None = None) -> bool:
    """Compile every kernel, unless a process has done so before; see `acoustics.compile`."""
    return acoustics.ensure_compiled(announce, {"rendering": compile_rendering})


def compile_rendering() -> None:
    """Call the kernels of convolution, motion and quantisation."""
    grid = plan(100, 10)
    response = response_spectra(grid, [np.ones((1, 10), np.float32)])[0]
    term = Term(block_spectra(grid, np.ones(10, np.float32), 0), response[0])
    convolve_sum(grid, [term, term])
    delayed(np.ones(8, np.float32), np.zeros(8))
    quantise(np.ones((2, 8), np.float32), np.float32(1.0), CODECS["lz4"])
