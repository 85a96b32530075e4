"""Laws of runs: the same bytes whatever happens, failures that are named, progress that is true."""

from __future__ import annotations

import io
import json
import os
import pickle
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pipeline_helpers as helpers
import pytest
from pipeline_helpers import (
    IMPORTS,
    child_of,
    make_corpora,
    make_recipe,
    plan_of,
    same,
    wait_for,
)
from store_helpers import tree_bytes

from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import StoreError
from scenesynth.pipeline import driver
from scenesynth.pipeline.driver import run
from scenesynth.pipeline.events import Event, Notice, SceneDone, ShardDone, ShardFailed, Started
from scenesynth.pipeline.pools import Cluster, RayPool
from scenesynth.pipeline.progress import Progress, choose_mode, format_bytes, format_time
from scenesynth.pipeline.shard import SceneError, ShardJob, make_scene, render_shard
from scenesynth.render.renderer import render_scene
from scenesynth.scene.sample import sample_scene
from scenesynth.store.arrays import CODECS, dequantise, quantise
from scenesynth.store.commit import list_commits, read_commit
from scenesynth.store.layout import failure_key, unseal
from scenesynth.store.reader import open_dataset


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "RETRY_PAUSE_S", 0.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, corpora: Corpora) -> Path:
    """An uninterrupted run of `slow_maker` in one process."""
    root = tmp_path_factory.mktemp("whole") / "ds"
    assert run(plan_of(root, corpora), maker=helpers.quick_maker).state == "done"
    return root


# --- what is rendered ---------------------------------------------------------------------------


def test_a_scene_of_a_run_equals_the_scene_rendered_singly(
    tmp_path: Path, corpora: Corpora
) -> None:
    plan = plan_of(tmp_path / "ds", corpora, scenes=4)
    assert run(plan).state == "done"
    ds = open_dataset(tmp_path / "ds")
    for index in (3, 0):
        spec = sample_scene(plan.recipe, corpora, seed=0, index=index, split="train")
        single = render_scene(spec, corpora, format="foa")
        stored = ds[index]
        assert stored.spec_json == spec.to_json()
        gain = np.abs(single.audio).max()
        codec = CODECS["lz4"]
        expected = dequantise(quantise(single.audio, gain, codec), float(gain), codec)
        np.testing.assert_array_equal(stored.audio, expected)
        for event in stored.events:
            known = [label for label in event["labels"] if label in ds.classes]
            assert [ds.classes[number] for number in event["class_ids"]] == known
            assert bool(known) == (event["role"] == "target")


def test_rendering_again_elsewhere_gives_the_same_bytes(tmp_path: Path, corpora: Corpora) -> None:
    for name in ("a", "b"):
        run(plan_of(tmp_path / name, corpora, scenes=4))
    assert same(tmp_path / "a", tmp_path / "b")


def test_shards_do_not_depend_on_their_order(tmp_path: Path, corpora: Corpora, whole: Path) -> None:
    plan = plan_of(tmp_path / "ds", corpora)
    settled = driver.settle(plan)
    for job in reversed(list(driver._jobs(plan, settled))):
        render_shard(job, helpers.quick_maker)
    assert same(tmp_path / "ds", whole)


def test_the_commit_tells_where_the_time_went(tmp_path: Path, corpora: Corpora) -> None:
    outcome = run(plan_of(tmp_path / "ds", corpora, scenes=4))
    log = read_commit(tmp_path / "ds", 0).log
    assert {"sample", "encode", "write"} <= set(log["stages_s"])
    assert set(outcome.stages_s) == set(log["stages_s"])
    assert log["audio_s"] == outcome.audio_s == 2.0
    assert len(json.dumps(read_commit(tmp_path / "ds", 0).to_dict())) < 4000


# --- resume and extension -----------------------------------------------------------------------


def test_a_second_run_finds_nothing_to_do(tmp_path: Path, corpora: Corpora) -> None:
    plan = plan_of(tmp_path / "ds", corpora)
    run(plan, maker=helpers.quick_maker)
    before = tree_bytes(tmp_path / "ds")
    outcome = run(plan, maker=helpers.doomed_maker)
    assert (outcome.state, outcome.scenes) == ("done", 0)
    assert tree_bytes(tmp_path / "ds") == before


def test_a_removed_shard_is_rendered_again_alike(
    tmp_path: Path, corpora: Corpora, whole: Path
) -> None:
    plan = plan_of(tmp_path / "ds", corpora)
    run(plan, maker=helpers.quick_maker)
    commit = read_commit(plan.root, 1)
    for key in [*commit.files, "commits/1.json"]:
        (plan.root / key).unlink()
    assert len(open_dataset(plan.root)) == 8
    outcome = run(plan, maker=helpers.quick_maker)
    assert outcome.scenes == 4
    assert same(plan.root, whole)


