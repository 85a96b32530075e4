"""The log of a run, for people, in the dataset's folder: `logs/<time>-<host>-<pid>.log`.

A run adds a file of its own and touches no other. Logs are no part of what the dataset is; a log
that cannot be written is given up, and the run goes on.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

from scenesynth.pipeline.events import Event, Notice, Outcome, SceneDone, ShardFailed, Started
from scenesynth.pipeline.progress import Tally, bad_clip_lines, summary

logger = logging.getLogger(__name__)

LOG_FOLDER: Final = "logs"
_EVERY_S: Final = 60.0


class DriverLog:
    """Takes the events of a run and writes about them, each line with the time in UTC."""

    def __init__(self, root: Path, notes: Sequence[str] = ()) -> None:
        began = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        self.path = root / LOG_FOLDER / f"{began}-{platform.node()}-{os.getpid()}.log"
        self._tally = Tally()
        self._told = -1e9
        self._stream: TextIO | None = None
        try:
            self.path.parent.mkdir(exist_ok=True)
            self._stream = self.path.open("a", encoding="utf-8")
        except OSError as error:
            self._give_up(error)
        self._write(f"python {platform.python_version()}, {' '.join(sys.argv)}", *notes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._write(f"ended by {type(error).__name__}: {error}")
        if self._stream is not None:
            self._stream.close()

    def __call__(self, event: Event) -> None:
        """Take one event: shards are told of once a minute, all else but scenes at once."""
        now = time.monotonic()
        self._tally.take(event, now)
        match event:
            case Notice():
                self._write(event.text)
            case Started():
                self._write(f"{event.shards} shards to render with {event.workers} workers")
            case ShardFailed():
                what = "parked" if event.parked else f"failure {event.failures}"
                self._write(f"shard {event.shard}: {what} ({event.kind}): {event.why}")
            case SceneDone():
                return
            case _ if now - self._told >= _EVERY_S:
                self._told = now
                self._write(self._tally.line(now))

    def finish(self, outcome: Outcome) -> None:
        """Write how the run ended, with every bad clip."""
        text = summary(outcome, clips=0)
        self._write(*text.splitlines(), *bad_clip_lines(outcome.bad_clips))

    def _write(self, *lines: str) -> None:
        if self._stream is None:
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            self._stream.write("".join(f"{stamp} {line}\n" for line in lines))
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        logger.warning("%s: cannot be written (%s); going on without a log", self.path, error)
        self._stream = None
