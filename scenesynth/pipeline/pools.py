"""Where shards are rendered: in this process, or on Ray.

Both take jobs by `submit` and give them back by `wait`, in any order, with a commit record or the
error. No audio passes through: a task writes its shard itself and returns a small dict.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from scenesynth.pipeline.shard import SceneMaker, ShardJob, render_shard

Result = dict[str, Any] | BaseException
Finished = list[tuple[ShardJob, Result]]

_DEATHS: Final = 20
"""Times that Ray starts a task again whose worker or machine died."""
_OBJECT_STORE_BYTES: Final = 128 << 20
_POLL_S: Final = 0.5


class ClusterLostError(RuntimeError):
    """Ray is gone, and with it everything that could render."""


class Pool(Protocol):
    """Renders jobs; `capacity` of them may be under way."""

    capacity: int

    def submit(self, job: ShardJob) -> None:
        """Take a job."""

    def wait(self) -> Finished:
        """Jobs that have ended since the last call; waits a moment for one."""

    def close(self) -> None:
        """Give up what still runs and free everything."""


class InlinePool:
    """Renders in this process, one shard at a time."""

    def __init__(self, maker: SceneMaker, on_scene: Callable[[ShardJob], None]) -> None:
        self.capacity = 1
        self._maker = maker
        self._on_scene = on_scene
        self._jobs: deque[ShardJob] = deque()

    def submit(self, job: ShardJob) -> None:
        """Keep a job for `wait`."""
        self._jobs.append(job)

    def wait(self) -> Finished:
        """Render one job."""
        if not self._jobs:
            return []
        job = self._jobs.popleft()
        try:
            return [(job, render_shard(job, self._maker, lambda: self._on_scene(job)))]
        except Exception as error:
            return [(job, error)]

    def close(self) -> None:
        """Nothing runs on."""


class RayPool:
    """Renders on Ray, one shard per task and core.

    Starts a local cluster of `workers` cores unless Ray runs already or an address is given, and
    shuts down only what it started.
    """

    def __init__(self, workers: int, maker: SceneMaker, address: str | None = None) -> None:
        # Before the import, which reads them.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self._ray = ray
        self._maker = maker
        self._ours = not ray.is_initialized()
        if self._ours:
            _start(ray, workers, address)
        # Twice the workers, so that none waits for the next job.
        self.capacity = 2 * workers
        self._task = ray.remote(num_cpus=1, max_retries=_DEATHS)(render_shard)
        self._running: dict[Any, ShardJob] = {}

    def submit(self, job: ShardJob) -> None:
        """Hand a job to Ray."""
        self._running[self._task.remote(job, self._maker)] = job

    def wait(self) -> Finished:
        """Jobs that have ended."""
        if not self._running:
            return []
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_POLL_S)
        return [(self._running.pop(ref), self._fetch(ref)) for ref in ready]

    def close(self) -> None:
        """Give up what runs: with Ray as a whole if this pool started it, else task by task."""
        if self._ours:
            # Without cancelling first: a task that ends while it is cancelled makes Ray abort.
            self._ray.shutdown()
        else:
            for ref in self._running:
                self._ray.cancel(ref, force=True)
        self._running.clear()

    def _fetch(self, ref: Any) -> Result:
        try:
            return dict(self._ray.get(ref))
        except self._ray.exceptions.RayTaskError as error:
            # Ray wraps what the task raised; the wrapper's text holds the worker's traceback.
            cause: BaseException = error.cause
            cause.__cause__ = error
            return cause
        except self._ray.exceptions.LocalRayletDiedError as error:
            lost = ClusterLostError(
                "Ray died; what is committed is whole, and the same command goes on"
            )
            lost.__cause__ = error
            return lost
        except self._ray.exceptions.RayError as error:
            return error  # type: ignore[no-any-return]


def _start(ray: Any, workers: int, address: str | None) -> None:
    local = {"num_cpus": workers, "object_store_memory": _OBJECT_STORE_BYTES}
    ray.init(
        address=address,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        **({} if address else local),
    )
