"""Telling a run's progress: one live line on a terminal, plain lines in a log, or JSON lines."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TextIO

from scenesynth.pipeline.events import (
    Event,
    Notice,
    Outcome,
    SceneDone,
    ShardDone,
    ShardFailed,
    Started,
    event_dict,
)

Mode = Literal["live", "plain", "json"]

_LIVE_EVERY_S: Final = 0.1
_PLAIN_EVERY_S: Final = 5.0
_RECENT_S: Final = 60.0
_SHOWN_NODES: Final = 4
_SHOWN_CLIPS: Final = 20
_CLEAR_LINE: Final = "\r\x1b[K"


@dataclass
class Tally:
    """Counts behind the line; `began` is the time of the first event.

    Attributes:
        failures: how often shards failed, by kind.
        recent: what nodes committed in the last minute: (time, node, scenes).
    """

    scenes: int = 0
    before: int = 0
    committed: int = 0
    partial: int = 0
    n_bytes: int = 0
    scene_s: float = 0.0
    parked: int = 0
    redraws: int = 0
    skipped: int = 0
    began: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    recent: deque[tuple[float, str, int]] = field(default_factory=deque)

    def take(self, event: Event, now: float) -> None:
        """Count an event."""
        match event:
            case Started():
                self.scenes, self.before = event.scenes, event.done
                self.scene_s, self.began = event.scene_s, now
            case SceneDone():
                self.partial += 1
            case ShardDone():
                self.partial = 0
                self.committed += event.scenes
                self.n_bytes += event.n_bytes
                self.redraws += event.redraws
                self.skipped += event.skipped
                self.recent.append((now, event.node, event.scenes))
                while self.recent[0][0] < now - _RECENT_S:
                    self.recent.popleft()
            case ShardFailed():
                self.partial = 0
                self.failures[event.kind] += 1
                self.parked += event.parked
            case Notice():
                pass

    def line(self, now: float) -> str:
        """The state in one line: scenes, times real time, bytes, time to go, failures."""
        fresh = self.committed + self.partial
        done = self.before + fresh
        if not fresh:
            there = f", {self.before} are there already" if self.before else ""
            return f"rendering {_counted(self.scenes - self.before, 'scene')}{there}"
        elapsed = now - self.began
        parts = [f"{done}/{self.scenes} scenes", f"{100 * done // max(self.scenes, 1):3d} %"]
        if elapsed > 0:
            rate = fresh / elapsed
            parts += [f"{rate:.1f} scenes/s", f"{rate * self.scene_s:.0f}x real time"]
        parts.append(format_bytes(self.n_bytes))
        if elapsed > 0:
            parts.append(f"{format_time((self.scenes - done) * elapsed / fresh)} to go")
        counts = {"redrawn": self.redraws, "skipped": self.skipped}
        parts += [f"{n} {what}" for what, n in counts.items() if n]
        if self.failures:
            parts.append(f"failures: {_by_kind(self.failures)}")
        if self.parked:
            parts.append(f"{self.parked} shards parked")
        return "  ".join(parts + self._nodes(now))

    def _nodes(self, now: float) -> list[str]:
        """Rates of the last minute, of the fastest nodes, where there is more than one."""
        scenes: Counter[str] = Counter()
        for _, node, n in self.recent:
            scenes[node] += n
        if len(scenes) < 2:
            return []
        seconds = max(min(now - self.began, _RECENT_S), 1e-3)
        shown = [f"{node} {n / seconds:.1f}/s" for node, n in scenes.most_common(_SHOWN_NODES)]
        more = len(scenes) - _SHOWN_NODES
        return [f"[{', '.join(shown)}{f' and {more} nodes more' if more > 0 else ''}]"]


class Progress:
    """Takes the events of a run and writes about them to a stream.

    Failures and notices are always told on a line of their own.
    """

    def __init__(
        self, stream: TextIO, mode: Mode, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.tally = Tally()
        self._stream = stream
        self._mode = mode
        self._clock = clock
        self._told = -1e9

    def __call__(self, event: Event) -> None:
        """Take one event."""
        now = self._clock()
        self.tally.take(event, now)
        if self._mode == "json":
            if not isinstance(event, SceneDone):
                self._write(json.dumps(event_dict(event)) + "\n")
            return
        match event:
            case Notice():
                self._say(event.text)
            case ShardFailed():
                what = "parked" if event.parked else f"failure {event.failures}"
                self._say(f"shard {event.shard}: {what}: {event.why}")
            case _:
                self._tell(now)

    def finish(self, outcome: Outcome) -> None:
        """Write the last line: what was done, how fast, and what is amiss."""
        if self._mode == "json":
            self._write(json.dumps(event_dict(outcome)) + "\n")
            return
        self._say(summary(outcome))

    def _tell(self, now: float) -> None:
        every = _LIVE_EVERY_S if self._mode == "live" else _PLAIN_EVERY_S
        if now - self._told < every:
            return
        self._told = now
        line = self.tally.line(now)
        if self._mode == "plain":
            self._write(line + "\n")
        else:
            width = shutil.get_terminal_size().columns
            self._write(_CLEAR_LINE + line[: width - 1])

    def _say(self, text: str) -> None:
        start = _CLEAR_LINE if self._mode == "live" else ""
        self._write(f"{start}{text}\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def choose_mode(stream: TextIO, as_json: bool) -> Mode:
    """JSON if asked for, one live line on a terminal, else plain lines."""
    if as_json:
        return "json"
    return "live" if stream.isatty() else "plain"


def summary(outcome: Outcome, clips: int = _SHOWN_CLIPS) -> str:
    """How a run ended, in words, with the most frequent bad clips."""
    if not outcome.scenes and outcome.state == "done":
        theirs = f", {outcome.left} of other parts are not" if outcome.left else ""
        text = f"nothing left to do: all shards are there{theirs}"
        return "\n".join([text, *bad_clip_lines(outcome, clips)])
    speed = outcome.audio_s / outcome.seconds if outcome.seconds > 0 else 0.0
    text = (
        f"{_counted(outcome.scenes, 'scene')} ({format_time(outcome.audio_s)} of audio) rendered "
        f"in {format_time(outcome.seconds)}, {speed:.0f}x real time"
    )
    counts = {
        "draws repeated": outcome.redraws,
        "scenes skipped": outcome.skipped,
        "shards parked": len(outcome.parked),
    }
    text += "".join(f", {n} {what}" for what, n in counts.items() if n)
    if outcome.failures:
        text += f"; failed tries of shards: {_by_kind(outcome.failures)}"
    text = "\n".join([text, *bad_clip_lines(outcome, clips)])
    if outcome.state == "drained":
        text += "\nended early; give the same command again to go on"
    return text + (f"\n{outcome.message}" if outcome.message else "")


def bad_clip_lines(outcome: Outcome, limit: int | None = None) -> list[str]:
    """The clips that could not be used, one a line, those met most often first."""
    if not outcome.bad_clips or limit == 0:
        return []
    ordered = sorted(outcome.bad_clips.items(), key=lambda item: (-item[1]["count"], item[0]))
    where = " in the shards of this run" if outcome.bad_clips_of == "run" else ""
    lines = [f"{_counted(len(ordered), 'clip')} could not be used{where}, and others were drawn:"]
    lines += [f"  {found['count']}x {file}: {found['reason']}" for file, found in ordered[:limit]]
    more = len(ordered) - len(ordered[:limit])
    return [*lines, f"  and {more} more, all listed in logs/"] if more else lines


def _by_kind(failures: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in sorted(failures.items()))


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def format_bytes(n: float) -> str:
    """A size for people: "812 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"


def format_time(seconds: float) -> str:
    """A duration for people: "0:14", "2:05:00"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
