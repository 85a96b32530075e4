"""Ending a run in good order: the first signal drains, the second cancels."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

DRAIN_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""From the keyboard, from a scheduler, and as a warning of pre-emption."""


@dataclass
class Drain:
    """Whether a run was asked to end, and whether it was asked not even to finish its shards."""

    requested: bool = False
    cancelled: bool = False


@contextmanager
def draining(tell: Callable[[str], None]) -> Iterator[Drain]:
    """Take the signals that end a run, and give their handlers back on leaving.

    The first one sets `requested`; the second raises KeyboardInterrupt; more change nothing, so
    that what the second one began is cleaned up in peace. In other threads than the
    main one signals are not ours to take, and nothing happens.
    """
    drain = Drain()

    def handle(number: int, frame: FrameType | None) -> None:
        if drain.cancelled:
            return
        if drain.requested:
            drain.cancelled = True
            raise KeyboardInterrupt
        drain.requested = True
        tell("ending: the shards under way are finished first; once more gives them up")

    if threading.current_thread() is not threading.main_thread():
        yield drain
        return
    before = {number: signal.signal(number, handle) for number in DRAIN_SIGNALS}
    try:
        yield drain
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
