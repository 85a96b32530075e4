"""Which split a scene or shard belongs to, and which room it plays in.

Rooms are numbered inside a split and drawn from a key that holds the split's name, so no two
splits share one. A split with `rooms: n` lets its scenes take turns in n rooms (scene i in room
i mod n); without, every scene has a room of its own.

A measured room exists once, so the measured rooms of a recipe are shared out: one to each split,
then by the splits' shares, in an order that depends on the rooms' names alone. So are heads, unless
the recipe has all splits share them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache

from scenesynth.distributions import Draws
from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean
from scenesynth.room.family import DrawnRoom, RoomFamily, draw_room
from scenesynth.room.measured import find_room
from scenesynth.room.model import AssetRef
from scenesynth.scene.recipe_records import Recipe, Split
from scenesynth.seeds import name_id, rng


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
        room_id = f"{recipe.name}/{split}/s{index:08d}{again}"
        return draw_room(split_families(recipe, split), room_id, draws, recipe.band_hz)
    number = index % rooms if attempt == 0 else draws.rng("room.number").integer(0, rooms - 1)
    return numbered_room(recipe, seed, split, number)


@lru_cache(maxsize=4096)
def numbered_room(recipe: Recipe, seed: int, split: str, number: int) -> DrawnRoom:
    """Room `number` of a split's pool; drawn once per process."""
    draws = Draws(seed=seed, split=split, index=number)
    room_id = f"{recipe.name}/{split}/{number:04d}"
    return draw_room(split_families(recipe, split), room_id, draws, recipe.band_hz)


@lru_cache(maxsize=64)
def split_families(recipe: Recipe, split: str) -> tuple[RoomFamily, ...]:
    """The recipe's room families, with those measured rooms only that are of the split.

    Raises:
        ConfigError: fewer measured rooms than splits, or one room under two names.
    """
    names = sorted({name for f in recipe.rooms if f.measured for name in f.measured.rooms})
    if not names:
        return recipe.rooms
    home = _rooms_shared_out(recipe, names)
    families = []
    for family in recipe.rooms:
        if family.measured is None:
            families.append(family)
            continue
        mine = tuple(name for name in family.measured.rooms if home[name] == split)
        if mine:
            families.append(replace(family, measured=replace(family.measured, rooms=mine)))
    return tuple(families)


@lru_cache(maxsize=64)
def split_heads(recipe: Recipe, split: str) -> tuple[AssetRef, ...]:
    """The heads of a split, in the recipe's order; none where it has the default head.

    Raises:
        ConfigError: a head that is not at hand, one under two names, or fewer heads than splits.
    """
    if recipe.heads is None:
        return ()
    found = {name: _head_ref(recipe, name) for name in recipe.heads.names}
    names = {ref.digest: name for name, ref in found.items()}
    if twice := [name for name, ref in found.items() if names[ref.digest] != name]:
        raise ConfigError(
            f"recipe {recipe.name}: heads.names: {twice[0]} and {names[found[twice[0]].digest]} "
            f"are the same head; name it once"
        )
    if recipe.heads.shared:
        return tuple(found.values())
    if len(found) < len(recipe.shares):
        raise ConfigError(
            f"recipe {recipe.name}: heads.names has {len(found)} heads for {len(recipe.shares)} "
            f"splits, and no head can be in two; name more heads, leave splits out, or set "
            f"heads.shared: true"
        )
    home = _shared_out(recipe.shares, list(found))
    return tuple(ref for name, ref in found.items() if home[name] == split)


def scene_head(recipe: Recipe, draws: Draws) -> AssetRef | None:
    """Whose ears a scene is heard with; None for the default head.

    Raises:
        ConfigError: see `split_heads`.
    """
    pool = split_heads(recipe, draws.split)
    return draws.rng("head").choice(pool) if pool else None


def _head_ref(recipe: Recipe, name: str) -> AssetRef:
    from scenesynth.spatial.heads import load_head  # half a second, which few recipes need

    try:
        return AssetRef(id=name, digest=load_head(name).digest)
    except ConfigError as error:
        raise ConfigError(f"recipe {recipe.name}: heads.names: {error}") from None


def _rooms_shared_out(recipe: Recipe, names: Sequence[str]) -> dict[str, str]:
    """Split of every measured room."""
    digests: dict[str, str] = {}
    for name in names:
        digest = find_room(name).digest
        if digest in digests:
            raise ConfigError(
                f"recipe {recipe.name}: {digests[digest]} and {name} are the same measured room; "
                f"name it once"
            )
        digests[digest] = name
    shares = recipe.shares
    if len(names) < len(shares):
        raise ConfigError(
            f"recipe {recipe.name}: {len(names)} measured rooms for {len(shares)} splits, and no "
            f"room can be in two; name more rooms, or leave splits out"
        )
    return _shared_out(shares, names)


def _shared_out(shares: Mapping[str, float], names: Sequence[str]) -> dict[str, str]:
    """Split of each of some things: one to each split, then by shares."""
    counts = dict.fromkeys(shares, 0)
    home = {}
    for n, name in enumerate(sorted(names, key=lambda name: (name_id(name), name))):
        empty = [split for split, count in counts.items() if count == 0]
        lag = {split: shares[split] * (n + 1) - counts[split] for split in empty or shares}
        home[name] = max(lag, key=lambda split: lag[split])
        counts[home[name]] += 1
    return home
