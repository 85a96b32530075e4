"""Runs over a small corpus, with scene makers that cost nothing."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import scenesynth
from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ContentError
from scenesynth.pipeline.device import Batches
from scenesynth.pipeline.plan import Plan, make_plan
from scenesynth.pipeline.shard import ShardJob, make_scene
from scenesynth.records import from_plain
from scenesynth.scene.recipe_records import Recipe
from scenesynth.store.commit import list_commits, read_commit
from scenesynth.store.places import Root, place_of
from scenesynth.store.schema import Scene

TESTS = Path(__file__).parent
IMPORTS = os.pathsep.join([str(TESTS), str(Path(scenesynth.__file__).parents[1])])
"""PYTHONPATH of a process that imports what the tests do."""

RATE = 16000

RECIPE = {
    "name": "small",
    "description": "half a second in a small room",
    "sample_rate": RATE,
    "duration_s": 0.5,
    "splits": {"train": {"share": 0.75}, "test": {"share": 0.25}},
    "rooms": [
        {
            "name": "box",
            "length_m": {"uniform": [3, 4]},
            "width_m": {"uniform": [3, 4]},
            "height_m": 2.5,
            "decay": {"rt60_s": {"uniform": [0.2, 0.25]}},
        }
    ],
    "targets": {"event_s": 0.4},
    "noise": {"snr_db": {"uniform": [5, 20]}},
}


def make_recipe(**changes: Any) -> Recipe:
    """A recipe whose scenes are quick to render."""
    return from_plain(Recipe, {**RECIPE, **changes})


def make_clips(folder: Path, *labels: str, per_label: int = 12) -> Path:
    """Short noise bursts in a sub-folder per label."""
    for label in labels:
        (folder / label).mkdir(parents=True)
        for n in range(per_label):
            random = np.random.default_rng([len(label), n])
            burst = 0.3 * random.uniform(-1, 1, RATE // 2)
            soundfile.write(folder / label / f"{n}.wav", burst, RATE, subtype="PCM_16")
    return folder


def make_corpora(folder: Path) -> Corpora:
    """Sources of two classes, and a bed of noise."""
    sources = make_clips(folder / "sources", "bell", "dog")
    return Corpora.open([sources], [make_clips(folder / "noise", "hum")])


def plan_of(root: Path | str, corpora: Corpora, scenes: int = 12, **kwargs: Any) -> Plan:
    """A run of shards of four scenes."""
    recipe = kwargs.pop("recipe", None) or make_recipe()
    options = {"formats": ["foa"], "shard_scenes": 4, "scenes": scenes, **kwargs}
    return make_plan(root, recipe, corpora, **options)


def same(one: Root, other: Root) -> bool:
    """Whether two datasets hold the same bytes, logs aside."""
    return contents(one) == contents(other)


def contents(root: Root) -> tuple[dict[str, bytes], list[object]]:
    """All keys with their bytes, commits without their logs."""
    place = place_of(root)
    keys = [key for key in place.list() if not key.startswith(("commits/", "logs/"))]
    commits = [
        {**read_commit(place, shard).to_dict(), "log": None} for shard in list_commits(place)
    ]
    return dict(zip(keys, place.read_all(keys), strict=True)), commits


def child_of(parent: int, name: str) -> int:
    """Process id of a process's child by name, from `/proc/<pid>/stat`: pid (name) state parent."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            head, _, tail = stat.read_text().rpartition(")")
            if head.endswith(f"({name}") and int(tail.split()[1]) == parent:
                return int(stat.parent.name)
    raise AssertionError(f"process {parent} has no child {name}")


