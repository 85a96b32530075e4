"""The log of a run, for people, in the dataset's folder: `logs/<time>-<host>-<pid>.log`.

A run adds a file of its own and touches no other. Logs are no part of what the dataset is; a log
that cannot be written is given up, and the run goes on. In an object store it is put there once a
minute and at the end.
"""

from __future__ import annotations

import io
import logging
import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TextIO

from scenesynth.errors import StoreError
from scenesynth.pipeline.events import Event, Notice, Outcome, SceneDone, ShardFailed, Started
from scenesynth.pipeline.progress import Tally, bad_clip_lines, summary
from scenesynth.store.local import LocalPlace
from scenesynth.store.places import Root, place_of

logger = logging.getLogger(__name__)

LOG_FOLDER: Final = "logs"
_EVERY_S: Final = 60.0


class DriverLog:
    """Takes the events of a run and writes about them, each line with the time in UTC."""

    def __init__(self, root: Root, notes: Sequence[str] = ()) -> None:
        began = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        self._place = place_of(root)
        self._key = f"{LOG_FOLDER}/{began}-{platform.node()}-{os.getpid()}.log"
        self._tally = Tally()
        self._told = self._put = -1e9
        self._stream: TextIO | None = None
        try:
            self._stream = self._open()
        except OSError as error:
            self._give_up(error)
        self._write(f"python {platform.python_version()}, {' '.join(sys.argv)}", *notes)

    def _open(self) -> TextIO:
        if not isinstance(self._place, LocalPlace):
            return io.StringIO()
        path = Path(self._place.locate(self._key))
        path.parent.mkdir(exist_ok=True)
        return path.open("a", encoding="utf-8", errors="backslashreplace")

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
        self._put = -1e9
        self._write()
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
        self._write(*text.splitlines(), *bad_clip_lines(outcome))

    def _write(self, *lines: str) -> None:
        if self._stream is None:
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            self._stream.write("".join(f"{stamp} {line}\n" for line in lines))
            self._stream.flush()
            if isinstance(self._stream, io.StringIO) and time.monotonic() - self._put >= _EVERY_S:
                self._put = time.monotonic()
                self._place.replace(
                    self._key, self._stream.getvalue().encode(errors="backslashreplace")
                )
        except (OSError, StoreError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        where = self._place.locate(self._key)
        logger.warning("%s: cannot be written (%s); going on without a log", where, error)
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(OSError):  # it tries once more to write what it could not
                stream.close()
