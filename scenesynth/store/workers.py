"""Workers that read batches ahead: what they are told, what they give back, how they end."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from scenesynth.errors import StoreError
from scenesynth.store.batch import Batch, BatchMaker, Facts
from scenesynth.store.objects import ObjectPlace
from scenesynth.store.order import Picks
from scenesynth.store.slots import Slots


class NotYet:
    """In place of a batch: it has yet to be rendered."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is to read, and into which slot; None for fresh memory."""

    picks: Picks
    slot: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """What a worker has read: into a slot, or into memory that comes along."""

    facts: Facts
    slot: int | None
    audio: torch.Tensor | None


@dataclass(slots=True)
class Ahead:
    """What workers have read ahead.

    Attributes:
        results: batches, markers and errors, as they come.
        position: of the next batch.
        held: a batch that is the next epoch's.
    """

    results: Iterator[Any]
    position: tuple[int, int]
    held: Batch | None = None


class Sampler:
    """What workers are to read, from the position of a stream on and without end.

    It holds the stream weakly, which would otherwise live until its own workers end.
    """

    def __init__(
        self,
        begin: Callable[[], tuple[int, int]],
        peek: Callable[[int, int], Picks | str],
        slots: Slots,
    ) -> None:
        """Of a stream.

        Args:
            begin: its method that gives the position of the first.
            peek: its method that gives what is at a position, or why there is nothing.
            slots: where the samples go.
        """
        self._begin: Any = weakref.WeakMethod(begin)
        self._peek: Any = weakref.WeakMethod(peek)
        self._slots = slots

    def __iter__(self) -> Iterator[Job | NotYet]:
        # A loader comes here after its workers have done with what they were at.
        self._slots.reclaim()
        epoch, step = self._begin()()
        while True:
            found = self._peek()(epoch, step)
            if isinstance(found, Picks):
                yield Job(found, self._slots.take())
                step += 1
            elif found == "not yet":
                yield NotYet()
            elif step == 0:
                return
            else:
                epoch, step = epoch + 1, 0


class Jobs(Dataset):  # type: ignore[misc]
    """Does jobs, in a worker. Errors come back as they are."""

    def __init__(self, make: BatchMaker, memory: torch.Tensor) -> None:
        self._make = make
        self._memory = memory

    def __getitem__(self, job: Job | NotYet) -> Done | NotYet | Exception:
        if isinstance(job, NotYet):
            return job
        scenes = len(job.picks.index)
        try:
            if job.slot is not None:
                facts = self._make.read(job.picks, self._memory[job.slot, :scenes])
                return Done(facts, job.slot, None)
            audio = self._make.empty(scenes, shared=True)
            return Done(self._make.read(job.picks, audio), None, audio)
        except (StoreError, OSError) as error:
            return error


class Environment:
    """Tells a worker how to reach object stores.

    The server that workers are forked from has the environment of when it was started.
    """

    def __init__(self, places: Sequence[object]) -> None:
        found = [place.settings() for place in places if isinstance(place, ObjectPlace)]
        self._settings = dict(item for settings in found for item in settings)

    def __call__(self, worker: int) -> None:
        os.environ.update(self._settings)


def end_workers(loaders: list[DataLoader]) -> None:
    """End workers in good order.

    Left to the garbage collector, their queues may go first, and each is waited for in vain.
    """
    for loader in loaders:
        if loader._iterator is not None:
            # A forked process has no say over those of its parent, but could end them.
            loader._iterator._shutdown |= not _are_ours(loader)
            loader._iterator._shutdown_workers()
    loaders.clear()


def started_here(loaders: Sequence[DataLoader]) -> bool:
    """Whether this process, and not the one that it was forked from, has started workers."""
    return all(loader._iterator is None or _are_ours(loader) for loader in loaders)


def _are_ours(loader: DataLoader) -> bool:
    return all(worker._parent_pid == os.getpid() for worker in loader._iterator._workers)


def worker_died(error: BaseException) -> StoreError:
    """What to say when a worker has ended without a word."""
    return StoreError(
        f"{error}: a worker that reads ahead was killed, as the kernel does when memory runs out; "
        f"take fewer workers, smaller batches or shorter crops; iterating again, or a saved state, "
        f"goes on with the batch that was to come"
    )


def unchanged(found: Any) -> Any:
    """In place of a DataLoader's conversion to tensors."""
    return found
