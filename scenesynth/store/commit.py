"""The commit record of a shard, which makes it visible.

Every key is given once, and whoever finds one taken adopts what is there. The commit record comes
last, so a crash at any instant leaves nothing that a reader sees, or a whole shard; the next
attempt adopts what is already there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import xxhash

from scenesynth.errors import CorruptShardError, RefusedError, StoreError
from scenesynth.store.layout import COMMITS, commit_key, seal, unseal
from scenesynth.store.places import Place, Root, place_of
from scenesynth.store.schema import SCHEMA_VERSION

_COMMIT: Final = re.compile(rf"{COMMITS}/(0|[1-9][0-9]*)\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """Size and hash of a committed file."""

    size: int
    xxh3: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What is known of a finished shard.

    Attributes:
        first, stop: scenes [first, stop).
        status: "ok", or "parked": rendering failed for good and the shard holds nothing.
        skipped: scenes of the shard that hold silence and have the status "skipped".
        files: committed files by path inside the dataset.
        versions: packages that wrote the shard.
        reason: why a shard is parked.
        log: times and places of the rendering; not part of the shard's identity.
    """

    shard: int
    first: int
    stop: int
    status: Literal["ok", "parked"] = "ok"
    skipped: tuple[int, ...] = ()
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    log: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_usable(self) -> int:
        """Scenes of the shard that a reader sees."""
        return 0 if self.status == "parked" else self.stop - self.first - len(self.skipped)

    @property
    def n_bytes(self) -> int:
        """Bytes of the committed files."""
        return sum(record.size for record in self.files.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema": SCHEMA_VERSION,
            "shard": self.shard,
            "first": self.first,
            "stop": self.stop,
            "status": self.status,
            "skipped": list(self.skipped),
            "files": {k: {"size": f.size, "xxh3": f.xxh3} for k, f in self.files.items()},
            "versions": dict(self.versions),
            "reason": self.reason,
            "log": dict(self.log),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Commit:
        """Inverse of `to_dict`."""
        plain = {key: value for key, value in data.items() if key != "schema"}
        plain["skipped"] = tuple(plain["skipped"])
        plain["files"] = {key: FileRecord(**record) for key, record in plain["files"].items()}
        return cls(**plain)


def record_of(data: bytes) -> FileRecord:
    """Size and hash of a file's bytes."""
    return FileRecord(size=len(data), xxh3=str(xxhash.xxh3_128_hexdigest(data)))


def put_commit(root: Root, commit: Commit) -> Commit:
    """Publish a commit record and return the one that holds: ours, or an earlier one."""
    if place_of(root).put_once(commit_key(commit.shard), seal(commit.to_dict())):
        return commit
    return read_commit(root, commit.shard)


def read_commit(root: Root, shard: int) -> Commit:
    """Commit record of a shard.

    Raises:
        CorruptShardError: the record is damaged.
        FileNotFoundError: the shard is not committed.
    """
    place = place_of(root)
    return _parsed(place, shard, place.read(commit_key(shard)))


def read_commits(root: Root, without: Collection[int] = ()) -> Iterator[tuple[int, Commit]]:
    """Numbers and records of the committed shards, rising, but for some.

    Raises:
        CorruptShardError: a record is damaged.
    """
    place = place_of(root)
    shards = [shard for shard in list_commits(place) if shard not in without]
    records = place.read_all([commit_key(shard) for shard in shards])
    return (
        (shard, _parsed(place, shard, data)) for shard, data in zip(shards, records, strict=True)
    )


def is_committed(root: Root, shard: int) -> bool:
    """Whether a shard has a commit record."""
    return place_of(root).exists(commit_key(shard))


def list_commits(root: Root) -> list[int]:
    """Numbers of the committed shards, parked ones too, rising; from a single listing."""
    keys = place_of(root).list(COMMITS)
    return sorted(int(name[1]) for key in keys if (name := _COMMIT.fullmatch(key)))


@contextmanager
def explained(root: Root, *, always: bool = False) -> Iterator[None]:
    """Turn a lasting error in writing into one that says what is safe and what to do.

    Errors that may pass (a network file system that stumbles, a store that is slow) stay `OSError`,
    so that the caller tries again.

    Args:
        always: nobody will try again: take every error for a lasting one.

    Raises:
        RefusedError: no space, read-only, no permission.
    """
    place = place_of(root)
    try:
        yield
    except RefusedError as error:
        if error.verb != "write":
            raise
        raise error.counted(_count_commits(place)) from error
    except OSError as error:
        if (refusal := place.refusal(error)) is None:
            if not always:
                raise
            why = error.strerror or str(error)
            where = str(error.filename or place)
            refusal = RefusedError(where, "write", why, "give the same command again")
        raise refusal.counted(_count_commits(place)) from error


def _count_commits(place: Place) -> int | None:
    try:
        return len(list_commits(place))
    except (OSError, StoreError):
        return None


def _parsed(place: Place, shard: int, data: bytes) -> Commit:
    key = commit_key(shard)
    try:
        return Commit.from_dict(unseal(data, place.locate(key)))
    except CorruptShardError as error:
        raise CorruptShardError(
            f"{error}, or have the shard checked and committed anew: {place.removal([key])} and "
            f"give the same `scenesynth render` command again"
        ) from None
