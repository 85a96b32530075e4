"""Laws of streams: order, crops and batches are pure functions; positions are exact."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from store_helpers import FOA, MONO, RATE, make_dataset, make_info, make_scene, write_shard

import scenesynth as ss
from scenesynth.errors import ConfigError, CorruptShardError, StoreError
from scenesynth.store import follow
from scenesynth.store.commit import Commit, put_commit
from scenesynth.store.exclude import ExcludeList, add_list
from scenesynth.store.order import Member, Order, Rules, interleave, shares
from scenesynth.store.reader import open_dataset
from scenesynth.store.writer import ShardWriter, create_or_open, extend_to

torch = pytest.importorskip("torch", reason="needs torch: pip install 'scenesynth[torch]'")

Seen = tuple[int, int, tuple[tuple[int, int, int], ...]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """44 scenes of 2.5 s in 11 shards."""
    root = tmp_path_factory.mktemp("stream") / "ds"
    make_dataset(root, 44)
    return root


def seen(batch: Any) -> Seen:
    """What tells a batch from any other: its place and its crops."""
    crops = zip(batch.dataset.tolist(), batch.index.tolist(), batch.start.tolist(), strict=True)
    return batch.epoch, batch.step, tuple(crops)


def epochs(stream: Any, count: int) -> list[Seen]:
    return [seen(batch) for _ in range(count) for batch in stream]


def rules(**changes: Any) -> Rules:
    values = {"seed": 0, "batch": 8, "group": 3, "shuffle": True, "weights": None}
    return Rules(**{**values, "drop_last": True, **changes})


def member(sizes: list[int], first: int = 0) -> Member:
    stops = np.cumsum([first, *sizes])
    shards = [np.arange(a, b) for a, b in pairwise(stops)]
    return Member(shards=lambda: shards, size=sum(sizes), promised=int(stops[-1]))


def all_of(order: Order, epoch: int) -> list[int]:
    found = []
    for step in range(order.n_batches or 0):
        picks = order.find(epoch, step)
        assert not isinstance(picks, str)
        found += picks.index.tolist()
    assert order.find(epoch, order.n_batches or 0) == "the end"
    return found


def test_an_epoch_is_a_permutation_without_what_fills_no_batch() -> None:
    order = Order([member([4] * 25)], rules())
    for epoch in range(3):
        found = all_of(order, epoch)
        assert len(found) == 96
        assert len(set(found)) == 96
        assert set(found) <= set(range(100))
    assert all_of(order, 0) != all_of(order, 1)
    assert sorted(all_of(Order([member([4] * 25)], rules(drop_last=False)), 5)) == [*range(100)]


def test_epoch_0_takes_groups_in_canonical_order_and_later_ones_do_not() -> None:
    order = Order([member([4] * 24)], rules(batch=12))
    groups = np.array(all_of(order, 0)).reshape(8, 12)
    assert [sorted(group) for group in groups.tolist()] == np.arange(96).reshape(8, 12).tolist()
    assert all(group.tolist() != sorted(group.tolist()) for group in groups)
    later = np.array(all_of(order, 1)).reshape(8, 12)
    assert all(len(set(group // 4)) == 3 for group in later)  # whole shards all the same
    assert [sorted(group) for group in later.tolist()] != [sorted(g) for g in groups.tolist()]


def test_without_shuffle_scenes_come_as_they_are_numbered() -> None:
    order = Order([member([3, 0, 4, 1])], rules(shuffle=False, drop_last=False))
    assert all_of(order, 0) == all_of(order, 4) == [*range(8)]


def test_seeds_differ_and_the_order_is_the_one_of_this_version() -> None:
    first = all_of(Order([member([4] * 6)], rules()), 0)
    assert first != all_of(Order([member([4] * 6)], rules(seed=1)), 0)
    assert first[:8] == [10, 4, 3, 0, 2, 5, 1, 7]


def test_a_mix_gives_each_dataset_its_share_spread_evenly() -> None:
    members = [member([4] * 10), member([2] * 5)]
    order = Order(members, rules(batch=10, weights=(1.0, 1.0)))
    assert order.n_batches == 5
    of_small = []
    for epoch in range(4):
        for step in range(5):
            picks = order.find(epoch, step)
            assert not isinstance(picks, str)
            assert 4 <= np.sum(picks.dataset == 0) <= 6
            of_small += picks.index[picks.dataset == 1].tolist()
    assert len(of_small) == 100  # ten times all that there is: each scene ten times
    assert sorted(of_small) == sorted([*range(10)] * 10)
    for start in range(0, 100, 10):
        assert sorted(of_small[start : start + 10]) == [*range(10)]


def test_a_mix_without_weights_reads_every_scene_once() -> None:
    order = Order([member([4] * 10), member([2] * 5)], rules(batch=10))
    for epoch in (0, 3):
        pairs = set()
        for step in range(5):
            picks = order.find(epoch, step)
            assert not isinstance(picks, str)
            pairs |= set(zip(picks.dataset.tolist(), picks.index.tolist(), strict=True))
        assert len(pairs) == 50


def test_shares_are_whole_and_add_up() -> None:
    assert shares(10, [1, 1, 1]) == [4, 3, 3]
    assert shares(7, [0.5, 3.5]) == [1, 6]
    labels = interleave([900, 100], 0, 0)
    counts = np.add.reduceat(labels == 1, np.arange(0, 1000, 100))
    assert counts.sum() == 100
    assert counts.min() >= 8


def test_batches_are_the_same_with_workers(folder: Path) -> None:
    here = ss.stream(folder, crop_s=0.5, batch=8)
    there = ss.stream(folder, crop_s=0.5, batch=8, workers=2)
    for _ in range(2):  # the workers stay for the second epoch
        for one, other in zip(here, there, strict=True):
            assert seen(one) == seen(other)
            assert one.ids == other.ids
            assert torch.equal(one.audio, other.audio)
            assert torch.equal(one.gain, other.gain)
    assert here.state_dict() == there.state_dict()
    there.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_that_are_kept_keep_their_samples(folder: Path, workers: int) -> None:
    """More of them than there is memory that is used again."""
    make: dict[str, Any] = {"crop_s": 0.5, "batch": 4}
    stream = ss.stream(folder, **make, workers=workers)
    kept = [batch for _ in range(3) for batch in stream]
    assert len(kept) == 33
    again = ss.stream(folder, **make)
    for batch, fresh in zip(kept, (batch for _ in range(3) for batch in again), strict=True):
        assert torch.equal(batch.audio, fresh.audio)
    stream.close()


def test_memory_is_lent_again_once_nothing_refers_to_it() -> None:
    from scenesynth.store.slots import Slots

    slots = Slots(2, (4,), torch.int16)
    one, two = slots.take(), slots.take()
    assert {one, two} == {0, 1}
    assert slots.take() is None
    lent = slots.lend(one)
    view = lent[1:].numpy()
    del lent
    assert slots.take() is None
    del view
    assert slots.take() == one
    slots.reclaim()
    assert {slots.take(), slots.take()} == {0, 1}


def test_too_little_shared_memory_is_told_beforehand(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    stream = ss.stream(folder, batch=8, workers=2)
    with pytest.raises(ConfigError, match=r"need 12 MB of shared memory.* has 1 MB left; take"):
        next(iter(stream))


def test_a_data_loader_of_ones_own_gives_the_same_batches(folder: Path) -> None:
    expected = epochs(ss.stream(folder, crop_s=0.5, batch=8), 2)
    stream = ss.stream(folder, crop_s=0.5, batch=8)
    loader = torch.utils.data.DataLoader(
        stream, batch_size=None, num_workers=2, multiprocessing_context="forkserver"
    )
    found = []
    for epoch in range(2):
        stream.set_epoch(epoch)
        for batch in loader:
            found.append(seen(batch))
            last = batch
    assert found == expected
    assert stream.state_dict(last)["epoch"] == 2


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_together_read_what_one_rank_reads(folder: Path, world: int) -> None:
    whole = epochs(ss.stream(folder, crop_s=0.5, batch=8), 2)
    ranks = [
        epochs(ss.stream(folder, crop_s=0.5, batch=8, rank=rank, world=world), 2)
        for rank in range(world)
    ]
    for number, (epoch, step, crops) in enumerate(whole):
        parts = [rank[number] for rank in ranks]
        assert {(part[0], part[1]) for part in parts} == {(epoch, step)}
        assert (
            tuple(
                crop for together in zip(*(p[2] for p in parts), strict=True) for crop in together
            )
            == crops
        )


def test_resuming_at_every_step_twice_goes_on_exactly(folder: Path) -> None:
    make = {"crop_s": 0.5, "batch": 8, "seed": 3}
    whole = epochs(ss.stream(folder, **make), 2)
    assert len(whole) == 10
    for step in range(len(whole)):
        first = ss.stream(folder, **make)
        list(islice(batches(first), step))
        second = resumed(first.state_dict(), folder, make)
        after = 1 if step < 9 else 0
        found = [seen(batch) for batch in islice(batches(second), after)]
        third = resumed(second.state_dict(), folder, make)
        found += [seen(b) for b in islice(batches(third), len(whole) - step - after)]
        assert found == whole[step:]


def batches(stream: Any) -> Iterator[Any]:
    while True:
        yield from stream


def resumed(state: dict[str, Any], folder: Path, make: dict[str, Any]) -> Any:
    """A stream that goes on from a state that has been through JSON."""
    stream = ss.stream(folder, **make)
    stream.load_state_dict(json.loads(json.dumps(state)))
    return stream


def test_after_the_last_step_of_an_epoch_the_next_begins(folder: Path) -> None:
    stream = ss.stream(folder, crop_s=0.5, batch=8)
    *_, _ = stream
    state = stream.state_dict()
    assert (state["epoch"], state["step"]) == (1, 0)
    again = resumed(state, folder, {"crop_s": 0.5, "batch": 8})
    assert [b.epoch for b in again] == [1] * len(again)


def test_a_position_that_was_loaded_or_set_holds_for_workers_too(folder: Path) -> None:
    make: dict[str, Any] = {"crop_s": 0.5, "batch": 8}
    whole = epochs(ss.stream(folder, **make), 2)
    stream = ss.stream(folder, **make, workers=2)
    list(islice(stream, 2))
    state = stream.state_dict()
    list(stream)
    stream.load_state_dict(state)
    assert epochs(stream, 1) == whole[2:5]
    stream.set_epoch(0)
    found = [seen(batch) for batch in islice(stream, 1)]
    stream.set_epoch(0)  # as trainers do after resuming, too
    assert found + epochs(stream, 2) == whole
    stream.close()


def test_workers_that_read_ahead_do_not_move_the_position(folder: Path) -> None:
    stream = ss.stream(folder, crop_s=0.5, batch=8, workers=1)
    one, two = islice(stream, 2)
    assert stream.state_dict()["step"] == 2
    (third, *_) = stream
    assert [one.step, two.step, third.step] == [0, 1, 2]
    stream.close()


def test_a_state_of_two_ranks_goes_on_with_four(folder: Path) -> None:
    make = {"crop_s": 0.5, "batch": 8}
    whole = epochs(ss.stream(folder, **make), 1)
    two = ss.stream(folder, **make, rank=1, world=2)
    list(islice(two, 3))
    found = []
    for rank in range(4):
        four = resumed(two.state_dict(), folder, {**make, "rank": rank, "world": 4})
        found.append([crop for b in four for crop in seen(b)[2]])
    rest = [crop for _, _, crops in whole[3:] for crop in crops]
    assert [crop for together in zip(*found, strict=True) for crop in together] == rest


@pytest.mark.parametrize("workers", [0, 1])
def test_epochs_come_to_an_end_when_asked(folder: Path, workers: int) -> None:
    stream = ss.stream(folder, crop_s=0.5, batch=8, epochs=1, workers=workers)
    assert len(list(stream)) == len(stream) == 5
    for _ in range(2):
        assert list(stream) == []
    assert (stream.state_dict()["epoch"], stream.state_dict()["step"]) == (1, 0)
    stream.close()


def test_the_training_s_random_numbers_are_left_alone(folder: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    stream = ss.stream(folder, crop_s=0.5, batch=8, workers=1)
    list(stream)
    assert torch.equal(torch.rand(1), expected)
    stream.close()


def test_crops_are_the_scenes_own_samples(folder: Path) -> None:
    ds = open_dataset(folder)
    stream = ss.stream(ds, crop_s=1.0, batch=4)
    starts = set()
    for batch in stream:
        assert batch.audio.dtype == torch.int16
        waveform = batch.waveform().numpy()
        for row, index in enumerate(batch.index.tolist()):
            start = int(batch.start[row])
            assert np.array_equal(waveform[row], ds[index].audio[:, start : start + RATE])
            assert batch.ids[row] == ds[index].id
            starts.add(start)
    assert len(starts) > 40
    assert batch.valid.tolist() == [RATE] * 4


def test_whole_scenes_are_followed_by_zeros(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 4, info)
    writer = ShardWriter(tmp_path, info, 0, 4)
    lengths = [20000, 12345, 17000, 1]
    for index, length in enumerate(lengths):
        writer.add(make_scene(index, info, n_samples=length))
    writer.commit(writer.put_files(), {}, {})
    ds = open_dataset(tmp_path)
    (batch,) = ss.stream(ds, batch=4, shuffle=False)
    assert batch.valid.tolist() == lengths
    assert batch.start.tolist() == [0] * 4
    for row, scene in enumerate(ds):
        found = batch.waveform()[row].numpy()
        assert np.array_equal(found[:, : lengths[row]], scene.audio)
        assert not found[:, lengths[row] :].any()
    (batch,) = ss.stream(ds, crop_s=2.0, batch=4, shuffle=False)
    assert batch.valid.tolist() == [16000, 12345, 16000, 1]
    assert batch.start[1] == batch.start[3] == 0


def test_float32_datasets_give_float32(tmp_path: Path) -> None:
    make_dataset(tmp_path, 4, codec="float32")
    (batch,) = ss.stream(tmp_path, batch=4, shuffle=False)
    assert batch.audio.dtype == torch.float32
    assert np.array_equal(batch.waveform()[2].numpy(), open_dataset(tmp_path)[2].audio)


def test_columns_come_along_as_float32(folder: Path) -> None:
    (batch, *_) = ss.stream(folder, crop_s=0.5, batch=8, columns=["n_events", "snr_achieved_db"])
    assert batch.columns["n_events"].tolist() == [1.0] * 8
    assert batch.columns["snr_achieved_db"].isnan().all()
    assert batch.to("cpu").columns["n_events"].dtype == torch.float32


@pytest.mark.parametrize("where", [None, {"index": (0, None)}])
def test_skipped_and_excluded_scenes_are_left_out(tmp_path: Path, where: Any) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 12, info)
    for shard in (0, 2):
        write_shard(tmp_path, info, shard, 12)
    writer = ShardWriter(tmp_path, info, 1, 12)
    for index in range(4, 8):
        if index == 6:
            writer.add_skipped({"id": "train-00000006", "split": "train"})
        else:
            writer.add(make_scene(index, info))
    writer.commit(writer.put_files(), {}, {})
    add_list(tmp_path, ExcludeList(action="exclude", scenes={5: "train-00000005"}))
    for follow_it in (False, True):
        stream = ss.stream(tmp_path, crop_s=0.5, batch=1, where=where, follow=follow_it)
        found = sorted(index for _, _, ((_, index, _),) in epochs(stream, 1))
        assert found == [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]
    assert ss.stream(open_dataset(tmp_path, excluded=True), batch=1, where=where).n_scenes == 11


def test_filters_choose_by_columns(folder: Path) -> None:
    ds = open_dataset(folder)
    rooms = ds.scenes["room"].to_pylist()
    stream = ss.stream(ds, crop_s=0.5, batch=1, where={"room": ["room-1"], "index": (8, None)})
    found = sorted(index for _, _, ((_, index, _),) in epochs(stream, 1))
    assert found == [i for i, room in enumerate(rooms) if room == "room-1" and i >= 8]
    assert ss.stream(ds, batch=1, where={"snr_achieved_db": None}).n_scenes == 44
    assert ss.stream(ds, batch=1, where={"room": "room-2"}).n_scenes == rooms.count("room-2")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Followers look for commits all the time."""
    monkeypatch.setattr(follow, "POLL_S", 0.005)