def test_more_scenes_extend_and_fewer_change_nothing(tmp_path: Path, corpora: Corpora) -> None:
    root = tmp_path / "ds"
    run(plan_of(root, corpora, scenes=8), maker=helpers.quick_maker)
    before = tree_bytes(root)
    told: list[Event] = []
    run(plan_of(root, corpora, scenes=4), maker=helpers.quick_maker, on_event=told.append)
    assert tree_bytes(root) == before
    assert any("already promises 8 scenes" in e.text for e in told if isinstance(e, Notice))
    run(plan_of(root, corpora, scenes=12), maker=helpers.quick_maker)
    changed = {k for k, v in tree_bytes(root).items() if before.get(k, v) != v}
    assert {Path(key).name for key in changed} == {"zarr.json"}
    run(plan_of(tmp_path / "at once", corpora, scenes=12), maker=helpers.quick_maker)
    one, other = open_dataset(root), open_dataset(tmp_path / "at once")
    assert [c.files for c in one.commits] == [c.files for c in other.commits]


def test_another_run_in_the_same_folder_is_refused_naming_the_difference(
    tmp_path: Path, corpora: Corpora
) -> None:
    root = tmp_path / "ds"
    run(plan_of(root, corpora), maker=helpers.quick_maker)
    quiet = make_recipe(noise={"snr_db": 30})
    with pytest.raises(StoreError, match=r"recipe\.noise\.snr_db.*uniform.*here 30") as caught:
        run(plan_of(root, corpora, recipe=quiet, seed=3), maker=helpers.quick_maker)
    assert "seed: there 0, here 3" in str(caught.value)


