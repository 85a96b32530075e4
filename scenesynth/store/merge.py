"""Making one dataset of several that are parts of the same: two halves rendered in two places.

The parts have one identity, so a shard is the same wherever it was rendered; each has commits for
some of the shards. Files are linked, or copied to another file system, and never changed; commits
come last, as in rendering, so a merge that was interrupted is finished by the same command.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scenesynth.errors import CorruptShardError, StoreError
from scenesynth.store import files
from scenesynth.store.commit import (
    Commit,
    explained,
    list_commits,
    put_commit,
    read_commit,
    record_of,
)
from scenesynth.store.exclude import ExcludeList, add_list, read_excluded
from scenesynth.store.layout import (
    DatasetInfo,
    Extent,
    extent_key,
    failure_key,
    read_extents,
    read_info,
    seal,
    selection_key,
)
from scenesynth.store.local import LocalPlace
from scenesynth.store.places import Place, Root, place_of
from scenesynth.store.schema import SCHEMA_VERSION
from scenesynth.store.writer import (
    ENVIRONMENT,
    create_or_open,
    differences,
    listing,
    write_metadata,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What a merge has done.

    Attributes:
        shards: committed shards of the merged dataset; `added` of them by this merge.
        missing: shards that no part has.
        scenes: scenes that it promises.
    """

    shards: int
    added: int
    missing: int
    scenes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    root: Place
    info: DatasetInfo
    extents: tuple[Extent, ...]

    @property
    def stop(self) -> int:
        return self.extents[-1].stop if self.extents else 0


