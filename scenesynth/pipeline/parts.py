"""A run divided among jobs that know nothing of each other.

Part i of n has the shards k with k mod n = i - 1. So all parts begin with early shards, and those
who follow the dataset wait for none of them; a shard stays with its part when the dataset grows.
Parts may overlap, or be given twice: a shard that two render is committed once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from scenesynth.errors import ConfigError

_PART = re.compile(r"([0-9]+)/([0-9]+)")


@dataclass(frozen=True, slots=True)
class Part:
    """Part `number` of `count`, from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, shard: int) -> bool:
        """Whether a shard is of this part."""
        return shard % self.count == self.number - 1


def parse_part(text: str) -> Part:
    """The part of "i/n".

    Raises:
        ConfigError: not of that form, or not 1 <= i <= n.
    """
    match = _PART.fullmatch(text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(f"--part {text}: must be I/N with 1 <= I <= N, such as 2/8")
    return Part(int(match[1]), int(match[2]))
