"""Laws of exclusion: data stays, readers leave scenes out, and the last list counts."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from store_helpers import make_dataset, make_info, tree_bytes, write_shard

from scenesynth.errors import ConfigError, CorruptShardError
from scenesynth.store.exclude import ExcludeList, add_list, read_excluded, read_lists
from scenesynth.store.reader import open_dataset
from scenesynth.store.scene_ids import find_scenes
from scenesynth.store.writer import ShardWriter, create_or_open, extend_to


def drop(root: Path, *numbers: int, undo: bool = False, reason: str = "") -> str:
    scenes = {n: f"train-{n:08d}" for n in numbers}
    action = "include" if undo else "exclude"
    return add_list(root, ExcludeList(action=action, scenes=scenes, reason=reason))  # type: ignore[arg-type]


def indexes(root: Path, **options: bool) -> list[int]:
    ds = open_dataset(root, **options)
    numbers = [scene.row["index"] for scene in ds]
    assert numbers == ds.scenes["index"].to_pylist() == ds.events["index"].to_pylist()
    assert len(ds) == len(numbers)
    return numbers


def test_readers_leave_excluded_scenes_out_and_can_be_asked_for_them(tmp_path: Path) -> None:
    make_dataset(tmp_path, 8)
    drop(tmp_path, 1, 5, 7)
    assert indexes(tmp_path) == [0, 2, 3, 4, 6]
    assert indexes(tmp_path, excluded=True) == list(range(8))
    again = pickle.loads(pickle.dumps(open_dataset(tmp_path, excluded=True)))
    assert (len(again), len(pickle.loads(pickle.dumps(open_dataset(tmp_path))))) == (8, 5)


def test_the_last_list_counts_and_none_is_changed(tmp_path: Path) -> None:
    make_dataset(tmp_path, 8)
    assert drop(tmp_path, 1, 2, reason="loud") == "exclude/0.json"
    before = tree_bytes(tmp_path)
    assert drop(tmp_path, 2, 3, undo=True) == "exclude/1.json"
    drop(tmp_path, 3)
    assert before.items() <= tree_bytes(tmp_path).items()
    assert list(read_excluded(tmp_path)) == [1, 3]
    assert [item.reason for item in read_lists(tmp_path)] == ["loud", "", ""]


def test_excluding_what_is_skipped_already_counts_once(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 8, info)
    write_shard(tmp_path, info, 1, 8)
    writer = ShardWriter(tmp_path, info, 0, 8)
    for n in range(4):
        writer.add_skipped({"id": f"train-{n:08d}", "split": "train"})
    writer.commit(writer.put_files(), {}, {})
    drop(tmp_path, 0, 4)
    assert indexes(tmp_path) == [5, 6, 7]


def test_a_missing_or_damaged_list_is_an_error(tmp_path: Path) -> None:
    make_dataset(tmp_path, 8)
    for n in range(3):
        drop(tmp_path, n)
    path = tmp_path / "exclude/1.json"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"00000001", b"00000002"))
    with pytest.raises(CorruptShardError, match="damaged or edited by hand"):
        open_dataset(tmp_path)
    path.unlink()
    with pytest.raises(CorruptShardError, match="missing, though later lists are there"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("name", ["train-00000003", "3", "3-3"])
def test_scenes_are_found_by_id_and_number(tmp_path: Path, name: str) -> None:
    make_dataset(tmp_path, 8)
    assert find_scenes(open_dataset(tmp_path), [name], "scene") == {3: "train-00000003"}
    drop(tmp_path, 3)
    assert find_scenes(open_dataset(tmp_path), [name], "scene") == {3: "train-00000003"}


def test_scenes_that_are_not_rendered_yet_are_said_to_be(tmp_path: Path) -> None:
    make_dataset(tmp_path, 8)
    (tmp_path / "commits/1.json").unlink()
    with pytest.raises(ConfigError, match="scene 5: not rendered yet"):
        find_scenes(open_dataset(tmp_path), ["2", "5"], "scene")
    with pytest.raises(ConfigError, match="no such scene among those rendered"):
        find_scenes(open_dataset(tmp_path), ["train-00000005"], "scene")
