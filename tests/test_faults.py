"""Laws of watched workers, parts, signals and what is told of them; no Ray here."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pipeline_helpers as helpers
import pytest
from click.testing import CliRunner
from disk_helpers import TinyDisk
from pipeline_helpers import IMPORTS, make_corpora, plan_of, same, wait_for

from scenesynth.cli import main
from scenesynth.corpus.corpora import Corpora, pack, prepare_for_rendering
from scenesynth.errors import ConfigError, RefusedError
from scenesynth.pipeline import driver, failures
from scenesynth.pipeline.driver import run
from scenesynth.pipeline.events import Event, Outcome, ShardDone, ShardFailed
from scenesynth.pipeline.failures import reproduce, too_many_parked
from scenesynth.pipeline.log import DriverLog
from scenesynth.pipeline.parts import Part, parse_part
from scenesynth.pipeline.progress import Progress, Tally, summary
from scenesynth.pipeline.shard import BadClipError, SceneMaker, make_scene, render_shard
from scenesynth.pipeline.signals import DRAIN_SIGNALS
from scenesynth.pipeline.staging import stage_pack, staged
from scenesynth.store import local
from scenesynth.store.commit import list_commits
from scenesynth.store.layout import failure_key, unseal
from scenesynth.store.reader import open_dataset


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "RETRY_PAUSE_S", 0.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, corpora: Corpora) -> Path:
    """Six shards, made in this process."""
    root = tmp_path_factory.mktemp("whole") / "ds"
    assert run(plan_of(root, corpora, scenes=24), maker=helpers.quick_maker).state == "done"
    return root


def report_of(root: Path, shard: int) -> dict[str, object]:
    path = root / failure_key(shard)
    return unseal(path.read_bytes(), path)


# --- watched workers ----------------------------------------------------------------------------


def test_watched_processes_give_the_same_bytes_though_one_is_killed(
    tmp_path: Path, corpora: Corpora
) -> None:
    run(plan_of(tmp_path / "one", corpora, scenes=12))
    plan = plan_of(tmp_path / "two", corpora, scenes=12)
    outcome = run(plan, workers=2, processes=True, maker=helpers.unlucky_maker)
    assert (outcome.state, outcome.failures) == ("done", {"death": 1})
    assert same(tmp_path / "one", plan.root)


@pytest.mark.parametrize(
    ("maker", "kind", "why", "stack"),
    [
        (helpers.gripping_maker, "timeout", "timed out after 2 s", "in gripping_maker"),
        (helpers.crashing_maker, "death", "the worker died (SIGSEGV)", "Segmentation fault"),
    ],
)
def test_a_scene_that_hangs_or_crashes_is_tried_again_then_parked_with_its_stack(
    tmp_path: Path,
    corpora: Corpora,
    monkeypatch: pytest.MonkeyPatch,
    maker: SceneMaker,
    kind: str,
    why: str,
    stack: str,
) -> None:
    monkeypatch.setattr(failures, "MAX_FAILURES", 2)
    monkeypatch.setattr(failures, "MAX_DEATHS", 2)
    told: list[Event] = []
    plan = plan_of(tmp_path / "ds", corpora)
    outcome = run(plan, processes=True, maker=maker, scene_limit_s=2.0, on_event=told.append)
    assert (outcome.state, outcome.parked, outcome.scenes) == ("failed", (1,), 8)
    failed = [event for event in told if isinstance(event, ShardFailed)]
    assert [(e.failures, e.kind, e.parked) for e in failed] == [(1, kind, False), (2, kind, True)]
    assert why in failed[-1].why
    report = report_of(plan.root, 1)
    assert (report["kind"], report["index"], report["attempt"]) == (kind, 5, 0)
    assert stack in str(report["traceback"])
    assert json.loads(str(report["spec"]))["origin"]["index"] == 5


def test_errors_of_watched_workers_carry_their_traceback(tmp_path: Path, corpora: Corpora) -> None:
    plan = plan_of(tmp_path / "ds", corpora)
    outcome = run(plan, processes=True, maker=helpers.broken_maker)
    assert (outcome.parked, outcome.failures) == ((1,), {"scene": 1})
    assert "in broken_maker" in str(report_of(plan.root, 1)["traceback"])


def test_workers_end_with_the_driver_that_watches_them(tmp_path: Path, corpora: Corpora) -> None:
    script = tmp_path / "driver.py"
    script.write_text(
        "import os, sys, pipeline_helpers as helpers\n"
        "from scenesynth.pipeline.pools import ProcessPool\n"
        "print(*ProcessPool(1, helpers.quick_maker, print).pids, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": IMPORTS},
        capture_output=True,
        check=False,
    )
    pids = done.stdout.split()
    assert len(pids) == 1
    wait_for(lambda: not any(Path(f"/proc/{int(pid)}/cmdline").exists() for pid in pids))


def test_a_run_that_parks_too_much_stops_and_says_so(tmp_path: Path, corpora: Corpora) -> None:
    plan = plan_of(tmp_path / "ds", corpora, scenes=40)
    outcome = run(plan, maker=helpers.one_scene_each_maker)
    assert (outcome.state, outcome.parked) == ("failed", (1, 2, 3))
    assert "stopped: 3 of 4 shards could not be rendered, more than 5%" in outcome.message
    assert [too_many_parked(*n) for n in ((3, 57), (3, 56), (2, 0))] == [False, True, False]
    assert run(plan, maker=helpers.quick_maker).scenes == 40 - 16


# --- failures again -----------------------------------------------------------------------------


def test_the_command_in_a_report_does_the_failure_again(
    tmp_path: Path, corpora: Corpora, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_at_5(job: helpers.ShardJob, index: int, attempt: int) -> helpers.Scene:
        if index == 5:
            raise ZeroDivisionError("float division by zero")
        return make_scene(job, index, attempt)

    plan = plan_of(tmp_path / "a b", corpora)
    run(plan, maker=breaks_at_5)
    program, *arguments = shlex.split(str(report_of(plan.root, 1)["reproduce"]))
    assert program == "scenesynth"
    mended = CliRunner().invoke(main, arguments)
    assert (mended.exit_code, mended.output) == (
        0,
        "1 scenes of shard 1 rendered without an error: 5\n",
    )
    monkeypatch.setattr("scenesynth.pipeline.failures.make_scene", breaks_at_5)
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 1
    assert "ZeroDivisionError: float division by zero" in again.stderr
    assert "no such report" in CliRunner().invoke(main, [*arguments[:-1], "x.json"]).stderr


def test_a_report_of_a_whole_shard_renders_its_scenes(tmp_path: Path, corpora: Corpora) -> None:
    plan = plan_of(tmp_path / "ds", corpora)
    run(plan_of(plan.root, corpora, scenes=4), maker=helpers.quick_maker)

    def stumbles(job: helpers.ShardJob, index: int, attempt: int) -> helpers.Scene:
        if job.shard == 1:
            raise OSError(5, "Input/output error")
        return helpers.quick_maker(job, index, attempt)

    assert run(plan, maker=stumbles).parked == (1,)
    assert reproduce(str(plan.root / failure_key(1))).startswith("4 scenes of shard 1 rendered")


# --- full disks ---------------------------------------------------------------------------------


def test_a_full_disk_ends_a_run_in_good_order_and_a_freed_one_goes_on(
    tiny_disk: TinyDisk, corpora: Corpora, whole: Path
) -> None:
    plan = plan_of(tiny_disk.folder / "ds", corpora, scenes=24)
    outcome = run(plan, workers=2, processes=True, maker=helpers.quick_maker)
    committed = list_commits(plan.root)
    assert (outcome.state, outcome.parked, outcome.scenes) == ("failed", (), 4 * len(committed))
    assert "To go on: free some space (or raise the limit) and give the same" in outcome.message
    assert (f"{len(committed)} committed shards are whole" in outcome.message) == bool(committed)
    assert len([scene.audio for scene in open_dataset(plan.root)]) == outcome.scenes < 24
    assert not list(plan.root.rglob(".tmp-*"))
    assert not (plan.root / "failures").exists()
    tiny_disk.free()
    assert run(plan, maker=helpers.quick_maker).state == "done"
    assert same(plan.root, whole)


@pytest.fixture
def room_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Says for how many files the disk has room from now on; None for no end."""
    left: list[int | None] = [None]
    write = local._write

    def limited(path: Path, data: bytes) -> None:
        if left[0] == 0:
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if left[0] is not None:
            left[0] -= 1
        write(path, data)

    monkeypatch.setattr(local, "_write", limited)
    return lambda n_files: left.__setitem__(0, n_files)


