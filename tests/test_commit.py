"""Laws of publishing: whole or not at all, once, and any damage is named."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from disk_helpers import TinyDisk
from store_helpers import make_dataset, make_info, tree_bytes, write_shard

from scenesynth.errors import CorruptShardError, StoreError
from scenesynth.store import local
from scenesynth.store.commit import (
    Commit,
    explained,
    list_commits,
    put_commit,
    read_commit,
    record_of,
)
from scenesynth.store.layout import ZARR_GROUP, audio_key, gain_key, table_key
from scenesynth.store.local import LocalPlace, put_once, remove_stale_temporaries
from scenesynth.store.reader import open_dataset
from scenesynth.store.writer import create_or_open, extend_to

SPAWN = multiprocessing.get_context("spawn")


def _deny_links(self: Path, target: Path) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted", str(self))


@pytest.fixture(params=["link", "rename"])
def publishing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to give a name once: with hard links and without."""
    if request.param == "rename":
        monkeypatch.setattr(Path, "hardlink_to", _deny_links)
    return str(request.param)


# --- put_once ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("publishing")
def test_a_name_is_given_once_and_its_bytes_never_change(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    assert put_once(path, b"first") is True
    assert put_once(path, b"second") is False
    assert path.read_bytes() == b"first"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.usefixtures("publishing")
def test_a_name_taken_while_writing_is_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write = local._write

    def write_slowly(tmp: Path, data: bytes) -> None:
        write(tmp, data)
        path.write_bytes(b"theirs")

    monkeypatch.setattr(local, "_write", write_slowly)
    assert put_once(path, b"ours") is False
    assert path.read_bytes() == b"theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        put_once(tmp_path / "file", b"data")
    assert list(tmp_path.iterdir()) == []


def _race(root: Path, worker: int, start: float) -> None:
    """Publish shards of other content than every other worker."""
    info = make_info()
    time.sleep(max(0.0, start - time.time()))
    for shard in range(6):
        write_shard(root, info, shard, 24, level=0.1 + 0.1 * worker)


def test_racing_writers_of_different_bytes_agree_on_one_committed_file(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 24, info)
    start = time.time() + 3.0
    racers = [SPAWN.Process(target=_race, args=(tmp_path, n, start)) for n in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0, 0, 0]
    assert list_commits(tmp_path) == list(range(6))
    for shard in range(6):
        for key, record in read_commit(tmp_path, shard).files.items():
            assert record_of((tmp_path / key).read_bytes()) == record
    assert not list(tmp_path.rglob(".tmp-*"))
    assert len([scene.audio for scene in open_dataset(tmp_path)]) == 24


# --- crashes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("published", range(1, 5))
def test_a_crash_before_the_commit_shows_nothing_and_is_adopted_by_the_next_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: int
) -> None:
    whole = tmp_path / "whole"
    make_dataset(whole, scenes=4)
    root = tmp_path / "crashed"
    info = make_info()
    create_or_open(root, info)
    stop = extend_to(root, 4, info)

    class Crash(BaseException):
        pass

    done: list[str] = []

    def put_until_crash(place: LocalPlace, key: str, data: bytes) -> bool:
        if len(done) == published:
            raise Crash
        done.append(key)
        return put_once(place.path / key, data)

    with monkeypatch.context() as patch:
        patch.setattr(LocalPlace, "put_once", put_until_crash)
        with pytest.raises(Crash):
            write_shard(root, info, 0, stop)
    assert len(open_dataset(root)) == 0
    write_shard(root, info, 0, stop)
    assert tree_bytes(root) == tree_bytes(whole)
    assert read_commit(root, 0).files == read_commit(whole, 0).files