def render_later(root: Path, shards: list[int], stop: int) -> threading.Thread:
    """Commits shards one after another, as a renderer does; 7 is parked."""

    def render() -> None:
        for shard in shards:
            time.sleep(0.02)
            if shard == 7:
                parked = Commit(shard=7, first=28, stop=32, status="parked", reason="test")
                put_commit(root, parked)
            else:
                write_shard(root, make_info(), shard, stop)

    thread = threading.Thread(target=render)
    thread.start()
    return thread


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("workers", [0, 1])
def test_following_a_render_gives_what_is_read_of_it_afterwards(
    tmp_path: Path, workers: int
) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 40, info)
    write_shard(tmp_path, info, 9, 40)
    make: dict[str, Any] = {"crop_s": 0.5, "batch": 5, "group": 3}
    live = ss.stream(tmp_path, **make, follow=True, workers=workers)
    thread = render_later(tmp_path, [1, 0, 3, 2, 8, 4, 7, 6, 5], 40)
    with pytest.raises(TypeError, match="not known while"):
        len(live)
    found = epochs(live, 2)
    thread.join()
    live.close()
    replay = ss.stream(tmp_path, **make)
    assert found == epochs(replay, 2)
    assert replay.n_scenes == 36
    assert live.state_dict()["epoch"] == 2


