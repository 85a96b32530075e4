"""Where the time of a rendering goes, stage by stage.

    with collect() as seconds:
        with stage("convolve"):
            ...
    seconds  # {"convolve": 0.012}

Stages may be nested; time counts for the innermost one only, so the sum is the time that was spent
inside any stage. Outside of `collect` a stage costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter


class _Clock:
    """Charges the time between two marks to the stage that was innermost."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stages: list[str] = []
        self._mark = perf_counter()

    def push(self, name: str) -> None:
        self._charge()
        self._stages.append(name)

    def pop(self) -> None:
        self._charge()
        self._stages.pop()

    def _charge(self) -> None:
        now = perf_counter()
        if self._stages:
            name = self._stages[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._mark
        self._mark = now


_clock: ContextVar[_Clock | None] = ContextVar("scenesynth_stage_clock", default=None)


@contextmanager
def collect() -> Iterator[dict[str, float]]:
    """Seconds per stage of what runs inside, complete on leaving."""
    clock = _Clock()
    token = _clock.set(clock)
    try:
        yield clock.seconds
    finally:
        _clock.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count what runs inside for the stage `name`, if anybody collects."""
    clock = _clock.get()
    if clock is None:
        yield
        return
    clock.push(name)
    try:
        yield
    finally:
        clock.pop()
