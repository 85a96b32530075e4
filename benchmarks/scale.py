"""What the machinery costs for a thousand hours: all parts are real but the scenes themselves.

    python benchmarks/scale.py                  360,000 scenes on Ray: killed, stopped, gone on with
    python benchmarks/scale.py --nodes 4        part of them, over four Ray nodes of this machine
    python benchmarks/scale.py --only plan      only how long planning takes

Planning, Ray, shards, commits, tables, progress and the log are those of `scenesynth render`. A
scene is a tenth of a second of noise at 8 kHz with the rows of one of 64 scenes of the recipe
`gram`, rendered beforehand: spec, measurements, events. So the tables are as large as they are, and
the audio is next to nothing.

The driver is a process of its own. At a third of the shards it is killed; the next one is asked to
stop at two thirds (SIGTERM); the last one ends the run. Then the dataset is finalized, opened, and
counted. Rates are between the first and the last commit of a driver; processor time is by kind of
process, of all of a run's shards. With `--nodes` there are four workers in all, on as many nodes as
asked for, and nobody is killed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from machinery import HERE, Meter, max_rss_mb

from scenesynth.corpus.corpora import Corpora
from scenesynth.pipeline.driver import run
from scenesynth.pipeline.events import Event, ShardDone
from scenesynth.pipeline.plan import MAX_SHARDS, Plan, make_plan, settle
from scenesynth.pipeline.pools import Cluster
from scenesynth.pipeline.progress import Progress
from scenesynth.pipeline.shard import ShardJob
from scenesynth.scene.recipe import load_recipe
from scenesynth.store.layout import COMMITS
from scenesynth.store.manifest import finalize
from scenesynth.store.places import place_of
from scenesynth.store.reader import Dataset, open_dataset
from scenesynth.store.schema import Scene

SHARD_SCENES = 64
TEMPLATES = 64
WORKERS = 2
NODE_WORKERS = 4
"""Workers on all nodes together: the same for any number of nodes."""
NODE_SHARDS = 600


@dataclass(frozen=True, slots=True)
class NullMaker:
    """Noise, with the rows of a scene that was rendered.

    Attributes:
        templates: dataset of those scenes.
    """

    templates: str

    def __call__(self, job: ShardJob, index: int, attempt: int) -> Scene:
        """Scene `index`: noise turned by its index."""
        row, events = _templates(self.templates)[index % TEMPLATES]
        info = job.info
        audio = np.roll(_noise(info.max_samples), index)[None]
        own = {"id": f"{job.split}-{index:08d}", "split": job.split}
        length = {"n_samples": info.max_samples, "sample_rate": info.sample_rate}
        return Scene(
            spec_json=row["spec"],
            sample_rate=info.sample_rate,
            audio_by_format={info.formats[0].name: audio},
            row={**row, **own, **length},
            events=events,
        )


@lru_cache(maxsize=1)
def _templates(root: str) -> list[tuple[dict[str, Any], tuple[dict[str, Any], ...]]]:
    return [(dict(scene.row), tuple(map(dict, scene.events))) for scene in open_dataset(root)]


@lru_cache(maxsize=1)
def _noise(n_samples: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).uniform(-0.5, 0.5, n_samples).astype(np.float32)


def render_templates(root: Path) -> None:
    """Real scenes, for their rows."""
    plan = make_plan(
        root, load_recipe("gram", []), Corpora.open(), formats=["mono"], scenes=TEMPLATES
    )
    assert run(plan).state == "done"


def null_plan(root: Path, shards: int) -> Plan:
    """A plan of so many shards of 64 null scenes."""
    recipe = load_recipe("gram", [("sample_rate", "8000"), ("duration_s", "0.1")])
    return make_plan(
        root,
        recipe,
        Corpora.open(),
        formats=["mono"],
        scenes=shards * SHARD_SCENES,
        shard_scenes=SHARD_SCENES,
    )


# --- the driver, a process of its own ------------------------------------------------------------


def drive(root: Path, templates: Path, shards: int, nodes: int) -> None:
    """Render what is left, and tell on stdout how it goes, a JSON object a line."""
    plan = null_plan(root, shards)
    settled = settle(plan)
    tell({"todo": len(settled.todo)})
    meter = Meter()
    with (root.parent / "progress.txt").open("a") as log, cluster_of(nodes) as cluster:
        progress = Progress(log, "plain")

        def take(event: Event) -> None:
            progress(event)
            meter(event)
            if isinstance(event, ShardDone) and meter.shards % 20 == 1:
                tell({"shards": meter.shards})

        outcome = run(
            plan,
            settled=settled,
            maker=NullMaker(str(templates)),
            on_event=take,
            cluster=cluster,
        )
    workers = NODE_WORKERS if nodes else WORKERS
    measured = meter.result(workers) if len(meter.notes) > 1 else {}
    tell({"state": outcome.state, "scenes": outcome.scenes, **measured})


def tell(values: dict[str, Any]) -> None:
    """Write a line of JSON."""
    print(json.dumps(values), flush=True)


@contextmanager
def cluster_of(nodes: int) -> Iterator[Cluster]:
    """Ray that the run starts itself; or so many nodes on this machine, to be joined."""
    if not nodes:
        yield Cluster(workers=WORKERS)
        return
    from ray.cluster_utils import Cluster as Nodes

    asks = {"num_cpus": NODE_WORKERS // nodes, "object_store_memory": 100 << 20}
    started = Nodes(initialize_head=True, head_node_args={**asks, "include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            started.add_node(**asks)
        yield Cluster(address=started.address)
    finally:
        started.shutdown()


# --- what becomes of a driver --------------------------------------------------------------------


def watched(
    command: list[str], stop_at: int = 0, how: signal.Signals = signal.SIGTERM
) -> dict[str, Any]:
    """Figures of a driver, which gets a signal once it has committed so many shards."""
    began = time.perf_counter()
    found: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        signalled = 0.0
        for line in process.stdout:
            told = json.loads(line)
            if "todo" in told:
                found["settled_s"] = time.perf_counter() - began
            if told.get("shards"):
                found.setdefault("first_commit_s", time.perf_counter() - began)
            found |= told
            if stop_at and not signalled and found.get("shards", 0) >= stop_at:
                process.send_signal(how)
                signalled = time.perf_counter()
        code = process.wait()
        assert code in (0, -signal.SIGKILL if signalled else 0), f"the driver ended with {code}"
        if signalled:
            found["stopped_after_s"] = time.perf_counter() - signalled
    found["wall_s"] = time.perf_counter() - began
    return found


def apart(function: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    """What a function finds out in a process of its own, with that one's time and memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, function, args).result()


