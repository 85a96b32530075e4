"""Laws of merged tables: the same rows as the parts, and never in place of newer ones."""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from store_helpers import FOA, MONO, make_dataset, make_info, tree_bytes, write_shard

from scenesynth.errors import CorruptShardError
from scenesynth.store import manifest, reader
from scenesynth.store.exclude import ExcludeList, add_list
from scenesynth.store.manifest import MANIFESTS, finalize
from scenesynth.store.reader import Dataset, open_dataset
from scenesynth.store.writer import create_or_open, extend_to


def refuse_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object) -> None:
        raise AssertionError("a part was read")

    monkeypatch.setattr(Dataset, "_committed", never)


def test_merged_tables_equal_the_parts_and_are_read_in_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "GROUP_ROWS", 8)
    make_dataset(tmp_path, 20, formats=(FOA, MONO))
    parts = open_dataset(tmp_path)
    scenes, events = parts.scenes, parts.events
    done = finalize(open_dataset(tmp_path))
    assert (done.rows, done.shards) == ({"scenes": 20, "events": 20}, 5)
    assert pq.ParquetFile(tmp_path / MANIFESTS["scenes"]).metadata.num_row_groups == 3
    refuse_parts(monkeypatch)
    ds = open_dataset(tmp_path)
    assert ds.scenes.equals(scenes)
    assert ds.events.equals(events)
    assert ds.scenes.schema.metadata == scenes.schema.metadata
    assert ds.table("scenes", ["id"]).column_names == ["id"]


def test_a_manifest_of_other_commits_or_exclusions_is_not_used(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 12, info)
    for shard in (0, 1):
        write_shard(tmp_path, info, shard, 12)
    finalize(open_dataset(tmp_path))
    assert len(open_dataset(tmp_path).scenes) == 8
    write_shard(tmp_path, info, 2, 12)
    assert len(open_dataset(tmp_path).scenes) == 12
    finalize(open_dataset(tmp_path))
    add_list(tmp_path, ExcludeList(action="exclude", scenes={3: "train-00000003"}))
    assert 3 not in open_dataset(tmp_path).scenes["index"].to_pylist()
    finalize(open_dataset(tmp_path))
    assert len(pq.read_table(tmp_path / MANIFESTS["scenes"])) == 11
    assert len(pq.read_table(tmp_path / MANIFESTS["events"])) == 11
    assert len(open_dataset(tmp_path).scenes) == 11
    assert len(open_dataset(tmp_path, excluded=True).scenes) == 12


def test_a_damaged_manifest_is_told_of_and_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_dataset(tmp_path, 8)
    expected = open_dataset(tmp_path).scenes
    finalize(open_dataset(tmp_path))
    path = tmp_path / MANIFESTS["scenes"]
    whole = path.read_bytes()
    for damaged in (whole[:-9], b"nothing", whole[:200] + bytes(200) + whole[400:]):
        path.write_bytes(damaged)
        with caplog.at_level(logging.WARNING):
            assert open_dataset(tmp_path).scenes.equals(expected)
        assert "reading the parts instead" in caplog.text
        caplog.clear()


def test_a_manifest_is_written_alike_and_whole_or_not_at_all(tmp_path: Path) -> None:
    make_dataset(tmp_path, 8)
    finalize(open_dataset(tmp_path))
    before = tree_bytes(tmp_path)
    finalize(open_dataset(tmp_path))
    assert tree_bytes(tmp_path) == before
    (tmp_path / "tables/events/part-1.parquet").unlink()
    with pytest.raises(CorruptShardError, match=r"part-1\.parquet: damaged: it is missing"):
        finalize(open_dataset(tmp_path))
    del before["tables/events/part-1.parquet"]
    assert tree_bytes(tmp_path) == before


def test_parked_shards_and_gaps_have_no_rows(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 12, info)
    write_shard(tmp_path, info, 0, 12)
    finalize(open_dataset(tmp_path))
    from scenesynth.store.writer import put_tombstone

    put_tombstone(tmp_path, 2, info, 12, "hopeless")
    ds = reader.open_dataset(tmp_path)
    assert manifest.read_cached(ds, "scenes") is None
    assert finalize(ds).rows == {"scenes": 4, "events": 4}
