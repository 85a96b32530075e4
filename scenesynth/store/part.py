"""A dataset as a part of a stream: its scenes, and what of them a saved position counts on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash

from scenesynth.errors import ConfigError
from scenesynth.store.crops import Contents
from scenesynth.store.follow import Follower
from scenesynth.store.order import Indices, Member, ranges
from scenesynth.store.saved import SavedPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One dataset of a stream.

    Attributes:
        identity: digest of its dataset.json.
        shards: scenes that take part, by shard; None where they are still being rendered.
        follower: where they are.
        promised: above all scene numbers.
    """

    source: Contents
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

    def pinned(self, saved: SavedPart) -> frozenset[int] | None:
        """Shards to go on with in the epoch of a saved state; None for all.

        Raises:
            ConfigError: the state is of other data.
        """
        name = self.source.place
        if saved.identity != self.identity:
            raise ConfigError(f"{name}: the saved state is of another dataset")
        if saved.digest is None or self.shards is None:
            if saved.promised != self.promised:
                raise ConfigError(
                    f"{name}: was to have {saved.promised} scenes when the state was saved, now "
                    f"{self.promised}; begin a new run"
                )
            return None
        if saved.digest == self.digest(self.shards):
            return None
        then = frozenset(n for first, stop in saved.shards or () for n in range(first, stop))
        if saved.digest != self.digest(self._only(then)):
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