def test_all_splits_are_rendered_in_split_pure_shards(tmp_path: Path, corpora: Corpora) -> None:
    plan = plan_of(tmp_path / "ds", corpora, scenes=32, split="all")
    run(plan, maker=helpers.quick_maker)
    splits = open_dataset(plan.root).scenes["split"].to_pylist()
    assert splits == [plan.split_of(index // 4) for index in range(32)]
    assert set(splits) == {"train", "test"}


# --- failures -----------------------------------------------------------------------------------


def test_bad_content_is_drawn_again_and_the_attempt_is_recorded(
    tmp_path: Path, corpora: Corpora
) -> None:
    plan = plan_of(tmp_path / "ds", corpora)
    outcome = run(plan, maker=helpers.picky_maker)
    assert (outcome.state, outcome.redraws, outcome.skipped) == ("done", 3, 0)
    attempts = open_dataset(plan.root).scenes["attempt"].to_pylist()
    assert [(i, n) for i, n in enumerate(attempts) if n] == [(5, 2), (9, 1)]
    [reason, *_] = read_commit(plan.root, 1).log["redraw_reasons"]
    assert reason == "5: clip of scene 5 is silent"


def test_skipping_leaves_silence_that_readers_drop(tmp_path: Path, corpora: Corpora) -> None:
    plan = plan_of(tmp_path / "ds", corpora, on_error="skip")
    outcome = run(plan, maker=helpers.picky_maker)
    assert (outcome.state, outcome.skipped) == ("done", 2)
    ds = open_dataset(plan.root)
    assert ds.scenes["index"].to_pylist() == [0, 1, 2, 3, 4, 6, 7, 8, 10, 11]
    assert ds.skipped["id"].to_pylist() == ["train-00000005", "train-00000009"]
    assert not ds.audio["foa"][5].any()


def test_stopping_at_bad_content_names_the_scene_and_keeps_what_is_committed(
    tmp_path: Path, corpora: Corpora
) -> None:
    plan = plan_of(tmp_path / "ds", corpora, on_error="stop")
    outcome = run(plan, maker=helpers.picky_maker)
    assert outcome.state == "failed"
    assert "scene train-00000005 (seed 0, index 5, attempt 0)" in outcome.message
    assert list_commits(plan.root) == [0]
    assert len(open_dataset(plan.root)) == 4


@pytest.mark.parametrize(
    ("maker", "why"),
    [
        (helpers.hopeless_maker, "no clip is long enough"),
        (helpers.broken_maker, "ZeroDivisionError: float division by zero"),
    ],
)
def test_a_hopeless_scene_parks_its_shard_and_the_run_goes_on(
    tmp_path: Path, corpora: Corpora, maker: Callable[..., None], why: str
) -> None:
    plan = plan_of(tmp_path / "ds", corpora)
    outcome = run(plan, maker=maker)  # type: ignore[arg-type]
    assert (outcome.state, outcome.parked, outcome.scenes) == ("failed", (1,), 8)
    ds = open_dataset(plan.root)
    assert ds.scenes["index"].to_pylist() == [0, 1, 2, 3, 8, 9, 10, 11]
    path = tmp_path / "ds" / failure_key(1)
    report = unseal(path.read_bytes(), path)
    assert why in report["why"]
    assert why in report["traceback"]
    assert (report["scene"], report["index"], report["seed"]) == ("train-00000005", 5, 0)
    assert json.loads(report["spec"])["origin"]["index"] == 5
    _follow_the_remedy(outcome.message)
    assert run(plan, maker=helpers.quick_maker).state == "done"
    assert len(open_dataset(plan.root)) == 12


def test_parked_shards_stay_parked_until_the_user_says_so(tmp_path: Path, corpora: Corpora) -> None:
    plan = plan_of(tmp_path / "ds", corpora)
    run(plan, maker=helpers.broken_maker)
    outcome = run(plan, maker=helpers.quick_maker)
    assert (outcome.state, outcome.parked, outcome.scenes) == ("failed", (1,), 0)


def test_a_recipe_that_never_works_stops_the_run_and_parks_nothing(
    tmp_path: Path, corpora: Corpora
) -> None:
    plan = plan_of(tmp_path / "ds", corpora, scenes=400)
    outcome = run(plan, maker=helpers.doomed_maker)
    assert outcome.state == "failed"
    assert "nothing could be rendered" in outcome.message
    assert "the room is too small for any source" in outcome.message
    assert "change the recipe or the corpus and render into a new folder" in outcome.message
    assert list_commits(plan.root) == []


def test_input_and_output_errors_are_tried_again_and_change_nothing(
    tmp_path: Path, corpora: Corpora, whole: Path
) -> None:
    told: list[Event] = []
    plan = plan_of(tmp_path / "ds", corpora)
    assert run(plan, maker=helpers.stumbling_maker, on_event=told.append).state == "done"
    failures = [event for event in told if isinstance(event, ShardFailed)]
    assert [(event.shard, event.failures, event.parked) for event in failures] == [
        (1, 1, False),
        (1, 2, False),
    ]
    assert same(plan.root, whole)


def test_an_output_that_cannot_be_written_stops_the_run_at_once(
    tmp_path: Path, corpora: Corpora
) -> None:
    plan = plan_of(tmp_path / "ds", corpora, scenes=40)
    run(plan_of(tmp_path / "ds", corpora, scenes=4), maker=helpers.quick_maker)
    (plan.root / "data.zarr/foa/audio/c/1").write_text("in the way")
    outcome = run(plan, maker=helpers.quick_maker)
    assert outcome.state == "failed"
    assert "a part of the path is a file" in outcome.message
    assert "1 committed shards are whole" in outcome.message
    assert len(open_dataset(plan.root)) == 4


def test_scene_errors_survive_pickling() -> None:
    error = SceneError("train-00000005", 7, 5, 2, "why")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.index, again.attempt) == (str(error), 5, 2)


def _follow_the_remedy(message: str) -> None:
    command = message[message.index("rm ") :].partition(" and give")[0]
    for path in shlex.split(command)[1:]:
        Path(path).unlink()


# --- signals and crashes ------------------------------------------------------------------------


def test_the_first_signal_drains_and_the_next_run_goes_on(
    tmp_path: Path, corpora: Corpora, whole: Path
) -> None:
    plan = plan_of(tmp_path / "ds", corpora)
    before = signal.getsignal(signal.SIGTERM)

    def interrupt(event: Event) -> None:
        if isinstance(event, SceneDone) and event.shard == 1:
            if not interrupted:
                signal.raise_signal(signal.SIGTERM)
            interrupted.append(event)

    interrupted: list[Event] = []
    outcome = run(plan, maker=helpers.quick_maker, on_event=interrupt)
    assert outcome.state == "drained"
    assert list_commits(plan.root) == [0, 1]
    assert signal.getsignal(signal.SIGTERM) is before
    assert run(plan, maker=helpers.quick_maker).state == "done"
    assert same(plan.root, whole)


def test_the_second_signal_gives_up_the_shard_under_way(
    tmp_path: Path, corpora: Corpora, whole: Path
) -> None:
    plan = plan_of(tmp_path / "ds", corpora)

    def interrupt(event: Event) -> None:
        if isinstance(event, SceneDone) and event.shard == 1:
            signal.raise_signal(signal.SIGINT)

    outcome = run(plan, maker=helpers.quick_maker, on_event=interrupt)
    assert outcome.state == "drained"
    assert list_commits(plan.root) == [0]
    assert run(plan, maker=helpers.quick_maker).state == "done"
    assert same(plan.root, whole)


DRIVER = """
    import sys
    from pathlib import Path
    import pipeline_helpers as helpers
    from scenesynth.corpus.corpora import Corpora
    from scenesynth.pipeline.driver import run

    if __name__ == "__main__":
        clips, root, workers, scenes = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
        corpora = Corpora.open([clips / "sources"], [clips / "noise"])
        plan = helpers.plan_of(root, corpora, scenes=scenes)
        run(plan, workers=workers, maker=helpers.slow_maker)
"""


@contextmanager
def started_driver(
    tmp_path: Path, workers: int, scenes: int = 12
) -> Iterator[subprocess.Popen[bytes]]:
    """A run in a process of its own, which can be killed."""
    make_corpora(tmp_path / "clips")
    script = tmp_path / "driver.py"
    script.write_text(textwrap.dedent(DRIVER))
    process = subprocess.Popen(
        [sys.executable, script, tmp_path / "clips", tmp_path / "ds", str(workers), str(scenes)],
        env={**os.environ, "PYTHONPATH": IMPORTS},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_killed_driver_leaves_whole_shards_and_its_resume_the_same_bytes(
    tmp_path: Path, corpora: Corpora, whole: Path
) -> None:
    with started_driver(tmp_path, workers=1):
        wait_for(lambda: bool(list_commits(tmp_path / "ds")))
    committed = list_commits(tmp_path / "ds")
    assert 1 <= len(committed) < 3
    assert len([scene.audio for scene in open_dataset(tmp_path / "ds")]) == 4 * len(committed)
    assert run(plan_of(tmp_path / "ds", corpora), maker=helpers.quick_maker).state == "done"
    assert same(tmp_path / "ds", whole)


# --- progress -----------------------------------------------------------------------------------


def test_progress_tells_true_numbers(tmp_path: Path, corpora: Corpora) -> None:
    now = [0.0]
    stream = io.StringIO()
    progress = Progress(stream, "plain", clock=lambda: now[0])
    progress(Started(scenes=100, done=20, shards=20, scene_s=10.0, workers=2))
    now[0] = 8.0
    done = {"skipped": 1, "redraws": 2, "n_bytes": 5_000_000, "audio_s": 160.0}
    progress(ShardDone(shard=5, scenes=16, **done))
    assert stream.getvalue().splitlines()[-1] == (
        "36/100 scenes   36 %  2.0 scenes/s  20x real time  5 MB  0:32 to go  2 redrawn  1 skipped"
    )


def test_a_log_gets_few_lines_and_a_terminal_one() -> None:
    for mode, lines in (("plain", 2), ("live", 0)):
        now = [0.0]
        stream = io.StringIO()
        progress = Progress(stream, mode, clock=lambda now=now: now[0])  # type: ignore[arg-type,misc]
        progress(Started(scenes=100, done=0, shards=25, scene_s=10.0, workers=1))
        for _ in range(60):
            now[0] += 0.1
            progress(SceneDone(shard=0))
        assert stream.getvalue().count("\n") == lines


def test_json_mode_writes_one_object_per_line(tmp_path: Path, corpora: Corpora) -> None:
    stream = io.StringIO()
    progress = Progress(stream, "json")
    outcome = run(plan_of(tmp_path / "ds", corpora), maker=helpers.picky_maker, on_event=progress)
    progress.finish(outcome)
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds == ["started", "shard", "shard", "shard", "done"]
    assert sum(event.get("redraws", 0) for event in events[1:4]) == events[-1]["redraws"] == 3


def test_failures_are_told_on_lines_of_their_own(tmp_path: Path, corpora: Corpora) -> None:
    stream = io.StringIO()
    progress = Progress(stream, "live")
    progress.finish(
        run(plan_of(tmp_path / "ds", corpora), maker=helpers.broken_maker, on_event=progress)
    )
    text = stream.getvalue()
    assert "shard 1: parked: SceneError: scene train-00000005" in text
    assert text.splitlines()[-1].startswith("1 shards could not be rendered")


def test_mode_follows_stream_and_wish() -> None:
    stream = io.StringIO()
    assert (choose_mode(stream, True), choose_mode(stream, False)) == ("json", "plain")


def test_sizes_and_times_read_well() -> None:
    assert [format_bytes(n) for n in (0, 999, 81_200_000, 3e12)] == [
        "0 B",
        "999 B",
        "81.2 MB",
        "3 TB",
    ]
    assert [format_time(s) for s in (0, 59.6, 7500)] == ["0:00", "1:00", "2:05:00"]


# --- Ray ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray with two workers that can import the scene makers; runs find it and leave it running."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", IMPORTS)
        pool = RayPool(Cluster(workers=2), helpers.quick_maker)
        yield
        pool.close()


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_two_workers_render_the_bytes_of_one_though_one_is_killed(
    tmp_path: Path, corpora: Corpora
) -> None:
    run(plan_of(tmp_path / "one", corpora, scenes=12))
    told: list[Event] = []
    outcome = run(
        plan_of(tmp_path / "two", corpora, scenes=12),
        workers=2,
        maker=helpers.unlucky_maker,
        on_event=told.append,
    )
    assert (tmp_path / "killed").exists()
    assert outcome.state == "done"
    [failure] = [event for event in told if isinstance(event, ShardFailed)]
    assert (failure.kind, failure.parked) == ("death", False)
    assert "scene train-00000005" in failure.why
    assert "SIGKILL" in failure.why
    assert outcome.failures == {"death": 1}
    assert same(tmp_path / "one", tmp_path / "two")


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_signal_drains_the_workers_and_the_next_run_goes_on(
    tmp_path: Path, corpora: Corpora
) -> None:
    plan = plan_of(tmp_path / "ds", corpora, scenes=48)

    def interrupt(event: Event) -> None:
        if isinstance(event, ShardDone) and not interrupted:
            interrupted.append(event)
            signal.raise_signal(signal.SIGTERM)

    interrupted: list[Event] = []
    outcome = run(plan, workers=2, maker=helpers.quick_maker, on_event=interrupt)
    assert outcome.state == "drained"
    assert outcome.scenes == 4 * len(list_commits(plan.root)) < 48
    assert run(plan, maker=helpers.quick_maker).state == "done"
    assert len(open_dataset(plan.root)) == 48


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_failures_in_workers_are_told_like_those_in_this_process(
    tmp_path: Path, corpora: Corpora
) -> None:
    plan = plan_of(tmp_path / "ds", corpora)
    outcome = run(plan, workers=2, maker=helpers.broken_maker)
    assert (outcome.state, outcome.parked, outcome.scenes) == ("failed", (1,), 8)
    path = tmp_path / "ds" / failure_key(1)
    assert "ZeroDivisionError" in unseal(path.read_bytes(), path)["traceback"]


@pytest.mark.ray
def test_a_killed_driver_of_workers_is_resumed_to_the_same_bytes(
    tmp_path: Path, corpora: Corpora, whole: Path
) -> None:
    with started_driver(tmp_path, workers=2):
        wait_for(lambda: bool(list_commits(tmp_path / "ds")))
    assert run(plan_of(tmp_path / "ds", corpora), maker=helpers.quick_maker).state == "done"
    assert same(tmp_path / "ds", whole)


@pytest.mark.ray
def test_a_cluster_that_dies_ends_the_run_and_parks_nothing(
    tmp_path: Path, corpora: Corpora
) -> None:
    with started_driver(tmp_path, workers=2, scenes=48) as process:
        wait_for(lambda: bool(list_commits(tmp_path / "ds")))
        os.kill(child_of(process.pid, "raylet"), signal.SIGKILL)
        process.wait(timeout=60)
    assert 1 <= len(list_commits(tmp_path / "ds")) < 12
    assert not (tmp_path / "ds" / "failures").exists()
    assert run(plan_of(tmp_path / "ds", corpora, scenes=48), maker=helpers.quick_maker).scenes
    run(plan_of(tmp_path / "whole", corpora, scenes=48), maker=helpers.quick_maker)
    assert same(tmp_path / "ds", tmp_path / "whole")


def test_the_real_maker_needs_nothing_but_the_job(tmp_path: Path, corpora: Corpora) -> None:
    plan = plan_of(tmp_path / "ds", corpora, scenes=4)
    [job] = driver._jobs(plan, driver.settle(plan))
    again: ShardJob = pickle.loads(pickle.dumps(job))
    assert len(pickle.dumps(job)) < 20_000
    np.testing.assert_array_equal(make_scene(again, 2, 0).audio, make_scene(job, 2, 0).audio)
