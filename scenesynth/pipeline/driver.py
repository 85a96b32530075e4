"""Running a plan: which shards are left, who renders them, what happens to those that fail.

The driver keeps no state of its own. What is committed is on disk, so the same command again
renders the rest, whatever ended the run before.

A failure is one of three kinds:

- lasting (no space, a changed corpus, Ray gone, `on_error="stop"`): the run stops;
- of one scene, and bound to come again: its shard is parked at once;
- anything else (input and output, a killed worker, memory, a scene over its time): the shard is
  tried some times (`failures.tries_of`), then parked.

A parked shard has a report in `failures/` and a tombstone among the commits. Shards are parked only
once something has been committed; if three fail before that, or all, then it is the recipe that is
wrong, not a shard, and the run ends without tombstones. It also ends once it has parked a certain
share of its shards (`failures.too_many_parked`).
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar

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
    MAX_FAILURES,
    kind_of,
    lasting,
    nothing_works,
    parked_message,
    parked_shards,
    remove_report,
    reported_shards,
    too_many_message,
    too_many_parked,
    tries_of,
    write_report,
)
from scenesynth.pipeline.log import DriverLog
from scenesynth.pipeline.metrics import RayMetrics
from scenesynth.pipeline.parts import Part
from scenesynth.pipeline.plan import Plan, Settled, mean_duration_s, settle, shard_count
from scenesynth.pipeline.pools import Cluster, InlinePool, Pool, ProcessPool, RayPool, Result
from scenesynth.pipeline.shard import SceneMaker, ShardJob, make_scene
from scenesynth.pipeline.signals import GRACE_S, Drain, draining
from scenesynth.render.compile import ensure_compiled
from scenesynth.store.commit import Commit, list_commits, read_commits
from scenesynth.store.layout import DatasetInfo, read_info
from scenesynth.store.writer import put_tombstone

logger = logging.getLogger(__name__)

T = TypeVar("T")
BadClips = dict[str, dict[str, Any]]

RETRY_PAUSE_S: Final = 1.0
DATASET_LOOK_S: Final = 60.0
"""How often it is looked whether the dataset is still there."""
SCENE_LIMIT_S: Final = 300.0
SCENE_LIMIT_PER_S: Final = 30.0
"""Default limit of a scene's time: the former, or so many times its length where that is more."""