@pytest.mark.usefixtures("quick")
def test_a_followed_dataset_is_resumed_live_or_afterwards(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 40, info)
    for shard in range(5):
        write_shard(tmp_path, info, shard, 40)
    make: dict[str, Any] = {"crop_s": 0.5, "batch": 5, "group": 2}
    live = ss.stream(tmp_path, **make, follow=True)
    found = [seen(batch) for batch in islice(live, 3)]
    state = live.state_dict()
    thread = render_later(tmp_path, [5, 6, 8, 9, 7], 40)
    again = resumed(state, tmp_path, {**make, "follow": True})
    found += epochs(again, 1)
    thread.join()
    afterwards = resumed(state, tmp_path, make)
    assert found[3:] == epochs(afterwards, 1)
    assert found == epochs(ss.stream(tmp_path, **make), 1)


@pytest.mark.usefixtures("quick")
def test_a_dead_renderer_is_noticed_and_waiting_is_told_with_both_rates(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 12, info)
    write_shard(tmp_path, info, 0, 12)
    told: list[follow.Waiting] = []
    stream = ss.stream(
        tmp_path, batch=2, group=1, follow=True, follow_timeout_s=0.1, on_wait=told.append
    )
    batches = iter(stream)
    assert sorted(index for batch in islice(batches, 2) for index in batch.index) == [0, 1, 2, 3]
    with pytest.raises(StoreError, match=r"shard 1 is missing .*scenesynth render.* resume"):
        next(batches)
    (waiting,) = told
    assert (waiting.shard, waiting.committed, waiting.promised) == (1, 1, 3)
    assert str(waiting).startswith("waiting for shard 1 (1 of 3 committed): reading ")
    assert "scenes/s, rendered 0.0 scenes/s" in str(waiting)


