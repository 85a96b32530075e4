"""Clips of one step after another, one step ahead of what is computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch

from scenesynth.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """This process's share of a step.

    Attributes:
        batch: clips, on the device.
        position: state of the stream after these clips.
    """

    batch: Any
    position: dict[str, Any]


class Feed:
    """Takes batches from a stream, epoch after epoch, and moves them to the device.

    `fetch` may be called while the device computes: on CUDA the copy then runs beside it. The
    position that goes with a batch is the one after it, however far ahead the stream is.
    """

    def __init__(self, stream: Any, device: torch.device) -> None:
        self._stream = stream
        self._device = device
        self._epoch: Iterator[Any] = iter(())
        self._ahead: Fed | None = None

    def take(self) -> tuple[Fed, float]:
        """The next step's clips, and how long they were waited for, in seconds."""
        waited_s = self.fetch()
        fed = self._ahead
        assert fed is not None
        self._ahead = None
        return fed, waited_s

    def fetch(self) -> float:
        """See that the next step's clips are there; how long that took, in seconds."""
        if self._ahead is not None:
            return 0.0
        began = perf_counter()
        batch = self._next()
        waited_s = perf_counter() - began
        if self._device.type == "cuda":
            batch = batch.pin_memory().to(self._device, non_blocking=True)
        self._ahead = Fed(batch=batch, position=self._stream.state_dict())
        return waited_s

    def _next(self) -> Any:
        batch = next(self._epoch, None)
        if batch is None:
            self._epoch = iter(self._stream)
            batch = next(self._epoch, None)
        if batch is None:
            raise ConfigError(
                "an epoch of the data holds no whole batch; give a smaller --set batch=N"
            )
        return batch
