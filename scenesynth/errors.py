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


class StoreError(RuntimeError):
    """A dataset that cannot be created, read or extended as asked."""


class CorruptShardError(StoreError):
    """Committed bytes that are missing or differ from their commit record."""