def wait_for(condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def worker_pids() -> list[int]:
    """Ids of the processes that render, among those that this one has started."""
    parents, found = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            pid = int(folder.name)
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if b"scenesynth.pipeline.worker" in (folder / "cmdline").read_bytes():
                found.append(pid)
    return [pid for pid in found if _is_ours(pid, parents)]


def _is_ours(pid: int, parents: dict[int, int]) -> bool:
    while pid and pid != os.getpid():
        pid = parents.get(pid, 0)
    return pid != 0


# --- scene makers, at module level so that workers can import them -------------------------------


def quick_maker(job: ShardJob, index: int, attempt: int) -> Scene:
    """Noise of (seed, split, index, attempt)."""
    info = job.info
    random = np.random.default_rng([info.seed, len(job.split), index, attempt])
    shape = (info.formats[0].n_channels, info.max_samples)
    audio = random.uniform(-0.5, 0.5, shape).astype(np.float32)
    row = {"id": f"{job.split}-{index:08d}", "split": job.split, "n_samples": info.max_samples}
    return Scene(
        spec_json="{}",
        sample_rate=info.sample_rate,
        audio_by_format={fmt.name: audio[: fmt.n_channels] for fmt in info.formats},
        row={**row, "sample_rate": info.sample_rate, "spec": "{}"},
        events=({"labels": ["dog", "unheard of"], "role": "target"},),
    )


def slow_maker(job: ShardJob, index: int, attempt: int) -> Scene:
    """`quick_maker`, slow enough to be interrupted."""
    time.sleep(0.1)
    return quick_maker(job, index, attempt)


def picky_maker(job: ShardJob, index: int, attempt: int) -> Scene:
    """Scene 5 works at attempt 2 only, scene 6 never fails, scene 9 at attempt 1."""
    if attempt < {5: 2, 9: 1}.get(index, 0):
        raise ContentError(f"clip of scene {index} is silent")
    return quick_maker(job, index, attempt)


def hopeless_maker(job: ShardJob, index: int, attempt: int) -> Scene:
    """Scene 5 has no content that can be used, ever."""
    if index == 5:
        raise ContentError("no clip is long enough")
    return quick_maker(job, index, attempt)


def broken_maker(job: ShardJob, index: int, attempt: int) -> Scene:
    """Scene 5 meets a defect."""
    if index == 5:
        raise ZeroDivisionError("float division by zero")
    return quick_maker(job, index, attempt)


def doomed_maker(job: ShardJob, index: int, attempt: int) -> Scene:
    """No scene can be made."""
    raise ContentError("the room is too small for any source")


def stumbling_maker(job: ShardJob, index: int, attempt: int) -> Scene:
    """The disk stumbles over scene 5 the first two times."""
    if index == 5:
        marker = job.root.parent / "stumbles"
        count = len(marker.read_text()) if marker.exists() else 0
        marker.write_text("x" * (count + 1))
        if count < 2:
            raise OSError(5, "Input/output error", "clip.wav")
    return quick_maker(job, index, attempt)


def unlucky_maker(job: ShardJob, index: int, attempt: int) -> Scene:
    """Real scenes; the process of scene 5 is killed once, as by a lack of memory."""
    marker = job.root.parent / "killed"
    if index == 5 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return make_scene(job, index, attempt)


def gripping_maker(job: ShardJob, index: int, attempt: int) -> Scene:
    """Scene 5 never ends, in compiled code that lets no other thread of the interpreter run."""
    while index == 5:
        ctypes.PyDLL(None).sleep(3600)  # until a signal
    return quick_maker(job, index, attempt)


def crashing_maker(job: ShardJob, index: int, attempt: int) -> Scene:
    """Scene 5 crashes the interpreter."""
    if index == 5:
        ctypes.string_at(0)
    return quick_maker(job, index, attempt)


def one_scene_each_maker(job: ShardJob, index: int, attempt: int) -> Scene:
    """Every shard but the first has a scene that meets a defect."""
    if index % job.info.shard_scenes == 1 and job.shard:
        raise ZeroDivisionError("float division by zero")
    return quick_maker(job, index, attempt)


def batch_maker(job: ShardJob, index: int, attempt: int) -> Scene:
    """Real scenes by the code for GPUs, in torch on the CPU, three at a time."""
    return _batches(job.shard)(job, index, attempt)


@lru_cache(maxsize=1)
def _batches(shard: int) -> Batches:
    return Batches("cpu", size=3)