def run(
    plan: Plan,
    *,
    workers: int = 1,
    on_event: OnEvent = lambda event: None,
    maker: SceneMaker | None = None,
    cluster: Cluster | None = None,
    processes: bool = False,
    part: Part | None = None,
    settled: Settled | None = None,
    scene_limit_s: float | None = None,
    grace_s: float = GRACE_S,
) -> Outcome:
    """Render what is left of a plan.

    Args:
        plan: what to render, and where to.
        workers: how many at a time; 1 renders in this process, without Ray, and is not watched.
        on_event: told about everything that happens.
        maker: makes one scene; None samples and renders it, with kernels compiled beforehand.
        cluster: Ray to render on, with its own number of workers.
        processes: render in `workers` watched processes of this machine, without Ray.
        part: which of the shards; None for all.
        settled: what `settle` found, from a caller that has compiled the kernels and packed the
            plan's corpora too; by default all three are done here.
        scene_limit_s: how long one scene may take in a watched worker; None for a default.
        grace_s: how long shards under way may go on after SIGTERM or SIGUSR1.

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
    state = _Run(plan, settled, part, on_event)
    if not state.todo:
        return state.outcome()
    if cluster is None and workers > 1 and not processes:
        cluster = Cluster(workers=workers)
    jobs = _jobs(plan, settled, state.todo, _limit_s(scene_limit_s, plan.info), cluster)
    # Signals are ours until the last line is written: more of them must not disturb the end.
    with draining(state.tell, grace_s) as drain, DriverLog(plan.root, settled.notes) as log:
        state.on_event = _all(on_event, log)
        state.drive(
            jobs, lambda: _pool(workers, maker or make_scene, cluster, processes, state), drain
        )
        outcome = state.outcome()
        log.finish(outcome)
    return outcome


@dataclass
class _Run:
    """Progress of one run."""

    plan: Plan
    settled: Settled
    part: Part | None
    on_event: OnEvent
    tries: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    bad_clips: BadClips = field(default_factory=dict)
    stages: Counter[str] = field(default_factory=Counter)
    hopeless: list[tuple[ShardJob, BaseException]] = field(default_factory=list)
    again: deque[tuple[float, ShardJob]] = field(default_factory=deque)
    reported: set[int] = field(default_factory=set)
    before: int = 0
    committed: int = 0
    parked: int = 0
    scenes: int = 0
    redraws: int = 0
    skipped: int = 0
    audio_s: float = 0.0
    drained: bool = False
    fatal: str | RefusedError = ""
    began: float = field(default_factory=time.monotonic)
    looked: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.todo = tuple(k for k in self.settled.todo if self.part is None or self.part.has(k))
        total = shard_count(self.plan.info, self.settled.stop)
        self.reported = reported_shards(self.plan.root)
        self.before = total - len(self.settled.todo) - len(parked_shards(self.plan.root))

    def tell(self, text: str) -> None:
        self.on_event(Notice(text=text))

    def started(self, workers: int) -> Started:
        mine = sum(_length(self.plan, self.settled.stop, shard) for shard in self.todo)
        theirs = sum(_length(self.plan, self.settled.stop, k) for k in self.settled.todo) - mine
        return Started(
            scenes=self.settled.stop - theirs,
            done=self.settled.stop - theirs - mine,
            shards=len(self.todo),
            scene_s=mean_duration_s(self.plan.recipe, self.plan.info),
            workers=workers,
        )

    def drive(
        self, jobs: Iterator[ShardJob], open_pool: Callable[[], tuple[Pool, int]], drain: Drain
    ) -> None:
        """Submit jobs in order, a bounded number at a time, and take in what comes back."""
        pool: Pool | None = None
        running, fresh = 0, len(self.todo)
        try:
            pool, workers = open_pool()
            self.on_event(self.started(workers))
            while running or ((fresh or self.again) and not self._ending(drain)):
                self._look_for_dataset()
                while running < pool.capacity and not self._ending(drain):
                    if (job := self._next(jobs)) is None:
                        break
                    fresh -= not self.tries[job.shard]
                    pool.submit(job)
                    running += 1
                if not running:
                    time.sleep(min(0.1, RETRY_PAUSE_S))
                for job, result in pool.wait():
                    running -= 1
                    self._take(job, result)
        except KeyboardInterrupt:
            # The second signal, or the end of the grace: what runs is given up, and nothing of it
            # is visible.
            drain.requested = True
        finally:
            drain.cancelled = True
            if pool is not None:
                pool.close()
        if self.hopeless and not self.fatal:
            self._end_hopeless()
        self.drained = drain.requested and bool(running or fresh or self.again)

    def _look_for_dataset(self, every_s: float = DATASET_LOOK_S) -> None:
        """End a run whose dataset was deleted under it, which would otherwise go on unseen."""
        if time.monotonic() - self.looked < every_s:
            return
        self.looked = time.monotonic()
        try:
            read_info(self.plan.root)
        except (OSError, RefusedError):
            return  # not what it is about
        except StoreError as error:
            self.fatal = self.fatal or (
                f"{error}. It was there when this run began and was deleted or damaged since then; "
                f"put it back from a copy, or give another --out"
            )

    def outcome(self) -> Outcome:
        self._look_for_dataset(0.0)
        parked: tuple[int, ...] = self._looking_back(
            lambda: tuple(parked_shards(self.plan.root)), ()
        )
        left = self._looking_back(self._left_by_others, 0)
        of_all = None if self.fatal or self.drained or left else self._bad_clips_of_all()
        bad_clips = self.bad_clips if of_all is None else of_all
        message = self._why_ended() or (parked_message(self.plan.root, parked) if parked else "")
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
            failures=dict(self.failures),
            bad_clips=dict(sorted(bad_clips.items())),
            bad_clips_of="run" if of_all is None else "dataset",
            left=left,
        )

    def _why_ended(self) -> str:
        """Why the run was stopped; counts what was committed after that, too."""
        if not isinstance(self.fatal, RefusedError):
            return self.fatal
        counted = self.fatal.committed
        return str(
            self.fatal.counted(
                self._looking_back(lambda: len(list_commits(self.plan.root)), counted)
            )
        )

    def _left_by_others(self) -> int:
        """Shards of other parts of the dataset that are not committed."""
        return len(set(self.settled.todo) - set(self.todo) - set(list_commits(self.plan.root)))

    def _bad_clips_of_all(self) -> BadClips | None:
        """Those of all shards, whoever rendered them; None where a record cannot be read."""
        if not self.before and self.committed + self.parked == len(self.settled.todo):
            return self.bad_clips
        found: BadClips = {}
        try:
            for _, commit in read_commits(self.plan.root):
                _add_clips(found, commit)
        except (OSError, StoreError) as error:
            logger.warning("bad clips of earlier runs are not listed: %s", error)
            return None
        return found

    def _looking_back(self, look: Callable[[], T], otherwise: T) -> T:
        """What the dataset shows. A run that was stopped tells why, not that looking back fails."""
        try:
            return look()
        except (OSError, StoreError):
            if not self.fatal:
                raise
            return otherwise

    def _ending(self, drain: Drain) -> bool:
        return drain.requested or bool(self.fatal)

    def _next(self, jobs: Iterator[ShardJob]) -> ShardJob | None:
        """A shard to be tried again whose pause is over, else the next one."""
        if self.again and self.again[0][0] <= time.monotonic():
            return self.again.popleft()[1]
        return next(jobs, None)

    def _take(self, job: ShardJob, result: Result) -> None:
        if not isinstance(result, BaseException):
            self._done(Commit.from_dict(result))
            return
        self.tries[job.shard] += 1
        self.failures[kind_of(result)] += 1
        if lasting(result, job):
            self._stop(job, result)
        elif self.tries[job.shard] >= tries_of(result):
            self._give_up(job, result)
        else:
            self._tell_failure(job, result, parked=False)
            self.again.append((time.monotonic() + RETRY_PAUSE_S, job))

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
            node=log.get("node", ""),
            bad_clips=log.get("bad_clips", {}),
        )
        self.committed += 1
        self.scenes += event.scenes
        self.skipped += event.skipped
        self.redraws += event.redraws
        self.audio_s += event.audio_s
        self.stages.update(event.stages_s)
        _add_clips(self.bad_clips, commit)
        if commit.shard in self.reported and commit.status == "ok":
            remove_report(self.plan.root, commit.shard)
        self.on_event(event)
        self._park_hopeless()

    def _stop(self, job: ShardJob, error: BaseException) -> None:
        """End the run: the next shard would fare no better."""
        if isinstance(error, RefusedError) and not error.committed:
            error = error.counted(self.committed)
        self._tell_failure(job, error, parked=False)
        self.fatal = self.fatal or (error if isinstance(error, RefusedError) else str(error))

    def _give_up(self, job: ShardJob, error: BaseException) -> None:
        """Park the shard, now or as soon as it is known that others can be rendered."""
        self.hopeless.append((job, error))
        if self.before or self.committed:
            self._park_hopeless()
        elif len(self.hopeless) == MAX_FAILURES:
            self._end_hopeless()

    def _park_hopeless(self) -> None:
        """Report the shards that failed for good, and step over them from now on."""
        while self.hopeless:
            job, error = self.hopeless.pop()
            try:
                write_report(job, error)
                self.reported.add(job.shard)
                commit = put_tombstone(job.root, job.shard, job.info, job.stop, str(error))
            except StoreError as problem:
                self._tell_failure(job, error, parked=False)
                self._stop(job, problem)
                continue
            if commit.status == "ok":  # another job could render it
                self._done(commit)
                continue
            self.parked += 1
            self._tell_failure(job, error, parked=True)
            if too_many_parked(self.parked, self.committed):
                last = too_many_message(self.parked, self.committed, str(error))
                self.fatal = self.fatal or last

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
                failures=self.tries[job.shard],
                why=f"{type(error).__name__}: {error}",
                parked=parked,
                kind=kind_of(error),
            )
        )


def _add_clips(known: BadClips, commit: Commit) -> None:
    """Add the bad clips that a shard has met to those that are known."""
    for file, found in commit.log.get("bad_clips", {}).items():
        item = known.setdefault(file, {"count": 0, "reason": found["reason"]})
        item["count"] += found["count"]


def _all(*takers: OnEvent) -> OnEvent:
    def take(event: Any) -> None:
        for taker in takers:
            taker(event)

    return take


def _limit_s(given: float | None, info: DatasetInfo) -> float:
    if given is None:
        return max(SCENE_LIMIT_S, SCENE_LIMIT_PER_S * info.max_samples / info.sample_rate)
    if not given > 0:
        raise ConfigError(f"--scene-timeout {given:g}; must be more than 0 seconds")
    return given


def _jobs(
    plan: Plan,
    settled: Settled,
    todo: tuple[int, ...] | None = None,
    limit_s: float = SCENE_LIMIT_S,
    cluster: Cluster | None = None,
) -> Iterator[ShardJob]:
    """The jobs of a run, made one by one."""
    descriptor = plan.corpora.descriptor()
    for shard in settled.todo if todo is None else todo:
        yield ShardJob(
            root=plan.root,
            info=plan.info,
            recipe=plan.recipe,
            corpora=descriptor,
            shard=shard,
            stop=settled.stop,
            split=plan.split_of(shard),
            given=plan.specs,
            scene_limit_s=limit_s,
            stage=cluster is not None and cluster.address is not None,
        )


def _pool(
    workers: int, maker: SceneMaker, cluster: Cluster | None, processes: bool, state: _Run
) -> tuple[Pool, int]:
    """The pool, and how many workers it has to begin with."""

    def on_scene(job: ShardJob) -> None:
        state.on_event(SceneDone(shard=job.shard))

    if cluster is not None:
        where = f"joining Ray at {cluster.address}" if cluster.address else "starting Ray"
        state.tell(where if cluster.workers is None else f"{where}, {cluster.workers} workers")
        ray = RayPool(cluster, maker, state.tell)
        state.on_event = _all(state.on_event, RayMetrics())
        return ray, ray.workers
    if processes:
        return ProcessPool(min(workers, len(state.todo)), maker, on_scene), workers
    return InlinePool(maker, on_scene), 1


def _length(plan: Plan, stop: int, shard: int) -> int:
    size = plan.info.shard_scenes
    return min((shard + 1) * size, stop) - shard * size
