"""Laws that hold in every place, in a folder and in an object store alike."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pipeline_helpers as helpers
import pytest
import s3_helpers
from click.testing import CliRunner
from pipeline_helpers import contents, make_corpora, plan_of
from s3_helpers import Asked, Fault, Faults
from store_helpers import make_dataset, make_info, make_scene, write_shard

from scenesynth.cli.overwrite import clear
from scenesynth.cli.preview import preview
from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import CorruptShardError, RefusedError, StoreError
from scenesynth.pipeline import driver
from scenesynth.pipeline.driver import run
from scenesynth.pipeline.events import Event, ShardDone, ShardFailed
from scenesynth.pipeline.failures import parked_shards
from scenesynth.store import objects
from scenesynth.store.commit import explained, list_commits, record_of
from scenesynth.store.layout import audio_key, n_scenes, table_key
from scenesynth.store.places import Place, address_of, place_of
from scenesynth.store.reader import open_dataset
from scenesynth.store.writer import ShardWriter, create_or_open, extend_to, put_tombstone

SPAWN = multiprocessing.get_context("spawn")
TESTS = Path(__file__).parent


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place of each kind."""
    if request.param == "s3":
        return place_of(request.getfixturevalue("s3"))
    return place_of(tmp_path / "ds")


# --- the contract -------------------------------------------------------------------------------


def test_a_key_is_given_once_and_its_bytes_never_change(place: Place) -> None:
    assert place.exists("deep/key") is False
    assert place.put_once("deep/key", b"first") is True
    assert place.put_once("deep/key", b"second") is False
    assert place.put_once("deep/key", b"first") is False
    assert place.read("deep/key") == b"first"
    assert place.exists("deep/key") is True
    assert place.list() == ("deep/key",)


