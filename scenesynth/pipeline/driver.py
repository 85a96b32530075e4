"""Running a plan: which shards are left, who renders them, what happens to those that fail.

The driver keeps no state of its own. What is committed is on disk, so the same command again
renders the rest, whatever ended the run before.

A failure is one of three kinds:

- lasting (no space, a changed corpus, Ray gone, `on_error="stop"`): the run stops;
- of one scene, and bound to come again: its shard is parked at once;
- anything else (input and output, a killed worker, memory): the shard is tried three times, then
  parked.

A parked shard has a report in `failures/` and a tombstone among the commits. Shards are parked only
once something has been committed; if three fail before that, or all, then it is the recipe that is
wrong, not a shard, and the run ends without tombstones.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from scenesynth.corpus.corpora import prepare_for_rendering
from scenesynth.errors import ConfigError, RefusedError, StoreError
from scenesynth.pipeline.events import (
    Notice,
    OnEvent,
    Outcome,
    SceneDone,
    ShardDone,
    ShardFailed,
    Started,
)
from scenesynth.pipeline.failures import (
    lasting,
    nothing_works,
    parked_message,
    parked_shards,
    write_report,
)
from scenesynth.pipeline.plan import Plan, Settled, mean_duration_s, settle, shard_count
from scenesynth.pipeline.pools import InlinePool, Pool, RayPool, Result
from scenesynth.pipeline.shard import SceneError, SceneMaker, ShardJob, make_scene
from scenesynth.pipeline.signals import Drain, draining
from scenesynth.render.compile import ensure_compiled
from scenesynth.store.commit import Commit
from scenesynth.store.writer import put_tombstone

logger = logging.getLogger(__name__)

MAX_FAILURES: Final = 3
RETRY_PAUSE_S: Final = 1.0


def run(
    plan: Plan,
    *,
    workers: int = 1,
    on_event: OnEvent = lambda event: None,
    maker: SceneMaker | None = None,
    address: str | None = None,
    settled: Settled | None = None,
) -> Outcome:
    """Render what is left of a plan.

    Args:
        plan: what to render, and where to.
        workers: processes; 1 renders in this one, without Ray.
        on_event: told about everything that happens.
        maker: makes one scene; None samples and renders it, with kernels compiled beforehand.
        address: of a running Ray cluster.
        settled: what `settle` found, from a caller that has compiled the kernels and packed the
            plan's corpora too; by default all three are done here.

    Raises:
        StoreError: the output cannot be used.
        ConfigError: corpora that changed, or impossible arguments.
    """
    if workers < 1:
        raise ConfigError(f"--workers {workers}; must be at least 1")

    def tell(text: str) -> None:
        on_event(Notice(text=text))

    if settled is None:
        settled = settle(plan)
        for note in settled.notes:
            tell(note)
        if settled.todo:
            if maker is None:
                ensure_compiled(tell)
            packed = prepare_for_rendering(plan.corpora, plan.info.sample_rate)
            plan = replace(plan, corpora=packed)
    state = _Run(plan, settled, on_event)
    if settled.todo:
        jobs = _jobs(plan, settled)
        with draining(tell) as drain:
            on_event(state.started(workers))
            make = maker or make_scene
            state.drive(jobs, lambda: _pool(workers, make, address, on_event), drain)
    return state.outcome()


@dataclass
class _Run:
    """Progress of one run."""

    plan: Plan
    settled: Settled
    on_event: OnEvent
    failures: Counter[int] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    hopeless: list[tuple[ShardJob, BaseException]] = field(default_factory=list)
    committed: int = 0
    scenes: int = 0
    redraws: int = 0
    skipped: int = 0
    audio_s: float = 0.0
    drained: bool = False
    fatal: str = ""
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        total = shard_count(self.plan.info, self.settled.stop)
        self.committed = total - len(self.settled.todo) - len(parked_shards(self.plan.root))

    def started(self, workers: int) -> Started:
        left = sum(_length(self.plan, self.settled.stop, shard) for shard in self.settled.todo)
        return Started(
            scenes=self.settled.stop,
            done=self.settled.stop - left,
            shards=len(self.settled.todo),
            scene_s=mean_duration_s(self.plan.recipe, self.plan.info),
            workers=workers,
        )

    def drive(self, jobs: Sequence[ShardJob], open_pool: Callable[[], Pool], drain: Drain) -> None:
        """Submit jobs in order, a bounded number at a time, and take in what comes back."""
        waiting = deque(jobs)
        pool = open_pool()
        running = 0
        try:
            while running or (waiting and not self._ending(drain)):
                while waiting and running < pool.capacity and not self._ending(drain):
                    pool.submit(waiting.popleft())
                    running += 1
                for job, result in pool.wait():
                    running -= 1
                    self._take(job, result, waiting)
        except KeyboardInterrupt:
            # The second signal: what runs is given up, and nothing of it is visible.
            drain.requested = True
        finally:
            pool.close()
        if self.hopeless and not self.fatal:
            self._end_hopeless()
        self.drained = drain.requested and bool(waiting or running)

    def outcome(self) -> Outcome:
        parked = self._parked()
        message = self.fatal or (parked_message(self.plan.root, parked) if parked else "")
        state: Literal["done", "drained", "failed"] = "failed" if message else "done"
        if self.drained and not self.fatal:
            state = "drained"
        return Outcome(
            state=state,
            scenes=self.scenes,
            audio_s=round(self.audio_s, 3),
            seconds=round(time.monotonic() - self.began, 3),
            redraws=self.redraws,
            skipped=self.skipped,
            parked=parked,
            message=message,
            stages_s={name: round(value, 3) for name, value in self.stages.items()},
        )

    def _parked(self) -> tuple[int, ...]:
        try:
            return tuple(parked_shards(self.plan.root))
        except (OSError, StoreError):
            if not self.fatal:
                raise
            return ()  # what stopped the run is told, not that looking back fails too

    def _ending(self, drain: Drain) -> bool:
        return drain.requested or bool(self.fatal)

    def _take(self, job: ShardJob, result: Result, waiting: deque[ShardJob]) -> None:
        if not isinstance(result, BaseException):
            self._done(Commit.from_dict(result))
            return
        self.failures[job.shard] += 1
        if lasting(result, job):
            self._stop(job, result)
        elif isinstance(result, SceneError) or self.failures[job.shard] >= MAX_FAILURES:
            self._give_up(job, result)
        else:
            self._tell_failure(job, result, parked=False)
            time.sleep(RETRY_PAUSE_S)
            waiting.appendleft(job)

    def _done(self, commit: Commit) -> None:
        log = commit.log
        event = ShardDone(
            shard=commit.shard,
            scenes=commit.n_usable + len(commit.skipped),
            skipped=len(commit.skipped),
            redraws=log.get("redraws", 0),
            n_bytes=commit.n_bytes,
            audio_s=log.get("audio_s", 0.0),
            stages_s=log.get("stages_s", {}),
        )
        self.committed += 1
        self.scenes += event.scenes
        self.skipped += event.skipped
        self.redraws += event.redraws
        self.audio_s += event.audio_s
        self.stages.update(event.stages_s)
        self.on_event(event)
        self._park_hopeless()

    def _stop(self, job: ShardJob, error: BaseException) -> None:
        """End the run: the next shard would fare no better."""
        if isinstance(error, RefusedError) and not error.committed:
            error = error.counted(self.committed)
        self._tell_failure(job, error, parked=False)
        self.fatal = self.fatal or str(error)

    def _give_up(self, job: ShardJob, error: BaseException) -> None:
        """Park the shard, now or as soon as it is known that others can be rendered."""
        self.hopeless.append((job, error))
        if self.committed:
            self._park_hopeless()
        elif len(self.hopeless) == MAX_FAILURES:
            self._end_hopeless()

    def _park_hopeless(self) -> None:
        """Report the shards that failed for good, and step over them from now on."""
        while self.hopeless:
            job, error = self.hopeless.pop()
            try:
                write_report(job, error)
                put_tombstone(job.root, job.shard, job.info, job.stop, str(error))
            except StoreError as problem:
                self._stop(job, problem)
            else:
                self._tell_failure(job, error, parked=True)

    def _end_hopeless(self) -> None:
        """End a run in which nothing works."""
        job, error = self.hopeless[0]
        self._tell_failure(job, error, parked=False)
        try:
            report = write_report(job, error)
        except StoreError as problem:
            self._stop(job, problem)
        else:
            self.fatal = self.fatal or nothing_works(error, report)

    def _tell_failure(self, job: ShardJob, error: BaseException, *, parked: bool) -> None:
        logger.info("shard %d failed", job.shard, exc_info=error)
        self.on_event(
            ShardFailed(
                shard=job.shard,
                failures=self.failures[job.shard],
                why=f"{type(error).__name__}: {error}",
                parked=parked,
            )
        )


def _jobs(plan: Plan, settled: Settled) -> list[ShardJob]:
    descriptor = plan.corpora.descriptor()
    return [
        ShardJob(
            root=plan.root,
            info=plan.info,
            recipe=plan.recipe,
            corpora=descriptor,
            shard=shard,
            stop=settled.stop,
            split=plan.split_of(shard),
            given=plan.specs,
        )
        for shard in settled.todo
    ]


def _pool(workers: int, maker: SceneMaker, address: str | None, on_event: OnEvent) -> Pool:
    if workers == 1 and address is None:
        return InlinePool(maker, lambda job: on_event(SceneDone(shard=job.shard)))
    on_event(Notice(text=f"starting Ray with {workers} workers" if not address else "joining Ray"))
    return RayPool(workers, maker, address)


def _length(plan: Plan, stop: int, shard: int) -> int:
    size = plan.info.shard_scenes
    return min((shard + 1) * size, stop) - shard * size
