"""Where shards are rendered: in this process, in processes of this machine, or on Ray.

All take jobs by `submit` and give them back by `wait`, in any order, with a commit record or the
error. No audio passes through: a worker writes its shard itself and returns a small dict.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from multiprocessing.connection import wait as wait_for
from operator import attrgetter, is_
from typing import Any, Final, Protocol

from scenesynth.corpus.threads import available_cores
from scenesynth.errors import ConfigError
from scenesynth.pipeline.child import Child, Lost, Reply, SceneAt, Task
from scenesynth.pipeline.device import maker_for
from scenesynth.pipeline.shard import (
    SceneDeathError,
    SceneMaker,
    SceneTimeoutError,
    ShardJob,
    render_shard,
    scene_id,
)
from scenesynth.pipeline.signals import kept_handlers
from scenesynth.pipeline.watcher import Watcher, watching

Result = dict[str, Any] | BaseException
Finished = list[tuple[ShardJob, Result]]
OnScene = Callable[[ShardJob], None]

MOST_UNDER_WAY: Final = 16_384
"""Tasks that Ray is given at a time: each takes some 8 kB of the driver's memory."""

_DEATHS: Final = 20
"""Times that Ray starts a task again whose watcher or machine died."""
_OBJECT_STORE_BYTES: Final = 128 << 20
_POLL_S: Final = 0.5
_KNOCK_S: Final = 10.0
_LOOK_S: Final = 5.0
"""How often the size of a cluster is looked up."""


class ClusterLostError(RuntimeError):
    """Ray is gone, and with it everything that could render."""


class WorkerDiedError(RuntimeError):
    """A worker ended outside of any scene."""


class RemoteTraceback(Exception):
    """The traceback of an error in a worker, as text."""


class Pool(Protocol):
    """Renders jobs; `capacity` of them may be under way."""

    @property
    def capacity(self) -> int:
        """How many jobs to hand in before waiting for one."""

    def submit(self, job: ShardJob) -> None:
        """Take a job."""

    def wait(self) -> Finished:
        """Jobs that have ended since the last call; waits a moment for one."""

    def close(self) -> None:
        """Give up what still runs and free everything."""


class InlinePool:
    """Renders in this process, one shard at a time; nobody watches it."""

    capacity = 1

    def __init__(self, maker: SceneMaker, on_scene: OnScene) -> None:
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
            made = _Scenes(lambda: self._on_scene(job))
            return [(job, render_shard(job, maker_for(job, self._maker), made))]
        except Exception as error:
            return [(job, error)]

    def close(self) -> None:
        """Nothing runs on."""


class ProcessPool:
    """Renders in watched processes of this machine, one shard in each at a time."""

    def __init__(self, workers: int, maker: SceneMaker, on_scene: OnScene) -> None:
        self.capacity = workers
        self._tasks = Tasks(maker)
        self._on_scene = on_scene
        self._busy: dict[Child, tuple[ShardJob, _Scenes]] = {}
        self._idle = [Child() for _ in range(workers)]

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [child.pid for child in [*self._busy, *self._idle]]

    def submit(self, job: ShardJob) -> None:
        """Give a job to a worker."""
        child = self._idle.pop() if self._idle else Child()
        child.start(self._tasks.of(job))
        self._busy[child] = job, _Scenes(lambda: self._on_scene(job))

    def wait(self) -> Finished:
        """Jobs that have ended."""
        wait_for([child.connection for child in self._busy], _POLL_S)
        finished: Finished = []
        for child, (job, made) in list(self._busy.items()):
            if (reply := child.poll(made)) is not None:
                del self._busy[child]
                finished.append((job, result_of(job, reply)))
                if child.alive:
                    self._idle.append(child)
        return finished

    def close(self) -> None:
        """Give up what runs."""
        for child in [*self._busy, *self._idle]:
            child.kill()
        self._busy.clear()
        self._idle.clear()


