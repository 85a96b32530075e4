"""Clips of one step after another, one step ahead of what is computed."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

import torch

from scenesynth.errors import ConfigError
from scenesynth.store.stream import Batch, Stream


class Feed:
    """Takes batches from a stream, epoch after epoch, and moves them to the device.

    `fetch` may be called while the device computes: on CUDA the copy then runs beside it.
    """

    def __init__(self, stream: Stream, device: torch.device) -> None:
        self._stream = stream
        self._device = device
        self._epoch: Iterator[Batch] = iter(())
        self._ahead: Batch | None = None

    def take(self) -> tuple[Batch, float]:
        """The next step's clips, and how long they were waited for, in seconds."""
        waited_s = self.fetch()
        batch = self._ahead
        assert batch is not None
        self._ahead = None
        return batch, waited_s

    def fetch(self) -> float:
        """See that the next step's clips are there; how long that took, in seconds."""
        if self._ahead is not None:
            return 0.0
        began = perf_counter()
        batch = self._next()
        waited_s = perf_counter() - began
        if self._device.type == "cuda":
            batch = batch.to(self._device, non_blocking=True)
        self._ahead = batch
        return waited_s

    def _next(self) -> Batch:
        batch = next(self._epoch, None)
        if batch is None:
            self._epoch = iter(self._stream)
            batch = next(self._epoch, None)
        if batch is None:
            raise ConfigError(
                "an epoch of the data holds no whole batch; give a smaller --set batch=N"
            )
        return batch
