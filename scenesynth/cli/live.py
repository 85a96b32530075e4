"""Progress of work that counts items: one live line on a terminal, few plain ones in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from scenesynth.cli.app import on_terminal, span, tell

QUIET_S = 0.5
"""Work that is done sooner is not mentioned."""

LOG_EVERY_S = 10.0
_DRAW_EVERY_S = 0.1


class Counter:
    """Called with (what, done, total); shows the line, and ends it on leaving.

    with Counter() as progress:
        Corpora.open(..., progress=progress)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._live = on_terminal()
        self._what = ""
        self._began = self._shown = 0.0
        self._line = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clear()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = self._clock()
        if what != self._what or done == 0:
            self._clear()
            self._what, self._began, self._shown = what, now, now
        if now - self._began < QUIET_S:
            return
        line = self._text(done, total, now)
        if self._live:
            if now - self._shown >= _DRAW_EVERY_S or done == total:
                self._draw(line)
                self._shown = now
        elif now - self._shown >= LOG_EVERY_S or done == total:
            tell(line)
            self._shown = now

    def _text(self, done: int, total: int, now: float) -> str:
        if done == total:
            return f"{self._what}: {total:,} done in {span(now - self._began)}"
        left_s = (now - self._began) / max(done, 1) * (total - done)
        return f"{self._what}: {done:,} of {total:,}, about {span(left_s)} left"

    def _draw(self, line: str) -> None:
        import click

        click.echo("\r" + line.ljust(len(self._line)), nl=False, err=True)
        self._line = line

    def _clear(self) -> None:
        if self._line:
            tell("")
        self._line = ""