def merge(
    roots: Sequence[Root],
    out: Root,
    *,
    other_environment: bool = False,
    on_shard: Callable[[], None] = lambda: None,
) -> Merged:
    """Make one dataset in `out` of the parts in `roots`; they stay as they are.

    Args:
        roots: two or more datasets of one identity.
        out: a new folder, one that such a merge has begun, or one of the parts.
        other_environment: accept parts rendered with other package versions or on another CPU
            level; the identity of the first holds.
        on_shard: called after each shard.

    Raises:
        StoreError: parts that do not go together, each difference named, before anything is
            written; or `out` cannot be written.
        CorruptShardError: a file of a part is missing or damaged.
    """
    parts = _parts(roots)
    _check_identities(parts, other_environment)
    longest = max(parts, key=lambda part: part.stop)
    _check_lengths(parts, longest)
    homes = _homes(parts, longest)
    excluded = _excluded(parts)
    first = parts[0].info
    out = place_of(out)
    create_or_open(out, first, other_environment=other_environment)
    before = set(list_commits(out))
    with explained(out):
        _copy_extents(longest, out)
        write_metadata(out, first, longest.stop)
        for shard, home in homes.items():
            _copy_shard(home.root, out, shard, fresh=shard not in before)
            on_shard()
    if missing := {n: name for n, name in excluded.items() if n not in read_excluded(out)}:
        add_list(out, ExcludeList(action="exclude", scenes=missing, reason="merged"))
    n_shards = -(-longest.stop // first.shard_scenes)
    return Merged(
        shards=len(homes),
        added=len(set(homes) - before),
        missing=n_shards - len(homes),
        scenes=longest.stop,
    )


def _parts(roots: Sequence[Root]) -> list[_Part]:
    places = [place_of(root) for root in roots]
    unique = list({_whole(place): place for place in places}.values())
    if len(unique) < 2:
        raise StoreError("merge needs two datasets or more, each given once")
    return [
        _Part(root=root, info=read_info(root), extents=tuple(read_extents(root))) for root in unique
    ]


def _whole(place: Place) -> str:
    return str(place.path.resolve()) if isinstance(place, LocalPlace) else place.uri


def _check_identities(parts: Sequence[_Part], other_environment: bool) -> None:
    first = parts[0]
    for part in parts[1:]:
        found = differences(first.info, part.info)
        environment = {k for k in found if k.partition(".")[0] in ENVIRONMENT}
        if arguments := {k: v for k, v in found.items() if k not in environment}:
            raise StoreError(
                f"{first.root} and {part.root} are not parts of one dataset:\n"
                f"{listing(arguments, 'in the first', 'in the second')}\n"
                f"Render the missing shards with the arguments of one of them"
            )
        if environment and not other_environment:
            raise StoreError(
                f"{first.root} and {part.root} were rendered in different environments, where the "
                f"same scene may differ by rounding:\n"
                f"{listing(found, 'in the first', 'in the second')}\n"
                f"Render both in one environment, or accept the mixture with --other-environment"
            )


def _check_lengths(parts: Sequence[_Part], longest: _Part) -> None:
    """A shorter part has to end on a whole shard: else its last shard is another one."""
    for part in parts:
        size = part.info.shard_scenes
        if part.stop != longest.stop and part.stop % size:
            raise StoreError(
                f"{part.root} has {part.stop} scenes, which do not end on a whole shard of {size}, "
                f"and {longest.root} has {longest.stop}: their last shards differ. Render one of "
                f"them with the number of scenes of the other"
            )
        if part.info.came_from is not None:
            _check_selections(part, longest)


def _check_selections(part: _Part, longest: _Part) -> None:
    """Parts that were made of given scenes have to be of the same ones."""
    same = part.extents == longest.extents[: len(part.extents)] and all(
        part.root.read(selection_key(n)) == longest.root.read(selection_key(n))
        for n in range(len(part.extents))
    )
    if not same:
        raise StoreError(
            f"{part.root} and {longest.root} were made of other scenes of their source; merge only "
            f"what was begun while the source had the same scenes"
        )


def _homes(parts: Sequence[_Part], longest: _Part) -> dict[int, _Part]:
    """Which part each shard is taken from, rising; one that holds scenes before a tombstone."""
    homes: dict[int, _Part] = {}
    for part in parts:
        for shard in list_commits(part.root):
            commit = _checked_commit(part, shard, longest.stop)
            if (home := homes.get(shard)) is None:
                homes[shard] = part
                continue
            other = read_commit(home.root, shard)
            if other.status == commit.status == "ok" and other.files != commit.files:
                raise StoreError(_conflict(home, part, other, commit))
            if other.status == "parked" and commit.status == "ok":
                homes[shard] = part
    return dict(sorted(homes.items()))


def _checked_commit(part: _Part, shard: int, stop: int) -> Commit:
    commit = read_commit(part.root, shard)
    first = shard * part.info.shard_scenes
    expected = (shard, first, min(first + part.info.shard_scenes, stop))
    if (commit.shard, commit.first, commit.stop) != expected:
        raise CorruptShardError(
            f"{part.root}: the commit of shard {shard} is of scenes [{commit.first}, "
            f"{commit.stop}), expected [{first}, {expected[2]}); look at it with scenesynth verify "
            f"{part.root}"
        )
    return commit


def _conflict(one: _Part, two: _Part, ours: Commit, theirs: Commit) -> str:
    odd = next(key for key in ours.files if ours.files[key] != theirs.files.get(key))
    return (
        f"{one.root} and {two.root} both have shard {ours.shard}, with other bytes in {odd}: they "
        f"ran with different packages or on different CPUs, or one is damaged. See scenesynth "
        f"verify --deep --sample 8 for both, and delete the wrong shard's commit and files"
    )


def _excluded(parts: Sequence[_Part]) -> dict[int, str]:
    """What any of the parts excludes, rising."""
    found: dict[int, str] = {}
    for part in parts:
        found |= read_excluded(part.root)
    return dict(sorted(found.items()))


def _copy_extents(longest: _Part, out: Place) -> None:
    """See that `out` promises the scenes of the longest part.

    Raises:
        StoreError: it promises others, from another merge.
    """
    size = longest.info.shard_scenes
    if longest.info.came_from is not None or not read_extents(out):
        for n in range(len(longest.extents)):
            if longest.info.came_from is not None:
                files.copy_once(longest.root, selection_key(n), out)
            out.put_once(extent_key(n), longest.root.read(extent_key(n)))
    extents = read_extents(out)
    have = extents[-1].stop if extents else 0
    if have < longest.stop and have % size == 0:
        body = {"schema": SCHEMA_VERSION, "first": have, "stop": longest.stop}
        out.put_once(extent_key(len(extents)), seal(body))
    elif have != longest.stop:
        raise StoreError(
            f"{out}: promises {have} scenes, the parts {longest.stop}; merge into a new folder"
        )


def _copy_shard(source: Place, out: Place, shard: int, *, fresh: bool) -> None:
    commit = read_commit(source, shard)
    if not fresh:
        held = read_commit(out, shard)
        if held.files != commit.files or held.status != commit.status:
            raise StoreError(
                f"{out}: has shard {shard} with other bytes than {source}; merge into a new folder"
            )
        return
    for key in commit.files:
        _copy_file(source, out, key, commit)
    report = failure_key(shard)
    if commit.status == "parked" and source.exists(report):
        files.copy_once(source, report, out)
    put_commit(out, commit)


def _copy_file(source: Place, out: Place, key: str, commit: Commit) -> None:
    """Copy a committed file; a left-over of an earlier attempt must be the same."""
    record = commit.files[key]
    there = source.exists(key)
    if not there or source.size(key) != record.size:
        raise CorruptShardError(
            f"{source.locate(key)}: missing, or not as long as it was committed; see scenesynth "
            f"verify {source} --repair"
        )
    new = files.copy_once(source, key, out)
    if not new and record_of(out.read(key)) != record:
        raise StoreError(
            f"{out.locate(key)}: is there, with other bytes, and no commit names it; delete it, "
            f"and give the same command again"
        )
