"""Laws of the arrays, the writer and the reader."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import (
    FOA,
    MONO,
    make_dataset,
    make_info,
    make_scene,
    snr_db,
    tree_bytes,
    write_shard,
)
from zarr.storage import MemoryStore

from scenesynth.errors import StoreError
from scenesynth.store import layout, writer
from scenesynth.store.arrays import (
    CODECS,
    array_metadata,
    dequantise,
    encode_scene,
    quantise,
    shard_object,
)
from scenesynth.store.layout import ZARR_GROUP, audio_key, unseal
from scenesynth.store.reader import open_dataset
from scenesynth.store.schema import Scene
from scenesynth.store.writer import (
    ShardWriter,
    create_or_open,
    extend_to,
    listing,
    put_tombstone,
)

# --- quantisation -----------------------------------------------------------------------------


@settings(deadline=None)  # the first call may compile
@given(seed=st.integers(0, 2**32), level_db=st.floats(-200, 100))
def test_quantisation_error_of_noise_is_below_75_db_at_any_level(
    seed: int, level_db: float
) -> None:
    noise = np.random.default_rng(seed).standard_normal((2, 4000))
    audio = (10 ** (level_db / 20) * noise).astype(np.float32)
    gain = np.float32(np.abs(audio).max())
    stored = quantise(audio, gain, CODECS["lz4"])
    assert snr_db(audio, dequantise(stored, float(gain), CODECS["lz4"])) >= 75


@settings(deadline=None)
@given(seed=st.integers(0, 2**32))
def test_loudest_sample_is_recovered_exactly(seed: int) -> None:
    info = make_info()
    audio = make_scene(seed, info, level=0.003).audio
    encoded = encode_scene(audio, FOA, info)
    gain = np.float32(encoded.gain)
    back = dequantise(quantise(audio, gain, CODECS["lz4"]), encoded.gain, CODECS["lz4"])
    assert np.abs(back).max() == np.abs(audio).max() == gain
    assert encoded.peak == encoded.gain


def test_rounding_is_to_the_nearest() -> None:
    audio = np.array([[1.0, 0.6 / 32767, -0.6 / 32767, 0.4 / 32767]], np.float32)
    assert quantise(audio, np.float32(1), CODECS["lz4"]).tolist() == [[32767, 1, -1, 0]]


def test_samples_that_are_not_finite_are_refused() -> None:
    for value in (np.nan, np.inf, -np.inf):
        audio = np.zeros((4, 100), np.float32)
        audio[2, 7] = value
        with pytest.raises(ValueError, match="not finite"):
            encode_scene(audio, FOA, make_info())


@pytest.mark.parametrize("shape", [(3, 100), (4, 20001), (100,)])
def test_audio_of_another_shape_is_refused_with_both_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \[4, up to 20000\] float32"):
        encode_scene(np.zeros(shape, np.float32), FOA, make_info())


# --- round trip -------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_dataset_gives_back_the_scenes(tmp_path: Path, codec: str) -> None:
    info = make_dataset(tmp_path / "ds", codec=codec, formats=(FOA, MONO))
    ds = open_dataset(tmp_path / "ds")
    assert (len(ds), ds.formats, ds.sample_rate) == (8, ("foa", "mono"), 8000)
    assert ds.recipe == info.recipe
    for number, scene in enumerate(ds):
        original = make_scene(number, info)
        assert scene.id == original.id
        for name, audio in original.audio_by_format.items():
            assert snr_db(audio, scene.audio_by_format[name]) > 75
            assert scene.audio_by_format[name].dtype == np.float32
            assert scene.row[f"peak_{name}"] == np.abs(audio).max()
        assert scene.events[0]["class_ids"] == [1]
        assert scene.events[0]["scene"] == scene.id
    assert ds[-1].id == ds[7].id
    with pytest.raises(IndexError, match="8 usable scenes"):
        ds[8]


def test_float32_option_stores_the_samples_themselves(tmp_path: Path) -> None:
    info = make_dataset(tmp_path / "ds", codec="float32")
    ds = open_dataset(tmp_path / "ds")
    np.testing.assert_array_equal(ds[5].audio, make_scene(5, info).audio)
    assert ds[5].row["gain_foa"] == 1.0
    assert ds[5].row["peak_foa"] == np.abs(ds[5].audio).max()


def test_a_short_scene_comes_back_at_its_own_length(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    writer = ShardWriter(tmp_path, info, 0, extend_to(tmp_path, 3, info))
    for index, length in enumerate((1, 16000, 16001)):
        writer.add(make_scene(index, info, n_samples=length))
    writer.commit(writer.put_files(), {}, {})
    assert [scene.audio.shape for scene in open_dataset(tmp_path)] == [
        (4, 1),
        (4, 16000),
        (4, 16001),
    ]


@pytest.mark.parametrize("codec", ["lz4", "float32"])
def test_silence_is_stored_and_read_as_silence(tmp_path: Path, codec: str) -> None:
    info = make_info(codec=codec)
    create_or_open(tmp_path, info)
    stop = extend_to(tmp_path, 4, info)
    commit = write_shard(tmp_path, info, 0, stop, level=0.0)
    assert (tmp_path / audio_key("foa", 0)).stat().st_size == commit.files[audio_key("foa", 0)].size
    scene = open_dataset(tmp_path)[2]
    assert scene.row["gain_foa"] == 0
    assert scene.audio.shape == (4, info.max_samples)
    assert not scene.audio.any()


def test_tables_hold_a_row_per_scene_and_event_in_order(tmp_path: Path) -> None:
    make_dataset(tmp_path, scenes=12)
    ds = open_dataset(tmp_path)
    assert ds.scenes["index"].to_pylist() == list(range(12))
    assert ds.events["scene"].to_pylist() == ds.scenes["id"].to_pylist()


def test_skipped_scenes_are_left_out_of_everything_but_skipped(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    stop = extend_to(tmp_path, 8, info)
    write_shard(tmp_path, info, 0, stop)
    writer = ShardWriter(tmp_path, info, 1, stop)
    writer.add(make_scene(4, info))
    writer.add_skipped({"id": "train-00000005", "split": "train", "attempt": 20})
    writer.add(make_scene(6, info))
    writer.add(make_scene(7, info))
    writer.commit(writer.put_files(), {}, {})
    ds = open_dataset(tmp_path)
    assert len(ds) == ds.scenes.num_rows == 7
    assert [scene.row["index"] for scene in ds] == [0, 1, 2, 3, 4, 6, 7]
    np.testing.assert_allclose(ds[5].audio, make_scene(6, info).audio, atol=1e-4)
    assert 5 not in ds.events["index"].to_pylist()
    [row] = ds.skipped.to_pylist()
    assert (row["index"], row["attempt"], row["gain_foa"]) == (5, 20, 0.0)


def test_parked_shard_is_stepped_over(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    stop = extend_to(tmp_path, 12, info)
    write_shard(tmp_path, info, 0, stop)
    put_tombstone(tmp_path, 1, info, stop, "three failures")
    write_shard(tmp_path, info, 2, stop)
    ds = open_dataset(tmp_path)
    assert ds.scenes["index"].to_pylist() == [0, 1, 2, 3, 8, 9, 10, 11]
    assert ds[4].row["index"] == 8
    assert [commit.reason for commit in ds.parked] == ["three failures"]


def test_uncommitted_shards_do_not_exist_for_the_reader(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    stop = extend_to(tmp_path, 400, info)
    write_shard(tmp_path, info, 7, stop)
    ds = open_dataset(tmp_path)
    assert (len(ds), ds.n_promised) == (4, 400)
    assert ds.audio["foa"].shape[0] == 400
    assert ds[0].row["index"] == 28


def test_a_dataset_survives_pickling(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    again = pickle.loads(pickle.dumps(open_dataset(tmp_path)))
    assert again[3].id == "train-00000003"


# --- other software ---------------------------------------------------------------------------


def test_zarr_and_xarray_open_it_unaided_and_agree(tmp_path: Path) -> None:
    make_dataset(tmp_path, formats=(FOA, MONO))
    ds = open_dataset(tmp_path)
    group = zarr.open_group(tmp_path / ZARR_GROUP, mode="r")
    foreign = xarray.open_zarr(tmp_path / ZARR_GROUP / "foa", consolidated=False)
    for number in (0, 3, 4, 7):
        stored = group["foa/audio"][number]
        assert stored.dtype == np.int16
        gain = group["foa/gain"][number]
        audio = stored.astype(np.float32) / 32767 * gain
        np.testing.assert_array_equal(audio, ds[number].audio_by_format["foa"])
        np.testing.assert_array_equal(foreign["audio"][number].values, stored)
        assert foreign["gain"][number].values == gain
    assert foreign["audio"].dims == ("scene", "channel", "time")
    assert group["foa/audio"].attrs["channel_names"] == ["W", "Y", "Z", "X"]
    assert "32767" in group["foa/audio"].attrs["gain_note"]


def test_zarr_would_write_the_same_metadata_and_read_its_own_chunks_alike(tmp_path: Path) -> None:
    info = make_info()
    make_dataset(tmp_path)
    ours = zarr.open_array(tmp_path / ZARR_GROUP / "foa" / "audio", mode="r")
    theirs = zarr.create_array(
        MemoryStore(),
        shape=ours.shape,
        dtype="int16",
        chunks=ours.chunks,
        shards=ours.shards,
        compressors=[
            zarr.codecs.BloscCodec(typesize=2, cname="lz4", clevel=5, shuffle="bitshuffle"),
            zarr.codecs.Crc32cCodec(),
        ],
        fill_value=0,
        dimension_names=("scene", "channel", "time"),
    )
    expected = json.loads(json.dumps(theirs.metadata.to_dict()))
    found = array_metadata(FOA, info, 8)
    for key in ("shape", "data_type", "chunk_grid", "codecs", "fill_value", "dimension_names"):
        assert found[key] == expected[key], key
    theirs[:] = ours[:]
    np.testing.assert_array_equal(theirs[5], ours[5])


def test_a_dataset_below_one_shard_reads_through_zarr(tmp_path: Path) -> None:
    make_dataset(tmp_path, scenes=3)
    array = zarr.open_array(tmp_path / ZARR_GROUP / "foa" / "audio", mode="r")
    assert array.shape[0] == 3
    assert all(array[n].any() for n in range(3))


# --- identity and extents ---------------------------------------------------------------------


def test_dataset_json_counts_no_scenes_and_round_trips(tmp_path: Path) -> None:
    info = make_dataset(tmp_path)
    path = tmp_path / "dataset.json"
    assert open_dataset(tmp_path).info.to_dict() == info.to_dict()
    assert not any("n_scenes" in key for key in unseal(path.read_bytes(), path))


def test_other_arguments_are_refused_naming_each_difference(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    before = tree_bytes(tmp_path)
    other = make_info(seed=7, recipe={"name": "test", "room": {"t60_s": [0.2, 0.9]}})
    with pytest.raises(StoreError) as caught:
        create_or_open(tmp_path, other)
    assert "seed: there 0, here 7" in str(caught.value)
    assert "recipe.room.t60_s: there [0.2, 0.5], here [0.2, 0.9]" in str(caught.value)
    assert "--out" in str(caught.value)
    assert tree_bytes(tmp_path) == before


def test_another_environment_is_refused_unless_allowed(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    other = make_info(packages={"numpy": "2"}, cpu="x86-64-v4")
    with pytest.raises(StoreError, match=r"packages.numpy: there \"1\", here \"2\""):
        create_or_open(tmp_path, other)
    assert create_or_open(tmp_path, other, other_environment=True) is False


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(StoreError, match=r"thesis\.tex"):
        create_or_open(tmp_path, make_info())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_extending_rounds_up_to_whole_shards_and_leaves_old_bytes_alone(tmp_path: Path) -> None:
    info = make_dataset(tmp_path, scenes=8)
    before = tree_bytes(tmp_path)
    stop = extend_to(tmp_path, 13, info)
    assert stop == 16
    for shard in (2, 3):
        write_shard(tmp_path, info, shard, stop)
    after = tree_bytes(tmp_path)
    changed = {key for key, data in before.items() if after[key] != data}
    assert {Path(key).name for key in changed} == {"zarr.json"}
    ds = open_dataset(tmp_path)
    assert len(ds) == 16
    assert ds.audio["foa"].shape[0] == 16


def test_fewer_scenes_than_there_are_change_nothing(tmp_path: Path) -> None:
    info = make_dataset(tmp_path, scenes=8)
    before = tree_bytes(tmp_path)
    assert extend_to(tmp_path, 4, info) == 8
    assert tree_bytes(tmp_path) == before


def test_a_dataset_below_one_shard_cannot_be_extended(tmp_path: Path) -> None:
    info = make_dataset(tmp_path, scenes=3)
    assert extend_to(tmp_path, 3, info) == 3
    with pytest.raises(StoreError, match="do not end on a whole shard of 4"):
        extend_to(tmp_path, 8, info)


def test_the_last_shard_ends_at_the_limit(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    assert extend_to(tmp_path, 9, info, limit=10) == 10
    write_shard(tmp_path, info, 2, 10)
    ds = open_dataset(tmp_path)
    assert [scene.row["index"] for scene in ds] == [8, 9]


def test_metadata_lost_between_extent_and_arrays_is_made_again(tmp_path: Path) -> None:
    info = make_dataset(tmp_path, scenes=8)
    path = tmp_path / ZARR_GROUP / "foa" / "audio" / "zarr.json"
    good = path.read_bytes()
    path.write_text("{")
    with pytest.raises(StoreError, match="missing or damaged"):
        _ = open_dataset(tmp_path)[0]
    extend_to(tmp_path, 8, info)
    assert path.read_bytes() == good


def test_what_is_no_dataset_is_refused_saying_why(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"holds no dataset\.json"):
        open_dataset(tmp_path)
    with pytest.raises(StoreError, match="must be a folder, or a URI of s3://"):
        open_dataset("ftp://bucket/data")


def test_a_newer_schema_is_refused_naming_both_versions(tmp_path: Path) -> None:
    from scenesynth.store.layout import seal

    make_dataset(tmp_path)
    path = tmp_path / "dataset.json"
    body = unseal(path.read_bytes(), path)
    path.write_bytes(seal({**body, "schema": 99, "holograms": True}))
    with pytest.raises(StoreError, match="schema 99; this scenesynth reads up to 1"):
        open_dataset(tmp_path)


# --- the writer's own checks ------------------------------------------------------------------


def test_an_incomplete_shard_cannot_be_published(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    writer = ShardWriter(tmp_path, info, 0, extend_to(tmp_path, 4, info))
    writer.add(make_scene(0, info))
    with pytest.raises(ValueError, match="1 of 4 scenes"):
        writer.commit(writer.put_files(), {}, {})


def test_a_scene_that_lacks_a_format_is_refused(tmp_path: Path) -> None:
    info = make_info(formats=(FOA, MONO))
    create_or_open(tmp_path, info)
    writer = ShardWriter(tmp_path, info, 0, extend_to(tmp_path, 4, info))
    scene = make_scene(0, make_info())
    with pytest.raises(ValueError, match="lacks the formats mono"):
        writer.add(scene)


def test_a_scene_at_another_rate_is_refused(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    writer = ShardWriter(tmp_path, info, 0, extend_to(tmp_path, 4, info))
    scene = make_scene(0, info)
    fast = Scene(
        spec_json="{}",
        sample_rate=16000,
        audio_by_format=scene.audio_by_format,
        row=scene.row,
        events=(),
    )
    with pytest.raises(ValueError, match="sample_rate = 16000; must be 8000"):
        writer.add(fast)


def test_the_same_scenes_make_the_same_object_bytes() -> None:
    info = make_info()
    objects = [
        shard_object([encode_scene(make_scene(n, info).audio, FOA, info) for n in range(4)], info)
        for _ in range(2)
    ]
    assert objects[0] == objects[1]


def test_a_difference_far_into_a_long_value_is_shown() -> None:
    text = listing({"formats": ("x" * 300 + "left", "x" * 300 + "right, and " + "y" * 300)})
    there, here = text.removeprefix("  formats: there ").split(", here ")
    assert there.endswith('xleft"')
    assert "xright, and" in here
    assert here.startswith("...x")
    assert here.endswith("...")
    assert listing({"seed": (0, 3)}) == "  seed: there 0, here 3"


def test_extents_of_two_jobs_that_begin_at_once_do_not_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    others = [extend_to]

    def read_late(root: Any) -> Any:
        if others:  # another job extends while this one is about to look
            others.pop()(tmp_path, 8, info)
        return layout.read_extents(root)

    monkeypatch.setattr(writer, "read_extents", read_late)
    assert extend_to(tmp_path, 8, info) == 8
    assert [(item.first, item.stop) for item in layout.read_extents(tmp_path)] == [(0, 8)]
