"""Batches for training, as torch tensors.

A `Stream` knows at which batch it is and goes on from there. Which scenes a batch holds, and where
they are cut, is decided by `scenesynth.store.order` and travels to the workers as a short list;
they read, cut and hand over int16 in shared memory. So workers change nothing but the rate.

`scenesynth.store.streaming.stream` makes one, and checks what is asked for.
"""

from __future__ import annotations

import itertools
import multiprocessing
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Final

import xxhash

from scenesynth.errors import ConfigError

try:
    import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ConfigError(
        "streams need torch, which is missing; install it: pip install 'scenesynth[torch]'"
    ) from None
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from scenesynth.store.arguments import whole
from scenesynth.store.batch import Batch as Batch
from scenesynth.store.batch import BatchMaker
from scenesynth.store.order import Finder, Order, Picks, Rules
from scenesynth.store.part import Part
from scenesynth.store.saved import STATE_VERSION, SavedState
from scenesynth.store.slots import Slots
from scenesynth.store.workers import (
    Ahead,
    Done,
    Environment,
    Jobs,
    NotYet,
    Sampler,
    end_workers,
    started_here,
    unchanged,
    worker_died,
)

_PREFETCH: Final = 3
_SLOTS_HERE: Final = 3
"""Batches that the user may hold before memory has to be taken anew."""


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
        self._pinned_order: Finder | None = None
        self._make = BatchMaker(tuple(part.source for part in parts), n_samples)
        self._loader = self._no_workers()
        self._ahead: Ahead | None = None
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
        saved = SavedState.read(state)
        for name, here in self._plain_rules().items():
            if (then := saved.rule(name)) != here:
                raise ConfigError(
                    f"state of a stream: saved with {name} = {then!r}, here it is {here!r}; "
                    f"give the value of the saved one"
                )
        if len(saved.datasets) != len(self._parts):
            raise ConfigError(
                f"state of a stream: of {len(saved.datasets)} datasets, here are {len(self._parts)}"
            )
        pinned = [part.pinned(of) for part, of in zip(self._parts, saved.datasets, strict=True)]
        self._ahead = None
        self._position = (saved.epoch, saved.step)
        self._pinned = self._pinned_order = None
        if saved.step and any(only is not None for only in pinned):
            self._pinned = (saved.epoch, pinned)
            self._pinned_order = self._order_of(pinned)

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch, unless it is the one at hand."""
        epoch = whole("epoch", epoch, 0)
        if epoch != self._position[0]:
            self._ahead = None
            self._position = (epoch, 0)

    def close(self) -> None:
        """End the workers; iterating again starts new ones."""
        self._ahead = None
        end_workers(self._loader)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is open or half worked out."""
        left = ("_loader", "_ahead", "_slots", "_order", "_pinned_order")
        return {name: value for name, value in self.__dict__.items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Inverse of `__getstate__`."""
        self.__dict__.update(state)
        self._loader, self._ahead, self._slots = self._no_workers(), None, None
        self._order = self._order_of(None)
        self._pinned_order = self._order_of(self._pinned[1]) if self._pinned else None

    def _no_workers(self) -> list[DataLoader]:
        """Where the loader of workers will be, which ends with this."""
        loader: list[DataLoader] = []
        weakref.finalize(self, end_workers, loader)
        return loader

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
        epoch = self._begin()[0]
        while (batch := self._next(ahead := self._being_read(), epoch)) is not None:
            self._position = ahead.position = self._after(epoch, batch.step)
            self._count()
            yield batch
            if self._position[0] != epoch:
                return
        ahead.position = self._begin()

    def _being_read(self) -> Ahead:
        """What workers read ahead from the position on; they are sent there if they are not."""
        if not started_here(self._loader):
            self.close()
        if self._ahead is None or self._ahead.position != self._position:
            self._ahead = Ahead(self._start(), self._begin())
        return self._ahead

    def _next(self, ahead: Ahead, epoch: int) -> Batch | None:
        """What the workers give next, if it is of this epoch."""
        while ahead.held is None:
            try:
                found = next(ahead.results, None)
            except BaseException as error:
                # What was under way is lost, and a loader would pass over it.
                self.close()
                if isinstance(error, RuntimeError) and "exited unexpectedly" in str(error):
                    raise worker_died(error) from error
                raise
            if isinstance(found, NotYet):
                self._find(*ahead.position)
                continue
            if isinstance(found, Exception):
                self.close()
                raise found
            if found is None:
                self._find(*ahead.position)
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
        return self._received(Done(facts, slot, None))

    def _received(self, done: Done) -> Batch:
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
            context.set_forkserver_preload([type(self).__module__])
            self._slots = self._new_slots(_PREFETCH * self._workers + _SLOTS_HERE)
            self._slots.share()
            loader = DataLoader(
                Jobs(self._make, self._slots.memory),
                batch_size=None,
                sampler=Sampler(self._begin, self._peek, self._slots),
                num_workers=self._workers,
                collate_fn=unchanged,
                multiprocessing_context=context,
                persistent_workers=True,
                prefetch_factor=_PREFETCH,
                generator=torch.Generator(),  # else it draws from the one of the training
                worker_init_fn=Environment([part.source.place for part in self._parts]),
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
        """A batch of this rank, waited for if need be; None after the last of an epoch.

        Raises:
            ConfigError: a dataset that was followed is complete, and there is not one batch.
            StoreError: nothing was rendered for as long as was allowed.
        """
        while isinstance(found := self._peek(epoch, step), str):
            if found == "the end":
                if step == 0 and not self._is_over(epoch):
                    raise ConfigError(
                        f"{self._parts[0].source.place}: is complete, and what matches split and "
                        f"filter does not fill a batch of {self._rules.batch}; ask for other "
                        f"scenes or a smaller batch"
                    )
                return None
            for part in self._parts:
                if part.follower is not None:
                    began = time.monotonic()
                    part.follower.wait(self._reading_per_s())
                    self._waited_s += time.monotonic() - began
        return found

    def _peek(self, epoch: int, step: int) -> Picks | str:
        if self._is_over(epoch):
            return "the end"
        order = self._order
        if self._pinned_order is not None and self._pinned and self._pinned[0] == epoch:
            order = self._pinned_order
        found = order.find(epoch, step)
        return found if isinstance(found, str) else found.of_rank(self._rank, self._world)

    def _is_over(self, epoch: int) -> bool:
        return self._epochs is not None and epoch >= self._epochs

    def _order_of(self, only: list[frozenset[int] | None] | None) -> Finder:
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