@pytest.mark.parametrize("workers", [0, 1])
def test_following_what_gives_no_batch_is_an_error_at_its_end(folder: Path, workers: int) -> None:
    for asked in ({"batch": 64}, {"batch": 4, "where": {"room": "room-9"}}):
        stream = ss.stream(folder, **asked, follow=True, workers=workers)
        with pytest.raises(ConfigError, match=r"is complete, .* does not fill a batch of \d+; ask"):
            next(iter(stream))
        stream.close()


@pytest.mark.usefixtures("quick")
def test_following_reads_one_split_of_a_dataset_of_all(tmp_path: Path) -> None:
    info = make_info(split="all")
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 24, info)
    for shard in range(6):
        write_split(tmp_path, info, shard, "valid" if shard in (1, 4) else "train")
    make: dict[str, Any] = {"batch": 4, "crop_s": 0.5, "split": "valid", "group": 2}
    assert epochs(ss.stream(tmp_path, **make, follow=True), 1) == epochs(
        found := ss.stream(tmp_path, **make), 1
    )
    assert found.n_scenes == 8
    with pytest.raises(ConfigError, match=r"no scene matches split='test'.* train, valid"):
        ss.stream(tmp_path, batch=4, split="test")


def write_split(root: Path, info: Any, shard: int, split: str) -> None:
    writer = ShardWriter(root, info, shard, 24)
    for index in range(writer.first, writer.stop):
        scene = make_scene(index, info)
        writer.add(replace(scene, row={**scene.row, "split": split}))
    writer.commit(writer.put_files(), {}, {})


