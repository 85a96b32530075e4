"""Laws of handing jobs to workers: what a run's jobs share goes to each worker once."""

from __future__ import annotations

import pickle
import signal
from pathlib import Path

import pipeline_helpers as helpers
import pytest
from pipeline_helpers import make_corpora, plan_of
from test_pipeline import same, started_driver, wait_for

from scenesynth.corpus.corpora import Corpora
from scenesynth.pipeline import driver
from scenesynth.pipeline.driver import run
from scenesynth.pipeline.plan import Plan
from scenesynth.pipeline.pools import MOST_UNDER_WAY, Cluster, ProcessPool, Tasks, under_way
from scenesynth.pipeline.shard import ShardJob
from scenesynth.store.commit import list_commits


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    return make_corpora(tmp_path_factory.mktemp("clips"))


def jobs_of(plan: Plan) -> list[ShardJob]:
    return list(driver._jobs(plan, driver.settle(plan)))


def test_tasks_of_a_run_share_all_but_a_few_bytes(tmp_path: Path, corpora: Corpora) -> None:
    jobs = jobs_of(plan_of(tmp_path / "ds", corpora, split="all", scenes=32))
    tasks = Tasks(helpers.quick_maker)
    given = [tasks.of(job) for job in jobs]
    assert all(task.shared is given[0].shared for task in given)
    assert [pickle.loads(task.own) for task in given] == [(job.shard, job.split) for job in jobs]
    assert max(len(task.own) for task in given) < 50
    assert pickle.loads(given[0].shared) == (jobs[0], helpers.quick_maker)


def test_workers_keep_jobs_of_several_runs_apart(tmp_path: Path, corpora: Corpora) -> None:
    plans = {
        name: plan_of(tmp_path / name, corpora, scenes=8, seed=seed, split=split)
        for seed, (name, split) in enumerate({"a": "train", "b": "all", "c": "test"}.items())
    }
    pool = ProcessPool(1, helpers.quick_maker, lambda job: None)
    for jobs in zip(*map(jobs_of, plans.values()), strict=True):
        for job in jobs:
            pool.submit(job)
            while not (finished := pool.wait()):
                pass
            assert isinstance(finished[0][1], dict)
    pool.close()
    for seed, (name, plan) in enumerate(plans.items()):
        alone = plan_of(tmp_path / "alone" / name, corpora, 8, seed=seed, split=plan.info.split)
        run(alone, maker=helpers.quick_maker)
        assert same(alone.root, plan.root)


@pytest.mark.ray
def test_a_scheduler_s_signal_drains_a_run_that_has_started_ray(tmp_path: Path) -> None:
    with started_driver(tmp_path, workers=2, scenes=96) as process:
        wait_for(lambda: bool(list_commits(tmp_path / "ds")))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert "ended early" in next((tmp_path / "ds" / "logs").iterdir()).read_text()
    assert 1 <= len(list_commits(tmp_path / "ds")) < 24


@pytest.mark.parametrize(
    ("cluster", "slots", "jobs"),
    [
        (Cluster(), 0, 1),
        (Cluster(), 3, 6),
        (Cluster(workers=2), 3, 2),
        (Cluster(workers=3), 3, 6),
        (Cluster(workers=9), 3, 6),
        (Cluster(gpus=1.0), 3, 3),
        (Cluster(gpus=1.0, workers=2), 3, 2),
        (Cluster(), 64_000, MOST_UNDER_WAY),
        (Cluster(workers=50_000), 64_000, MOST_UNDER_WAY),
    ],
)
def test_jobs_under_way_follow_the_room_and_are_bounded(
    cluster: Cluster, slots: int, jobs: int
) -> None:
    assert under_way(cluster, slots) == jobs