class _Scenes:
    """Calls back once for each scene that the steps of `render_shard` have passed."""

    def __init__(self, on_scene: Callable[[], None]) -> None:
        self._on_scene = on_scene
        self._index: int | None = None

    def __call__(self, place: SceneAt) -> None:
        index = None if place is None else place[0]
        if self._index is not None and index != self._index:
            self._on_scene()
        self._index = index


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Which Ray, and what a worker asks of it.

    Attributes:
        address: of a running cluster, "auto" for the one of this machine; None starts one here.
        workers: how many at most; None for as many as there is room for.
        cpus, gpus: cores and GPUs of a worker; a share of a GPU lets several workers use one.
        memory_bytes: what a worker reserves; None for nothing.
        runtime_env: what Ray is to bring to the nodes (code, packages, variables); see its manual.
    """

    address: str | None = None
    workers: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int | None = None
    runtime_env: Mapping[str, Any] | None = None


class RayPool:
    """Renders on Ray, one shard per task; a worker watches a process that renders.

    Starts a local cluster unless Ray runs already or an address is given, and shuts down only what
    it started. With GPUs a worker is an actor, which keeps its device between shards. A task asks
    for cores, GPUs and memory and for nothing else, so nodes may differ, come and go.
    """

    def __init__(
        self,
        cluster: Cluster,
        maker: SceneMaker,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        # Before the import, which reads them.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self._ray = ray
        self._cluster = cluster
        self._tasks = Tasks(maker)
        self._tell = tell
        self._ours = not ray.is_initialized()
        if self._ours:
            _start(ray, cluster)
        self._shared = b""
        self._render: Any = None
        lasting = {"max_restarts": -1, "max_task_retries": _DEATHS}
        self._actor = ray.remote(**self._asks, **lasting)(Watcher)
        self._slots = 0
        self._looked = -_LOOK_S
        self._running: dict[Any, ShardJob] = {}
        self._actors: dict[Any, Any] = {}
        self._idle: list[Any] = []

    @property
    def capacity(self) -> int:
        """See `under_way`; the cluster is looked at again and again: nodes come and go."""
        if time.monotonic() - self._looked >= _LOOK_S:
            self._looked = time.monotonic()
            self._look()
        return under_way(self._cluster, self._slots)

    @property
    def workers(self) -> int:
        """Workers for which there is room now."""
        return min(self.capacity, max(self._slots, 1))

    def submit(self, job: ShardJob) -> None:
        """Hand a job to Ray."""
        task = self._tasks.of(job)
        if not self._cluster.gpus:
            render = self._rendering(task.shared)
            self._running[render.remote(task.own, task.scene_limit_s)] = job
            return
        actor = self._idle.pop() if self._idle else self._actor.remote()
        ref = actor.render.remote(task)
        self._actors[ref] = actor
        self._running[ref] = job

    def wait(self) -> Finished:
        """Jobs that have ended."""
        if not self._running:
            return []
        refs = list(self._running)
        # A look takes the longer the more tasks there are, so each takes in all that it finds.
        ready, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        if not ready:
            ready, _ = self._ray.wait(refs, num_returns=1, timeout=_POLL_S)
        return [self._end(ref) for ref in ready]

    def close(self) -> None:
        """Give up what runs: with Ray as a whole if this pool started it, else task by task."""
        if self._ours:
            # Without cancelling first: a task that ends while it is cancelled makes Ray abort.
            self._ray.shutdown()
        else:
            for ref in self._running.keys() - self._actors.keys():
                self._ray.cancel(ref, force=True)
            for actor in [*self._actors.values(), *self._idle]:
                self._ray.kill(actor)
        self._running.clear()
        self._actors.clear()
        self._idle.clear()

    @property
    def _asks(self) -> dict[str, Any]:
        cluster = self._cluster
        memory = {} if cluster.memory_bytes is None else {"memory": cluster.memory_bytes}
        return {"num_cpus": cluster.cpus, "num_gpus": cluster.gpus, **memory}

    def _rendering(self, shared: bytes) -> Any:
        """The remote function for tasks with this in common."""
        if self._render is None or shared != self._shared:
            self._shared = shared
            once = self._ray.remote(**self._asks, max_retries=_DEATHS)
            self._render = once(watching(shared))
        return self._render

    def _look(self) -> None:
        before, self._slots = self._slots, _room(self._ray, self._asks)
        if not self._slots:
            asked = ", ".join(f"{name} {value:g}" for name, value in self._asks.items() if value)
            self._tell(f"waiting: no node of the cluster has room for a worker ({asked})")
        elif before and self._slots != before:
            self._tell(f"the cluster has room for {self._slots} workers now, {before} before")

    def _end(self, ref: Any) -> tuple[ShardJob, Result]:
        job = self._running.pop(ref)
        if ref in self._actors:
            self._idle.append(self._actors.pop(ref))
        return job, self._fetch(job, ref)

    def _fetch(self, job: ShardJob, ref: Any) -> Result:
        exceptions = self._ray.exceptions
        try:
            return result_of(job, self._ray.get(ref))
        except exceptions.LocalRayletDiedError as error:
            lost = ClusterLostError(
                "Ray died; what is committed is whole, and the same command goes on"
            )
            lost.__cause__ = error
            return lost
        except exceptions.RuntimeEnvSetupError as error:
            return ConfigError(f"--runtime-env: a node could not set it up: {error}")
        except exceptions.RayError as error:
            died = WorkerDiedError(f"shard {job.shard}: {str(error).splitlines()[0]}")
            died.__cause__ = error
            return died


class Tasks:
    """What workers are given to render jobs; what the jobs of a run share is pickled once."""

    def __init__(self, maker: SceneMaker) -> None:
        self._maker = maker
        self._like: ShardJob | None = None
        self._shared = b""

    def of(self, job: ShardJob) -> Task:
        """The task of a job."""
        if self._like is None or not all(map(is_, _common(job), _common(self._like))):
            self._like, self._shared = job, pickle.dumps((job, self._maker))
        return Task(self._shared, pickle.dumps((job.shard, job.split)), job.scene_limit_s)


_common = attrgetter(*({item.name for item in fields(ShardJob)} - {"shard", "split"}))
"""All of a job but what its task states of its own."""


def under_way(cluster: Cluster, slots: int) -> int:
    """Jobs to hand to Ray where there is room for `slots` workers.

    One per worker, and one more that waits where all room is ours; but never none, and no more than
    the driver has memory for.
    """
    wanted = cluster.workers or slots
    jobs = min(slots, wanted) if cluster.gpus or wanted < slots else 2 * slots
    return min(max(jobs, 1), MOST_UNDER_WAY)


def result_of(job: ShardJob, reply: Reply) -> Result:
    """A worker's reply as a commit record or an error that says where it was."""
    if isinstance(reply, Lost):
        return _loss(job, reply)
    kind, *rest = pickle.loads(reply)
    if kind == "done":
        return dict(rest[0])
    error: BaseException = rest[0]
    error.__cause__ = RemoteTraceback(f"\n{rest[1]}")
    return error


