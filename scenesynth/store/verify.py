"""Checking a dataset against what it says of itself.

Every commit names its files with size and hash; identity and extents say which shards there can
be, which files a shard has, and what the Zarr metadata is. `verify` compares all of that with one
listing of the folder, and, if it is asked to look deeper, with every byte. `repair` takes away
shards that are damaged, commit first, so that the `scenesynth render` command of the dataset makes
them anew; it touches nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from scenesynth.errors import CorruptShardError, StoreError
from scenesynth.store.arrays import check_audio_object, check_gain_object, decode_gains
from scenesynth.store.commit import Commit, explained, read_commit, record_of
from scenesynth.store.exclude import EXCLUDE_FOLDER, read_excluded
from scenesynth.store.layout import (
    DATASET_FILE,
    DatasetInfo,
    StoredFormat,
    gain_key,
    n_scenes,
    read_extents,
    read_info,
    selection_key,
    shard_keys,
    table_key,
)
from scenesynth.store.manifest import MANIFESTS
from scenesynth.store.places import Place, Root, place_of
from scenesynth.store.writer import write_metadata, zarr_metadata

_COMMIT: Final = re.compile(r"commits/(0|[1-9][0-9]*)\.json")
_FAILURE: Final = re.compile(r"failures/(0|[1-9][0-9]*)\.json")
_FREE_FOLDERS: Final = ("preview/", "logs/")
"""Folders in which anything may lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        key: of the file, or the folder, inside the dataset.
        why: what is wrong with it.
        shard: which shard is damaged by it; None where `repair` cannot help.
        derived: whether it is Zarr metadata, which `repair` writes anew.
    """

    key: str
    why: str
    shard: int | None = None
    derived: bool = False

    def __str__(self) -> str:
        of = "" if self.shard is None else f" (shard {self.shard})"
        return f"{self.key}{of}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was looked at, and what was found.

    Attributes:
        shards: committed shards, `parked` of them without content.
        promised_shards: shards that the extents promise.
        n_bytes: bytes of the committed files.
        read_bytes: how many of them were read.
        leftovers: files of shards that are not committed; the next run adopts them.
    """

    findings: tuple[Finding, ...]
    shards: int = 0
    parked: int = 0
    promised_shards: int = 0
    n_bytes: int = 0
    read_bytes: int = 0
    leftovers: int = 0

    @property
    def damaged_shards(self) -> tuple[int, ...]:
        """Shards that `repair` takes away, rising."""
        return tuple(sorted({f.shard for f in self.findings if f.shard is not None}))

    @property
    def repairable(self) -> bool:
        """Whether there is anything that `repair` can do."""
        return any(finding.shard is not None or finding.derived for finding in self.findings)