def test_a_damaged_left_over_is_not_adopted_but_named(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    stop = extend_to(tmp_path, 8, info)
    write_shard(tmp_path, info, 1, stop)
    pairs = [
        (audio_key("foa", 0), audio_key("foa", 1)),
        (gain_key("foa", 0), gain_key("foa", 1)),
        (table_key("events", 0), table_key("events", 1)),
    ]
    for key, sound in pairs:
        path = tmp_path / key
        damaged = bytearray((tmp_path / sound).read_bytes())
        damaged[len(damaged) // 3] ^= 1
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(damaged)
        with pytest.raises(CorruptShardError, match=f"{path}: left over .* rm "):
            write_shard(tmp_path, info, 0, stop)
        path.unlink()
    write_shard(tmp_path, info, 0, stop)


def test_the_first_commit_record_holds(tmp_path: Path) -> None:
    first = put_commit(tmp_path, Commit(shard=3, first=12, stop=16, log={"host": "a"}))
    second = put_commit(tmp_path, Commit(shard=3, first=12, stop=16, log={"host": "b"}))
    assert first == second == read_commit(tmp_path, 3)


def test_left_over_temporaries_go_when_they_are_old(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    old, young = tmp_path / "commits" / ".tmp-old", tmp_path / "tables" / ".tmp-young"
    for path in (old, young):
        path.write_bytes(b"half")
    two_hours_ago = time.time() - 7200
    os.utime(old, (two_hours_ago, two_hours_ago))
    assert remove_stale_temporaries(tmp_path) == 1
    assert (old.exists(), young.exists()) == (False, True)
    assert len(open_dataset(tmp_path)) == 8


def test_temporaries_are_no_foreign_files_and_no_commits(tmp_path: Path) -> None:
    (tmp_path / ".tmp-1").write_bytes(b"{")
    assert create_or_open(tmp_path, make_info()) is True
    (tmp_path / "commits").mkdir()
    (tmp_path / "commits" / ".tmp-5.json").write_bytes(b"{")
    assert list_commits(tmp_path) == []


# --- damage -----------------------------------------------------------------------------------


def _read_everything(root: Path) -> None:
    ds = open_dataset(root)
    for scene in ds:
        assert scene.audio_by_format
    assert ds.scenes.num_rows
    assert ds.events.num_rows


def _flip(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


SHARD_FILES = [
    audio_key("foa", 1),
    gain_key("foa", 1),
    table_key("scenes", 1),
    table_key("events", 1),
]


@pytest.mark.parametrize("key", SHARD_FILES)
@pytest.mark.parametrize(
    "damage",
    [_flip, lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data[:-8]],
    ids=["flipped", "last byte flipped", "truncated"],
)
def test_damage_to_any_shard_file_is_named_and_its_remedy_works(
    tmp_path: Path, key: str, damage: Callable[[bytes], bytes]
) -> None:
    info = make_dataset(tmp_path)
    path = tmp_path / key
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with pytest.raises(CorruptShardError) as caught:
        _read_everything(tmp_path)
    _follow_the_remedy(tmp_path, str(caught.value), path)
    write_shard(tmp_path, info, 1, 8)
    _read_everything(tmp_path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("key", SHARD_FILES)
def test_a_missing_shard_file_is_never_read_as_silence(tmp_path: Path, key: str) -> None:
    info = make_dataset(tmp_path)
    (tmp_path / key).unlink()
    with pytest.raises(CorruptShardError, match="it is missing") as caught:
        _read_everything(tmp_path)
    _follow_the_remedy(tmp_path, str(caught.value), tmp_path / key)
    write_shard(tmp_path, info, 1, 8)
    _read_everything(tmp_path)


def test_damage_leaves_the_other_shards_readable(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    (tmp_path / audio_key("foa", 1)).unlink()
    ds = open_dataset(tmp_path)
    assert [ds[n].row["index"] for n in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["dataset.json", "extents/0.json", "commits/1.json"])
@pytest.mark.parametrize("at", [0.3, 0.5, 0.9])
def test_a_flipped_byte_in_a_record_is_named(tmp_path: Path, name: str, at: float) -> None:
    make_dataset(tmp_path)
    path = tmp_path / name
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptShardError, match=f"{path}: damaged"):
        open_dataset(tmp_path)


def _follow_the_remedy(root: Path, message: str, path: Path) -> None:
    """Check that an error names file, shard and scenes, and run the command that it gives."""
    assert message.startswith(str(path))
    assert "shard 1 (scenes 4 to 7)" in message
    command = message[message.index("rm -f ") :].partition(" and give")[0]
    subprocess.run(command, shell=True, check=True)
    assert list_commits(root) == [0]


# --- the file system says no ------------------------------------------------------------------


def _write_until_refused(root: Path, stop: int) -> None:
    for shard in range(1, stop // 4):
        write_shard(root, make_info(max_samples=500), shard, stop)


@pytest.mark.parametrize("tiny_disk", ["disk"], indirect=True)
def test_no_space_left_keeps_what_is_committed_and_says_what_to_do(tiny_disk: TinyDisk) -> None:
    small = make_info(max_samples=500)
    root = tiny_disk.folder / "ds"
    create_or_open(root, small)
    stop = extend_to(root, 4000, small)
    write_shard(root, small, 0, stop)
    filler = tiny_disk.folder / "filler"
    with pytest.raises(OSError, match="No space"), filler.open("wb") as file:
        file.write(bytes(4_000_000))
    with pytest.raises(StoreError) as caught:
        _write_until_refused(root, stop)
    message = str(caught.value)
    assert "cannot write" in message
    assert "committed shards are whole and stay readable" in message
    assert "free some space" in message
    committed = list_commits(root)
    assert len([scene.audio for scene in open_dataset(root)]) == 4 * len(committed)
    filler.unlink()
    write_shard(root, small, committed[-1] + 1, stop)


def test_a_read_only_file_system_is_named_with_the_way_out(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a read-only file system")
    try:
        with pytest.raises(StoreError, match=r"read-only.*another --out"):
            create_or_open(tmp_path / "ds", make_info())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_an_output_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file, not a folder.*another --out"):
        create_or_open(tmp_path / "file" / "ds", make_info())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_lasting_errors_of_the_file_system_are_explained(tmp_path: Path, code: int) -> None:
    with pytest.raises(StoreError, match=r"blob: cannot write: .* To go on: "), explained(tmp_path):
        raise OSError(code, os.strerror(code), str(tmp_path / "blob"))


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_passing_errors_of_the_file_system_stay_worth_another_try(
    tmp_path: Path, code: int
) -> None:
    with pytest.raises(OSError, match=os.strerror(code)), explained(tmp_path):
        raise OSError(code, os.strerror(code))


@pytest.mark.parametrize("name", ["00.json", "01.json", "٣.json", "1.json.bak", "x.json"])
def test_only_a_shard_number_names_a_commit(tmp_path: Path, name: str) -> None:
    make_dataset(tmp_path)
    whole = len(open_dataset(tmp_path))
    (tmp_path / "commits" / name).write_bytes((tmp_path / "commits" / "0.json").read_bytes())
    assert len(open_dataset(tmp_path)) == whole


@pytest.mark.parametrize("kind", ["audio", "gain"])
def test_damaged_array_metadata_is_not_taken_for_a_damaged_shard(tmp_path: Path, kind: str) -> None:
    make_dataset(tmp_path)
    (tmp_path / ZARR_GROUP / "foa" / kind / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match=r"zarr\.json: missing or damaged") as caught:
        _read_everything(tmp_path)
    assert "rm " not in str(caught.value)


def test_a_file_in_the_place_of_the_folder_is_not_to_be_made_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"a file, not a folder. To go on: give another --out"):
        create_or_open(tmp_path / "file" / "ds", make_info())
