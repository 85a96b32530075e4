"""Energy of a signal over any span, from one pass over its samples.

Cells of 128 samples are summed in float32 (exact to about 1e-6) and accumulated in float64, from
the end backwards: the little that is still to come near the end keeps its own precision.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_CELL = 128

SILENCE = 1e-11
"""A span with less than this share of the whole energy (-110 dB) is silent.

Transforms of float32 blocks leave about -130 dB of a sound in the silence beside it.
"""


class Energies(Protocol):
    """What labels and levels ask of a signal, wherever it lies."""

    @property
    def total(self) -> float:
        """Energy of the whole signal."""
        ...

    def between(self, start: int, stop: int) -> float:
        """Energy of scene samples [start, stop); 0 where that is silent (see `SILENCE`)."""
        ...

    def end(self, drop_db: float) -> int:
        """First scene sample from which on the energy is at most `drop_db` below the total."""
        ...


class Energy:
    """Energies of spans of a signal [samples] that starts at scene sample `start`.

    Spans are given in scene samples; outside the signal there is silence.
    """

    def __init__(self, signal: NDArray[np.float32], start: int = 0) -> None:
        self._signal, self._start = signal, start
        self._n_cells = len(signal) // _CELL
        cells = signal[: self._n_cells * _CELL].reshape(-1, _CELL)
        each = np.einsum("ij,ij->i", cells, cells).astype(np.float64)
        rest = np.square(signal[self._n_cells * _CELL :], dtype=np.float64).sum()
        # Energy from the start of each cell, and of what is left over, to the end.
        self._to_come = np.cumsum(np.concatenate([[rest], each[::-1]]))[::-1]

    @property
    def total(self) -> float:
        """Energy of the whole signal."""
        return float(self._to_come[0])

    def between(self, start: int, stop: int) -> float:
        """Energy of scene samples [start, stop); 0 where that is silent (see `SILENCE`)."""
        low, high = (min(max(at - self._start, 0), len(self._signal)) for at in (start, stop))
        if low >= high:
            return 0.0
        energy = self._from(low) - self._from(high)
        return energy if energy > SILENCE * self.total else 0.0

    def end(self, drop_db: float) -> int:
        """First scene sample from which on the energy is at most `drop_db` below the total.

        This is where the signal's backward-integrated energy (Schroeder, 1965) has fallen by
        `drop_db`.
        """
        limit = self.total * 10 ** (-drop_db / 10)
        cell = int(np.searchsorted(-self._to_come, -limit))  # the first with to_come <= limit
        start = max(cell - 1, 0) * _CELL
        within = np.square(self._signal[start : cell * _CELL], dtype=np.float64)
        after = self._to_come[cell] if cell <= self._n_cells else 0.0
        to_come = after + np.cumsum(within[::-1])[::-1]
        return self._start + start + int(np.count_nonzero(to_come > limit))

    def _from(self, at: int) -> float:
        """Energy of the signal's samples [at, end)."""
        cell = -(-at // _CELL)
        if cell > self._n_cells:
            return float(np.square(self._signal[at:], dtype=np.float64).sum())
        within = np.square(self._signal[at : cell * _CELL], dtype=np.float64)
        return float(self._to_come[cell] + within.sum())
