"""Laws of verification: what is damaged is named and can be made again, what is not is left."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from store_helpers import FOA, MONO, make_dataset, make_info, tree_bytes, write_shard

from scenesynth.errors import StoreError
from scenesynth.pipeline.environment import cpu_level, package_versions
from scenesynth.pipeline.recheck import Rechecked, environment_differences, findings_of, verdict_of
from scenesynth.scene.spec import RENDER_VERSION
from scenesynth.store.commit import Commit, FileRecord, put_commit, read_commit, record_of
from scenesynth.store.layout import commit_key
from scenesynth.store.manifest import finalize
from scenesynth.store.reader import open_dataset
from scenesynth.store.verify import Verified, repair, verify
from scenesynth.store.writer import put_tombstone

AUDIO = "data.zarr/foa/audio/c/{}/0/0"
GAIN = "data.zarr/foa/gain/c/{}"
TABLE = "tables/scenes/part-{}.parquet"
EVENTS = "tables/events/part-{}.parquet"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_dataset(tmp_path / "ds", 12, formats=(FOA, MONO))
    return tmp_path / "ds"


def commit_path(root: Path, shard: int) -> Path:
    return root / commit_key(shard)


def flip(path: Path, at: int = 50) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def swap(one: Path, other: Path) -> None:
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def told(found: Verified) -> str:
    return "\n".join(map(str, found.findings))


def recommit(root: Path, shard: int) -> None:
    """Commit whatever lies there, as a run does that finds it and no commit."""
    path = commit_path(root, shard)
    old = read_commit(root, shard)
    records: dict[str, FileRecord] = {k: record_of((root / k).read_bytes()) for k in old.files}
    path.unlink()
    commit = Commit(shard=shard, first=old.first, stop=old.stop, files=records)
    put_commit(root, commit)


def make_again(root: Path) -> None:
    info = make_info(formats=(FOA, MONO))
    for shard in range(3):
        if not commit_path(root, shard).exists():
            write_shard(root, info, shard, 12)


def test_a_whole_dataset_has_no_findings(root: Path) -> None:
    finalize(open_dataset(root))
    (root / "preview").mkdir()
    (root / "preview/x.png").touch()
    for deep in (False, True):
        found = verify(root, deep=deep)
        assert (found.findings, found.shards, found.promised_shards) == ((), 3, 3)
        assert found.read_bytes == (found.n_bytes if deep else 0)


@pytest.mark.parametrize("key", [AUDIO, GAIN, TABLE, EVENTS])
def test_missing_and_cut_files_are_found_without_reading_them(root: Path, key: str) -> None:
    (root / key.format(0)).unlink()
    path = root / key.format(2)
    path.write_bytes(path.read_bytes()[:-1])
    found = verify(root)
    assert found.damaged_shards == (0, 2)
    assert f"{key.format(0)} (shard 0): missing" in told(found)
    assert f"{key.format(2)} (shard 2): has " in told(found)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (AUDIO, "damaged: the checksum of chunk 0 of scene 0 of the shard does not match"),
        (GAIN, "damaged: the checksum of the gains does not match"),
        (TABLE, "damaged: "),
        (EVENTS, "damaged: "),
    ],
)
def test_a_flipped_byte_is_found_by_reading_all(root: Path, key: str, why: str) -> None:
    flip(root / key.format(1), 14)
    assert verify(root).findings == ()
    found = verify(root, deep=True)
    assert found.damaged_shards == (1,)
    assert f"{key.format(1)} (shard 1): {why}" in told(found)


@pytest.mark.parametrize("key", [AUDIO, GAIN, TABLE, EVENTS])
def test_files_swapped_between_shards_are_found(root: Path, key: str) -> None:
    swap(root / key.format(0), root / key.format(1))
    found = verify(root, deep=True)
    assert found.damaged_shards == (0, 1)
    if key == GAIN:
        assert "its own checksums are right: another file" in told(found)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (GAIN, "holds other gains than the scenes table"),
        (TABLE, "holds other scenes"),
        (EVENTS, "holds other events than the scenes have"),
    ],
)
def test_swapped_files_that_were_committed_anew_are_found(root: Path, key: str, why: str) -> None:
    swap(root / key.format(0), root / key.format(1))
    for shard in (0, 1):
        recommit(root, shard)
    assert verify(root).findings == ()
    found = verify(root, deep=True)
    assert found.damaged_shards == (0, 1)
    assert why in told(found)


def test_commits_that_are_not_those_of_their_shard(root: Path) -> None:
    shutil.copy(commit_path(root, 0), commit_path(root, 1))
    flip(commit_path(root, 2))
    found = verify(root)
    assert "commits/1.json (shard 1): says shard 0, scenes [0, 4); expected [4, 8)" in told(found)
    assert "commits/2.json (shard 2): damaged or edited by hand" in told(found)
    assert found.damaged_shards == (1, 2)


def test_a_commit_of_another_dataset(root: Path, tmp_path: Path) -> None:
    make_dataset(tmp_path / "other", 12)
    shutil.copy(commit_path(tmp_path / "other", 1), commit_path(root, 1))
    assert "names other files than a shard of this dataset has" in told(verify(root))


def test_what_does_not_belong_is_named_and_what_a_crash_left_is_counted(root: Path) -> None:
    (root / "notes.txt").touch()
    (root / "data.zarr/foa/audio/c/99/0").mkdir(parents=True)
    (root / "data.zarr/foa/audio/c/99/0/0").touch()
    commit_path(root, 2).unlink()
    found = verify(root)
    assert [finding.key for finding in found.findings] == [
        "data.zarr/foa/audio/c/99/0/0",
        "notes.txt",
    ]
    assert found.damaged_shards == ()
    assert found.leftovers == 6
    assert repair(root, found) == []
    assert (root / "notes.txt").exists()


def test_a_missing_extent_and_a_missing_identity(root: Path) -> None:
    (root / "extents/0.json").unlink()
    found = verify(root)
    assert found.damaged_shards == ()
    assert [finding.key for finding in found.findings] == [
        *("data.zarr/foa/audio/zarr.json", "data.zarr/foa/gain/zarr.json"),
        *("data.zarr/mono/audio/zarr.json", "data.zarr/mono/gain/zarr.json"),
        *(f"commits/{shard}.json" for shard in range(3)),
    ]
    assert "lie outside the 0 of the extents: an extent is missing" in told(found)
    (root / "dataset.json").unlink()
    with pytest.raises(StoreError, match="not a scenesynth dataset"):
        verify(root)


def test_zarr_metadata_is_checked_and_made_anew(root: Path) -> None:
    expected = tree_bytes(root)
    path = root / "data.zarr/foa/audio/zarr.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "fill_value": 1}))
    (root / "data.zarr/mono/zarr.json").unlink()
    found = verify(root)
    assert len(found.findings) == 2
    assert found.repairable
    assert repair(root, found) == []
    assert tree_bytes(root) == expected
    assert verify(root).findings == ()


def test_repair_takes_damaged_shards_and_nothing_else(root: Path) -> None:
    expected = tree_bytes(root)
    untouched = {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}
    flip(root / AUDIO.format(1))
    (root / TABLE.format(2)).unlink()
    found = verify(root, deep=True)
    gone = repair(root, found)
    assert gone[0] == "commits/1.json"
    assert len(gone) == 7 + 6
    assert len(open_dataset(root)) == 4
    for path, time_ns in untouched.items():
        assert str(path.relative_to(root)) in [*gone, TABLE.format(2)] or (
            path.stat().st_mtime_ns == time_ns
        )
    make_again(root)
    assert tree_bytes(root) == expected
    assert verify(root, deep=True).findings == ()


def test_a_dataset_being_rendered_is_well(root: Path) -> None:
    commit_path(root, 1).unlink()
    put_tombstone(root, 1, make_info(), 12, "hopeless")
    found = verify(root, deep=True)
    assert (found.findings, found.shards, found.parked) == ((), 3, 1)
    assert found.leftovers == 6


def test_damaged_lists_of_excluded_scenes_are_found(root: Path) -> None:
    (root / "exclude").mkdir()
    (root / "exclude/0.json").write_text("{}")
    assert "exclude" in told(verify(root))


HERE = {"cpu": cpu_level(), "packages": package_versions(), "render": RENDER_VERSION}
EXACT = Rechecked(scene="a", spec_equal=True, bytes_equal=True, worst_db=-math.inf)
NEAR = Rechecked(scene="b", spec_equal=True, worst_db=-110.0)
FAR = Rechecked(scene="c", spec_equal=True, worst_db=-40.0)
OTHER_SPEC = Rechecked(scene="d", spec_equal=False, bytes_equal=True, worst_db=-math.inf)
UNRENDERED = Rechecked(scene="e", spec_equal=True, why="no clip")


@pytest.mark.parametrize(
    ("scenes", "here", "elsewhere"),
    [
        ([EXACT, EXACT], "exact", "exact"),
        ([EXACT, NEAR], "not_reproduced", "within_tolerance"),
        ([EXACT, FAR], "not_reproduced", "not_reproduced"),
        ([EXACT, OTHER_SPEC], "not_reproduced", "not_reproduced"),
        ([EXACT, UNRENDERED], "not_reproduced", "not_reproduced"),
    ],
)
def test_bytes_count_in_the_recorded_environment_and_the_tolerance_elsewhere(
    scenes: list[Rechecked], here: str, elsewhere: str
) -> None:
    same, other = make_info(**HERE), make_info(**{**HERE, "cpu": "z80"})
    assert verdict_of(scenes, same).outcome == here
    assert verdict_of(scenes, other).outcome == elsewhere
    for info in (same, other):
        reproduced = verdict_of(scenes, info).outcome != "not_reproduced"
        assert reproduced == (findings_of(scenes, info) == [])


def test_a_verdict_names_what_differs() -> None:
    packages = {**package_versions(), "numpy": "1.0"}
    info = make_info(**{**HERE, "packages": packages, "render": "0.1"})
    numpy = package_versions()["numpy"]
    assert verdict_of([EXACT, NEAR], info).text == (
        "reproduced within -80 dB (1 of 2 byte-equal, 2 of 2 within -80 dB), in another "
        f"environment: renderer 0.1 recorded, {RENDER_VERSION} here; numpy 1.0 recorded, {numpy} "
        "here"
    )
    assert verdict_of([FAR, NEAR], make_info(**HERE), {"noise": "is not given"}).text == (
        "not reproduced: 1 of 2 scenes differ in their audio, 1 of 2 scenes have other bytes than "
        "their specs give (0 of 2 byte-equal, 1 of 2 within -80 dB), in the recorded environment; "
        "corpus noise is not given"
    )


def test_scenes_that_were_copied_bring_their_environment_along() -> None:
    copied = {"backend": "cpu", "cpu": "z80", "packages": dict(package_versions())}
    info = make_info(**HERE, came_from={"environment": copied})
    (difference,) = environment_differences(info)
    assert str(difference) == f"cpu of copied scenes z80 recorded, {cpu_level()} here"
