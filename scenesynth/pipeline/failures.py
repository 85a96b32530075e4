"""Shards that fail: which failures last, what is written about them, what the user is told."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

from scenesynth.errors import ConfigError, ContentError, StoreError
from scenesynth.pipeline.pools import ClusterLostError
from scenesynth.pipeline.shard import SceneError, ShardJob, corpora_of
from scenesynth.scene.sample import sample_scene
from scenesynth.store.commit import explained, list_commits
from scenesynth.store.layout import FAILURES, commit_key, failure_key, seal
from scenesynth.store.places import Root, place_of


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
        "traceback": "".join(traceback.format_exception(error)),
    }
    if isinstance(error, SceneError):
        body |= {
            "scene": error.scene_id,
            "seed": error.seed,
            "split": job.split,
            "index": error.index,
            "attempt": error.attempt,
            "spec": _spec_json(job, error),
        }
    with explained(place, always=True):
        place.replace(key, seal(body))
    return place.locate(key)


def _spec_json(job: ShardJob, error: SceneError) -> str | None:
    """Spec of the scene that failed; None where it was the sampling that failed."""
    if job.given is not None:
        return job.given.spec(job.root, job.stop, error.index).to_json()
    try:
        spec = sample_scene(
            job.recipe,
            corpora_of(job),
            seed=error.seed,
            index=error.index,
            split=job.split,
            attempt=error.attempt,
        )
    except ContentError:
        return None
    return spec.to_json()


def nothing_works(error: BaseException, report: str) -> str:
    """What is told when no shard could be rendered, with the way out that fits."""
    head = f"nothing could be rendered: {error}. See {report} for the traceback"
    if isinstance(error, SceneError):
        return f"{head} and the spec; change the recipe or the corpus and render into a new folder"
    return f"{head}; mend what it names and give the same command again"


def parked_shards(root: Root) -> list[int]:
    """Shards with a report and a tombstone, rising; from two listings."""
    place = place_of(root)
    reports = place.list(FAILURES)
    return [shard for shard in list_commits(place) if failure_key(shard) in reports]


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
