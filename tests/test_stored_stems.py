"""Laws of stems on disk: what is read is what was rendered, and it adds up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr
from numpy.typing import NDArray
from pipeline_helpers import make_recipe, plan_of
from store_helpers import FOA, MONO, make_dataset, make_info, make_scene, snr_db, tree_bytes
from zarr.storage import MemoryStore

from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ConfigError, CorruptShardError, StoreError
from scenesynth.pipeline.driver import run
from scenesynth.render.renderer import render_scene
from scenesynth.scene.sample import sample_scene
from scenesynth.store.arrays import array_metadata, group_metadata
from scenesynth.store.commit import list_commits, read_commit
from scenesynth.store.layout import (
    ZARR_GROUP,
    DatasetInfo,
    StoredStem,
    StoredStems,
    audio_key,
    gain_key,
    read_info,
)
from scenesynth.store.local import LocalPlace, put_once
from scenesynth.store.reader import open_dataset
from scenesynth.store.schema import STEM_KINDS, Scene
from scenesynth.store.writer import ShardWriter, create_or_open, extend_to

SLOTS = 3
STEMS = StoredStems(kinds=STEM_KINDS, slots=SLOTS)
LATE = StoredStem(kind="late", slots=SLOTS, format=FOA)


def info_of(**changes: object) -> DatasetInfo:
    return make_info(**({"formats": (FOA, MONO), "stems": STEMS} | changes))


def stemmed(index: int, info: DatasetInfo, slots: int = 2, n_samples: int = 0) -> Scene:
    """`make_scene` with noise of its own in every slot that it needs."""
    scene = make_scene(index, info, n_samples=n_samples)
    n = scene.row["n_samples"]

    def noise(*shape: int) -> NDArray[np.float32]:
        return np.random.default_rng([index, *shape]).standard_normal((*shape, n), np.float32)

    wet = {
        fmt.name: {
            kind: noise(1 if kind == "noise" else slots, fmt.n_channels)
            for kind in info.stem_kinds
            if kind != "dry"
        }
        for fmt in info.formats
    }
    return replace(scene, stems_by_format=wet, dry=noise(slots))


def write(root: Path, info: DatasetInfo, scenes: Sequence[Scene], shard: int = 0) -> None:
    writer = ShardWriter(root, info, shard, shard * info.shard_scenes + len(scenes))
    for scene in scenes:
        writer.add(scene)
    writer.commit(writer.put_files(), {}, {})


def stored(root: Path, info: DatasetInfo, scenes: Sequence[Scene]) -> None:
    """A dataset of one shard."""
    create_or_open(root, info)
    extend_to(root, len(scenes), info)
    write(root, info, scenes)


def four(info: DatasetInfo) -> list[Scene]:
    return [stemmed(n, info) for n in range(4)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "ds"
    stored(root, info_of(), four(info_of()))
    return root


# --- reading back --------------------------------------------------------------------------------


def test_stems_come_back_with_silence_in_the_slots_that_a_scene_does_not_need(whole: Path) -> None:
    ds = open_dataset(whole)
    scene, wet, dry = stemmed(2, info_of()), ds.stems(2), ds.dry(2)
    assert list(wet) == ["foa", "mono"]
    for name, stems in wet.items():
        assert list(stems) == ["direct", "early", "late", "noise"]
        for kind, signal in stems.items():
            given = scene.stems_by_format[name][kind]
            assert signal.dtype == np.float32
            assert signal.shape == (1 if kind == "noise" else SLOTS, *given.shape[1:])
            assert snr_db(given, signal[: len(given)]) > 70
            assert not signal[len(given) :].any()
    assert scene.dry is not None
    assert dry.shape == (SLOTS, scene.row["n_samples"])
    assert snr_db(scene.dry, dry[:2]) > 70
    assert not dry[2].any()


def test_scenes_are_read_as_without_stems(tmp_path: Path, whole: Path) -> None:
    bare = make_info(formats=(FOA, MONO))
    stored(tmp_path, bare, [make_scene(n, bare) for n in range(4)])
    one, other = open_dataset(whole), open_dataset(tmp_path)
    for a, b in zip(one, other, strict=True):
        assert a.row == b.row
        assert (a.stems_by_format, a.dry) == ({}, None)
        for name in one.formats:
            np.testing.assert_array_equal(a.audio_by_format[name], b.audio_by_format[name])
    shared = {key: data for key, data in tree_bytes(whole).items() if "stems" not in key}
    theirs = tree_bytes(tmp_path)
    assert {key for key in shared if shared[key] != theirs.get(key)} == {"dataset.json"}


def test_float32_stems_are_the_samples_themselves(tmp_path: Path) -> None:
    info = info_of(codec="float32")
    stored(tmp_path, info, four(info))
    found = open_dataset(tmp_path).stems(1)["foa"]["early"]
    np.testing.assert_array_equal(found[:2], stemmed(1, info).stems_by_format["foa"]["early"])


def test_short_and_skipped_scenes_keep_their_places(tmp_path: Path) -> None:
    info = info_of()
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 3, info)
    writer = ShardWriter(tmp_path, info, 0, 3)
    writer.add_skipped({"id": "train-00000000", "split": "train"})
    writer.add(stemmed(1, info, slots=0, n_samples=777))
    writer.add(stemmed(2, info, slots=3))
    writer.commit(writer.put_files(), {}, {})
    ds = open_dataset(tmp_path)
    assert ds.dry(0).shape == (SLOTS, 777)
    assert not ds.dry(0).any()
    assert not ds.stems(0)["mono"]["direct"].any()
    given = stemmed(2, info, slots=3).stems_by_format["mono"]["direct"]
    assert snr_db(given, ds.stems(1)["mono"]["direct"]) > 70


def test_asking_for_what_was_not_stored_says_what_was(tmp_path: Path, whole: Path) -> None:
    make_dataset(tmp_path / "bare", scenes=4)
    with pytest.raises(StoreError, match=r"holds no stems; to have others, render .* --stems"):
        open_dataset(tmp_path / "bare").stems(0)
    info = info_of(stems=StoredStems(kinds=("early", "noise"), slots=2))
    stored(tmp_path / "two", info, four(info))
    two = open_dataset(tmp_path / "two")
    assert list(two.stems(0)["foa"]) == ["early", "noise"]
    with pytest.raises(StoreError, match="holds early, noise; to have dry ones, render"):
        two.dry(0)
    with pytest.raises(IndexError, match="scene 4"):
        open_dataset(whole).stems(4)


# --- other software ------------------------------------------------------------------------------


def test_zarr_and_xarray_read_stems_unaided(whole: Path) -> None:
    late = open_dataset(whole).stems(3)["foa"]["late"]
    group = zarr.open_group(whole / ZARR_GROUP, mode="r")
    found = group["foa/stems/late/audio"][3].astype(np.float32) / 32767
    np.testing.assert_array_equal(found * group["foa/stems/late/gain"][3], late)
    assert set(group["foa/stems"].group_keys()) == {"direct", "early", "late", "noise"}
    assert "slot" in group["foa/stems/late/audio"].attrs["slot_note"]
    foreign = xarray.open_zarr(whole / ZARR_GROUP, group="foa/stems/late", consolidated=False)
    assert foreign["audio"].dims == ("scene", "slot", "channel", "time")
    np.testing.assert_array_equal(foreign["audio"][3].values.astype(np.float32) / 32767, found)
    dry = xarray.open_zarr(whole / ZARR_GROUP, group="stems/dry", consolidated=False)
    assert dry["audio"].dims == ("scene", "slot", "time")
    assert set(xarray.open_zarr(whole / ZARR_GROUP / "foa", consolidated=False)) == {
        "audio",
        "gain",
    }


def test_zarr_would_write_the_same_metadata_and_read_its_own_chunks_alike(whole: Path) -> None:
    ours = zarr.open_array(whole / ZARR_GROUP / LATE.name / "audio", mode="r")
    theirs = zarr.create_array(
        MemoryStore(),
        shape=(4, SLOTS, 4, 20000),
        dtype="int16",
        chunks=(1, SLOTS, 4, 16000),
        shards=(4, SLOTS, 4, 32000),
        compressors=[
            zarr.codecs.BloscCodec(typesize=2, cname="lz4", clevel=5, shuffle="bitshuffle"),
            zarr.codecs.Crc32cCodec(),
        ],
        fill_value=0,
        dimension_names=("scene", "slot", "channel", "time"),
    )
    expected = json.loads(json.dumps(theirs.metadata.to_dict()))
    found = array_metadata(LATE, info_of(), 4)
    for key in ("shape", "data_type", "chunk_grid", "codecs", "fill_value", "dimension_names"):
        assert found[key] == expected[key], key
    theirs[:] = ours[:]
    np.testing.assert_array_equal(theirs[2], ours[2])


def test_every_folder_on_the_way_to_an_array_is_a_group(whole: Path) -> None:
    names = group_metadata(info_of())
    assert {"", "foa", "foa/stems", "foa/stems/late", "stems", "stems/dry"} <= set(names)
    for name in names:
        assert zarr.open_group(whole / ZARR_GROUP / name, mode="r").attrs["sample_rate"] == 8000


# --- identity ------------------------------------------------------------------------------------


def test_identity_holds_kinds_and_slots_and_is_silent_without_stems(whole: Path) -> None:
    assert read_info(whole).stems == STEMS
    assert json.loads((whole / "dataset.json").read_bytes())["stems"] == {
        "kinds": list(STEM_KINDS),
        "slots": SLOTS,
    }
    assert "stems" not in make_info().to_dict()
    assert DatasetInfo.from_dict(make_info().to_dict(), "here").stems is None


def test_other_stems_in_the_same_folder_are_refused_naming_the_difference(whole: Path) -> None:
    with pytest.raises(StoreError, match=r"stems\.slots: there 3, here 4"):
        create_or_open(whole, info_of(stems=replace(STEMS, slots=4)))
    with pytest.raises(StoreError, match=r"stems: there \{.*\}, here null"):
        create_or_open(whole, info_of(stems=None))


@pytest.mark.parametrize(
    ("kinds", "slots"), [((), 1), (("late", "direct"), 1), (("wet",), 1), (("late",), 0)]
)
def test_impossible_stems_make_no_identity(kinds: tuple[str, ...], slots: int) -> None:
    with pytest.raises(ValueError, match=r"stems\.(kinds|slots) = "):
        StoredStems(kinds=kinds, slots=slots)


# --- whole or not at all -------------------------------------------------------------------------


def test_a_scene_that_lacks_stems_or_has_too_many_is_refused(tmp_path: Path) -> None:
    info = info_of()
    writer = ShardWriter(tmp_path, info, 0, 4)
    with pytest.raises(ValueError, match="lacks the stems foa/stems/direct"):
        writer.add(make_scene(0, info))
    with pytest.raises(ValueError, match="lacks the stems stems/dry"):
        writer.add(replace(stemmed(0, info), dry=None))
    with pytest.raises(ValueError, match="has 4 slots; the dataset holds at most 3"):
        writer.add(stemmed(0, info, slots=4))


def test_the_commit_names_every_file_of_the_stems(whole: Path) -> None:
    files = read_commit(whole, 0).files
    for name, n_axes in (("foa/stems/noise", 2), ("mono/stems/late", 2), ("stems/dry", 1)):
        assert audio_key(name, 0, n_axes) in files
        assert gain_key(name, 0) in files
    assert len(files) == 2 * (2 + 2 * 4 + 1) + 2


@pytest.mark.parametrize("published", [1, 9, 21, 24])
def test_a_crash_before_the_commit_shows_nothing_and_is_adopted_by_the_next_attempt(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, published: int
) -> None:
    info = info_of()
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 4, info)

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
            write(tmp_path, info, four(info))
    assert len(open_dataset(tmp_path)) == 0
    write(tmp_path, info, four(info))
    assert tree_bytes(tmp_path) == tree_bytes(whole)
    assert read_commit(tmp_path, 0).files == read_commit(whole, 0).files


@pytest.mark.parametrize("key", [audio_key(LATE.name, 0, 2), gain_key(LATE.name, 0)])
def test_damaged_or_missing_stems_are_named_and_spare_the_audio(tmp_path: Path, key: str) -> None:
    info = info_of()
    stored(tmp_path, info, four(info))
    path = tmp_path / key
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    ds = open_dataset(tmp_path)
    with pytest.raises(CorruptShardError, match=f"{path}: damaged: .* rm -f "):
        [ds.stems(number) for number in range(4)]
    path.unlink()
    with pytest.raises(CorruptShardError, match="it is missing"):
        ds.stems(0)
    assert len([scene.audio_by_format for scene in ds]) == 4


def test_a_damaged_left_over_is_not_adopted_but_named(tmp_path: Path, whole: Path) -> None:
    info = info_of()
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 4, info)
    for key in (audio_key(LATE.name, 0, 2), gain_key(LATE.name, 0)):
        damaged = bytearray((whole / key).read_bytes())
        damaged[len(damaged) // 3] ^= 1
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(damaged)
        with pytest.raises(CorruptShardError, match=f"{path}: left over .* rm "):
            write(tmp_path, info, four(info))
        path.unlink()
    write(tmp_path, info, four(info))


# --- runs ----------------------------------------------------------------------------------------


RECIPE = make_recipe(
    targets={"event_s": 0.3, "emitters": {"integers": [1, 2]}},
    interferers={"event_s": 0.2},
    sir_db=3,
)


def test_stored_stems_of_a_run_add_up_to_its_audio_to_rounding(
    tmp_path: Path, corpora: Corpora
) -> None:
    plan = plan_of(
        tmp_path, corpora, scenes=4, recipe=RECIPE, formats=["foa", "binaural"], stems=["all"]
    )
    assert run(plan).state == "done"
    ds = open_dataset(tmp_path)
    assert plan.info.stems == StoredStems(kinds=STEM_KINDS, slots=3)
    for number, scene in enumerate(ds):
        slots = {event["stem"] for event in scene.events if event["role"] != "noise"}
        assert slots == set(range(len(slots)))
        for name, stems in ds.stems(number).items():
            total = np.sum([s.sum(axis=0, dtype=np.float64) for s in stems.values()], axis=0)
            # Half a step of every slot of every stem, and of the audio.
            steps = sum(len(slots) * np.abs(s).max() for s in stems.values())
            most = (steps + np.abs(scene.audio_by_format[name]).max()) / 32767 / 2
            assert np.abs(total - scene.audio_by_format[name]).max() < 1.01 * most
    spec = sample_scene(RECIPE, corpora, seed=0, index=3, split="train")
    single = render_scene(spec, corpora, formats=["foa", "binaural"], stems=["all"])
    assert [e["stem"] for e in ds[3].events] == [e["stem"] for e in single.events]
    assert single.dry is not None
    assert snr_db(single.dry, ds.dry(3)[: len(single.dry)]) > 70


def test_a_run_with_stems_is_repeated_and_resumed_to_the_same_bytes(
    tmp_path: Path, corpora: Corpora
) -> None:
    roots = [tmp_path / "a", tmp_path / "b"]
    for root in roots:
        run(plan_of(root, corpora, scenes=4, recipe=RECIPE, shard_scenes=2, stems=["all"]))
    assert tree_bytes(roots[0]) == tree_bytes(roots[1])
    (roots[1] / "commits" / "1.json").unlink()
    (roots[1] / audio_key("foa/stems/early", 1, 2)).unlink()
    run(plan_of(roots[1], corpora, scenes=4, recipe=RECIPE, shard_scenes=2, stems=["all"]))
    assert list_commits(roots[1]) == [0, 1]
    assert tree_bytes(roots[0]) == tree_bytes(roots[1])


def test_the_size_of_shards_and_the_estimate_count_stems(tmp_path: Path, corpora: Corpora) -> None:
    long = make_recipe(duration_s=10, sample_rate=32000, targets={"emitters": 4})

    def size(*stems: str) -> int:
        return plan_of(
            tmp_path, corpora, recipe=long, shard_scenes=None, stems=stems
        ).info.shard_scenes

    assert [size(), size("noise"), size("dry"), size("late")] == [64, 64, 64, 16]
    with pytest.raises(ConfigError, match="--shard-scenes 500; must be at most 419"):
        plan_of(tmp_path, corpora, recipe=long, shard_scenes=500, stems=["late"])
    rows = 4 + 3 * 4 * 4 + 4 + 4
    plan = plan_of(tmp_path, corpora, recipe=long, stems=["all"])
    assert plan.raw_bytes == 12 * (320000 * rows * 2 + 1500)


def test_impossible_stems_are_refused_before_anything_is_written(
    tmp_path: Path, corpora: Corpora
) -> None:
    with pytest.raises(ConfigError, match=r"stems: 'wet' is not known.*; kinds of stems: direct"):
        plan_of(tmp_path / "ds", corpora, stems=["wet"])
    silent = make_recipe(targets={"emitters": 0})
    with pytest.raises(ConfigError, match="--stems direct,noise: recipe small has neither targets"):
        plan_of(tmp_path / "ds", corpora, recipe=silent, stems=["noise", "direct"])
    assert not (tmp_path / "ds").exists()
