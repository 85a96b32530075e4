"""What the machinery around rendering costs: Ray, watched workers, bad clips, memory.

    python benchmarks/machinery.py ray        per scene: one process, two watched, two on Ray
    python benchmarks/machinery.py driver     of the driver alone, at the highest rate of shards
    python benchmarks/machinery.py bad-clips  with clips gone that one scene in a hundred plays
    python benchmarks/machinery.py memory     peak of a worker for one shard of 64 scenes, FOA 10 s

Figures are of the time between the first and the last commit, so nothing of a start is in them. On
a shared machine processor time is the number to trust: of this process and all that it started, by
kind of process. `null` scenes are tiny and made of noise, so that nothing but machinery is left;
`small` ones are rendered, 1 s of FOA at 16 kHz in shards of 64; `real` ones last 10 s at 32 kHz, in
shards of 8.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from scenesynth.corpus.corpora import Corpora, prepare_for_rendering
from scenesynth.pipeline import shard
from scenesynth.pipeline.driver import run, settle
from scenesynth.pipeline.events import Event, ShardDone
from scenesynth.pipeline.plan import Plan, make_plan
from scenesynth.pipeline.shard import ShardJob
from scenesynth.render.compile import ensure_compiled
from scenesynth.scene.recipe import load_recipe
from scenesynth.store.commit import list_commits, read_commit
from scenesynth.store.reader import open_dataset
from scenesynth.store.schema import Scene

HERE = Path(__file__).parent
NOTE_S = 0.5
KINDS = ("driver", "workers", "watchers", "ray")
"""Processes of a run: those that render, on Ray those that watch them, and Ray's own."""

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def null_maker(job: ShardJob, index: int, attempt: int) -> Scene:
    """A few samples of noise."""
    info = job.info
    random = np.random.default_rng([info.seed, index])
    audio = random.uniform(-0.5, 0.5, (info.formats[0].n_channels, info.max_samples))
    row = {"id": f"{job.split}-{index:08d}", "split": job.split, "n_samples": info.max_samples}
    return Scene(
        spec_json="{}",
        sample_rate=info.sample_rate,
        audio_by_format={info.formats[0].name: audio.astype(np.float32)},
        row={**row, "sample_rate": info.sample_rate, "spec": "{}"},
        events=(),
    )


