"""Shards that fail: which failures last, what is written about them, what the user is told."""

from __future__ import annotations

import re
import shlex
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

from scenesynth.errors import ConfigError, ContentError, StoreError
from scenesynth.pipeline.events import FailureKind
from scenesynth.pipeline.given import Given
from scenesynth.pipeline.pools import ClusterLostError, WorkerDiedError
from scenesynth.pipeline.shard import (
    SceneDeathError,
    SceneError,
    SceneFailure,
    SceneTimeoutError,
    ShardJob,
    make_scene,
    sample,
)
from scenesynth.records import from_plain
from scenesynth.scene.recipe_records import Recipe
from scenesynth.store.commit import explained, list_commits, read_commit
from scenesynth.store.layout import FAILURES, commit_key, failure_key, read_info, seal, unseal
from scenesynth.store.places import Root, address_of, place_of

MAX_FAILURES: Final = 3
"""Tries of a shard."""
MAX_DEATHS: Final = 5
"""Tries of a shard whose worker dies, which more often is the machine's fault than the shard's."""
PARKED_SHARE: Final = 0.05
PARKED_LEAST: Final = 3
"""A run that parks so many shards, and more than that share of those it ends, stops."""


def kind_of(error: BaseException) -> FailureKind:
    """What kind of failure an error is."""
    kinds: dict[FailureKind, tuple[type[BaseException], ...]] = {
        "scene": (SceneError,),
        "timeout": (SceneTimeoutError,),
        "death": (SceneDeathError, WorkerDiedError),
        "memory": (MemoryError,),
        "io": (OSError, StoreError),
    }
    return next((kind for kind, types in kinds.items() if isinstance(error, types)), "other")


def tries_of(error: BaseException) -> int:
    """How often a shard that fails with this error is tried."""
    kind = kind_of(error)
    return 1 if kind == "scene" else MAX_DEATHS if kind == "death" else MAX_FAILURES


def too_many_parked(parked: int, committed: int) -> bool:
    """Whether a run has parked more than it may."""
    return parked >= PARKED_LEAST and parked > PARKED_SHARE * (parked + committed)


def too_many_message(parked: int, committed: int, last: str) -> str:
    """What is told when a run stops because it parks too much."""
    return (
        f"stopped: {parked} of {parked + committed} shards could not be rendered, more than "
        f"{PARKED_SHARE:.0%}; the last: {last}. What is committed is whole; look into failures/, "
        f"or give the same command again to go on nevertheless"
    )


def lasting(error: BaseException, job: ShardJob) -> bool:
    """Whether every other shard would fail alike."""
    if isinstance(error, SceneError):
        return job.info.on_error == "stop"
    return isinstance(error, StoreError | ConfigError | ClusterLostError)


def write_report(job: ShardJob, error: BaseException) -> str:
    """Write what is needed to look into a failure; the file."""
    place = place_of(job.root)
    key = failure_key(job.shard)
    body: dict[str, Any] = {
        "shard": job.shard,
        "why": str(error),
        "kind": kind_of(error),
        "reproduce": f"scenesynth render --from-failure {shlex.quote(place.locate(key))}",
        "split": job.split,
        "stop": job.stop,
        "corpora": dict(job.corpora),
        "traceback": "".join(traceback.format_exception(error)),
    }
    if job.given is not None:
        body["given"] = asdict(job.given)
    if isinstance(error, SceneFailure):
        body |= {
            "scene": error.scene_id,
            "seed": error.seed,
            "index": error.index,
            "attempt": error.attempt,
            "spec": _spec_json(job, error),
        }
    with explained(place, always=True):
        place.replace(key, seal(body))
    return place.locate(key)


def _spec_json(job: ShardJob, error: SceneFailure) -> str | None:
    """Spec of the scene that failed; None where it was the sampling that failed."""
    try:
        return sample(job, error.index, error.attempt).to_json()
    except ContentError:
        return None


def reproduce(report: str) -> str:
    """Do again, in this process, what failed; says what was done if it does not fail now.

    A report without a scene is of a whole shard, whose scenes are made one after another. Nothing
    is written, and no time is too long.

    Raises:
        StoreError: not a report beside its dataset.
        Exception: whatever the scene raises.
    """
    job, scenes = _job_of(report)
    for index, attempt in scenes:
        make_scene(job, index, attempt)
    names = ", ".join(str(index) for index, _ in scenes[:3]) + (" ..." if len(scenes) > 3 else "")
    return f"{len(scenes)} scenes of shard {job.shard} rendered without an error: {names}"


def _job_of(report: str) -> tuple[ShardJob, list[tuple[int, int]]]:
    """The job of a report, a path or URI, and the scenes to try: (index, attempt)."""
    folder, _, name = report.rpartition("/")
    root = address_of(folder.rpartition("/")[0] or ".")
    try:
        body = unseal(place_of(root).read(f"{FAILURES}/{name}"), report)
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(
            f"{report}: there is no such report; give a file of a dataset's failures/"
        ) from None
    info = read_info(root)
    job = ShardJob(
        root=root,
        info=info,
        recipe=from_plain(Recipe, info.recipe, "recipe"),
        corpora=body["corpora"],
        shard=body["shard"],
        stop=body["stop"],
        split=body["split"],
        given=Given(**body["given"]) if "given" in body else None,
    )
    if "index" in body:
        return job, [(body["index"], body["attempt"])]
    first = job.shard * info.shard_scenes
    return job, [(index, 0) for index in range(first, min(first + info.shard_scenes, job.stop))]


def nothing_works(error: BaseException, report: str) -> str:
    """What is told when no shard could be rendered, with the way out that fits."""
    head = f"nothing could be rendered: {error}. See {report} for the traceback"
    if isinstance(error, SceneError):
        return f"{head} and the spec; change the recipe or the corpus and render into a new folder"
    return f"{head}; mend what it names and give the same command again"


def parked_shards(root: Root) -> list[int]:
    """Shards with a report and a tombstone, rising; from two listings and a record of each.

    Raises:
        CorruptShardError: a commit record of a shard with a report is damaged.
    """
    place = place_of(root)
    reports = reported_shards(place)
    both = (shard for shard in list_commits(place) if shard in reports)
    return [shard for shard in both if read_commit(place, shard).status == "parked"]


def reported_shards(root: Root) -> set[int]:
    """Shards with a report; those that were rendered later are not parked."""
    names = (key.removeprefix(f"{FAILURES}/") for key in place_of(root).list(FAILURES))
    return {int(name[:-5]) for name in names if re.fullmatch(r"\d+\.json", name, re.ASCII)}


def remove_report(root: Root, shard: int) -> None:
    """Delete the report of a shard that was rendered after all; it is no harm if it stays."""
    with suppress(OSError, StoreError):
        place_of(root).remove([failure_key(shard)])


def parked_message(root: Root, parked: Sequence[int]) -> str:
    """What is told of parked shards, with the way to try them again."""
    place = place_of(root)
    keys = [key for k in parked[:3] for key in (commit_key(k), failure_key(k))]
    more = " ..." if len(parked) > 3 else ""
    return (
        f"{len(parked)} shards could not be rendered and are left out (see "
        f"{place.locate(failure_key(parked[0]))}). To try them again: {place.removal(keys)}{more} "
        f"and give the same command again"
    )
