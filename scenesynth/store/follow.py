"""Reading along while a dataset is being rendered.

Shards are taken in the order of their numbers, whatever order they are finished in; each is waited
for. Parked ones hold nothing and are passed over. So what is read depends on the dataset alone, and
is what is read of it once it is complete. How many scenes there will be is decided by the extents
when the dataset is opened: do not extend it at the moment at which training begins.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.errors import StoreError
from scenesynth.store.commit import list_commits, read_commit
from scenesynth.store.reader import Dataset
from scenesynth.store.selection import Selection

logger = logging.getLogger(__name__)

FOLLOW_TIMEOUT_S: Final = 1800.0
POLL_S: Final = 0.5
_POLL_SHARE: Final = 10.0
"""A listing is not asked for again before ten times the time that it took."""
_TELL_EVERY_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What is waited for.

    Attributes:
        shard: the first that is not committed.
        committed, promised: shards that are, and that will be.
        reading_per_s: scenes a second that are read while none has to be waited for; NaN before
            any was.
        rendered_per_s: scenes a second that have been committed since the dataset was opened.
        waited_s: since the last commit.
    """

    shard: int
    committed: int
    promised: int
    reading_per_s: float
    rendered_per_s: float
    waited_s: float

    def __str__(self) -> str:
        reading = (
            "" if np.isnan(self.reading_per_s) else f"reading {self.reading_per_s:.0f} scenes/s, "
        )
        return (
            f"waiting for shard {self.shard} ({self.committed} of {self.promised} committed): "
            f"{reading}rendered {self.rendered_per_s:.1f} scenes/s"
        )


OnWait = Callable[[Waiting], None]


def log_waiting(waiting: Waiting) -> None:
    """Log what is waited for."""
    logger.warning("%s", waiting)


class Follower:
    """Shards of a dataset as they are committed."""

    def __init__(
        self,
        dataset: Dataset,
        selection: Selection,
        timeout_s: float = FOLLOW_TIMEOUT_S,
        on_wait: OnWait = log_waiting,
    ) -> None:
        self._dataset = dataset
        self._selection = selection
        self._timeout_s = timeout_s
        self._on_wait = on_wait
        self._n_shards = -(-dataset.n_promised // dataset.info.shard_scenes)
        self._found: list[NDArray[np.int64]] = []
        self._committed = {commit.shard for commit in dataset.commits}
        self._began_with = len(self._committed)
        self._began = self._changed = self._polled = time.monotonic()
        self._poll_s = POLL_S
        self._told = 0.0

    @property
    def complete(self) -> bool:
        """Whether all shards have been found."""
        return len(self._found) == self._n_shards

    def shards(self) -> Iterator[NDArray[np.int64] | None]:
        """Scenes of each shard that take part; None as often as the next one is not there."""
        for shard in range(self._n_shards):
            while shard >= len(self._found):
                if not self._is_there(shard):
                    yield None
                    continue
                commit = read_commit(self._dataset.place, shard)
                self._found.append(self._selection.of_commit(self._dataset, commit))
            yield self._found[shard]

    def wait(self, reading_per_s: float = float("nan")) -> None:
        """Wait until it is worth asking again; tell now and then what for.

        Raises:
            StoreError: nothing was committed for as long as was allowed.
        """
        waited_s = time.monotonic() - self._changed
        if waited_s > self._timeout_s:
            raise StoreError(self._gave_up(waited_s))
        now = time.monotonic()
        if now - self._told > _TELL_EVERY_S:
            self._told = now
            self._on_wait(self._waiting(reading_per_s, waited_s))
        time.sleep(min(self._poll_s, max(self._timeout_s - waited_s, 0.0) + 0.01))

    def _is_there(self, shard: int) -> bool:
        if shard not in self._committed and time.monotonic() - self._polled >= self._poll_s:
            self._poll()
        return shard in self._committed

    def _poll(self) -> None:
        began = time.monotonic()
        committed = set(list_commits(self._dataset.place))
        self._polled = time.monotonic()
        self._poll_s = max(POLL_S, _POLL_SHARE * (self._polled - began))
        if len(committed) > len(self._committed):
            self._changed = self._polled
        self._committed = committed

    def _waiting(self, reading_per_s: float, waited_s: float) -> Waiting:
        scenes = (len(self._committed) - self._began_with) * self._dataset.info.shard_scenes
        return Waiting(
            shard=len(self._found),
            committed=len(self._committed),
            promised=self._n_shards,
            reading_per_s=reading_per_s,
            rendered_per_s=scenes / max(time.monotonic() - self._began, 1e-9),
            waited_s=waited_s,
        )

    def _gave_up(self, waited_s: float) -> str:
        place = self._dataset.place
        return (
            f"{place}: no shard was committed for {waited_s:.0f} s, and shard {len(self._found)} "
            f"is missing ({len(self._committed)} of {self._n_shards} are there): nobody seems to "
            f"be rendering. Give the `scenesynth render` command of this dataset again, which goes "
            f"on where it stopped, and resume the training; a follow_timeout_s of more than "
            f"{self._timeout_s:g} waits longer"
        )
