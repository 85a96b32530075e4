"""Laws of merging: what was rendered in two places is what one place would have rendered."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from store_helpers import make_dataset, make_info, tree_bytes, write_shard

from scenesynth.errors import CorruptShardError, StoreError
from scenesynth.store import files
from scenesynth.store.commit import list_commits, read_commit
from scenesynth.store.exclude import ExcludeList, add_list, read_excluded
from scenesynth.store.merge import merge
from scenesynth.store.reader import open_dataset
from scenesynth.store.verify import verify
from scenesynth.store.writer import create_or_open, extend_to, put_tombstone


def part(
    root: Path, shards: list[int], scenes: int = 20, level: float = 0.1, **changes: Any
) -> Path:
    """A dataset that holds some of its shards of four."""
    info = make_info(**changes)
    create_or_open(root, info)
    stop = extend_to(root, scenes, info)
    for shard in shards:
        write_shard(root, info, shard, stop, level=level)
    return root


@pytest.fixture(params=["link", "copy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Merging on one file system, and to another one."""
    if request.param == "copy":

        def refuse(self: Path, target: Path) -> None:
            raise OSError(18, "Invalid cross-device link") if not self.exists() else FileExistsError

        monkeypatch.setattr(files, "link", refuse)
    return str(request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("first", "second"), [([0, 2, 4], [1, 3]), ([0, 1, 2], [2, 3, 4]), ([3, 4], [0, 1, 2])]
)
def test_two_halves_are_the_whole(tmp_path: Path, first: list[int], second: list[int]) -> None:
    make_dataset(tmp_path / "whole", 20)
    halves = [part(tmp_path / "a", first), part(tmp_path / "b", second)]
    before = [tree_bytes(half) for half in halves]
    done = merge(halves, tmp_path / "out")
    assert (done.shards, done.added, done.missing, done.scenes) == (5, 5, 0, 20)
    assert tree_bytes(tmp_path / "out") == tree_bytes(tmp_path / "whole")
    assert [tree_bytes(half) for half in halves] == before
    assert verify(tmp_path / "out", deep=True).findings == ()
    again = merge(halves, tmp_path / "out")
    assert (again.shards, again.added) == (5, 0)


def test_a_merge_goes_on_where_it_stopped(tmp_path: Path) -> None:
    halves = [part(tmp_path / "a", [0, 1]), part(tmp_path / "b", [3, 4])]

    class Stopped(Exception):
        pass

    def stop() -> None:
        if len(list_commits(tmp_path / "out")) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        merge(halves, tmp_path / "out", on_shard=stop)
    (tmp_path / "out/commits/1.json").unlink()
    done = merge(halves, tmp_path / "out")
    assert (done.shards, done.added, done.missing) == (4, 3, 1)
    assert len(open_dataset(tmp_path / "out")) == 16


def test_a_part_can_take_in_the_others(tmp_path: Path) -> None:
    a, b = part(tmp_path / "a", [0, 1], scenes=8), part(tmp_path / "b", [2, 3], scenes=16)
    assert merge([a, b], a).scenes == 16
    assert list_commits(a) == [0, 1, 2, 3]
    assert len(open_dataset(a)) == 16
    assert open_dataset(a).audio["foa"].shape[0] == 16


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 1}, "seed: in the first 0, in the second 1"),
        ({"codec": "zstd"}, 'codec: in the first "lz4", in the second "zstd"'),
        ({"recipe": {"name": "other"}}, "recipe.name"),
        ({"cpu": "z80"}, "rendered in different environments"),
    ],
)
def test_parts_of_different_datasets_are_refused_with_the_difference(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    halves = [part(tmp_path / "a", [0]), part(tmp_path / "b", [1], **changes)]
    with pytest.raises(StoreError) as caught:
        merge(halves, tmp_path / "out")
    assert told in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_another_environment_can_be_accepted(tmp_path: Path) -> None:
    halves = [part(tmp_path / "a", [0]), part(tmp_path / "b", [1], cpu="z80")]
    assert merge(halves, tmp_path / "out", other_environment=True).shards == 2
    assert open_dataset(tmp_path / "out").info.cpu == "any"


def test_a_shard_of_two_contents_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    halves = [part(tmp_path / "a", [0, 1]), part(tmp_path / "b", [1, 2], level=0.2)]
    with pytest.raises(StoreError, match=r"other bytes in data\.zarr/foa"):
        merge(halves, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_shorter_part_ends_on_a_whole_shard_or_is_refused(tmp_path: Path) -> None:
    halves = [part(tmp_path / "a", [0], scenes=3), part(tmp_path / "b", [1], scenes=8)]
    with pytest.raises(StoreError, match="do not end on a whole shard"):
        merge(halves, tmp_path / "out")


def test_scenes_come_before_tombstones_and_exclusions_are_kept(tmp_path: Path) -> None:
    a, b = part(tmp_path / "a", [0]), part(tmp_path / "b", [1, 2])
    for shard in (1, 4):
        put_tombstone(a, shard, make_info(), 20, "hopeless")
    add_list(a, ExcludeList(action="exclude", scenes={1: "train-00000001"}))
    add_list(b, ExcludeList(action="exclude", scenes={6: "train-00000006"}))
    for _ in range(2):
        merge([a, b], tmp_path / "out")
    assert [read_commit(tmp_path / "out", k).status for k in (0, 1, 2, 4)] == [
        *("ok", "ok", "ok", "parked")
    ]
    assert list(read_excluded(tmp_path / "out")) == [1, 6]
    assert len(list((tmp_path / "out/exclude").iterdir())) == 1


def test_a_missing_or_cut_file_of_a_part_is_named(tmp_path: Path) -> None:
    halves = [part(tmp_path / "a", [0]), part(tmp_path / "b", [1])]
    path = halves[1] / "data.zarr/foa/audio/c/1/0/0"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptShardError, match="c/1/0/0: missing, or not as long"):
        merge(halves, tmp_path / "out")
    assert list_commits(tmp_path / "out") == [0]


def test_leftovers_in_the_target_are_not_taken_for_the_shard(tmp_path: Path) -> None:
    halves = [part(tmp_path / "a", [0]), part(tmp_path / "b", [1])]
    merge(halves, tmp_path / "out")
    (tmp_path / "out/commits/1.json").unlink()
    path = tmp_path / "out/data.zarr/foa/audio/c/1/0/0"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1] + b"?")
    with pytest.raises(StoreError, match="is there, with other bytes, and no commit names it"):
        merge(halves, tmp_path / "out")


def test_one_dataset_is_none_to_merge(tmp_path: Path) -> None:
    a = part(tmp_path / "a", [0])
    with pytest.raises(StoreError, match="two datasets or more"):
        merge([a, a], tmp_path / "out")
    shutil.rmtree(a / "extents")
    with pytest.raises(StoreError):
        merge([a, tmp_path / "nowhere"], tmp_path / "out")