def test_a_disk_may_be_full_at_any_file(
    tmp_path: Path, corpora: Corpora, room_for: Callable[[int | None], None]
) -> None:
    run(plan_of(tmp_path / "whole", corpora, scenes=8), maker=helpers.quick_maker)
    n_first = 6  # identity, extent, four of Zarr
    per_shard = 5  # audio, gains, two tables, the commit record
    for n_files in range(n_first + 2 * per_shard):
        plan = plan_of(tmp_path / f"{n_files}", corpora, scenes=8)
        room_for(n_files)
        try:
            message = run(plan, maker=helpers.quick_maker).message
        except RefusedError as error:
            message = str(error)
        assert "no space is left on the device" in message
        assert "To go on: free some space" in message
        committed = list(range(max(0, n_files - n_first) // per_shard))
        assert list_commits(plan.root) == committed
        assert (f"{len(committed)} committed shards are whole" in message) == bool(committed)
        assert not list(plan.root.rglob(".tmp-*"))
        room_for(None)
        assert run(plan, maker=helpers.quick_maker).state == "done"
        assert same(plan.root, tmp_path / "whole")


@pytest.mark.parametrize("n_files", [0, 1], ids=["no report", "a report, but no tombstone"])
def test_a_shard_that_cannot_be_parked_for_want_of_space_is_tried_again_later(
    tmp_path: Path,
    corpora: Corpora,
    whole: Path,
    room_for: Callable[[int | None], None],
    n_files: int,
) -> None:
    told: list[str] = []

    def fill(event: Event) -> None:
        if isinstance(event, ShardDone):
            room_for(n_files)
        elif isinstance(event, ShardFailed):
            told.append(event.why)

    plan = plan_of(tmp_path / "ds", corpora, scenes=24)
    outcome = run(plan, maker=helpers.broken_maker, on_event=fill)
    assert (outcome.state, outcome.parked) == ("failed", ())
    assert "1 committed shards are whole" in outcome.message
    assert ["ZeroDivisionError" in told[0], "no space is left" in told[1]] == [True, True]
    room_for(None)
    assert run(plan, maker=helpers.quick_maker).state == "done"
    assert same(plan.root, whole)


def test_a_log_on_a_full_disk_is_given_up(
    tmp_path: Path, corpora: Corpora, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DriverLog, "_open", lambda log: open("/dev/full", "a"))  # noqa: PTH123, SIM115
    plan = plan_of(tmp_path / "ds", corpora, scenes=24)
    assert run(plan, maker=helpers.quick_maker).state == "done"
    assert same(plan.root, whole)


def test_a_report_is_gone_once_its_shard_is_rendered(
    tmp_path: Path, corpora: Corpora, whole: Path
) -> None:
    def never(job: helpers.ShardJob, index: int, attempt: int) -> helpers.Scene:
        raise OSError(5, "Input/output error")

    plan = plan_of(tmp_path / "ds", corpora, scenes=24)
    assert "nothing could be rendered" in run(plan, maker=never).message
    assert (plan.root / failure_key(0)).exists()
    outcome = run(plan, maker=helpers.quick_maker)
    assert (outcome.state, outcome.parked) == ("done", ())
    assert same(plan.root, whole)


def test_a_shard_that_another_job_could_render_is_not_parked(
    tmp_path: Path, corpora: Corpora, whole: Path
) -> None:
    plan = plan_of(tmp_path / "ds", corpora, scenes=24)

    def overtaken(job: helpers.ShardJob, index: int, attempt: int) -> helpers.Scene:
        if index == 5:
            render_shard(job, helpers.quick_maker)
        return helpers.broken_maker(job, index, attempt)

    outcome = run(plan, maker=overtaken)
    assert (outcome.state, outcome.parked, outcome.scenes) == ("done", (), 24)
    assert same(plan.root, whole)


def test_a_dataset_that_is_deleted_under_a_run_is_not_called_complete(
    tmp_path: Path, corpora: Corpora
) -> None:
    plan = plan_of(tmp_path / "ds", corpora, scenes=24)

    def delete(event: Event) -> None:
        if isinstance(event, ShardDone) and event.shard == 1:
            shutil.rmtree(plan.root)

    outcome = run(plan, maker=helpers.quick_maker, on_event=delete)
    assert (outcome.state, outcome.scenes) == ("failed", 24)
    assert "was there when this run began and was deleted or damaged since then" in outcome.message


# --- bad clips ----------------------------------------------------------------------------------


def test_bad_clips_are_drawn_again_and_listed_by_file(tmp_path: Path, corpora: Corpora) -> None:
    own = make_corpora(tmp_path / "clips")
    sources = tmp_path / "clips" / "sources"
    for n in range(6):
        (sources / f"bell/{n}.wav").write_bytes(b"not audio")
        (sources / f"dog/{n}.wav").unlink()
    plan = plan_of(tmp_path / "ds", own, scenes=24)
    settled = driver.settle(plan)  # so that nothing is packed, which would find the clips first
    outcome = run(plan, settled=settled)
    assert outcome.state == "done"
    bad = {f"{sources}/{name}/{n}.wav" for name in ("bell", "dog") for n in range(6)}
    assert set(outcome.bad_clips) <= bad
    counts = [found["count"] for found in outcome.bad_clips.values()]
    assert sum(counts) == outcome.redraws > 0
    [log] = (plan.root / "logs").iterdir()
    for text in (summary(outcome), log.read_text()):
        assert f"{len(counts)} clips could not be used, and others were drawn:" in text
        assert re.search(r"\dx \S*/bell/\d.wav: .*cannot be decoded", text)
        assert re.search(r"\dx \S*/dog/\d.wav: .*is gone", text)


def test_bad_clips_of_earlier_runs_are_listed_too_once_all_is_there(
    tmp_path: Path, corpora: Corpora
) -> None:
    def bad(job: helpers.ShardJob, index: int, attempt: int) -> helpers.Scene:
        if not attempt and index % 3 == 0:
            raise BadClipError(f"clips/{index % 2}.wav", "is no audio")
        return helpers.quick_maker(job, index, attempt)

    plan = plan_of(tmp_path / "ds", corpora, scenes=24)
    first = run(plan, part=Part(1, 2), maker=bad)  # scenes 0 3 9 18
    assert first.bad_clips_of == "run"
    assert "2 clips could not be used in the shards of this run, and" in summary(first)
    second = run(plan, maker=bad)
    expected = {f"clips/{n}.wav": {"count": 4, "reason": "is no audio"} for n in (0, 1)}
    assert (second.redraws, second.bad_clips_of, second.bad_clips) == (4, "dataset", expected)
    again = run(plan, maker=bad)
    assert (again.scenes, again.bad_clips) == (0, expected)
    assert summary(again).splitlines()[1:] == [
        "2 clips could not be used, and others were drawn:",
        "  4x clips/0.wav: is no audio",
        "  4x clips/1.wav: is no audio",
    ]
    (plan.root / "commits" / "0.json").write_bytes(b"damaged")
    assert run(plan, maker=bad).bad_clips == {}


def test_a_place_that_is_gone_is_no_reason_to_draw_other_clips(tmp_path: Path) -> None:
    own = make_corpora(tmp_path / "clips")
    plan = plan_of(tmp_path / "ds", own, scenes=4)
    settled = driver.settle(plan)
    (tmp_path / "clips" / "sources").rename(tmp_path / "elsewhere")
    outcome = run(plan, settled=settled)
    assert (outcome.state, outcome.redraws, outcome.failures) == ("failed", 0, {"io": 3})


# --- parts --------------------------------------------------------------------------------------


def test_parts_make_the_whole_even_where_they_overlap(
    tmp_path: Path, corpora: Corpora, whole: Path
) -> None:
    plan = plan_of(tmp_path / "ds", corpora, scenes=24)
    first = run(plan, part=Part(1, 2), maker=helpers.quick_maker)
    assert (first.state, first.scenes, first.left) == ("done", 12, 3)
    assert list_commits(plan.root) == [0, 2, 4]
    third = run(plan, part=Part(2, 3), maker=helpers.quick_maker)  # shards 1 and 4
    assert (third.scenes, list_commits(plan.root)) == (4, [0, 1, 2, 4])
    second = run(plan, part=Part(2, 2), maker=helpers.quick_maker)
    assert (second.state, second.left) == ("done", 0)
    assert same(plan.root, whole)


def test_jobs_that_begin_a_dataset_at_once_agree(
    tmp_path: Path, corpora: Corpora, whole: Path
) -> None:
    plan = plan_of(tmp_path / "ds", corpora, scenes=24)
    outcomes: list[Outcome] = []
    barrier = threading.Barrier(4)

    def job(part: Part) -> None:
        barrier.wait()
        outcomes.append(run(plan, part=part, maker=helpers.quick_maker))

    parts = [Part(1, 2), Part(2, 2), Part(1, 1), Part(1, 2)]
    threads = [threading.Thread(target=job, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.state for outcome in outcomes] == ["done"] * 4
    assert same(plan.root, whole)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_part_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="must be I/N"):
        parse_part(text)


def test_parts_share_out_every_shard_once() -> None:
    parts = [parse_part(f"{i}/3") for i in (1, 2, 3)]
    assert [[k for k in range(7) if part.has(k)] for part in parts] == [[0, 3, 6], [1, 4], [2, 5]]


@pytest.mark.parametrize("where", ["--sources", "--out"])
def test_a_path_that_is_no_text_is_refused_at_once(
    tmp_path: Path, corpora: Corpora, where: str
) -> None:
    make_corpora(tmp_path / "clips")
    odd = Path(os.fsdecode(os.fsencode(tmp_path / "odd") + b"\xff"))
    (tmp_path / "clips" / "sources").rename(odd)
    given = {"--sources": tmp_path / "clips" / "noise", "--noise": tmp_path / "clips" / "noise"}
    given |= {"--out": tmp_path / "out", where: odd}
    arguments = [str(part) for pair in given.items() for part in pair]
    result = CliRunner().invoke(main, ["render", "--scenes", "1", *arguments])
    assert result.exit_code == 2
    assert "odd\N{REPLACEMENT CHARACTER}: the path is not valid UTF-8" in result.stderr
    assert not (tmp_path / "out").exists()


# --- signals ------------------------------------------------------------------------------------


SMALL = ["--sample-rate", "8000", "--duration", "1", "--shard-scenes", "4", "--format", "mono"]


def render_process(clips: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    places = ["--sources", clips / "sources", "--noise", clips / "noise", "--out", out]
    return subprocess.Popen(
        [sys.executable, "-m", "scenesynth.cli", "render", *SMALL, *map(str, places), *more],
        env={**os.environ, "PYTHONPATH": IMPORTS},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_scheduler_s_signal_drains_a_part_with_exit_code_75(
    tmp_path: Path, corpora: Corpora
) -> None:
    make_corpora(tmp_path / "clips")
    out = tmp_path / "out"
    with render_process(
        tmp_path / "clips", out, "--scenes", "8000", "--part", "2/2", "--workers", "1", "--json"
    ) as process:
        wait_for(lambda: (out / "commits" / "1.json").exists(), 90)
        process.send_signal(signal.SIGUSR1)
        stdout, message = process.communicate(timeout=60)
    assert process.returncode == 75, message
    events = [json.loads(line) for line in stdout.splitlines()]
    assert events[-1]["event"] == "done"
    assert events[-1]["state"] == "drained"
    assert any("ending (SIGUSR1)" in event.get("text", "") for event in events)
    ds = open_dataset(out)
    assert 0 < len([scene.audio for scene in ds]) == events[-1]["scenes"]
    assert all(k % 2 == 1 for k in list_commits(out))


@pytest.mark.parametrize("number", DRAIN_SIGNALS)
def test_a_signal_before_anything_is_rendered_has_exit_code_75_too(
    tmp_path: Path, corpora: Corpora, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    make_corpora(tmp_path / "clips")
    places = [f"--{name}={tmp_path / 'clips' / name}" for name in ("sources", "noise")]

    def interrupted(*args: object, **options: object) -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)  # while it is cleaned up

    monkeypatch.setattr("scenesynth.corpus.corpora.prepare_for_rendering", interrupted)
    before = {each: signal.getsignal(each) for each in DRAIN_SIGNALS}
    try:
        result = CliRunner().invoke(
            main, ["render", *SMALL, "--scenes=4", *places, f"--out={tmp_path / 'out'}"]
        )
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert result.exit_code == 75
    told = f"ended early ({number.name}); give the same command again to go on"
    assert result.stderr.splitlines()[-1] == told


def test_what_is_not_finished_within_the_grace_is_given_up(
    tmp_path: Path, corpora: Corpora
) -> None:
    plan = plan_of(tmp_path / "ds", corpora)

    def stuck(job: helpers.ShardJob, index: int, attempt: int) -> helpers.Scene:
        if job.shard == 1:
            time.sleep(30)
        return helpers.quick_maker(job, index, attempt)

    before = signal.getsignal(signal.SIGALRM)
    began = time.monotonic()

    def late(event: Event) -> None:
        # After shard 0 the next one has begun; the signal comes while it is under way.
        if isinstance(event, ShardDone):
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()

    outcome = run(plan, maker=stuck, on_event=late, grace_s=0.2)
    assert time.monotonic() - began < 20
    assert (outcome.state, list_commits(plan.root)) == ("drained", [0])
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert run(plan, maker=helpers.quick_maker).state == "done"


# --- what is told -------------------------------------------------------------------------------


def test_nodes_have_rates_of_their_own() -> None:
    tally = Tally(scenes=100, began=0.0)
    done = {"skipped": 0, "redraws": 0, "n_bytes": 0, "audio_s": 0.0}
    for now, node, n in ((1.0, "a", 4), (2.0, "b", 8), (10.0, "b", 12)):
        tally.take(ShardDone(shard=0, scenes=n, node=node, **done), now)
    assert tally.line(10.0).endswith("[b 2.0/s, a 0.4/s]")
    tally.take(ShardDone(shard=0, scenes=6, node="b", **done), 75.0)
    assert "[" not in tally.line(75.0)


def test_a_run_leaves_a_log_that_people_can_read(tmp_path: Path, corpora: Corpora) -> None:
    plan = plan_of(tmp_path / "ds", corpora)
    run(plan, maker=helpers.broken_maker)
    [log] = (plan.root / "logs").iterdir()
    lines = [line.partition("Z ")[2] for line in log.read_text().splitlines()]
    assert "3 shards to render with 1 workers" in lines
    assert any(line.startswith("shard 1: parked (scene): SceneError") for line in lines)
    assert lines[-1].startswith("1 shards could not be rendered")
    run(plan, maker=helpers.quick_maker)
    assert len(list((plan.root / "logs").iterdir())) == 1


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path, corpora: Corpora) -> None:
    plan = plan_of(tmp_path / "ds", corpora)
    settled = driver.settle(plan)
    (plan.root / "logs").write_text("in the way")
    assert run(plan, settled=settled, maker=helpers.quick_maker).state == "done"


def test_json_events_are_all_plain_objects(tmp_path: Path, corpora: Corpora) -> None:
    stream = io.StringIO()
    progress = Progress(stream, "json")
    plan = plan_of(tmp_path / "ds", corpora)
    progress.finish(run(plan, maker=helpers.broken_maker, on_event=progress))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds == ["started", "shard", "failure", "shard", "done"]
    assert (events[2]["kind"], events[2]["parked"]) == ("scene", True)
    assert events[-1]["failures"] == {"scene": 1}


# --- packs on the node's own disk ---------------------------------------------------------------


def test_a_pack_is_copied_once_checked_and_replaced_in_the_descriptor(
    tmp_path: Path, corpora: Corpora, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(corpora["sources"], tmp_path / "shared" / "pack", helpers.RATE)
    monkeypatch.setenv("SCENESYNTH_CACHE", str(tmp_path / "node"))
    folder = stage_pack(packed.folder)
    assert folder.is_relative_to(tmp_path / "node")
    marked = folder / "untouched"
    marked.touch()
    assert (stage_pack(packed.folder), marked.exists()) == (folder, True)
    assert stage_pack(folder) == folder
    shared = Corpora.open([packed.folder], [packed.folder])
    near = Corpora.from_descriptor(staged(shared.descriptor()))
    assert near["sources"].digest == shared["sources"].digest
    assert near["sources"].places[""].path == folder


def test_a_damaged_or_too_large_pack_is_read_where_it_is(
    tmp_path: Path, corpora: Corpora, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(corpora["sources"], tmp_path / "shared" / "pack", helpers.RATE)
    monkeypatch.setenv("SCENESYNTH_CACHE", str(tmp_path / "node"))
    monkeypatch.setattr("scenesynth.pipeline.staging.SPARE_DISK", 0.0)
    assert stage_pack(packed.folder) == packed.folder
    monkeypatch.undo()
    monkeypatch.setenv("SCENESYNTH_CACHE", str(tmp_path / "node"))
    part = next(packed.folder.glob("part-*.i16"))
    part.write_bytes(part.read_bytes()[:-2] + b"\x01\x02")
    assert stage_pack(packed.folder) == packed.folder
    assert not [p for p in (tmp_path / "node" / "staged").iterdir() if p.is_dir()]


def test_staged_packs_give_the_same_scenes(
    tmp_path: Path, corpora: Corpora, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = replace(
        plan_of(tmp_path / "ds", corpora, scenes=4),
        corpora=prepare_for_rendering(corpora, helpers.RATE),
    )
    [job] = driver._jobs(ready, driver.settle(ready))
    here = make_scene(job, 2, 0).audio
    monkeypatch.setenv("SCENESYNTH_CACHE", str(tmp_path / "node"))
    np.testing.assert_array_equal(make_scene(replace(job, stage=True), 2, 0).audio, here)
    assert len([p for p in (tmp_path / "node" / "staged").iterdir() if p.is_dir()]) == 2


# --- batches ------------------------------------------------------------------------------------


def test_batches_render_what_single_scenes_are(tmp_path: Path, corpora: Corpora) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    singly, batched = (plan_of(tmp_path / name, corpora, scenes=8) for name in ("one", "many"))
    run(singly)
    assert run(batched, maker=helpers.batch_maker).state == "done"
    one, many = open_dataset(singly.root), open_dataset(batched.root)
    for a, b in zip(one, many, strict=True):
        assert a.spec_json == b.spec_json
        error = np.sum((a.audio - b.audio) ** 2) / np.sum(a.audio**2)
        assert 10 * np.log10(error) < -65  # both are rounded to int16


def test_scenes_that_move_are_rendered_by_the_cpu_in_batches_too(
    tmp_path: Path, corpora: Corpora, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scenesynth.pipeline.device.moves", lambda emitter, spec: True)
    singly, batched = (plan_of(tmp_path / name, corpora, scenes=8) for name in ("one", "many"))
    run(singly)
    run(batched, maker=helpers.batch_maker)
    assert same(singly.root, batched.root)


def test_the_backend_is_settled_when_a_dataset_is_begun(
    tmp_path: Path, corpora: Corpora, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scenesynth.pipeline.device.has_cuda", lambda: False)
    with pytest.raises(ConfigError, match="there is no CUDA device here"):
        plan_of(tmp_path / "none", corpora, device="cuda")
    ears = plan_of(tmp_path / "ears", corpora, device="cuda", formats=["foa", "binaural"])
    assert ears.info.backend == "cpu"
    assert ears.notes == ("format binaural is rendered on the CPU alone: no GPU is used",)
    monkeypatch.setattr("scenesynth.pipeline.device.has_cuda", lambda: True)
    plan = plan_of(tmp_path / "ds", corpora, device="auto")
    assert plan.info.backend == "cuda"
    driver.settle(plan)
    monkeypatch.setattr("scenesynth.pipeline.device.has_cuda", lambda: False)
    assert plan_of(tmp_path / "ds", corpora, device="auto").info.backend == "cuda"
