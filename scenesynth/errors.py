"""Errors that callers catch, each saying what, got, expected, where and the way out.

Everything else raises the built-in ValueError, TypeError or FileNotFoundError.
"""

from __future__ import annotations


class ConfigError(ValueError):
    """A recipe, spec, option or manifest is wrong: the user has to change it."""


class UnreachableT60Error(ConfigError):
    """A reverberation time that no absorption in this room and air can produce."""


class ContentError(ValueError):
    """A scene cannot be made from what was drawn: a bad clip or an impossible placement.

    The only kind of failure that changes data: the scene is drawn again with `attempt` + 1.
    """


class ClipError(ContentError):
    """A clip that cannot be used: undecodable, too short, silent, not finite, or changed."""


class PlacementError(ContentError):
    """A constraint on positions or times that bounded search could not satisfy."""


class TrainingError(RuntimeError):
    """A run of the trainer that cannot go on: its numbers are not finite any more."""


class StoreError(RuntimeError):
    """A dataset that cannot be created, read or extended as asked."""


class CorruptShardError(StoreError):
    """Committed bytes that are missing or differ from their commit record."""


class RefusedError(StoreError):
    """A file system or an object store refuses, and will not do otherwise if asked again.

    Attributes:
        where: file or URI.
        verb: what was refused: to "read", "write", "list" or "delete".
        why: in words.
        remedy: what the user can do.
        committed: committed shards, which stay as they are; None where they could not be counted.
    """

    def __init__(
        self, where: str, verb: str, why: str, remedy: str, committed: int | None = 0
    ) -> None:
        super().__init__(where, verb, why, remedy, committed)
        self.where = where
        self.verb = verb
        self.why = why
        self.remedy = remedy
        self.committed = committed

    def __str__(self) -> str:
        safe = ""
        if self.committed is None:
            safe = "; what is committed is whole and stays readable"
        elif self.committed:
            safe = f"; {self.committed} committed shards are whole and stay readable"
        return f"{self.where}: cannot {self.verb}: {self.why}{safe}. To go on: {self.remedy}"

    def counted(self, committed: int | None) -> RefusedError:
        """The same, telling how many shards are committed."""
        return RefusedError(self.where, self.verb, self.why, self.remedy, committed)
