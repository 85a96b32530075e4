"""What is done to whole datasets gives the same in an object store as in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from pipeline_helpers import plan_of
from store_helpers import make_dataset, make_info, write_shard

from scenesynth.corpus.corpora import Corpora
from scenesynth.pipeline.again import plan_again
from scenesynth.pipeline.driver import run
from scenesynth.store.commit import list_commits
from scenesynth.store.exclude import ExcludeList, add_list
from scenesynth.store.layout import audio_key
from scenesynth.store.manifest import MANIFESTS, finalize
from scenesynth.store.merge import merge
from scenesynth.store.places import Root, place_of
from scenesynth.store.reader import Dataset, open_dataset
from scenesynth.store.verify import repair, verify
from scenesynth.store.writer import create_or_open, extend_to


def data_of(root: Root) -> dict[str, bytes]:
    """All keys with their bytes, but commits, whose logs differ."""
    place = place_of(root)
    keys = [key for key in place.list() if not key.startswith(("commits/", "logs/"))]
    return dict(zip(keys, place.read_all(keys), strict=True))


def test_scenes_again_from_and_into_a_store(tmp_path: Path, s3: str, corpora: Corpora) -> None:
    for root in (tmp_path / "ds", s3):
        assert run(plan_of(root, corpora, 4, shard_scenes=2)).state == "done"
    options = {"only": ["1-3"], "formats": ["foa", "mono"], "open_corpora": lambda: corpora}
    for source, out in ((tmp_path / "ds", tmp_path / "again"), (s3, f"{s3}-again")):
        assert run(plan_again(source, out, **options)).state == "done"
    assert data_of(f"{s3}-again") == data_of(tmp_path / "again")


def test_excluding_and_finalizing_in_a_store(
    tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for root in (tmp_path / "ds", s3):
        make_dataset(root, 12)
        add_list(root, ExcludeList(action="exclude", scenes={5: "train-00000005"}))
        finalize(open_dataset(root))
    assert data_of(s3) == data_of(tmp_path / "ds")
    expected = open_dataset(tmp_path / "ds").scenes

    def never(*args: object) -> None:
        raise AssertionError("a part was read")

    monkeypatch.setattr(Dataset, "_committed", never)
    assert open_dataset(s3).scenes.equals(expected)
    place_of(s3).replace(MANIFESTS["scenes"], b"damaged")
    with pytest.raises(AssertionError, match="a part was read"):
        _ = open_dataset(s3).scenes


def test_verifying_and_repairing_in_a_store(s3: str) -> None:
    info = make_dataset(s3, 12)
    place = place_of(s3)
    whole = data_of(s3)
    assert verify(s3, deep=True).findings == ()
    data = bytearray(place.read(audio_key("foa", 1)))
    data[20] ^= 1
    place.replace(audio_key("foa", 1), bytes(data))
    assert verify(s3).findings == ()
    found = verify(s3, deep=True)
    assert found.damaged_shards == (1,)
    repair(s3, found)
    assert list_commits(s3) == [0, 2]
    write_shard(s3, info, 1, 12)
    assert data_of(s3) == whole


def test_merging_a_folder_and_a_store(tmp_path: Path, s3: str) -> None:
    info = make_info()
    make_dataset(tmp_path / "whole", 12)
    for root, shards in ((tmp_path / "half", [0, 2]), (s3, [1])):
        create_or_open(root, info)
        extend_to(root, 12, info)
        for shard in shards:
            write_shard(root, info, shard, 12)
    for out in (tmp_path / "out", f"{s3}-out"):
        assert merge([tmp_path / "half", s3], out).missing == 0
        assert data_of(out) == data_of(tmp_path / "whole")