def test_reading_all_splits_at_once_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_dataset(tmp_path, 4, split="all")
    with caplog.at_level(logging.WARNING):
        ss.stream(tmp_path, batch=4)
    assert "holds all splits" in caplog.text


def test_a_dataset_that_grew_gives_its_new_scenes_from_the_next_epoch_on(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 16, info)
    for shard in range(4):
        write_shard(tmp_path, info, shard, 16)
    make: dict[str, Any] = {"crop_s": 0.5, "batch": 4, "group": 2}
    stream = ss.stream(tmp_path, **make)
    whole = epochs(stream, 2)
    state = ss.stream(tmp_path, **make).state_dict() | {"epoch": 1, "step": 1}
    extend_to(tmp_path, 24, info)
    for shard in (4, 5):
        write_shard(tmp_path, info, shard, 24)
    grown = resumed(state, tmp_path, make)
    assert epochs(grown, 1) == whole[5:]
    assert len(epochs(grown, 1)) == 6
    add_list(tmp_path, ExcludeList(action="exclude", scenes={3: "train-00000003"}))
    with pytest.raises(ConfigError, match="scenes that the saved state counts on are gone"):
        resumed(state, tmp_path, make)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


AUDIO = "data.zarr/foa/audio/c/1/0/0"


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda root: flip(root / AUDIO, 100), "checksum of a chunk"),
        (lambda root: flip(root / AUDIO, -8), "checksum of the shard index"),
        (lambda root: (root / AUDIO).unlink(), "it is missing"),
        (lambda root: cut(root / AUDIO), "no shard index"),
        (lambda root: flip(root / "data.zarr/foa/gain/c/1", 0), "hash is not the committed one"),
        (lambda root: flip(root / "tables/scenes/part-1.parquet", 9), "not the committed one"),
    ],
)
def test_a_damaged_shard_is_named_with_its_repair(tmp_path: Path, damage: Any, why: str) -> None:
    make_dataset(tmp_path, 12)
    damage(tmp_path)
    told = rf"[-/]1\S*: damaged: .*{why}.*shard 1 \(scenes 4 to 7\)"
    with pytest.raises(CorruptShardError, match=told) as caught:
        list(ss.stream(tmp_path, batch=12))
    assert f"scenesynth verify {tmp_path} --deep --repair" in str(caught.value)


