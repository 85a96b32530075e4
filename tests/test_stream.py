"""Laws of streams: order, crops and batches are pure functions; positions are exact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_helpers import RATE, make_dataset, make_info, make_scene

import scenesynth as ss
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
            assert other.audio.is_shared()
    assert here.state_dict() == there.state_dict()
    there.close()


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


def test_epochs_come_to_an_end_when_asked(folder: Path) -> None:
    stream = ss.stream(folder, crop_s=0.5, batch=8, epochs=1)
    assert len(list(stream)) == len(stream) == 5
    assert list(stream) == []


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


def test_skipped_and_excluded_scenes_are_left_out(tmp_path: Path) -> None:
    make_dataset(tmp_path, 12)
    add_list(tmp_path, ExcludeList(action="exclude", scenes={5: "train-00000005"}))
    stream = ss.stream(tmp_path, crop_s=0.5, batch=1)
    assert stream.n_scenes == len(stream) == 11
    assert 5 not in [index for _, _, ((_, index, _),) in epochs(stream, 1)]


def test_filters_choose_by_columns(folder: Path) -> None:
    ds = open_dataset(folder)
    rooms = ds.scenes["room"].to_pylist()
    stream = ss.stream(ds, crop_s=0.5, batch=1, where={"room": ["room-1"], "index": (8, None)})
    found = sorted(index for _, _, ((_, index, _),) in epochs(stream, 1))
    assert found == [i for i, room in enumerate(rooms) if room == "room-1" and i >= 8]
    assert ss.stream(ds, batch=1, where={"snr_achieved_db": None}).n_scenes == 44
    assert ss.stream(ds, batch=1, where={"room": "room-2"}).n_scenes == rooms.count("room-2")
