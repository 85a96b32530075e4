"""Batches for training, as torch tensors.

A `Stream` knows at which batch it is and goes on from there. Which scenes a batch holds, and where
they are cut, is decided by `scenesynth.store.order` and travels to the workers as a short list;
they read, cut and hand over int16 in shared memory. So workers change nothing but the rate.

`scenesynth.store.streaming.stream` makes one, and checks what is asked for.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from scenesynth.errors import ConfigError, StoreError
from scenesynth.store.arrays import CODECS
from scenesynth.store.crops import Crop, CropReader, Source
from scenesynth.store.follow import Follower
from scenesynth.store.objects import ObjectPlace
from scenesynth.store.order import Indices, Member, Order, Picks, Rules, ranges
from scenesynth.store.slots import Slots
from scenesynth.store.targets import Arrays, stack

STATE_VERSION: Final = 1
_PREFETCH: Final = 3
_SLOTS_HERE: Final = 3
"""Batches that the user may hold before memory has to be taken anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Crops of some scenes. B of them, with C channels and N samples.

    Attributes:
        audio: int16 [B, C, N]; float32 of datasets with that codec.
        gain: float32 [B].
        valid: int64 [B], samples that belong to the scene, from the first; zeros follow.
        dataset: int64 [B], which of the datasets.
        index: int64 [B], number of the scene, the column `index`.
        start: int64 [B], sample of the scene at which the crop begins.
        ids: names of the scenes.
        columns: float32 [B] for each column asked for; NaN for null.
        targets: see `scenesynth.store.targets`.
        step: counted from the beginning of the epoch.
        full_scale: what `audio` is divided by.
    """

    audio: torch.Tensor
    gain: torch.Tensor
    valid: torch.Tensor
    dataset: torch.Tensor
    index: torch.Tensor
    start: torch.Tensor
    ids: tuple[str, ...]
    columns: Mapping[str, torch.Tensor]
    targets: Mapping[str, torch.Tensor]
    epoch: int
    step: int
    full_scale: float

    def waveform(self) -> torch.Tensor:
        """Audio as float32 on its device: `audio / full_scale * gain`. Shape: [B, C, N]."""
        return self.audio.float().div_(self.full_scale).mul_(self.gain[:, None, None])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The same in page-locked memory."""
        return self._each(lambda tensor: tensor.pin_memory())

    def __len__(self) -> int:
        return len(self.ids)

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        changed: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, torch.Tensor):
                changed[item.name] = change(value)
            elif isinstance(value, Mapping):
                changed[item.name] = {name: change(tensor) for name, tensor in value.items()}
        return replace(self, **changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One dataset of a stream.

    Attributes:
        identity: digest of its dataset.json.
        shards: scenes that take part, by shard; None where they are still being rendered.
        follower: where they are.
        promised: above all scene numbers.
    """

    source: Source
    identity: str
    shards: tuple[Indices, ...] | None
    follower: Follower | None
    promised: int

    def member(self, only: frozenset[int] | None = None) -> Member:
        """What `Order` needs of it.

        Args:
            only: shards that there shall be.
        """
        if self.follower is not None:
            return Member(shards=self.follower.shards, size=None, promised=self.promised)
        shards = self._only(only)
        size = sum(len(scenes) for scenes in shards)
        return Member(shards=lambda: shards, size=size, promised=self.promised)

    def state(self) -> dict[str, Any]:
        """What of it decides the order, as plain data."""
        plain: dict[str, Any] = {"identity": self.identity, "promised": self.promised}
        if self.shards is not None:
            plain |= {"shards": ranges(self._numbers()), "digest": self.digest(self.shards)}
        return plain

    def pinned(self, saved: Mapping[str, Any]) -> frozenset[int] | None:
        """Shards to go on with in the epoch of a saved state; None for all.

        Raises:
            ConfigError: the state is of other data.
        """
        name = self.source.place
        if saved["identity"] != self.identity:
            raise ConfigError(f"{name}: the saved state is of another dataset")
        if "digest" not in saved or self.shards is None:
            if saved["promised"] != self.promised:
                raise ConfigError(
                    f"{name}: was to have {saved['promised']} scenes when the state was saved, now "
                    f"{self.promised}; begin a new run"
                )
            return None
        if saved["digest"] == self.digest(self.shards):
            return None
        then = frozenset(n for first, stop in saved["shards"] for n in range(first, stop))
        if saved["digest"] != self.digest(self._only(then)):
            raise ConfigError(
                f"{name}: scenes that the saved state counts on are gone, or others have come "
                f"among them (shards repaired or parked, scenes excluded, another split or "
                f"filter); put them back, or begin a new run"
            )
        return then

    def _only(self, numbers: frozenset[int] | None) -> tuple[Indices, ...]:
        assert self.shards is not None
        if numbers is None:
            return self.shards
        found = zip(self._numbers(), self.shards, strict=True)
        return tuple(scenes for number, scenes in found if number in numbers)

    def _numbers(self) -> list[int]:
        assert self.shards is not None
        size = self.source.info.shard_scenes
        return [int(scenes[0]) // size for scenes in self.shards]

    @staticmethod
    def digest(shards: tuple[Indices, ...]) -> str:
        """Digest of the scenes that take part."""
        whole = xxhash.xxh3_128()
        for scenes in shards:
            whole.update(np.ascontiguousarray(scenes, "<i8").tobytes())
        return str(whole.hexdigest())


class Stream(IterableDataset):  # type: ignore[misc]
    """Batches from where it is to the end of an epoch; iterating again gives the next one.

    It counts what it has handed out, also with `workers`, which read ahead. Where a DataLoader of
    the user's own holds it, with workers, those count for themselves: then `state_dict(batch)`
    tells the position after a batch, and `set_epoch` begins an epoch.

    Attributes:
        sample_rate: in hertz.
        format: name of the format.
        channel_names: of the format.
        classes: names of the target classes; of all events' classes where no targets are made.
        n_samples: length of the crops.
    """

    def __init__(
        self,
        parts: tuple[Part, ...],
        rules: Rules,
        *,
        n_samples: int,
        classes: tuple[str, ...],
        rank: int,
        world: int,
        workers: int,
        epochs: int | None,
        pin_memory: bool,
    ) -> None:
        self._parts = parts
        self._rules = rules
        self._rank, self._world = rank, world
        self._workers = workers
        self._epochs = epochs
        self._pins = pin_memory and torch.cuda.is_available()
        self._position = (0, 0)
        self._order = self._order_of(None)
        self._pinned: tuple[int, list[frozenset[int] | None]] | None = None
        self._pinned_order: Order | None = None
        self._make = BatchMaker(tuple(part.source for part in parts), n_samples)
        self._loader: list[DataLoader] = []
        weakref.finalize(self, _end_workers, self._loader)
        self._ahead: _Ahead | None = None
        self._slots: Slots | None = None
        self._handed_out = 0
        self._began: float | None = None
        self._waited_s = 0.0
        first = parts[0].source
        self.sample_rate = first.info.sample_rate
        self.format = first.format.name
        self.channel_names = first.format.channel_names
        self.classes = classes
        self.n_samples = n_samples

    @property
    def formats(self) -> tuple[str, ...]:
        """Formats that all datasets have."""
        names = [part.source.info.format_names for part in self._parts]
        return tuple(name for name in names[0] if all(name in others for others in names))

    @property
    def n_scenes(self) -> int:
        """Scenes of all datasets; where one is followed, as many as it will have at most."""
        return sum(
            part.promised if part.shards is None else sum(map(len, part.shards))
            for part in self._parts
        )

    @property
    def epoch(self) -> int:
        """Epoch of the next batch."""
        return self._position[0]

    @property
    def digest(self) -> str:
        """What decides the order, in a few letters: all ranks have to have the same."""
        text = repr([self._plain_rules(), [part.state() for part in self._parts]])
        return str(xxhash.xxh3_64_hexdigest(text.encode()))

    def __len__(self) -> int:
        """Batches of an epoch, the same for every rank."""
        found = self._order.n_batches
        if found is None:
            raise TypeError(
                f"{self._parts[0].source.place}: how many batches an epoch has is not known while "
                f"the dataset is being rendered (follow=True)"
            )
        return found

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        if worker is not None:
            return self._in_worker(worker.id, worker.num_workers)
        return self._here() if self._workers == 0 else self._from_workers()

    def state_dict(self, after: Batch | None = None) -> dict[str, Any]:
        """Position and what it counts on, as plain data.

        Args:
            after: a batch, for the position after it; else that after the last one handed out.
        """
        position = self._position if after is None else self._after(after.epoch, after.step)
        return {
            "version": STATE_VERSION,
            "epoch": position[0],
            "step": position[1],
            **self._plain_rules(),
            "datasets": [part.state() for part in self._parts],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a position that was saved, with any number of ranks and workers.

        A dataset that has grown since then gives its new scenes from the next epoch on.

        Raises:
            ConfigError: the state is of another order or other data.
        """
        if state.get("version") != STATE_VERSION:
            raise ConfigError(
                f"state of a stream: version {state.get('version')!r}; must be {STATE_VERSION}"
            )
        for name, here in self._plain_rules().items():
            if state[name] != here:
                raise ConfigError(
                    f"state of a stream: saved with {name} = {state[name]!r}, here it is {here!r}; "
                    f"give the value of the saved one"
                )
        if len(state["datasets"]) != len(self._parts):
            raise ConfigError(
                f"state of a stream: of {len(state['datasets'])} datasets, here are "
                f"{len(self._parts)}"
            )
        pinned = [
            part.pinned(saved) for part, saved in zip(self._parts, state["datasets"], strict=True)
        ]
        self._ahead = None
        self._position = (state["epoch"], state["step"])
        self._pinned = self._pinned_order = None
        if state["step"] and any(only is not None for only in pinned):
            self._pinned = (state["epoch"], pinned)
            self._pinned_order = self._order_of(pinned)

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch."""
        self._ahead = None
        self._position = (epoch, 0)

    def close(self) -> None:
        """End the workers; iterating again starts new ones."""
        self._ahead = None
        _end_workers(self._loader)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is open or half worked out."""
        left = ("_loader", "_ahead", "_slots", "_order", "_pinned_order")
        return {name: value for name, value in self.__dict__.items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Inverse of `__getstate__`."""
        self.__dict__.update(state)
        self._loader, self._ahead, self._slots = [], None, None
        self._order = self._order_of(None)
        self._pinned_order = self._order_of(self._pinned[1]) if self._pinned else None

    def _here(self) -> Iterator[Batch]:
        while (found := self._find(*self._begin())) is not None:
            batch = self._read(found)
            self._position = self._after(found.epoch, found.step)
            self._count()
            yield batch
            if self._position[0] != found.epoch:
                return

    def _in_worker(self, number: int, of: int) -> Iterator[Batch]:
        """Every `of`-th batch: a DataLoader takes them in turn, so it gives them in order."""
        epoch, step = self._begin()
        for mine in itertools.count(step + number, of):
            if (found := self._find(epoch, mine)) is None:
                break
            audio = self._make.empty(len(found.index), shared=True)
            yield self._make.batch(self._make.read(found, audio), audio)
        self._position = (epoch + 1, 0)

    def _from_workers(self) -> Iterator[Batch]:
        """Batches that workers read ahead, also across the ends of epochs."""
        if self._ahead is None or self._ahead.position != self._position:
            self._ahead = _Ahead(self._start(), self._begin())
        ahead, epoch = self._ahead, self._begin()[0]
        while (batch := self._next(ahead, epoch)) is not None:
            self._position = ahead.position = self._after(epoch, batch.step)
            self._count()
            yield batch
            if self._position[0] != epoch or self._ahead is not ahead:
                return
        ahead.position = self._begin()

    def _next(self, ahead: _Ahead, epoch: int) -> Batch | None:
        """What the workers give next, if it is of this epoch."""
        while ahead.held is None:
            found = next(ahead.results, None)
            if isinstance(found, _NotYet):
                self._find(*ahead.position)
                continue
            if isinstance(found, Exception):
                self.close()
                raise found
            if found is None:
                return None
            ahead.held = self._received(found)
        if ahead.held.epoch != epoch:
            return None
        batch, ahead.held = ahead.held, None
        return batch

    def _read(self, picks: Picks) -> Batch:
        """A batch, read in this process."""
        if self._slots is None:
            self._slots = self._new_slots(_SLOTS_HERE)
        if (slot := self._slots.take()) is None:
            audio = self._make.empty(len(picks.index), shared=False)
            return self._pinned_if_asked(self._make.batch(self._make.read(picks, audio), audio))
        try:
            facts = self._make.read(picks, self._slots.memory[slot, : len(picks.index)])
        except BaseException:
            self._slots.reclaim()
            raise
        return self._received(_Done(facts, slot, None))

    def _received(self, done: _Done) -> Batch:
        """The batch of what was read."""
        audio = done.audio
        if done.slot is not None:
            assert self._slots is not None
            audio = self._slots.lend(done.slot)[: len(done.facts.ids)]
        assert audio is not None
        return self._pinned_if_asked(self._make.batch(done.facts, audio))

    def _pinned_if_asked(self, batch: Batch) -> Batch:
        return batch.pin_memory() if self._pins else batch

    def _new_slots(self, count: int) -> Slots:
        scenes = self._rules.batch // self._world
        return Slots(count, (scenes, *self._make.shape), self._make.dtype)

    def _start(self) -> Iterator[Any]:
        """What workers give from here on; they are started if need be."""
        if not self._loader:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([__name__])
            self._slots = self._new_slots(_PREFETCH * self._workers + _SLOTS_HERE)
            self._slots.share()
            loader = DataLoader(
                _Jobs(self._make, self._slots.memory),
                batch_size=None,
                sampler=_Sampler(self, self._slots),
                num_workers=self._workers,
                collate_fn=_unchanged,
                multiprocessing_context=context,
                persistent_workers=True,
                prefetch_factor=_PREFETCH,
                generator=torch.Generator(),  # else it draws from the one of the training
                worker_init_fn=_Environment(self._parts),
            )
            self._loader.append(loader)
        return iter(self._loader[0])

    def _begin(self) -> tuple[int, int]:
        """Position of the next batch, which may be the first of the next epoch."""
        epoch, step = self._position
        if step and self._find(epoch, step) is None:
            epoch, step = epoch + 1, 0
            self._position = (epoch, step)
        return epoch, step

    def _find(self, epoch: int, step: int) -> Picks | None:
        """A batch of this rank, waited for if need be; None after the last of an epoch."""
        while isinstance(found := self._peek(epoch, step), str):
            if found == "the end":
                return None
            for part in self._parts:
                if part.follower is not None:
                    began = time.monotonic()
                    part.follower.wait(self._reading_per_s())
                    self._waited_s += time.monotonic() - began
        return found

    def _peek(self, epoch: int, step: int) -> Picks | str:
        if self._epochs is not None and epoch >= self._epochs:
            return "the end"
        order = self._order
        if self._pinned_order is not None and self._pinned and self._pinned[0] == epoch:
            order = self._pinned_order
        found = order.find(epoch, step)
        return found if isinstance(found, str) else found.of_rank(self._rank, self._world)

    def _order_of(self, only: list[frozenset[int] | None] | None) -> Order:
        """Order of all scenes, or of those of some shards of each dataset."""
        shards = only or [None] * len(self._parts)
        pairs = zip(self._parts, shards, strict=True)
        return Order([part.member(numbers) for part, numbers in pairs], self._rules)

    def _after(self, epoch: int, step: int) -> tuple[int, int]:
        """Position after a batch; that after the last one is the next epoch's first."""
        return (epoch + 1, 0) if self._peek(epoch, step + 1) == "the end" else (epoch, step + 1)

    def _reading_per_s(self) -> float:
        """Scenes a second that all ranks take while none has to be waited for; NaN at first."""
        if self._began is None or self._handed_out < 2:
            return float("nan")
        busy_s = time.monotonic() - self._began - self._waited_s
        return (self._handed_out - 1) * self._rules.batch / max(busy_s, 1e-9)

    def _count(self) -> None:
        """Count a batch that is handed out, for rates."""
        if self._began is None:
            self._began, self._waited_s = time.monotonic(), 0.0
        self._handed_out += 1

    def _plain_rules(self) -> dict[str, Any]:
        plain = {item.name: getattr(self._rules, item.name) for item in fields(self._rules)}
        plain["weights"] = None if self._rules.weights is None else list(self._rules.weights)
        return {**plain, "crop_samples": self.n_samples}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A batch without its samples, as plain arrays; see `Batch`."""

    picks: Picks
    gain: NDArray[np.float32]
    valid: NDArray[np.int64]
    start: NDArray[np.int64]
    ids: tuple[str, ...]
    columns: Arrays
    targets: Arrays


class BatchMaker:
    """Reads batches; travels to workers, and opens nothing before the first one.

    Attributes:
        shape: of the samples of a scene.
        dtype: of the samples.
    """

    def __init__(self, sources: tuple[Source, ...], n_samples: int) -> None:
        self._readers = [CropReader(source) for source in sources]
        self._n_samples = n_samples
        first = sources[0]
        self.shape = (first.format.n_channels, n_samples)
        self._codec = CODECS[first.info.codec]
        self.dtype = torch.int16 if self._codec.dtype == "int16" else torch.float32

    def read(self, picks: Picks, audio: torch.Tensor) -> Facts:
        """Read the samples of a batch into `audio`, and return what else there is of it.

        Raises:
            StoreError: a shard is missing or damaged, or the store refuses.
        """
        for number, reader in enumerate(self._readers):
            reader.prepare(picks.index[picks.dataset == number].tolist())
        places = zip(picks.dataset, picks.index, picks.unit, strict=True)
        crops = [
            self._readers[number].place(int(index), float(unit), self._n_samples)
            for number, index, unit in places
        ]
        samples = audio.numpy()
        for number, reader in enumerate(self._readers):
            mine = np.flatnonzero(picks.dataset == number)
            reader.read([crops[n] for n in mine], [samples[n] for n in mine])
        return Facts(
            picks=picks,
            gain=np.array([crop.gain for crop in crops], np.float32),
            valid=np.array([crop.valid for crop in crops], np.int64),
            start=np.array([crop.start for crop in crops], np.int64),
            ids=tuple(crop.id for crop in crops),
            columns={
                name: np.array([crop.column(name) for crop in crops], np.float32)
                for name in self._readers[0].source.columns
            },
            targets=self._targets(picks, crops),
        )

    def batch(self, facts: Facts, audio: torch.Tensor) -> Batch:
        """The batch of what was read."""
        return Batch(
            audio=audio,
            gain=torch.from_numpy(facts.gain),
            valid=torch.from_numpy(facts.valid),
            dataset=torch.from_numpy(facts.picks.dataset.copy()),
            index=torch.from_numpy(facts.picks.index.copy()),
            start=torch.from_numpy(facts.start),
            ids=facts.ids,
            columns=_tensors(facts.columns),
            targets=_tensors(facts.targets),
            epoch=facts.picks.epoch,
            step=facts.picks.step,
            full_scale=self._codec.full_scale,
        )

    def empty(self, scenes: int, *, shared: bool) -> torch.Tensor:
        """Fresh memory for the samples of some scenes."""
        audio = torch.empty((scenes, *self.shape), dtype=self.dtype)
        return audio.share_memory_() if shared else audio

    def _targets(self, picks: Picks, crops: list[Crop]) -> Arrays:
        if self._readers[0].source.targets is None:
            return {}
        pairs = zip(picks.dataset, crops, strict=True)
        return stack([self._readers[number].targets(crop) for number, crop in pairs])


class _NotYet:
    """In place of a batch: it has yet to be rendered."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What a worker is to read, and into which slot; None for fresh memory."""

    picks: Picks
    slot: int | None


@dataclass(frozen=True, slots=True)
class _Done:
    """What a worker has read: into a slot, or into memory that comes along."""

    facts: Facts
    slot: int | None
    audio: torch.Tensor | None


@dataclass(slots=True)
class _Ahead:
    """What workers have read ahead.

    Attributes:
        results: batches, markers and errors, as they come.
        position: of the next batch.
        held: a batch that is the next epoch's.
    """

    results: Iterator[Any]
    position: tuple[int, int]
    held: Batch | None = None


class _Sampler:
    """What workers are to read, from the position of a stream on and without end.

    It holds the stream weakly, which would otherwise live until its own workers end.
    """

    def __init__(self, stream: Stream, slots: Slots) -> None:
        self._stream = weakref.ref(stream)
        self._slots = slots

    def __iter__(self) -> Iterator[_Job | _NotYet]:
        # A loader comes here after its workers have done with what they were at.
        self._slots.reclaim()
        epoch, step = self._of_stream()._begin()
        while True:
            found = self._of_stream()._peek(epoch, step)
            if isinstance(found, Picks):
                yield _Job(found, self._slots.take())
                step += 1
            elif found == "not yet":
                yield _NotYet()
            elif step == 0:
                return
            else:
                epoch, step = epoch + 1, 0

    def _of_stream(self) -> Stream:
        stream = self._stream()
        assert stream is not None
        return stream


class _Jobs(Dataset):  # type: ignore[misc]
    """Does jobs, in a worker. Errors come back as they are."""

    def __init__(self, make: BatchMaker, memory: torch.Tensor) -> None:
        self._make = make
        self._memory = memory

    def __getitem__(self, job: _Job | _NotYet) -> _Done | _NotYet | Exception:
        if isinstance(job, _NotYet):
            return job
        scenes = len(job.picks.index)
        try:
            if job.slot is not None:
                facts = self._make.read(job.picks, self._memory[job.slot, :scenes])
                return _Done(facts, job.slot, None)
            audio = self._make.empty(scenes, shared=True)
            return _Done(self._make.read(job.picks, audio), None, audio)
        except (StoreError, OSError) as error:
            return error


class _Environment:
    """Tells a worker how to reach object stores.

    The server that workers are forked from has the environment of when it was started.
    """

    def __init__(self, parts: tuple[Part, ...]) -> None:
        places = [part.source.place for part in parts]
        found = [place.settings() for place in places if isinstance(place, ObjectPlace)]
        self._settings = dict(item for settings in found for item in settings)

    def __call__(self, worker: int) -> None:
        os.environ.update(self._settings)


def _end_workers(loaders: list[DataLoader]) -> None:
    """End workers in good order.

    Left to the garbage collector, their queues may go first, and each is waited for in vain.
    """
    for loader in loaders:
        if loader._iterator is not None:
            loader._iterator._shutdown_workers()
    loaders.clear()


def _unchanged(found: Any) -> Any:
    return found


def _tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