def test_damage_that_a_worker_finds_is_told_alike(tmp_path: Path) -> None:
    make_dataset(tmp_path, 12)
    flip(tmp_path / AUDIO, 100)
    messages = []
    for workers in (0, 1):
        with pytest.raises(CorruptShardError) as caught:
            list(ss.stream(tmp_path, batch=12, workers=workers))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_damaged_shards_are_left_out_when_asked_before_the_order_is_made(tmp_path: Path) -> None:
    make_dataset(tmp_path, 16)
    flip(tmp_path / AUDIO, 100)
    (tmp_path / AUDIO.replace("/1/", "/2/")).unlink()
    assert ss.stream(tmp_path, batch=4, skip_bad=True).n_scenes == 12
    stream = ss.stream(tmp_path, batch=4, skip_bad="deep")
    found = [index for _, _, crops in epochs(stream, 1) for _, index, _ in crops]
    assert sorted(found) == [0, 1, 2, 3, 12, 13, 14, 15]


def test_several_datasets_are_mixed_and_told_apart(folder: Path, tmp_path: Path) -> None:
    make_dataset(tmp_path / "b", 8, seed=1, max_samples=RATE)
    stream = ss.stream([folder, tmp_path / "b"], crop_s=0.5, batch=4, weights=[3, 1])
    assert (stream.n_scenes, len(stream)) == (52, 13)
    datasets = [open_dataset(folder), open_dataset(tmp_path / "b")]
    counts = [0, 0]
    for batch in stream:
        for row, (which, index, start) in enumerate(seen(batch)[2]):
            audio = datasets[which][index].audio[:, start : start + RATE // 2]
            assert np.array_equal(batch.waveform()[row].numpy(), audio)
            counts[which] += 1
    assert counts == [39, 13]
    state = stream.state_dict()
    again = ss.stream([folder, tmp_path / "b"], crop_s=0.5, batch=4, weights=[3, 1])
    again.load_state_dict(state)
    assert epochs(again, 1) == epochs(stream, 1)


def test_no_dataset_at_all_is_refused() -> None:
    for given in ([], None):
        with pytest.raises(ConfigError, match=r"datasets.*one or several"):
            ss.stream(given)  # type: ignore[arg-type]


def test_weights_whose_sum_is_no_number_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="sum of weights = inf"):
        ss.stream([folder, folder], weights=[1e308, 1e308])


def test_numbers_of_numpy_make_plain_states(folder: Path) -> None:
    plain = ss.stream(folder, batch=4, seed=3).state_dict()
    state = ss.stream(folder, batch=np.int64(4), seed=np.int32(3)).state_dict()
    assert json.dumps(state) == json.dumps(plain)


