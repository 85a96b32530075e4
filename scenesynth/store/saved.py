"""The position of a stream as it is saved, read back strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from scenesynth.errors import ConfigError
from scenesynth.records import from_plain
from scenesynth.store.arguments import whole

STATE_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPart:
    """What a saved position counts on of one dataset; see `Part.state`.

    Attributes:
        shards: half-open ranges of their numbers; None where it was still being rendered.
        digest: of the scenes that took part.
    """

    identity: str
    promised: int
    shards: tuple[tuple[int, int], ...] | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedState:
    """A position, the rules of the order, and what it counts on of each dataset."""

    version: int
    epoch: int
    step: int
    seed: int
    batch: int
    group: int
    shuffle: bool
    weights: tuple[float, ...] | None
    drop_last: bool
    crop_samples: int
    datasets: tuple[SavedPart, ...]

    @classmethod
    def read(cls, state: object) -> Self:
        """Of what `Stream.state_dict` gave.

        Raises:
            ConfigError: it is none, or one of another version; names what is missing or wrong.
        """
        what = "state of a stream"
        if not isinstance(state, Mapping):
            raise ConfigError(f"{what}: got {state!r}; must be what state_dict() gave")
        if (version := state.get("version")) != STATE_VERSION:
            raise ConfigError(f"{what}: version {version!r}; must be {STATE_VERSION}")
        saved = from_plain(cls, dict(state), what)
        whole(f"{what}: epoch", saved.epoch, 0)
        whole(f"{what}: step", saved.step, 0)
        return saved

    def rule(self, name: str) -> Any:
        """One of the rules of the order, as plain data."""
        value = getattr(self, name)
        return list(value) if isinstance(value, tuple) else value
