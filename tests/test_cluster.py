"""Laws of runs on Ray with two nodes: the same bytes whatever dies, comes or goes."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pipeline_helpers as helpers
import pytest
from pipeline_helpers import IMPORTS, plan_of, same, worker_pids

from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ConfigError
from scenesynth.pipeline import driver
from scenesynth.pipeline.driver import run
from scenesynth.pipeline.events import Event, Notice, ShardDone
from scenesynth.pipeline.pools import Cluster, RayPool
from scenesynth.store.commit import list_commits, read_commit
from scenesynth.store.reader import open_dataset

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two nodes of one core each, joined by its address."""
    import ray
    from ray.cluster_utils import Cluster as Nodes

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", IMPORTS)
        cluster = Nodes(
            initialize_head=True,
            head_node_args={
                "num_cpus": 1,
                "object_store_memory": 100 << 20,
                "_system_config": {"metrics_report_interval_ms": 500},
            },
        )
        cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def joined(nodes: Any, **more: Any) -> dict[str, Any]:
    return {"cluster": Cluster(address=nodes.address, **more)}


class Watching:
    """A reader that polls while a dataset grows, and keeps what it could not read or saw change."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wrong: list[str] = []
        self.polls = 0
        self._ended = threading.Event()
        self._seen: dict[int, bytes] = {}
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Watching:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._ended.is_set():
            time.sleep(0.1)
            if not list_commits(self.root):
                continue
            try:
                for scene, index in zip(
                    ds := open_dataset(self.root), ds.scenes["index"].to_pylist(), strict=True
                ):
                    audio = scene.audio.tobytes()
                    if not scene.audio.any() or self._seen.setdefault(index, audio) != audio:
                        self.wrong.append(f"scene {index} is zero or has changed")
            except Exception as error:
                self.wrong.append(repr(error))
            self.polls += 1


def test_two_nodes_that_lose_workers_render_the_bytes_of_one_process(
    tmp_path: Path, corpora: Corpora, nodes: Any
) -> None:
    run(plan_of(tmp_path / "one", corpora, scenes=32))
    plan = plan_of(tmp_path / "two", corpora, scenes=32)
    pick = random.Random(5)
    killed: list[int] = []

    def kill(event: Event) -> None:
        if isinstance(event, ShardDone) and len(killed) < 3:
            killed.append(pick.choice(worker_pids()))
            os.kill(killed[-1], signal.SIGKILL)

    settled = driver.settle(plan)
    with Watching(plan.root) as watching:
        outcome = run(plan, settled=settled, on_event=kill, **joined(nodes))
    assert outcome.state == "done"
    assert len(killed) == 3
    assert (watching.wrong, watching.polls > 0) == ([], True)
    assert same(tmp_path / "one", plan.root)
    assert len({read_commit(plan.root, k).log["node"] for k in range(8)}) == 2


def test_two_nodes_write_into_an_object_store_what_one_process_writes_into_a_folder(
    tmp_path: Path, corpora: Corpora, nodes: Any, s3: str
) -> None:
    run(plan_of(tmp_path / "one", corpora, scenes=24))
    variables = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    killed: list[int] = []

    def kill(event: Event) -> None:
        if isinstance(event, ShardDone) and not killed:
            killed.append(worker_pids()[0])
            os.kill(killed[0], signal.SIGKILL)

    joining = joined(nodes, runtime_env={"env_vars": variables})
    assert run(plan_of(s3, corpora, scenes=24), on_event=kill, **joining).state == "done"
    assert same(tmp_path / "one", s3)
    assert len({read_commit(s3, k).log["node"] for k in range(6)}) == 2


def test_a_node_lost_and_one_added_change_nothing(
    tmp_path: Path, corpora: Corpora, nodes: Any
) -> None:
    run(plan_of(tmp_path / "one", corpora, scenes=48), maker=helpers.quick_maker)
    plan = plan_of(tmp_path / "two", corpora, scenes=48)
    lost = [node for node in nodes.worker_nodes]

    def change(event: Event) -> None:
        if isinstance(event, ShardDone) and lost:
            nodes.remove_node(lost.pop(), allow_graceful=False)
            nodes.add_node(num_cpus=1, object_store_memory=100 << 20)

    outcome = run(plan, maker=helpers.slow_maker, on_event=change, **joined(nodes))
    assert (outcome.state, lost) == ("done", [])
    assert same(tmp_path / "one", plan.root)


def test_counts_go_to_ray_s_metrics(
    tmp_path: Path, corpora: Corpora, nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: dict[tuple[str, str], float] = {}

    class Recorded:
        def __init__(self, name: str, *_: object) -> None:
            self.name = name

        def inc(self, value: float, tags: dict[str, str]) -> None:
            key = self.name, tags.get("kind", "")
            counts[key] = counts.get(key, 0) + value

        def set(self, value: float) -> None:
            counts[self.name, ""] = value

    monkeypatch.setattr("ray.util.metrics.Counter", Recorded)
    monkeypatch.setattr("ray.util.metrics.Gauge", Recorded)
    outcome = run(plan_of(tmp_path / "ds", corpora), maker=helpers.broken_maker, **joined(nodes))
    n_bytes = sum(read_commit(tmp_path / "ds", k).n_bytes for k in (0, 2))
    assert counts == {
        ("scenesynth_scenes", ""): 8,
        ("scenesynth_audio_seconds", ""): outcome.audio_s,
        ("scenesynth_bytes", ""): n_bytes,
        ("scenesynth_failures", "scene"): 1,
        ("scenesynth_shards_left", ""): 0,
    }


def test_tasks_wait_for_a_node_that_has_what_they_ask_for(
    tmp_path: Path, corpora: Corpora, nodes: Any
) -> None:
    plan = plan_of(tmp_path / "ds", corpora)
    added: list[Any] = []
    told: list[str] = []

    def add(event: Event) -> None:
        if isinstance(event, Notice):
            told.append(event.text)
            if "no node of the cluster has room" in event.text and not added:
                added.append(nodes.add_node(num_cpus=2, object_store_memory=100 << 20))

    outcome = run(plan, maker=helpers.quick_maker, on_event=add, **joined(nodes, cpus=2.0))
    nodes.remove_node(added[0])
    assert outcome.state == "done"
    assert "waiting: no node of the cluster has room for a worker (num_cpus 2)" in told


def test_workers_with_gpus_keep_them_and_give_the_same_bytes(
    tmp_path: Path, corpora: Corpora, nodes: Any
) -> None:
    run(plan_of(tmp_path / "one", corpora), maker=helpers.quick_maker)
    plan = plan_of(tmp_path / "two", corpora)
    added = nodes.add_node(num_cpus=1, num_gpus=1, object_store_memory=100 << 20)
    outcome = run(plan, maker=helpers.quick_maker, **joined(nodes, gpus=0.5, cpus=0.5))
    nodes.remove_node(added)
    assert outcome.state == "done"
    assert same(tmp_path / "one", plan.root)
    assert len({read_commit(plan.root, k).log["node"] for k in range(3)}) == 1


def test_an_address_where_nobody_answers_is_a_wrong_command() -> None:
    with pytest.raises(ConfigError, match="no Ray cluster answers there"):
        RayPool(Cluster(address="127.0.0.1:1"), helpers.quick_maker)
