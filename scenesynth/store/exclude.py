"""Scenes that a user has dropped from a dataset, without touching its data.

`exclude/<n>.json` are lists that are only ever added: each excludes scenes, or takes an earlier
exclusion back. For every scene the last list that names it counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from scenesynth.errors import CorruptShardError
from scenesynth.store.commit import explained
from scenesynth.store.layout import seal, unseal
from scenesynth.store.places import Root, place_of
from scenesynth.store.schema import SCHEMA_VERSION

EXCLUDE_FOLDER: Final = "exclude"

Action = Literal["exclude", "include"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludeList:
    """One list: what it does to which scenes, and why.

    Attributes:
        scenes: ids by number.
    """

    action: Action
    scenes: Mapping[int, str]
    reason: str = ""


def read_lists(root: Root) -> list[ExcludeList]:
    """The lists of a dataset, in order.

    Raises:
        CorruptShardError: one is missing or damaged.
    """
    place = place_of(root)
    keys = {key for key in place.list(EXCLUDE_FOLDER) if key.endswith(".json")}
    lists: list[ExcludeList] = []
    while len(lists) < len(keys):
        key = _key(len(lists))
        if key not in keys:
            raise CorruptShardError(
                f"{place.locate(key)}: missing, though later lists are there; put it back from a "
                f"copy"
            )
        lists.append(_parse(unseal(place.read(key), place.locate(key))))
    return lists


def read_excluded(root: Root) -> dict[int, str]:
    """Ids of the excluded scenes by number, rising.

    Raises:
        CorruptShardError: a list is missing or damaged.
    """
    found: dict[int, str] = {}
    for item in read_lists(root):
        if item.action == "exclude":
            found |= item.scenes
        else:
            found = {n: name for n, name in found.items() if n not in item.scenes}
    return dict(sorted(found.items()))


def add_list(root: Root, item: ExcludeList) -> str:
    """Add a list after those that are there; its key.

    Raises:
        StoreError: no space, read-only, no permission.
    """
    data = seal(
        {
            "schema": SCHEMA_VERSION,
            "action": item.action,
            "scenes": {name: number for number, name in sorted(item.scenes.items())},
            "reason": item.reason,
        }
    )
    number = len(read_lists(root))
    with explained(root):
        while not place_of(root).put_once(_key(number), data):
            number += 1
    return _key(number)


def _parse(body: Mapping[str, object]) -> ExcludeList:
    scenes, action = body["scenes"], body["action"]
    assert isinstance(scenes, dict)
    return ExcludeList(
        action="include" if action == "include" else "exclude",
        scenes={number: name for name, number in scenes.items()},
        reason=str(body["reason"]),
    )


def _key(number: int) -> str:
    return f"{EXCLUDE_FOLDER}/{number}.json"
