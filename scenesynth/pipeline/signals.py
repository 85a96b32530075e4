"""Ending a run in good order: the first signal drains, the second cancels.

SIGTERM and SIGUSR1 come from schedulers, which kill some time later, so they drain for a while
only; whoever presses Ctrl-C is there to press it again.
"""

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

GRACE_S: Final = 25.0
"""Time to finish shards after a scheduler's signal: SLURM and Kubernetes kill after 30 s."""


class EndedEarlyError(KeyboardInterrupt):
    """A signal came before there was anything to finish; its name is the text."""


@contextmanager
def ending_early() -> Iterator[None]:
    """Take the signals that end a run while it is prepared: the first raises EndedEarlyError.

    More of them change nothing, so that what was begun is cleaned up in peace. In other threads
    than the main one nothing happens.
    """
    ended = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        if not ended:
            ended = True
            raise EndedEarlyError(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in DRAIN_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not signal.SIG_IGN:  # which is meant to last
                signal.signal(number, handler)


@dataclass
class Drain:
    """Whether a run was asked to end, and whether it was asked not even to finish its shards."""

    requested: bool = False
    cancelled: bool = False


@contextmanager
def draining(
    tell: Callable[[str], None], grace_s: float = GRACE_S, work: str = "the shards under way"
) -> Iterator[Drain]:
    """Take the signals that end a run, and give their handlers back on leaving.

    The first one sets `requested`; the second, or `grace_s` after SIGTERM or SIGUSR1, raises
    KeyboardInterrupt; once `cancelled` is set nothing changes any more, so that what was begun is
    cleaned up in peace. In other threads than the main one signals are not ours to take, and
    nothing happens.
    """
    drain = Drain()

    def handle(number: int, frame: FrameType | None) -> None:
        if drain.cancelled:
            return
        if drain.requested:
            drain.cancelled = True
            raise KeyboardInterrupt
        drain.requested = True
        if number == signal.SIGINT:
            tell(f"ending: {work} may finish first; once more gives it up")
            return
        name = signal.Signals(number).name
        tell(f"ending ({name}): {work} may finish within {grace_s:g} s")
        signal.setitimer(signal.ITIMER_REAL, max(grace_s, 1e-3))

    if not _signals_are_ours():
        yield drain
        return
    before = {number: signal.signal(number, handle) for number in (*DRAIN_SIGNALS, signal.SIGALRM)}
    try:
        yield drain
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in reversed(before.items()):
            signal.signal(number, handler)


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Give the signals that drain their handlers back, whatever becomes of them inside.

    `ray.init` puts two others on SIGTERM, one of them in C, and both end the process.
    """
    before = {number: signal.getsignal(number) for number in DRAIN_SIGNALS}
    try:
        yield
    finally:
        if _signals_are_ours():
            for number, handler in before.items():
                signal.signal(number, handler)


def _signals_are_ours() -> bool:
    return threading.current_thread() is threading.main_thread()