def make_two(tmp_path: Path, **changes: Any) -> list[Path]:
    make_dataset(tmp_path / "a", 4)
    make_dataset(tmp_path / "b", 4, **changes)
    return [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"split": "valid"}, r"split 'valid': .* holds only 'train'"),
        ({"where": {"rom": "x"}}, r"no column 'rom'; did you mean 'room'"),
        ({"where": {"room": 3}}, r"where\['room'\]: 3 is not of the column's type, string"),
        ({"where": {"n_events": "many"}}, r"'many' is not of the column's type, int32"),
        ({"where": {"n_events": (1, 2, 3)}}, r"a pair \(low, high\)"),
        ({"where": {"rt60_measured_s": 1.0}}, "holds lists"),
        ({"where": {"room": "room-9"}}, r"no scene matches where=\{'room': 'room-9'\}; it has 44"),
        ({"columns": ["room"]}, "columns: column 'room' holds string; it must hold numbers"),
        ({"columns": ["snr"]}, "columns: .* has no column 'snr'"),
        ({"crop_s": 3.0}, r"crop_s = 3: longer than any scene; the longest has 2.5 s"),
        ({"crop_s": 1e-9}, "at least a sample"),
        ({"format": "fao"}, "format 'fao': .* has foa; did you mean 'foa'"),
        ({"batch": 6, "world": 4}, "cannot be divided by world = 4; make it 4 or 8"),
        ({"batch": 2, "world": 4}, "make it 4 or 4|make it 4"),
        ({"batch": 0}, "batch = 0; must be at least 1"),
        ({"batch": 64}, "batch = 64: more than the 44 scenes"),
        ({"rank": 2, "world": 2}, "rank = 2; must be from 0 to 1"),
        ({"weights": [1.0, 2.0]}, "got 2 for 1 datasets"),
        ({"weights": [0.0]}, r"weights\[0\] = 0.0; must be above 0"),
        ({"drop_last": False, "world": 2}, "read it all with one rank"),
        ({"follow": True, "skip_bad": True}, "leave one of them out"),
        ({"targets": ss.frames(classes=["dogg"])}, "'dogg' is not known; did you mean 'dog'"),
        ({"targets": ss.frames(hop_s=0.0001)}, "0.8 samples at 8000 Hz"),
        ({"batch": 4.0}, "batch = 4.0; must be a whole number"),
        ({"batch": True}, "batch = True; must be a whole number"),
        ({"seed": -1}, "seed = -1; must be at least 0"),
        ({"rank": "0"}, "rank = '0'; must be a whole number"),
        ({"world": float("nan")}, "world = nan; must be a whole number"),
        ({"workers": -1}, "workers = -1; must be at least 0"),
        ({"epochs": 0}, "epochs = 0; must be at least 1"),
        ({"group": 2.5}, "group = 2.5; must be a whole number"),
        ({"crop_s": float("inf")}, "crop_s = inf; must be above 0 and finite"),
        ({"crop_s": "2"}, "crop_s = '2'; must be a number"),
        ({"follow_timeout_s": float("nan")}, "follow_timeout_s = nan; must be above 0"),
        ({"weights": 1.0}, "weights = 1.0; must be a list"),
        ({"weights": ["1"]}, r"weights\[0\] = '1'; must be a number"),
        ({"columns": "n_events"}, r"must be a list of names; for one, \['n_events'\]"),
        ({"columns": [3]}, "columns: 3 is not a name"),
        ({"where": [("room", "x")]}, "must map columns to what they must be"),
        ({"where": {3: 1}}, "no column 3"),
        ({"format": ["foa"]}, r"format \['foa'\]: .* has foa"),
        ({"skip_bad": "depe"}, "skip_bad = 'depe'; must be False, True or 'deep'"),
        ({"targets": "adpit"}, r"must be what ss.frames\(...\) gives"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(
    folder: Path, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ss.stream(folder, **{"batch": 4, **asked})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_rate": 16000}, r"sample rate of .*b is 16000, of .*a 8000"),
        ({"formats": (MONO,)}, r"format 'foa': .*b has mono"),
        ({"formats": (replace(FOA, convention="FuMa"),)}, "convention of .*b is FuMa"),
        ({"codec": "float32"}, "samples of .*b is float32, of .*a int16"),
    ],
)
def test_datasets_that_do_not_go_together_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ss.stream(make_two(tmp_path, **changes), batch=4)


def test_several_formats_and_followed_mixes_are_refused(tmp_path: Path) -> None:
    make_dataset(tmp_path, 4, formats=(FOA, MONO))
    with pytest.raises(ConfigError, match="has the formats foa, mono; name one"):
        ss.stream(tmp_path, batch=4)
    stream = ss.stream(tmp_path, batch=4, format="mono")
    assert (stream.format, stream.channel_names) == ("mono", ("W",))
    assert stream.formats == ("foa", "mono")
    assert next(iter(stream)).audio.shape == (4, 1, 20000)
    with pytest.raises(ConfigError, match="follow one"):
        ss.stream([tmp_path, tmp_path], batch=4, format="mono", follow=True)


def test_nothing_rendered_yet_says_so(tmp_path: Path) -> None:
    info = make_info()
    create_or_open(tmp_path, info)
    extend_to(tmp_path, 8, info)
    with pytest.raises(ConfigError, match="no scene has been rendered yet; follow=True"):
        ss.stream(tmp_path, batch=4)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"batch": 8}, "saved with batch = 4, here it is 8"),
        ({"batch": 4, "seed": 1}, "saved with seed = 0, here it is 1"),
        ({"batch": 4, "crop_s": 1.0}, "saved with crop_samples = 20000, here it is 8000"),
    ],
)
def test_a_state_of_another_order_is_refused(
    folder: Path, made: dict[str, Any], message: str
) -> None:
    state = ss.stream(folder, batch=4).state_dict()
    with pytest.raises(ConfigError, match=message):
        resumed(state, folder, made)