def _loss(job: ShardJob, lost: Lost) -> BaseException:
    error: BaseException
    if lost.place is None:
        error = WorkerDiedError(f"shard {job.shard}: {lost.why}, outside of any scene")
    else:
        kind = SceneTimeoutError if lost.timed_out else SceneDeathError
        index, attempt = lost.place
        error = kind(scene_id(job, index), job.info.seed, index, attempt, lost.why)
    if lost.stacks:
        error.__cause__ = RemoteTraceback(f"\n{lost.stacks}")
    return error


def _start(ray: Any, cluster: Cluster) -> None:
    local = {
        "num_cpus": max(1, round((cluster.workers or available_cores()) * cluster.cpus)),
        "object_store_memory": _OBJECT_STORE_BYTES,
        "include_dashboard": False,
    }
    try:
        if cluster.address:
            _knock(cluster.address)
        with kept_handlers():
            ray.init(
                address=cluster.address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env=dict(cluster.runtime_env) if cluster.runtime_env else None,
                **({} if cluster.address else local),
            )
    except OSError as error:
        raise ConfigError(
            f"--address {cluster.address}: no Ray cluster answers there ({error}); start one with "
            f"`ray start --head`, or leave --address (and RAY_ADDRESS) out to render on this "
            f"machine"
        ) from None


def _knock(address: str) -> None:
    """Find out at once that nobody listens; Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), _KNOCK_S).close()


def _room(ray: Any, asks: Mapping[str, float]) -> int:
    """How many workers that each ask so much the living nodes have room for."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    wanted = {names[key]: value for key, value in asks.items() if value}
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(
        min(int(node.get(name, 0) / value + 1e-9) for name, value in wanted.items())
        for node in alive
    )
