"""Energies of spans of many signals on a device: `scenesynth.render.energy` in parallel.

Cells of 128 samples are summed in float32 by halves, from there on everything is float64. All sums
are additions of whole tensors in a fixed order, so that no signal depends on how many there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch

from scenesynth.render.energy import SILENCE
from scenesynth.render.levels import Span

_CELL = 128


class SignalEnergies:
    """Energies of spans of signals that begin with the scene. Shape: [signals, samples]."""

    def __init__(self, signals: torch.Tensor) -> None:
        n = signals.shape[1]
        self._n = n
        self._cells = torch.nn.functional.pad(signals, (0, -n % _CELL)).unflatten(1, (-1, _CELL))
        squares = self._cells.square()
        while squares.shape[2] > 1:
            half = squares.shape[2] // 2
            squares = squares[:, :, :half] + squares[:, :, half:]
        # Energy from the start of each cell, and of the end, to the end.
        cells = torch.nn.functional.pad(squares[:, :, 0].to(torch.float64), (0, 1))
        self._to_come = _suffix_sums(cells)

    @property
    def total(self) -> torch.Tensor:
        """Energy of each signal. Shape: [signals], float64."""
        return self._to_come[:, 0]

    def end(self, drop_db: float) -> torch.Tensor:
        """First sample from which on the energy has fallen by `drop_db`. Shape: [signals]."""
        limit = self.total[:, None] * 10 ** (-drop_db / 10)
        cell = (self._to_come > limit).sum(1)
        before = (cell - 1).clamp(min=0)
        rows = torch.arange(len(cell), device=cell.device)
        within = _suffix_sums(self._cells[rows, before].to(torch.float64).square())
        to_come = within + self._to_come[rows, before + 1, None]
        inside = (to_come > limit).sum(1)
        return torch.where(cell > 0, before * _CELL + inside, cell)

    def between(
        self, rows: torch.Tensor, starts: torch.Tensor, stops: torch.Tensor
    ) -> torch.Tensor:
        """Energy of samples [start, stop) of some signals; 0 where that is silent.

        Args:
            rows, starts, stops: one of each per question.
        """
        low, high = starts.clamp(0, self._n), stops.clamp(0, self._n)
        energy = self._from(rows, low) - self._from(rows, high)
        return torch.where((energy > SILENCE * self.total[rows]) & (low < high), energy, 0.0)

    def _from(self, rows: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """Energy from sample `at` to the end."""
        cell = torch.div(at, _CELL, rounding_mode="floor").clamp(max=self._cells.shape[1] - 1)
        samples = self._cells[rows, cell].to(torch.float64).square()
        place = torch.arange(_CELL, device=at.device) + cell[:, None] * _CELL
        within = _suffix_sums(torch.where(place >= at[:, None], samples, 0.0))[:, 0]
        return within + self._to_come[rows, cell + 1]


class KnownEnergy:
    """Energies that have been found already, for labels and rows on the host."""

    def __init__(self, total: float, spans: Mapping[Span, float], end: int = 0) -> None:
        self.total, self._spans, self._end = total, spans, end

    def between(self, start: int, stop: int) -> float:
        """Energy of the span, one of those that were asked for."""
        return self._spans[start, stop]

    def end(self, drop_db: float) -> int:
        """The end at the one level that was asked for."""
        return self._end


def ask(
    questions: Sequence[tuple[SignalEnergies, Sequence[tuple[int, Span]]]],
) -> list[list[float]]:
    """Energies of spans of rows of some signals, on the host; waits for the device once."""
    parts = []
    for energies, spans in questions:
        numbers = torch.tensor([(row, *span) for row, span in spans], dtype=torch.int64)
        rows, starts, stops = numbers.view(-1, 3).to(energies.total.device).unbind(1)
        parts.append(energies.between(rows, starts, stops))
    answers = torch.cat(parts).tolist()
    ends = list(accumulate(len(spans) for _, spans in questions))
    return [
        answers[end - len(spans) : end] for end, (_, spans) in zip(ends, questions, strict=True)
    ]


def _suffix_sums(values: torch.Tensor) -> torch.Tensor:
    """Sum from each place to the end of the last axis, by doubling steps."""
    step = 1
    while step < values.shape[-1]:
        values = values + torch.nn.functional.pad(values[..., step:], (0, step))
        step *= 2
    return values