def verify(
    root: Root, *, deep: bool = False, on_shard: Callable[[int], None] = lambda shard: None
) -> Verified:
    """Check a dataset; it may still be rendering.

    Args:
        root: its folder.
        deep: whether all bytes are read; else only presence and sizes are checked, and what is
            small is read.
        on_shard: told each committed shard once it was looked at.

    Raises:
        StoreError: no dataset there, or one that cannot be looked at without its identity.
    """
    place = place_of(root)
    info = read_info(place)
    try:
        extents = read_extents(place)
    except CorruptShardError as error:
        return Verified(findings=(Finding(key="extents", why=str(error)),))
    stop = extents[-1].stop if extents else 0
    there = place.sizes()
    findings = list(_metadata(place, info, stop, there))
    commits: list[Commit] = []
    for key in there:
        if (match := _COMMIT.fullmatch(key)) is None:
            continue
        shard = int(match[1])
        commit, found = _commit(place, info, shard, stop, there)
        if commit is not None:
            commits.append(commit)
        if deep and commit is not None and not found and commit.status == "ok":
            found = list(check_shard(place, info, commit))
        findings += found
        on_shard(shard)
    foreign, leftovers = _others(place, info, stop, len(extents), there, commits)
    n_bytes = sum(commit.n_bytes for commit in commits)
    return Verified(
        findings=(*findings, *foreign),
        shards=len(commits),
        parked=sum(commit.status == "parked" for commit in commits),
        promised_shards=-(-stop // info.shard_scenes),
        n_bytes=n_bytes,
        read_bytes=n_bytes if deep else 0,
        leftovers=leftovers,
    )


def repair(root: Root, found: Verified) -> list[str]:
    """Take away the damaged shards and write damaged Zarr metadata anew; the keys that went.

    Raises:
        StoreError: no space, read-only, no permission.
    """
    place = place_of(root)
    info = read_info(place)
    gone: list[str] = []
    with explained(place):
        for shard in found.damaged_shards:
            # The commit first: from then on no reader sees the shard.
            keys = [f"commits/{shard}.json", *shard_keys(info, shard)]
            gone += [key for key in keys if place.exists(key)]
            place.remove(keys)
        if any(finding.derived for finding in found.findings):
            write_metadata(place, info, n_scenes(place))
    return gone


def _metadata(
    place: Place, info: DatasetInfo, stop: int, there: Mapping[str, int]
) -> Iterator[Finding]:
    """Zarr metadata that is not what identity and extents dictate."""
    for key, data in zarr_metadata(info, stop).items():
        if key not in there:
            yield Finding(key=key, why="missing; it can be made anew", derived=True)
        elif place.read(key) != data:
            why = "not what dataset.json and the extents dictate; it can be made anew"
            yield Finding(key=key, why=why, derived=True)


def _commit(
    place: Place, info: DatasetInfo, shard: int, stop: int, there: Mapping[str, int]
) -> tuple[Commit | None, list[Finding]]:
    """A commit record, and what is wrong with it or with the presence of its files."""
    key = f"commits/{shard}.json"
    try:
        commit = read_commit(place, shard)
    except (CorruptShardError, KeyError, TypeError):
        return None, [Finding(key=key, why="damaged or edited by hand", shard=shard)]
    except StoreError as error:
        return None, [Finding(key=key, why=str(error))]
    first = shard * info.shard_scenes
    if (commit.shard, commit.first) == (shard, first) and commit.stop > stop:
        why = (
            f"its scenes [{commit.first}, {commit.stop}) lie outside the {stop} of the extents: an "
            f"extent is missing; put it back from a copy"
        )
        return commit, [Finding(key=key, why=why)]
    expected = (shard, first, min(first + info.shard_scenes, stop))
    if (commit.shard, commit.first, commit.stop) != expected:
        why = (
            f"says shard {commit.shard}, scenes [{commit.first}, {commit.stop}); expected "
            f"[{first}, {expected[2]}): it was moved here from another shard or dataset"
        )
        return None, [Finding(key=key, why=why, shard=shard)]
    if commit.status == "parked":
        return commit, []
    wanted = shard_keys(info, shard)
    if set(wanted) != set(commit.files):
        odd = sorted(set(wanted) ^ set(commit.files))[0]
        why = f"names other files than a shard of this dataset has, such as {odd}"
        return commit, [Finding(key=key, why=why, shard=shard)]
    return commit, list(_sizes(commit, there))


def _sizes(commit: Commit, there: Mapping[str, int]) -> Iterator[Finding]:
    for key, record in commit.files.items():
        if key not in there:
            yield Finding(key=key, why="missing", shard=commit.shard)
        elif there[key] != record.size:
            why = f"has {there[key]} bytes, committed were {record.size}"
            yield Finding(key=key, why=why, shard=commit.shard)


def check_shard(place: Place, info: DatasetInfo, commit: Commit) -> Iterator[Finding]:
    """What is wrong with the bytes of a shard's files, and between them; all of them are read."""
    small: dict[str, bytes] = {}
    damaged = False
    for key, record in commit.files.items():
        data = place.read(key)
        if record_of(data) != record:
            damaged = True
            yield Finding(key=key, why=_diagnosis(key, data, commit, info), shard=commit.shard)
        elif "/audio/" not in key:
            small[key] = data
        else:
            # Its hash is the committed one, but a commit may have adopted what was not its own.
            yield from _checked(key, data, commit, info)
    if not damaged:
        yield from _agreement(small, commit, info)


def _diagnosis(key: str, data: bytes, commit: Commit, info: DatasetInfo) -> str:
    """Where bytes are wrong whose hash is, as far as their own checksums tell."""
    inner = [finding.why for finding in _checked(key, data, commit, info)]
    if inner:
        return f"damaged: {inner[0]}"
    return "its hash is not the committed one, though its own checksums are right: another file"


def _checked(key: str, data: bytes, commit: Commit, info: DatasetInfo) -> Iterator[Finding]:
    """What the checksums inside a file find."""
    try:
        if key.endswith(".parquet"):
            pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
        elif "/gain/" in key:
            check_gain_object(data, info)
        else:
            check_audio_object(data, commit.stop - commit.first, info)
    except (CorruptShardError, pa.ArrowException, OSError, ValueError) as error:
        yield Finding(key=key, why=str(error), shard=commit.shard)


def _agreement(data: Mapping[str, bytes], commit: Commit, info: DatasetInfo) -> Iterator[Finding]:
    """Whether tables and gains of a shard are of its scenes: each by itself may be whole."""
    scenes_key, events_key = (table_key(name, commit.shard) for name in ("scenes", "events"))
    scenes = pq.read_table(pa.BufferReader(data[scenes_key]))
    events = pq.read_table(pa.BufferReader(data[events_key]), columns=["index"])
    if scenes["index"].to_pylist() != list(range(commit.first, commit.stop)):
        yield Finding(key=scenes_key, why="holds other scenes", shard=commit.shard)
        return
    counts = dict.fromkeys(range(commit.first, commit.stop), 0)
    for index in events["index"].to_pylist():
        counts[index] = counts.get(index, 0) + 1
    n_events = [n or 0 for n in scenes["n_events"].to_pylist()]
    if list(counts.values()) != n_events:
        why = "holds other events than the scenes have"
        yield Finding(key=events_key, why=why, shard=commit.shard)
    for fmt in info.formats:
        key = gain_key(fmt.name, commit.shard)
        yield from _gains(key, data[key], scenes, fmt, commit, info)


def _gains(
    key: str, data: bytes, scenes: pa.Table, fmt: StoredFormat, commit: Commit, info: DatasetInfo
) -> Iterator[Finding]:
    gains = decode_gains(data, info)[: commit.stop - commit.first].tolist()
    if gains != scenes[f"gain_{fmt.name}"].to_pylist():
        why = "holds other gains than the scenes table: of another shard"
        yield Finding(key=key, why=why, shard=commit.shard)


def _others(
    place: Place,
    info: DatasetInfo,
    stop: int,
    n_extents: int,
    there: Mapping[str, int],
    commits: Sequence[Commit],
) -> tuple[list[Finding], int]:
    """Findings on what is no file of a committed shard, and the number of leftovers."""
    committed = {commit.shard for commit in commits if commit.status == "ok"}
    known = {DATASET_FILE, *MANIFESTS.values(), *zarr_metadata(info, stop)}
    known |= {f"extents/{n}.json" for n in range(n_extents)}
    pattern = _shard_pattern(info)
    n_shards = -(-stop // info.shard_scenes)
    leftovers, findings = 0, []
    for key in there:
        match = pattern.fullmatch(key)
        shard = int(next(filter(None, match.groups()))) if match else None
        if shard is not None and shard < n_shards:
            leftovers += shard not in committed and key not in _record_keys(shard)
        elif shard not in committed and key not in known and not _belongs(key, info, n_extents):
            findings.append(Finding(key=key, why="does not belong to this dataset"))
    return [*findings, *_lists(place, info, n_extents, there)], leftovers


def _record_keys(shard: int) -> tuple[str, str]:
    return f"commits/{shard}.json", f"failures/{shard}.json"


def _belongs(key: str, info: DatasetInfo, n_extents: int) -> bool:
    if key.startswith(_FREE_FOLDERS) or re.fullmatch(rf"{EXCLUDE_FOLDER}/\d+\.json", key):
        return True
    # A selection may be there before its extent.
    selections = {selection_key(n) for n in range(n_extents + 1)}
    return info.came_from is not None and key in selections


def _lists(
    place: Place, info: DatasetInfo, n_extents: int, there: Mapping[str, int]
) -> Iterator[Finding]:
    """What is wrong with lists of scenes: those that are excluded, and selections."""
    try:
        read_excluded(place)
    except StoreError as error:
        yield Finding(key=EXCLUDE_FOLDER, why=str(error))
    if info.came_from is None:
        return
    for n in range(n_extents):
        if selection_key(n) not in there:
            yield Finding(key=selection_key(n), why="missing; put it back from a copy")


def _shard_pattern(info: DatasetInfo) -> re.Pattern[str]:
    """Matches every file that some shard may have, its number in one of the groups."""
    # Shard 7 stands for all: no other part of these keys is a 7 between such marks.
    keys: Iterable[str] = shard_keys(info, 7)
    number = "(0|[1-9][0-9]*)"
    shapes = []
    for key in keys:
        head, mark, tail = key.rpartition("/c/7") if "/c/7" in key else key.rpartition("part-7")
        shapes.append(f"{re.escape(head)}{re.escape(mark[:-1])}{number}{re.escape(tail)}")
    return re.compile("|".join([*shapes, _COMMIT.pattern, _FAILURE.pattern]))
