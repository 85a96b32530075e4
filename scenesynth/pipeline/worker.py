"""A worker: a process that renders shards for a `Child`, which watches it from outside.

    python -m scenesynth.pipeline.worker SOCKET DUMP

Both are descriptors that it inherits. By the socket come b"j" and a pickled (job, maker), then b"t"
and a pickled (shard, split) for each job like it; out go b"s" and the pickled place of each step,
and last b"r" and the pickled reply: ("done", commit) or ("failed", error, traceback). A thread
reads the socket, so a worker whose parent dies ends at once, even in the middle of a scene: nothing
of an unfinished shard is visible. Signals that end a run are for the parent, which decides what is
finished. Stacks are dumped by a handler in C, so that code that holds the interpreter cannot
prevent it.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from dataclasses import replace
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any, Final

from scenesynth.pipeline.child import DUMP_SIGNAL, SceneAt
from scenesynth.pipeline.device import maker_for
from scenesynth.pipeline.shard import SceneMaker, ShardJob, render_shard

LAST_RESORT_S: Final = 60.0
"""How long after its limit a scene ends this process by itself, where nobody else does."""


def main(socket: int, dump: int) -> None:
    """Render jobs until the other end closes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable(dump)
    faulthandler.register(DUMP_SIGNAL, dump, all_threads=True)
    os.dup2(2, 1)  # what libraries print is no result
    connection = Connection(socket)
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, messages), daemon=True).start()
    shared = b""
    while True:
        message = messages.get()
        if message[:1] == b"j":
            shared = message[1:]
        else:
            connection.send_bytes(b"r" + _pickled(_reply(shared, message[1:], connection, dump)))


def _listen(connection: Connection, messages: queue.SimpleQueue[bytes]) -> None:
    while True:
        try:
            messages.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)


@lru_cache(maxsize=1)
def _unpickled(shared: bytes) -> tuple[ShardJob, SceneMaker]:
    job, maker = pickle.loads(shared)
    return job, maker


def _reply(shared: bytes, own: bytes, connection: Connection, dump: int) -> tuple[Any, ...]:
    try:
        like, maker = _unpickled(shared)
        shard, split = pickle.loads(own)
        job = replace(like, shard=shard, split=split)

        def on_step(place: SceneAt) -> None:
            connection.send_bytes(b"s" + pickle.dumps(place))
            faulthandler.cancel_dump_traceback_later()
            if place is not None:
                limit_s = job.scene_limit_s + LAST_RESORT_S
                faulthandler.dump_traceback_later(limit_s, exit=True, file=dump)

        return "done", render_shard(job, maker_for(job, maker), on_step)
    except Exception as error:
        return "failed", error, traceback.format_exc()
    finally:
        faulthandler.cancel_dump_traceback_later()


def _pickled(reply: tuple[Any, ...]) -> bytes:
    """The reply in bytes that the parent can read; an error of a strange kind as its text."""
    try:
        data = pickle.dumps(reply)
        pickle.loads(data)
    except Exception:
        kind, error, text = reply
        return pickle.dumps((kind, RuntimeError(f"{type(error).__name__}: {error}"), text))
    return data


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
