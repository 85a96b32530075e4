"""What a table of 360,000 scenes costs: `python benchmarks/again.py [--shards 5625]`.

The dataset is real but for its audio, which is empty: identity, extents, commits and both tables,
with the specs and events of scenes of recipe gram. Each step runs in a process of its own; printed
are its time and its largest memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scenesynth import builtin_corpora, load_recipe, stream
from scenesynth.pipeline.again import plan_again
from scenesynth.pipeline.plan import make_plan, settle
from scenesynth.pipeline.shard import _labelled, make_scene
from scenesynth.store.commit import Commit, put_commit, record_of
from scenesynth.store.exclude import ExcludeList, add_list
from scenesynth.store.layout import shard_keys
from scenesynth.store.manifest import finalize
from scenesynth.store.reader import open_dataset
from scenesynth.store.schema import events_schema, scenes_schema, table_of
from scenesynth.store.verify import verify
from scenesynth.store.writer import _parquet


def build(root: Path, n_shards: int) -> None:
    """Write the dataset."""
    from scenesynth.pipeline.driver import _jobs

    corpora = builtin_corpora()
    size = 64
    plan = make_plan(root, load_recipe("gram"), corpora, formats=["foa"], scenes=size * n_shards)
    settled = settle(plan)
    job = next(iter(_jobs(plan, settled)))
    scenes = [_labelled(make_scene(job, index, 0), job, 0) for index in range(size)]
    for shard in range(n_shards):
        rows, events = [], []
        for place, scene in enumerate(scenes):
            index = size * shard + place
            jitter = f'"acoustic_seed":{index * 7919 % 2**31}'
            spec = scene.spec_json.replace('"acoustic_seed":0', jitter)
            more = {"id": f"train-{index:08d}", "index": index, "status": "ok", "spec": spec}
            rows.append({**scene.row, **more, "gain_foa": 0.1 + index * 1e-7})
            events += [
                {**event, "scene": more["id"], "index": index, "event": n}
                for n, event in enumerate(scene.events)
            ]
        files = dict.fromkeys(shard_keys(plan.info, shard), b"")
        files[f"tables/scenes/part-{shard}.parquet"] = _parquet(
            table_of(rows, scenes_schema(["foa"]))
        )
        files[f"tables/events/part-{shard}.parquet"] = _parquet(table_of(events, events_schema()))
        for key, data in files.items():
            (root / key).parent.mkdir(parents=True, exist_ok=True)
            (root / key).write_bytes(data)
        records = {key: record_of(data) for key, data in files.items()}
        put_commit(
            root, Commit(shard=shard, first=size * shard, stop=size * (shard + 1), files=records)
        )


def measured(name: str, task: Callable[[], object]) -> None:
    """Run a task in a fresh process and print what it took."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def run() -> None:
        began = time.perf_counter()
        told = task()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        theirs.send((time.perf_counter() - began, peak, told))

    process = context.Process(target=run)
    process.start()
    theirs.close()
    seconds, peak_mb, told = ours.recv()
    process.join()
    print(f"{name:44} {seconds:7.2f} s  {peak_mb:6.0f} MB  {told}", flush=True)


def imported() -> None:
    """Import what a stream needs."""
    import scenesynth.store.stream  # noqa: F401


def streamed(root: Path, **asked: object) -> str:
    """Open a stream, find its first batch and one in the middle of an epoch."""
    imported()
    began = time.perf_counter()
    found = stream(root, batch=64, crop_s=2.0, **asked)  # type: ignore[arg-type]
    opened_s = time.perf_counter() - began
    found._find(0, 0)
    first_s = time.perf_counter() - began - opened_s
    found._find(1, len(found) // 2)
    middle_s = time.perf_counter() - began - opened_s - first_s
    return f"opening {opened_s:.2f} s, first batch {first_s:.3f} s, a later one {middle_s:.3f} s"


def main() -> None:
    """Build, measure, delete."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shards", type=int, default=5625)
    parser.add_argument("--root", type=Path)
    asked = parser.parse_args()
    root = asked.root or Path(tempfile.mkdtemp()) / "ds"
    n = 64 * asked.shards
    if not root.exists():
        measured("build", lambda: build(root, asked.shards))
    out = root.parent / "out"
    random = np.random.default_rng(0)
    some = sorted(random.choice(n, min(1000, n // 2), replace=False).tolist())
    ids = [f"train-{index:08d}" for index in some]

    def plan_of(**options: object) -> int:
        shutil.rmtree(out, ignore_errors=True)
        plan = plan_again(root, out, open_corpora=builtin_corpora, **options)  # type: ignore[arg-type]
        return len(settle(plan).todo)

    measured("nothing", lambda: None)
    measured("open_dataset, len", lambda: len(open_dataset(root)))
    measured("verify", lambda: len(verify(root).findings))
    measured("render --from, plan and settle", plan_of)
    measured("  --format binaural", lambda: plan_of(formats=["binaural"]))
    measured("  --only 1000 ids", lambda: plan_of(only=[",".join(ids)]))
    measured("torch alone", imported)
    measured("stream", lambda: streamed(root))
    measured("stream, with a filter", lambda: streamed(root, where={"n_targets": (1, None)}))
    measured("ds.scenes from the parts", lambda: len(open_dataset(root).scenes))
    measured("finalize", lambda: json.dumps(finalize(open_dataset(root)).rows))
    measured("stream, with a filter", lambda: streamed(root, where={"n_targets": (1, None)}))
    measured("ds.scenes", lambda: len(open_dataset(root).scenes))
    measured("ds.events", lambda: len(open_dataset(root).events))
    ids_only = ["id", "split"]
    measured("ds.table, two columns", lambda: len(open_dataset(root).table("scenes", ids_only)))
    measured(
        "exclude 1000 ids",
        lambda: add_list(root, ExcludeList(action="exclude", scenes=dict(zip(some, ids)))),  # noqa: B905
    )
    measured("open_dataset, len", lambda: len(open_dataset(root)))
    measured("render --from, plan and settle", plan_of)
    if asked.root is None:
        shutil.rmtree(root.parent)


if __name__ == "__main__":
    sys.exit(main())
