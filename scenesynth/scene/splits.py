"""Which split a scene or shard belongs to, and which room it plays in.

Rooms are numbered inside a split and drawn from a key that holds the split's name, so no two
splits share one. A split with `rooms: n` lets its scenes take turns in n rooms (scene i in room
i mod n); without, every scene has a room of its own.
"""

from __future__ import annotations

from functools import cache, lru_cache

from scenesynth.distributions import Draws
from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean
from scenesynth.room.family import DrawnRoom, draw_room
from scenesynth.scene.recipe_records import Recipe, Split
from scenesynth.seeds import rng


def find_split(recipe: Recipe, split: str) -> Split:
    """The recipe's split of that name.

    Raises:
        ConfigError: it has none.
    """
    named = recipe.splits.named
    if split not in named:
        raise ConfigError(
            f"recipe {recipe.name}: no split {split!r}{did_you_mean(split, named)}; "
            f"it has {', '.join(named)}"
        )
    return named[split]


def scene_split(recipe: Recipe, seed: int, shard: int) -> str:
    """Split of a shard where one dataset holds all splits: every shard is of one split.

    The shard goes to the split that lags most behind its share, so that after n shards every split
    has its share of n to within two shards. The seed shifts the sequence.
    """
    if shard < 0:
        raise ValueError(f"shard = {shard}; must be 0 or more")
    names, counts = _sequence(recipe, seed)
    shares = recipe.shares
    while len(names) <= shard:
        total = len(names) + 1
        lag = {
            name: share * (total + rng(seed, name, "split.phase").unit()) - counts[name]
            for name, share in shares.items()
        }
        chosen = max(lag, key=lambda name: lag[name])
        names.append(chosen)
        counts[chosen] += 1
    return names[shard]


@cache
def _sequence(recipe: Recipe, seed: int) -> tuple[list[str], dict[str, int]]:
    """Splits of the shards so far and their counts; `scene_split` makes them longer."""
    return [], dict.fromkeys(recipe.shares, 0)


def scene_room(recipe: Recipe, seed: int, split: str, index: int, attempt: int) -> DrawnRoom:
    """The room of a scene.

    A scene that is drawn again leaves its room too, which may be why it failed.

    Raises:
        ConfigError: no such split, or a room family that cannot have its T60.
    """
    rooms = find_split(recipe, split).rooms
    draws = Draws(seed=seed, split=split, index=index, attempt=attempt)
    if rooms is None:
        again = f".{attempt}" if attempt else ""
        return draw_room(recipe.rooms, f"{recipe.name}/{split}/s{index:08d}{again}", draws)
    number = index % rooms if attempt == 0 else draws.rng("room.number").integer(0, rooms - 1)
    return numbered_room(recipe, seed, split, number)


@lru_cache(maxsize=4096)
def numbered_room(recipe: Recipe, seed: int, split: str, number: int) -> DrawnRoom:
    """Room `number` of a split's pool; drawn once per process."""
    draws = Draws(seed=seed, split=split, index=number)
    return draw_room(recipe.rooms, f"{recipe.name}/{split}/{number:04d}", draws)