def _measured(function: Callable[..., dict[str, Any]], args: tuple[Any, ...]) -> dict[str, Any]:
    before = max_rss_mb()
    began, cpu = time.perf_counter(), time.process_time()
    found = function(*args)
    return {
        "seconds": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu,
        "max_rss_mb": max_rss_mb(),
        "rss_before_mb": before,
        **found,
    }


def plan_hours(root: Path, hours: float) -> dict[str, Any]:
    """Plan and settle so many hours of first-order Ambisonics of `gram`."""
    plan = make_plan(root, load_recipe("gram", []), Corpora.open(), formats=["foa"], hours=hours)
    settled = settle(plan)
    return {"hours": plan.hours, "scenes": plan.stop, "shards": len(settled.todo)}


def settle_again(root: Path, shards: int) -> dict[str, Any]:
    """What the same command does where all is there."""
    return {"left": len(settle(null_plan(root, shards)).todo)}


def list_all(root: Path) -> dict[str, Any]:
    """Files and bytes of a dataset."""
    place = place_of(root)
    sizes = place.sizes()
    commits = [size for key, size in sizes.items() if key.startswith(f"{COMMITS}/")]
    tables = sum(size for key, size in sizes.items() if key.startswith("tables/"))
    total = sum(sizes.values())
    return {"files": len(sizes), "mb": total / 1e6, "tables_mb": tables / 1e6} | {
        "bytes_of_a_commit": float(np.mean(commits))
    }


