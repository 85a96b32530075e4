"""Whether a dataset's files are there, whole, and all: checks `files` and `complete`."""

from __future__ import annotations

import os
import platform
import re
import time
from calendar import timegm
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from scenesynth.audit.findings import counted, some
from scenesynth.audit.reading import OnProgress
from scenesynth.audit.records import Check, Finding
from scenesynth.pipeline.log import LOG_FOLDER
from scenesynth.store.commit import Commit
from scenesynth.store.follow import FOLLOW_TIMEOUT_S
from scenesynth.store.layout import commit_key, failure_key
from scenesynth.store.places import Place
from scenesynth.store.reader import Dataset
from scenesynth.store.verify import Verified, check_shard

HASHED_BYTES: Final = 2 << 30
"""Bytes of shards whose hashes are checked where not all are: some seconds of reading."""

_LOG: Final = re.compile(rf"{LOG_FOLDER}/\d{{8}}T\d{{6}}-(.+)-(\d+)\.log")
_STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) (.*)")
_ENDED: Final = re.compile(
    r"ended by |ended early|nothing left to do|\d+ scenes? \(.+\) rendered in "
)
_LOGS_READ: Final = 32
_LAST_LINES: Final = 100
"""A run that ends lists the bad clips last; the line that says so is above them."""
_COMMAND: Final = "give the `scenesynth render` command of this dataset again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The last sign of a run, from its log.

    Attributes:
        key: of the log.
        alive: whether it is believed to go on.
        silent_s: since its last line.
    """

    key: str
    host: str
    alive: bool
    silent_s: float


def living_run(place: Place, now_s: float) -> Run | None:
    """A run that is believed to be rendering into a dataset, by the logs.

    One whose log says how it ended is over, and so is one that has written nothing for
    `FOLLOW_TIMEOUT_S`; a run writes once a minute. On this machine its process must exist, too.
    """
    keys = [key for key in place.list(LOG_FOLDER) if _LOG.fullmatch(key)]
    runs = [run for key in keys[-_LOGS_READ:] if (run := _run(place, key, now_s)) and run.alive]
    return min(runs, key=lambda run: run.silent_s, default=None)


def _run(place: Place, key: str, now_s: float) -> Run | None:
    match = _LOG.fullmatch(key)
    assert match is not None
    try:
        lines = place.read(key).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    told = [found for line in lines if (found := _STAMP.fullmatch(line))]
    if not told:
        return None
    silent_s = now_s - timegm(time.strptime(told[-1][1], "%Y-%m-%dT%H:%M:%SZ"))
    over = any(_ENDED.match(found[2]) for found in told[-_LAST_LINES:])
    host, pid = match[1], int(match[2])
    here = host == platform.node()
    alive = not over and silent_s < FOLLOW_TIMEOUT_S and (not here or _exists(pid))
    return Run(key=key, host=host, alive=alive, silent_s=max(silent_s, 0.0))


def _exists(pid: int) -> bool:
    with suppress(ProcessLookupError):
        with suppress(PermissionError):
            os.kill(pid, 0)
        return True
    return False


def complete_check(dataset: Dataset, found: Verified, run: Run | None) -> Check:
    """Whether all promised shards are there."""
    committed = {commit.shard for commit in dataset.commits} | set(found.damaged_shards)
    missing = [shard for shard in range(found.promised_shards) if shard not in committed]
    parked = dataset.parked
    skipped = sum(len(commit.skipped) for commit in dataset.commits)
    findings = [
        Finding(what=f"shard {shard} is missing", key=commit_key(shard), shard=shard)
        for shard in missing
    ] + [
        Finding(
            what=f"shard {commit.shard} was given up: {commit.reason}; see why, delete this file "
            f"and {commit_key(commit.shard)}, and {_COMMAND}",
            key=failure_key(commit.shard),
            shard=commit.shard,
        )
        for commit in parked
    ]
    told = [f"{len(committed) - len(parked):,} of {found.promised_shards:,} shards are there"]
    if missing and run is not None:
        told.append(
            f"a run on {run.host} is rendering the others (last line of its log "
            f"{run.silent_s:.0f} s ago)"
        )
    elif missing:
        told.append(f"missing are {some(_ranges(missing))} and nobody is rendering; {_COMMAND}")
    if parked:
        told.append(f"given up were {some(commit.shard for commit in parked)}")
    if skipped:
        told.append(f"{counted(skipped, 'scene')} skipped when rendered")
    if dataset.excluded:
        told.append(f"{counted(len(dataset.excluded), 'scene')} excluded")
    wrong = bool(parked) or (bool(missing) and run is None)
    noted = bool(missing or skipped)
    return Check(
        name="complete",
        title="Are all promised shards there?",
        status="failed" if wrong else "noted" if noted else "passed",
        summary="; ".join(told),
        looked=found.promised_shards,
        of=found.promised_shards,
        unit="shards",
        findings=tuple(findings) if wrong else (),
        figures={
            "promised": found.promised_shards,
            "missing": missing,
            "parked": [commit.shard for commit in parked],
            "skipped_scenes": skipped,
            "excluded_scenes": len(dataset.excluded),
            "running": run is not None,
        },
    )


def hashed_shards(
    dataset: Dataset, commits: Sequence[Commit], limit_bytes: int | None, on_progress: OnProgress
) -> tuple[list[int], list[Finding]]:
    """Shards whose every byte was read, and what is wrong with them.

    Args:
        commits: those to read.
        limit_bytes: evenly some of them, so that no more is read; None reads all.
    """
    whole = [commit for commit in commits if commit.status == "ok"]
    total = sum(commit.n_bytes for commit in whole)
    if limit_bytes is not None and total > limit_bytes:
        n = max(1, int(len(whole) * limit_bytes / total))
        whole = [whole[k * len(whole) // n] for k in range(n)]
    findings: list[Finding] = []
    for done, commit in enumerate(whole, start=1):
        findings += [
            Finding(what=item.why, key=item.key, shard=item.shard)
            for item in check_shard(dataset.place, dataset.info, commit)
        ]
        on_progress("checking hashes", done, len(whole))
    return [commit.shard for commit in whole], findings


def files_check(
    found: Verified, hashed: Sequence[int], damaged: Sequence[Finding], uri: object
) -> Check:
    """Whether the files are those that were committed.

    Args:
        hashed: shards whose every byte was read.
        damaged: what was found in doing so, and in reading tables.
    """
    listed = [Finding(what=f.why, key=f.key, shard=f.shard) for f in found.findings]
    findings = [*listed, *_new(damaged, listed)]
    whole = found.shards - found.parked
    told = (
        f"{counted(found.shards, 'committed shard')}: presence and sizes of all files, every byte "
        f"of {len(hashed):,}" + ("" if len(hashed) >= whole else " (--full reads all)")
    )
    if findings:
        shards = sorted({f.shard for f in findings if f.shard is not None})
        told += f"; wrong are {some(dict.fromkeys(f.key for f in findings), 3)}"
        if shards:
            told += (
                f"; to make shard {some(shards)} again: scenesynth verify {uri} --deep --repair, "
                f"then {_COMMAND}"
            )
        elif any(f.derived for f in found.findings):
            told += f"; to write Zarr metadata anew: scenesynth verify {uri} --repair"
    return Check(
        name="files",
        title="Are the files those that were committed?",
        status="failed" if findings else "passed",
        summary=told,
        looked=len(hashed),
        of=whole,
        unit="shards",
        findings=tuple(findings),
        figures={
            "committed_shards": found.shards,
            "hashed_shards": len(hashed),
            "bytes": found.n_bytes,
            "leftovers": found.leftovers,
        },
    )


def _new(found: Sequence[Finding], known: Sequence[Finding]) -> Iterator[Finding]:
    """Findings about files of which nothing is known yet."""
    keys = {finding.key for finding in known}
    for finding in found:
        if finding.key not in keys:
            keys.add(finding.key)
            yield finding


def _ranges(numbers: Sequence[int]) -> list[str]:
    """Rising numbers, runs of them with both ends: 3, 5-9."""
    starts = [numbers[0], *(b for a, b in pairwise(numbers) if b != a + 1)]
    stops = [*(a for a, b in pairwise(numbers) if b != a + 1), numbers[-1]]
    return [str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, stops, strict=True)]
