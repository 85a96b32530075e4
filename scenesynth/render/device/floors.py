"""What a GPU can do at best: the rates that measured times are held against.

The rate of additions is that of the pattern images make: tiles of rows of 16 neighbouring int32,
at places that look random, in a region that fits the L2 cache.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import triton
import triton.language as tl

COLUMNS = 16
IMAGES = 32
ROUNDS = 64
REGION_ROWS = 1 << 19
"""Rows of the region: 32 MB."""


@triton.jit
def additions_kernel(
    cells, REGION: tl.constexpr, COLUMNS: tl.constexpr, IMAGES: tl.constexpr, ROUNDS: tl.constexpr
):
    """Add 1 to IMAGES rows of COLUMNS cells in each of ROUNDS rounds."""
    column = tl.arange(0, COLUMNS)
    image = tl.program_id(0) * IMAGES + tl.arange(0, IMAGES)
    for turn in range(ROUNDS):
        row = (image * 40503 + turn * 30011) % REGION
        at = cells + row[:, None] * COLUMNS + column[None, :]
        tl.atomic_add(at, tl.full((IMAGES, COLUMNS), 1, tl.int32), sem="relaxed")