def finalize_all(root: Path) -> dict[str, Any]:
    """Merge the tables."""
    done = finalize(open_dataset(root))
    return {"scenes": done.rows["scenes"], "events": done.rows["events"], "mb": done.n_bytes / 1e6}


def open_only(root: Path) -> dict[str, Any]:
    """Open, without reading a table."""
    return {"scenes": len(Dataset(root))}


def open_and_read(root: Path) -> dict[str, Any]:
    """Open, and read four columns of all scenes."""
    columns = ["id", "split", "n_events", "rt60_broadband_s"]
    return {"rows": len(Dataset(root).table("scenes", columns))}


# --- reports -------------------------------------------------------------------------------------


def thousand_hours(folder: Path, templates: Path, shards: int) -> Iterator[tuple[str, Any]]:
    """The whole story of one dataset."""
    root = folder / "null"
    command = driver_of(root, templates, shards, 0)
    yield "run, killed at a third", watched(command, shards // 3, signal.SIGKILL)
    yield "again, asked to stop at two thirds", watched(command, shards // 3, signal.SIGTERM)
    yield "again, to the end", watched(command)
    yield "again, nothing left", apart(settle_again, root, shards)
    yield "open", apart(open_only, root)
    yield "read four columns, not finalized", apart(open_and_read, root)
    yield "finalize", apart(finalize_all, root)
    yield "read four columns, finalized", apart(open_and_read, root)
    yield "files", apart(list_all, root)


def over_nodes(folder: Path, templates: Path, shards: int, nodes: int) -> Iterator[tuple[str, Any]]:
    """A run that nobody disturbs."""
    root = folder / f"nodes-{nodes}"
    yield f"{nodes} nodes", watched(driver_of(root, templates, shards, nodes))


def planning(folder: Path, shards: int) -> Iterator[tuple[str, Any]]:
    """A thousand hours, and the largest dataset that there can be."""
    yield "plan", apart(plan_hours, folder / "plan", shards * SHARD_SCENES * 10 / 3600)
    most = MAX_SHARDS * SHARD_SCENES * 10 / 3600
    yield "plan, largest dataset", apart(plan_hours, folder / "most", most)


def driver_of(root: Path, templates: Path, shards: int, nodes: int) -> list[str]:
    """Command of a driver."""
    given = [root, templates, shards, nodes]
    return [sys.executable, str(HERE / "scale.py"), "--drive", *map(str, given)]


def report(asked: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Any]]:
    """What was asked for, measured."""
    if asked.only in ("all", "plan") and not asked.nodes:
        yield from planning(folder, asked.shards or 5625)
    if asked.only == "plan":
        return
    templates = folder / "templates"
    render_templates(templates)
    if asked.nodes:
        for nodes in asked.nodes:
            yield from over_nodes(folder, templates, asked.shards or NODE_SHARDS, nodes)
    else:
        yield from thousand_hours(folder, templates, asked.shards or 5625)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, help="of 64 scenes; 5,625, or 600 with --nodes")
    parser.add_argument("--nodes", type=int, nargs="+", choices=[1, 2, 4], default=[])
    parser.add_argument("--only", choices=["all", "plan"], default="all")
    parser.add_argument("--drive", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    # Workers import the scene maker of this file.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    if asked.drive:
        root, templates, shards, nodes = asked.drive
        drive(Path(root), Path(templates), int(shards), int(nodes))
        return
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        for name, found in report(asked, Path(folder)):
            shown = (
                f"{k} {v:.5g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items()
            )
            print(f"{name}: {', '.join(shown)}", flush=True)


if __name__ == "__main__":
    import scale  # by its name, so that workers find what they are given

    scale.main()