@dataclass
class Meter:
    """Takes the events of a run and notes now and then what has been done and spent."""

    shards: int = 0
    scenes: int = 0
    notes: list[dict[str, float]] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Count a shard."""
        if not isinstance(event, ShardDone):
            return
        self.shards += 1
        self.scenes += event.scenes
        now = time.perf_counter()
        if self.shards > 2 and (not self.notes or now - self.notes[-1]["wall_s"] > NOTE_S):
            counts = {"shards": self.shards, "scenes": self.scenes}
            self.notes.append({"wall_s": now, **counts, **family_cpu_s()})

    def result(self, workers: int) -> dict[str, float]:
        """Figures between the first note and the last."""
        first, last = self.notes[0], self.notes[-1]
        spent = {key: last[key] - first[key] for key in first}
        cpu_ms = {kind: 1e3 * spent[kind] / spent["shards"] for kind in KINDS}
        return {
            "shards_per_s": spent["shards"] / spent["wall_s"],
            "wall_ms_per_scene_and_worker": 1e3 * spent["wall_s"] * workers / spent["scenes"],
            "cpu_ms_per_scene": sum(cpu_ms.values()) * spent["shards"] / spent["scenes"],
            **{f"{kind}_cpu_ms_per_shard": ms for kind, ms in cpu_ms.items()},
            "driver_max_rss_mb": max_rss_mb(),
        }


def max_rss_mb() -> float:
    """Most memory that this process had; `getrusage` has in it what started the process."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def family_cpu_s() -> dict[str, float]:
    """Processor time of this process and its living descendants, by kind."""
    parents: dict[int, int] = {}
    spent: dict[int, tuple[str, float]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            pid = int(folder.name)
            values = (folder / "stat").read_text().rpartition(")")[2].split()
            kind = _kind(pid, (folder / "cmdline").read_text())
            parents[pid] = int(values[1])
            spent[pid] = kind, (int(values[11]) + int(values[12])) * TICK_S
    total = dict.fromkeys(KINDS, 0.0)
    for pid, (kind, seconds) in spent.items():
        if _descends(pid, parents):
            total[kind] += seconds
    return {**total, "driver": time.process_time()}


def _kind(pid: int, command: str) -> str:
    if pid == os.getpid():
        return "driver"
    if "scenesynth.pipeline.worker" in command:
        return "workers"
    return "watchers" if command.startswith("ray::") else "ray"


def _descends(pid: int, parents: dict[int, int]) -> bool:
    while pid and pid != os.getpid():
        pid = parents.get(pid, 0)
    return pid == os.getpid()


def ray(folder: Path, clips: Corpora, shards: int, repeat: int, only: str) -> dict[str, Any]:
    """One process, two watched processes, and Ray with two workers."""
    null = {"formats": ["mono"], "sample_rate": 8000, "duration_s": 0.1, "shard_scenes": 4}
    small = {"formats": ["foa"], "sample_rate": 16000, "duration_s": 1.0, "shard_scenes": 64}
    real = {"formats": ["foa"], "sample_rate": 32000, "duration_s": 10.0, "shard_scenes": 8}
    kinds = {
        "null": (null, 20 * shards, null_maker),
        "small": (small, shards, None),
        "real": (real, shards, None),
    }
    ways: dict[str, dict[str, Any]] = {
        "one process": {},
        "two watched processes": {"workers": 2, "processes": True},
        "Ray, two workers": {"workers": 2},
    }
    found: dict[str, Any] = {}
    for number in range(repeat):
        for kind, (settings, n, maker) in kinds.items():
            if only not in ("all", kind):
                continue
            for way, how in ways.items():
                plan = plan_of(folder / f"{kind}-{way}-{number}", clips, n, **settings)
                meter = Meter()
                outcome = run(plan, settled=settle(plan), maker=maker, on_event=meter, **how)
                assert outcome.state == "done", outcome.message
                found.setdefault(f"{kind}, {way}", []).append(meter.result(how.get("workers", 1)))
                shutil.rmtree(plan.root)
    return {name: median(results) for name, results in found.items()}


def driver(folder: Path, clips: Corpora, shards: int) -> Iterator[tuple[str, Any]]:
    """What the driver spends on shards of one tiny scene, as many in a second as there can be.

    The second run is given shards that are there already, so workers answer at once.
    """
    settings = {"formats": ["mono"], "sample_rate": 8000, "duration_s": 0.1, "shard_scenes": 1}
    plan = plan_of(folder / "driver", clips, 100 * shards, **settings)
    settled = settle(plan)
    for name in ("tiny shards", "shards that are there"):
        meter = Meter()
        run(plan, settled=settled, maker=null_maker, on_event=meter, workers=2)
        yield name, meter.result(2)


def bad_clips(folder: Path, shards: int, repeat: int) -> dict[str, Any]:
    """Processor time of the same number of scenes, with good clips and with some damaged."""
    found: dict[str, list[dict[str, float]]] = {"good": [], "damaged": []}
    clips = open_clips(folder, n=100)
    victims: list[Path] = []
    settings = {"formats": ["foa"], "sample_rate": 16000, "duration_s": 2.0, "shard_scenes": 64}
    for number in range(repeat):
        for name, results in found.items():
            for victim in victims if name == "damaged" else []:
                victim.rename(victim.with_suffix(".gone"))
            plan = plan_of(folder / f"{name}-{number}", clips, shards, **settings)
            settled = settle(plan)  # so that nothing is packed, which would find the clips first
            shard._corpora.cache_clear()  # nothing is known from the run before
            began = time.process_time()
            outcome = run(plan, settled=settled)
            spent = time.process_time() - began
            share = 100 * outcome.redraws / outcome.scenes
            results.append({"cpu_ms_per_scene": 1e3 * spent / outcome.scenes, "redraws_%": share})
            victims = victims or used_by_one_in_a_hundred(plan.root, folder / "sources")
            for victim in victims if name == "damaged" else []:
                victim.with_suffix(".gone").rename(victim)
    return {name: median(results) for name, results in found.items()}


def used_by_one_in_a_hundred(root: Path, sources: Path) -> list[Path]:
    """Clips that together play in about one scene in a hundred."""
    ds = open_dataset(root)
    used = Counter(event["clip"] for event in ds.events.to_pylist() if event["corpus"] == "sources")
    chosen: list[Path] = []
    total = 0
    for clip, n in sorted(used.items(), key=lambda item: item[1]):
        if total + n > len(ds) / 100:
            break
        chosen.append(sources / f"{clip}.wav")
        total += n
    return [path if path.exists() else path.with_suffix("") for path in chosen]


def memory(folder: Path) -> dict[str, Any]:
    """Peak memory of a watched worker for one shard of the recipe gram."""
    corpora = prepare_for_rendering(Corpora.open(), 32000)
    plan = make_plan(folder / "out", load_recipe("gram", []), corpora, formats=["foa"], scenes=64)
    outcome = run(plan, settled=settle(plan), processes=True)
    logs = [read_commit(plan.root, k).log for k in list_commits(plan.root)]
    return {
        "scenes": outcome.scenes,
        "shards": len(logs),
        "worker_max_rss_mb": max(log["max_rss_bytes"] for log in logs) / 2**20,
    }


def plan_of(root: Path, clips: Corpora, shards: int, **settings: Any) -> Plan:
    """A plan of so many shards of scenes with one target and a bed of noise."""
    changes = [(key, str(settings.pop(key))) for key in ("sample_rate", "duration_s")]
    recipe = load_recipe("gram", changes)
    scenes = shards * settings["shard_scenes"]
    return make_plan(root, recipe, clips, scenes=scenes, **settings)


def open_clips(folder: Path, n: int = 12) -> Corpora:
    """Bursts of two classes and hums."""
    for name in ("sources/bell", "sources/dog", "noise/hum"):
        (folder / name).mkdir(parents=True)
        for k in range(n):
            burst = 0.3 * np.random.default_rng([len(name), k]).uniform(-1, 1, 16000)
            soundfile.write(folder / name / f"{k}.wav", burst, 16000)
    return Corpora.open([folder / "sources"], [folder / "noise"])


def median(results: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {
        key: round(float(np.median([result[key] for result in results])), 3) for key in results[0]
    }


def sections(asked: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Any]]:
    """What was asked for, measured."""
    if asked.what == "ray":
        clips = open_clips(folder / "clips")
        packed = prepare_for_rendering(clips, 16000)
        found = ray(folder, packed, asked.shards, asked.repeat, asked.scenes)
        yield from found.items()
    elif asked.what == "driver":
        yield from driver(folder, open_clips(folder / "clips"), asked.shards)
    elif asked.what == "bad-clips":
        yield from bad_clips(folder, asked.shards, asked.repeat).items()
    else:
        yield "memory", memory(folder)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["ray", "driver", "bad-clips", "memory"])
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--scenes", choices=["all", "null", "small", "real"], default="all")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    # Workers import the scene maker of this file.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    ensure_compiled(print)
    with tempfile.TemporaryDirectory(prefix="machinery-") as folder:
        for name, result in sections(asked, Path(folder)):
            if asked.json:
                print(json.dumps({name: result}))
            else:
                print(f"{name}: " + ", ".join(f"{key} {value:g}" for key, value in result.items()))


if __name__ == "__main__":
    import machinery  # by its name, so that workers find what they are given

    machinery.main()