def test_a_state_of_another_dataset_or_version_is_refused(folder: Path, tmp_path: Path) -> None:
    make_dataset(tmp_path, 44, seed=1)
    state = ss.stream(folder, batch=4).state_dict()
    with pytest.raises(ConfigError, match="of another dataset"):
        resumed(state, tmp_path, {"batch": 4})
    with pytest.raises(ConfigError, match="version 0; must be 1"):
        resumed({**state, "version": 0}, folder, {"batch": 4})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: None, "got None; must be what"),
        (lambda state: {"version": 1}, "state of a stream.batch: missing key"),
        (lambda state: {**state, "step": -1}, "step = -1; must be at least 0"),
        (lambda state: {**state, "step": 1.0}, "stream.step: got 1.0, must be a whole number"),
        (lambda state: {**state, "epoch": "1"}, "stream.epoch: got '1', must be a whole number"),
        (lambda state: {**state, "datasets": []}, "of 0 datasets, here are 1"),
        (lambda state: {**state, "datasets": None}, "stream.datasets: got None, must be a list"),
        (lambda state: {**state, "datasets": [{}]}, r"datasets\[0\].identity: missing key"),
        (lambda state: {**state, "extra": 1}, "stream.extra: unknown key"),
    ],
)
def test_garbage_for_a_state_is_named_and_changes_nothing(
    folder: Path, change: Any, message: str
) -> None:
    stream = ss.stream(folder, batch=4)
    list(islice(stream, 2))
    state = stream.state_dict()
    with pytest.raises(ConfigError, match=message):
        stream.load_state_dict(change(state))
    assert stream.state_dict() == state


@pytest.mark.parametrize("epoch", [-1, 1.5, None])
def test_an_epoch_that_cannot_be_is_refused(folder: Path, epoch: Any) -> None:
    with pytest.raises(ConfigError, match="epoch = "):
        ss.stream(folder, batch=4).set_epoch(epoch)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loop_goes_on_from_a_state_that_is_loaded_in_it(folder: Path, workers: int) -> None:
    stream = ss.stream(folder, crop_s=0.5, batch=4, workers=workers)
    start = stream.state_dict()
    steps = []
    for batch in stream:
        steps.append(batch.step)
        if len(steps) == 3:
            stream.load_state_dict({**start, "step": 8})
    assert steps == [0, 1, 2, 8, 9, 10]
    stream.close()


def test_a_killed_worker_is_an_error_and_no_batch_is_lost(folder: Path) -> None:
    expected = epochs(ss.stream(folder, crop_s=0.5, batch=4), 2)
    stream = ss.stream(folder, crop_s=0.5, batch=4, workers=2)
    found = [seen(next(iter(stream)))]
    os.kill(children_of(stream)[0].pid, signal.SIGKILL)
    with pytest.raises(StoreError, match=r"exited unexpectedly.* killed.* iterating again"):
        found.extend(seen(batch) for batch in batches(stream))
    while len(found) < len(expected):
        found += [seen(batch) for batch in stream]
    assert found == expected
    stream.close()


def children_of(stream: Any) -> Any:
    return stream._loader[0]._iterator._workers


def test_a_forked_process_does_not_end_the_workers(folder: Path) -> None:
    stream = ss.stream(folder, crop_s=0.5, batch=4, workers=1)
    batches_left = iter(stream)
    next(batches_left)
    if (child := os.fork()) == 0:
        stream.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(list(batches_left)) == 10
    stream.close()


def test_copies_of_a_stream_go_on_by_themselves(folder: Path) -> None:
    stream = ss.stream(folder, crop_s=0.5, batch=4, workers=1)
    list(islice(stream, 2))
    made = [copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))]
    while made:
        one = made.pop()
        assert one.digest == stream.digest
        assert next(iter(one)).step == 2
        workers = children_of(one)
        del one
        assert not any(worker.is_alive() for worker in workers)
    assert next(iter(stream)).step == 2
    stream.close()


def test_ranks_that_see_different_data_have_different_digests(folder: Path, tmp_path: Path) -> None:
    one, other = (ss.stream(folder, batch=4, rank=rank, world=2) for rank in (0, 1))
    assert one.digest == other.digest
    assert one.digest != ss.stream(folder, batch=4, where={"room": "room-1"}).digest


@pytest.mark.parametrize("workers", [0, 1])
def test_streams_are_read_from_object_stores(folder: Path, s3: str, workers: int) -> None:
    info = make_info()
    create_or_open(s3, info)
    stop = extend_to(s3, 8, info)
    for shard in (0, 1):
        write_shard(s3, info, shard, stop)
    here = ss.stream(folder, crop_s=1.0, batch=4, shuffle=False)
    there = ss.stream(s3, crop_s=1.0, batch=4, shuffle=False, workers=workers)
    for one, other in zip(islice(here, 2), there, strict=True):
        assert one.ids == other.ids
        assert torch.equal(one.valid, other.valid)
        expected = open_dataset(s3)
        for row, (_, index, start) in enumerate(seen(other)[2]):
            audio = expected[index].audio[:, start : start + RATE]
            assert np.array_equal(other.waveform()[row].numpy(), audio)
    there.close()
