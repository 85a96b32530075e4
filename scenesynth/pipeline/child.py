"""A worker process seen from outside: started, given tasks, watched, and killed when it hangs.

Python cannot interrupt compiled code, so a limit on the time of a scene takes a second process.
Whatever ends the worker, the one who watches lives on and can say at which scene it was.

Only the standard library is imported here: on Ray the one who watches is a process of its own for
each worker, and handles tasks and replies as bytes that it does not look into.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO, Final

SceneAt = tuple[int, int] | None
"""Index and attempt of the scene that a worker is at; None outside of any."""

OTHER_LIMIT_S: Final = 3600.0
"""Longest time for what is not a scene: compiling, copying clips, writing a shard."""

NODE_VARIABLE: Final = "SCENESYNTH_NODE"
"""Tells a worker the name of its machine, where that is more than a host name."""

DUMP_SIGNAL: Final = signal.SIGUSR2
"""A worker that gets it writes down where all its threads are."""
_DUMP_PAUSE_S: Final = 0.5
_DUMP_CHARACTERS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is given.

    Attributes:
        shared: a pickled (job, maker), the same bytes for all tasks of a run.
        own: a pickled (shard, split): where this task's job differs from that one.
        scene_limit_s: how long one scene may take.
    """

    shared: bytes
    own: bytes
    scene_limit_s: float


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker that gave no reply.

    Attributes:
        why: "timed out ..." or how it died.
        place: where it was.
        stacks: where its threads were, as text; "" where that is not known.
    """

    why: str
    timed_out: bool
    place: SceneAt
    stacks: str


Reply = bytes | Lost
"""The pickled reply of a worker (see `worker`), or what became of it."""


class Child:
    """A worker process; `alive` until it dies or is killed."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        """Start a worker, with further environment variables."""
        self.connection: Connection
        self.connection, theirs = Pipe()
        self._dump: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `kill`
        descriptors = (theirs.fileno(), self._dump.fileno())
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scenesynth.pipeline.worker", *map(str, descriptors)],
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
            env=_environment(variables or {}),
        )
        theirs.close()
        self._shared = b""
        self._limit_s = OTHER_LIMIT_S
        self._place: SceneAt = None
        self._deadline = 0.0

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can take another task."""
        return not self.connection.closed

    def start(self, task: Task) -> None:
        """Give it a task."""
        self._limit_s = task.scene_limit_s
        self._arrive(None)
        with suppress(BrokenPipeError, ConnectionResetError):  # `poll` finds out
            if task.shared != self._shared:
                self.connection.send_bytes(b"j" + task.shared)
                self._shared = task.shared
            self.connection.send_bytes(b"t" + task.own)

    def poll(self, on_step: Callable[[SceneAt], None] = lambda place: None) -> Reply | None:
        """Take in what it has said; the reply once there is one.

        A worker that has died, or is over its limit and is killed, is `Lost`.
        """
        try:
            while self.connection.poll():
                message = self.connection.recv_bytes()
                if message[:1] == b"r":
                    return message[1:]
                self._arrive(pickle.loads(message[1:]))
                on_step(self._place)
        except (EOFError, ConnectionResetError):
            return self._died()
        return self._timed_out() if time.monotonic() > self._deadline else None

    def run(self, task: Task, poll_s: float = 0.2) -> Reply:
        """The reply to a task."""
        self.start(task)
        while (reply := self.poll()) is None:
            self.connection.poll(poll_s)
        return reply

    def kill(self) -> None:
        """End the process at once."""
        self.connection.close()
        self._process.kill()
        self._process.wait()
        self._dump.close()

    def _arrive(self, place: SceneAt) -> None:
        self._place = place
        self._deadline = time.monotonic() + self._limit()

    def _limit(self) -> float:
        return OTHER_LIMIT_S if self._place is None else self._limit_s

    def _died(self) -> Lost:
        code = self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return self._lost(f"the worker died ({how})", timed_out=False)

    def _timed_out(self) -> Lost:
        self._process.send_signal(DUMP_SIGNAL)
        time.sleep(_DUMP_PAUSE_S)
        return self._lost(f"timed out after {self._limit():g} s", timed_out=True)

    def _lost(self, why: str, *, timed_out: bool) -> Lost:
        self._dump.seek(0)
        stacks = self._dump.read(_DUMP_CHARACTERS).decode(errors="replace")
        self.kill()
        return Lost(why, timed_out, self._place, stacks)


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment of a worker: it imports what we do, and workers do not fight for cores."""
    path = os.pathsep.join(sys.path)
    return {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path, **variables}