def test_of_racing_threads_one_is_first(place: Place) -> None:
    for number in range(5):
        start = threading.Barrier(6)
        fresh: dict[int, bool] = {}

        def put(thread: int, number: int = number) -> None:
            start.wait()  # noqa: B023
            fresh[thread] = place.put_once(f"key{number}", bytes([thread]) * 1000)  # noqa: B023

        threads = [threading.Thread(target=put, args=(thread,)) for thread in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [winner] = [thread for thread, first in fresh.items() if first]
        assert place.read(f"key{number}") == bytes([winner]) * 1000


def test_of_racing_processes_one_is_first(place: Place) -> None:
    start = SPAWN.Barrier(3)
    racers = [SPAWN.Process(target=s3_helpers.race, args=(place, n, start)) for n in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0, 0, 0]
    won = {key.split("/")[2]: int(key.split("/")[1]) for key in place.list("won")}
    assert len(won) == len(place.list("won")) == 10
    for number, racer in won.items():
        assert place.read(f"race/{number}") == bytes([racer]) * 1000


def test_replacing_is_whole_at_any_instant(place: Place) -> None:
    values = [bytes([n]) * (1000 + n) for n in range(20)]
    place.replace("key", values[0])
    seen: list[bytes] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.append(place.read("key"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for value in values:
        place.replace("key", value)
    done.set()
    watcher.join()
    assert set(seen) <= set(values)
    assert place.read("key") == values[-1]


def test_listing_gives_all_keys_of_a_folder(place: Place) -> None:
    sizes = {"commits/1.json": 3, "commits/2.json": 4, "commits2/3.json": 5, "top": 6, "a/b/c": 0}
    for key, size in sizes.items():
        place.put_once(key, bytes(size))
    assert place.list() == tuple(sorted(sizes))
    assert place.list("commits") == ("commits/1.json", "commits/2.json")
    assert place.list("nothing") == ()
    assert (place.size("commits2/3.json"), place.total_size()) == (5, 18)
    assert place.names() == ("a", "commits", "commits2", "top")


def test_ranges_end_where_the_key_ends(place: Place) -> None:
    place.put_once("key", b"0123456789")
    ranges = [(0, 3), (7, 2), (8, 100), (10, 5), (50, 5)]
    assert [place.read_range("key", *span) for span in ranges] == [b"012", b"78", b"89", b"", b""]
    assert place.size("key") == 10


def test_what_is_not_there_is_said_to_be_missing(place: Place) -> None:
    for read in (place.read, place.size, lambda key: place.read_range(key, 0, 4)):
        with pytest.raises(FileNotFoundError):
            read("nothing")
    with pytest.raises(FileNotFoundError):
        list(place.read_all(["nothing"]))
    with pytest.raises(FileNotFoundError):
        place.names()


def test_many_keys_are_read_in_their_order(place: Place) -> None:
    keys = [f"k/{n}" for n in range(40)]
    for key in keys:
        place.put_once(key, key.encode())
    assert list(place.read_all(keys[::-1])) == [key.encode() for key in keys[::-1]]


def test_removing_takes_keys_and_folders_and_nothing_else(place: Place) -> None:
    for key in ("a/1", "a/b/2", "ab/3", "c", "d"):
        place.put_once(key, b"")
    place.remove(["a", "c", "nothing"])
    assert place.list() == ("ab/3", "d")
    assert place.put_once("c", b"again") is True


@pytest.mark.parametrize("key", ["mic:my array/é", "x#y/a%20b", "a+b/{c}~*", "100%/'q'"])
def test_any_name_can_be_a_key(place: Place, key: str) -> None:
    assert place.put_once(key, b"data") is True
    assert place.put_once(key, b"data") is False
    assert place.list() == (key,)
    assert place.read_range(key, 1, 2) == b"at"


def test_places_survive_pickling_and_say_how_to_open_them(place: Place) -> None:
    place.put_once("key", b"data")
    assert pickle.loads(pickle.dumps(place)).read("key") == b"data"
    assert place_of(place.uri).read("key") == b"data"
    assert place_of(place) is place
    assert str(place) == place.uri


def test_places_have_no_temporaries_among_their_keys(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    (tmp_path / ".tmp-1").write_bytes(b"half")
    assert (place.list(), place.names()) == ((), ())


def test_uris_are_folders_or_prefixes() -> None:
    assert address_of("out/ds") == address_of("file://out/ds") == Path("out/ds")
    assert address_of("s3://bucket/a/b/") == "s3://bucket/a/b"
    for wrong in ("s3://", "s3://bucket//x", "http://host/x"):
        with pytest.raises(StoreError, match="must be"):
            address_of(wrong)


# --- datasets -----------------------------------------------------------------------------------


def test_rendering_into_a_store_gives_the_bytes_of_a_folder(
    tmp_path: Path, s3: str, corpora: Corpora
) -> None:
    options = {"scenes": 4, "shard_scenes": 2, "stems": ["all"], "formats": ["foa", "mono"]}
    for root in (tmp_path / "ds", s3):
        assert run(plan_of(root, corpora, **options)).state == "done"
    assert contents(s3) == contents(tmp_path / "ds")
    ours, theirs = open_dataset(s3), open_dataset(tmp_path / "ds")
    assert ours.scenes.equals(theirs.scenes)
    assert ours.events.equals(theirs.events)
    for number in range(4):
        assert ours[number].row == theirs[number].row
        for name in ("foa", "mono"):
            np.testing.assert_array_equal(
                ours[number].audio_by_format[name], theirs[number].audio_by_format[name]
            )
            np.testing.assert_array_equal(ours.audio[name][number], theirs.audio[name][number])
            for kind, stem in theirs.stems(number)[name].items():
                np.testing.assert_array_equal(ours.stems(number)[name][kind], stem)
        np.testing.assert_array_equal(ours.dry(number), theirs.dry(number))
    again = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(again[2].audio_by_format["foa"], ours[2].audio_by_format["foa"])


def test_scenes_read_by_range_equal_those_read_by_zarr(place: Place) -> None:
    info = make_dataset(place, scenes=8, max_samples=9 * 4000)
    ds = open_dataset(place.uri)
    for scene in ds:
        stored = ds.audio["foa"][scene.row["index"], :, : scene.row["n_samples"]]
        expected = stored.astype(np.float32) / np.float32(32767) * np.float32(scene.row["gain_foa"])
        np.testing.assert_array_equal(scene.audio, expected)
    assert info.n_chunks == 3


def test_what_an_earlier_attempt_has_published_is_adopted(place: Place) -> None:
    info = make_info()
    create_or_open(place, info)
    stop = extend_to(place, 4, info)
    writer = ShardWriter(place, info, 0, stop)
    for index in range(4):
        writer.add(make_scene(index, info, level=0.3))
    earlier = writer.put_files()
    assert len(open_dataset(place.uri)) == 0
    commit = write_shard(place, info, 0, stop, level=0.1)
    assert commit.files == earlier
    assert all(record_of(place.read(key)) == record for key, record in earlier.items())
    assert write_shard(place, info, 0, stop, level=0.2) == commit


def test_more_scenes_extend_and_fewer_change_nothing(place: Place, corpora: Corpora) -> None:
    run(plan_of(place.uri, corpora, scenes=8), maker=helpers.quick_maker)
    before = contents(place.uri)
    run(plan_of(place.uri, corpora, scenes=4), maker=helpers.quick_maker)
    assert contents(place.uri) == before
    run(plan_of(place.uri, corpora, scenes=12), maker=helpers.quick_maker)
    assert (n_scenes(place), len(open_dataset(place.uri))) == (12, 12)
    after, _ = contents(place.uri)
    changed = {key for key, data in before[0].items() if after[key] != data}
    assert {key.rpartition("/")[2] for key in changed} == {"zarr.json"}


def test_another_run_and_foreign_keys_are_refused(s3: str, corpora: Corpora) -> None:
    run(plan_of(s3, corpora, scenes=4), maker=helpers.quick_maker)
    with pytest.raises(StoreError, match=rf"(?s){s3}: holds .* seed: there 0, here 3"):
        run(plan_of(s3, corpora, scenes=4, seed=3), maker=helpers.quick_maker)
    place_of(f"{s3}/x").put_once("mine.txt", b"")
    with pytest.raises(StoreError, match=r"x: is not empty .* holds 'mine\.txt'"):
        run(plan_of(f"{s3}/x", corpora), maker=helpers.quick_maker)
    with pytest.raises(StoreError, match=r"nothing: not a scenesynth dataset"):
        open_dataset(f"{s3}/nothing")


def test_overwriting_deletes_the_dataset_and_nothing_else(place: Place) -> None:
    make_dataset(place)
    place.put_once("notes.txt", b"mine")
    clear(place.uri, yes=True)
    assert place.list() == ("notes.txt",)
    clear(place.uri, yes=True)


DRIVER = """
    import sys
    from pathlib import Path
    import pipeline_helpers as helpers
    from scenesynth.corpus.corpora import Corpora
    from scenesynth.pipeline.driver import run

    if __name__ == "__main__":
        clips = Path(sys.argv[1])
        corpora = Corpora.open([clips / "sources"], [clips / "noise"])
        run(helpers.plan_of(sys.argv[2], corpora, scenes=12), maker=helpers.slow_maker)
"""


def test_a_killed_run_into_a_store_is_resumed_to_the_same_bytes(
    tmp_path: Path, s3: str, corpora: Corpora
) -> None:
    make_corpora(tmp_path / "clips")
    script = tmp_path / "driver.py"
    script.write_text(textwrap.dedent(DRIVER))
    process = subprocess.Popen(
        [sys.executable, script, tmp_path / "clips", s3],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )
    try:
        end = time.monotonic() + 60
        while not (committed := list_commits(s3)):
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert len(open_dataset(s3)) == 4 * len(committed) < 12
    assert run(plan_of(s3, corpora), maker=helpers.quick_maker).state == "done"
    run(plan_of(tmp_path / "whole", corpora), maker=helpers.quick_maker)
    assert contents(s3) == contents(tmp_path / "whole")


def test_a_preview_of_a_store_goes_to_a_file_here(
    tmp_path: Path, s3: str, corpora: Corpora, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(plan_of(f"{s3}/mine", corpora, scenes=4))
    result = CliRunner().invoke(preview, [f"{s3}/mine", "--scene", "1"])
    assert result.exit_code == 0, result.output
    assert "<audio" in (tmp_path / "preview-mine.html").read_text("utf-8")
    result = CliRunner().invoke(preview, [f"{s3}/mine", "--scene", "1", "--png"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "preview-mine" / "train-00000001.png").is_file()


def _flip(data: bytes) -> bytes:
    at = len(data) // 3
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


@pytest.mark.parametrize("key", [audio_key("foa", 1), table_key("events", 1)])
def test_damage_in_a_store_is_named_with_the_way_out(s3: str, key: str) -> None:
    info = make_dataset(s3)
    place = place_of(s3)
    whole = place.read(key)
    for damaged in (_flip(whole), whole[:-8], None):
        if damaged is None:
            place.remove([key])
        else:
            place.replace(key, damaged)
        with pytest.raises(CorruptShardError, match=f"^{s3}/{key}: damaged") as caught:
            list(open_dataset(s3))
        assert f"aws s3 rm {s3}/commits/1.json && aws s3 rm {s3}/{key}" in str(caught.value)
    place.remove(["commits/1.json"])
    write_shard(s3, info, 1, 8)
    assert len(list(open_dataset(s3))) == 8


# --- an object store that fails -----------------------------------------------------------------


@pytest.fixture
def faults(s3: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """Faults of the store that `s3` is in from now on."""
    monkeypatch.setattr(objects, "PAUSES_S", (0.01, 0.01))
    monkeypatch.setattr(objects, "RETRIES", 2)
    monkeypatch.setattr(objects, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(objects, "REQUEST_TIMEOUT_S", s3_helpers.STALL_S / 2)
    monkeypatch.setattr(driver, "RETRY_PAUSE_S", 0.0)
    with s3_helpers.faulty_server(s3_endpoint) as (endpoint, found):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        yield found


def first(n: int, fault: Fault, verb: str = "put") -> Callable[[Asked], Fault]:
    """The first `n` requests of a kind fail."""
    left = [n]

    def choose(asked: Asked) -> Fault:
        if asked.verb != verb or not left[0]:
            return None
        left[0] -= 1
        return fault

    return choose


@pytest.mark.parametrize("fault", [500, 503, 429, "drop", "stall"])
def test_a_put_that_stumbles_is_tried_again(s3: str, faults: Faults, fault: Fault) -> None:
    faults.choose = first(2 if fault != "stall" else 1, fault)
    assert place_of(s3).put_once("key", b"data") is True
    assert place_of(s3).read("key") == b"data"


def test_a_put_whose_answer_is_lost_counts_as_ours(s3: str, faults: Faults) -> None:
    faults.choose = first(1, "lose")
    assert place_of(s3).put_once("key", b"ours") is True
    assert faults.verbs() == ["put", "put", "get"]
    assert place_of(s3).put_once("key", b"ours") is False


def test_after_a_lost_put_the_bytes_of_another_are_not_ours(s3: str, faults: Faults) -> None:
    place_of(s3).put_once("key", b"theirs")
    faults.choose = first(1, "drop")
    assert place_of(s3).put_once("key", b"ours") is False
    assert place_of(s3).read("key") == b"theirs"


@pytest.mark.parametrize("status", [409, 412])
def test_a_conflict_means_that_someone_else_was_first(s3: str, faults: Faults, status: int) -> None:
    faults.choose = first(1, status)
    assert place_of(s3).put_once("key", b"ours") is False
    assert faults.verbs() == ["put"]


@pytest.mark.parametrize("fault", [500, 503, "drop"])
def test_a_store_that_goes_on_failing_may_yet_recover(
    s3: str, faults: Faults, fault: Fault
) -> None:
    faults.choose = lambda asked: fault
    place = place_of(s3)
    for use in (
        lambda: place.put_once("key", b""),
        lambda: place.replace("key", b""),
        lambda: place.read("key"),
        lambda: place.exists("key"),
        place.list,
        place.names,
    ):
        with pytest.raises(OSError, match=rf"cannot (read|write|list): .*'{s3}") as caught:
            use()
        assert not isinstance(caught.value, FileNotFoundError)
    assert faults.verbs().count("put") == 6


@pytest.mark.parametrize(("verb", "fault"), [("get", 500), ("list", 503), ("head", "drop")])
def test_reading_rides_over_what_passes(s3: str, faults: Faults, verb: str, fault: Fault) -> None:
    make_dataset(s3, scenes=4)
    faults.choose = first(2, fault, verb)
    assert len([scene.audio for scene in open_dataset(s3)]) == 4


@pytest.mark.parametrize("status", [401, 403])
def test_wrong_credentials_are_named_with_the_variables_to_set(
    s3: str, faults: Faults, status: int
) -> None:
    faults.choose = lambda asked: status
    for use in (
        lambda: create_or_open(s3, make_info()),
        lambda: open_dataset(s3),
        lambda: place_of(s3).put_once("key", b""),
        lambda: list_commits(s3),
    ):
        with pytest.raises(RefusedError, match=rf"denied \({status}.*AWS_ACCESS_KEY_ID"):
            use()
    assert len(faults.asked) <= 5


def test_a_bucket_that_is_not_there_is_named(s3: str) -> None:
    for use in (
        lambda: create_or_open("s3://no-such-bucket/ds", make_info()),
        lambda: open_dataset("s3://no-such-bucket/ds"),
        lambda: place_of("s3://no-such-bucket/ds").put_once("key", b""),
    ):
        with pytest.raises(RefusedError, match=r"there is no such bucket\. To go on: make it"):
            use()


def test_a_bucket_of_another_region_is_named(s3: str, faults: Faults) -> None:
    faults.choose = lambda asked: 301
    with pytest.raises(RefusedError, match=r"another region\. To go on: set AWS_REGION"):
        open_dataset(s3)


def test_a_store_that_overwrites_what_it_must_not_is_refused(s3: str, faults: Faults) -> None:
    faults.conditional = False
    with pytest.raises(StoreError, match="overwrites objects though told not to"):
        create_or_open(s3, make_info())


def test_an_endpoint_without_tls_must_be_meant(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(StoreError, match="has no TLS; set AWS_ALLOW_HTTP=true"):
        open_dataset(s3)


def test_the_missing_package_is_named_with_its_install_line(
    corpora: Corpora, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(StoreError, match=r"pip install 'scenesynth\[s3\]'"):
        plan_of("s3://bucket/other", corpora)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_forked_after_use_is_told_so_and_does_not_hang(s3: str) -> None:
    place_of(s3).put_once("key", b"")
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        with suppress(BaseException):
            try:
                place_of(s3).read("key")
            except StoreError as error:
                os.write(writing, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert b"start workers by spawn or forkserver" in os.read(reading, 1000)
    os.close(reading)
    os.close(writing)


def test_refusals_survive_pickling() -> None:
    error = RefusedError("s3://b/x", "write", "access is denied", "set them").counted(3)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert "; 3 committed shards are whole and stay readable. To go on: set them" in str(error)


def test_errors_while_shards_are_given_up_are_lasting(s3: str, faults: Faults) -> None:
    faults.choose = lambda asked: 500
    with (
        pytest.raises(RefusedError, match="what is committed is whole"),
        explained(s3, always=True),
    ):
        place_of(s3).put_once("key", b"")


@pytest.mark.parametrize(
    "refuse",
    [
        lambda asked: 403,
        lambda asked: 403 if asked.verb == "put" else None,
        lambda asked: 500,
        lambda asked: 500 if asked.verb == "put" else None,
        lambda asked: "drop" if asked.verb == "put" else None,
        lambda asked: "hang" if asked.verb == "put" else None,
    ],
    ids=["403", "403 on writing", "500", "500 on writing", "no answer", "timeouts"],
)
def test_a_store_that_fails_half_way_ends_the_run_which_can_be_gone_on_with(
    tmp_path: Path, s3: str, faults: Faults, corpora: Corpora, refuse: Callable[[Asked], Fault]
) -> None:
    told: list[Event] = []

    def fail_from_the_second_shard_on(event: Event) -> None:
        told.append(event)
        if isinstance(event, ShardDone):
            faults.choose = refuse

    plan = plan_of(s3, corpora)
    outcome = run(plan, maker=helpers.quick_maker, on_event=fail_from_the_second_shard_on)
    assert outcome.state == "failed"
    assert "1 committed shards are whole and stay readable. To go on: " in outcome.message
    assert "give the same command again" in outcome.message
    assert not any(event.parked for event in told if isinstance(event, ShardFailed))
    faults.choose = lambda asked: None
    assert list_commits(s3) == [0]
    assert run(plan, maker=helpers.quick_maker).state == "done"
    run(plan_of(tmp_path / "whole", corpora), maker=helpers.quick_maker)
    assert contents(s3) == contents(tmp_path / "whole")


def test_a_listing_of_many_pages_is_read_to_its_end(s3: str, faults: Faults) -> None:
    place = place_of(s3)
    for number in range(11):
        place.put_once(f"commits/{number}.json", b"")
    faults.page = 3
    assert list_commits(place) == list(range(11))
    assert faults.verbs().count("list") == 4


# --- what it costs ------------------------------------------------------------------------------


def test_what_is_there_is_learnt_from_a_fixed_number_of_listings(
    s3: str, faults: Faults, corpora: Corpora
) -> None:
    plan = plan_of(s3, corpora, scenes=40)
    run(plan, maker=helpers.quick_maker)
    faults.asked.clear()
    settled = driver.settle(plan)
    assert settled.todo == ()
    assert parked_shards(s3) == []
    assert faults.verbs().count("list") == 3
    assert len(faults.asked) < 30


def test_a_shard_costs_one_index_and_a_scene_one_range(s3: str, faults: Faults) -> None:
    make_dataset(s3, scenes=8)
    ds = open_dataset(s3)
    faults.asked.clear()
    for _ in range(2):
        assert len([scene.audio for scene in ds]) == 8
    audio = [asked for asked in faults.asked if "/audio/c/" in asked.key]
    assert [asked.verb for asked in audio].count("head") == 2
    assert len([asked for asked in audio if asked.range]) == 2 + 16
    assert json.loads(place_of(s3).read("commits/0.json"))["shard"] == 0


def test_a_tombstone_in_a_store_is_stepped_over(s3: str) -> None:
    info = make_info()
    create_or_open(s3, info)
    stop = extend_to(s3, 8, info)
    put_tombstone(s3, 0, info, stop, "three failures")
    write_shard(s3, info, 1, stop)
    assert open_dataset(s3).scenes["index"].to_pylist() == [4, 5, 6, 7]
