"""How fast whole scenes are made: sampled, rendered, encoded and committed.

    python benchmarks/render.py
    python benchmarks/render.py --set mode=full --processes 1 2 3
    python benchmarks/render.py --sources CLIPS --noise CLIPS --scenes 512 --json

Runs the pipeline that `scenesynth render` runs, into a temporary folder, once per number of
processes, and prints scenes per second, times real time, and where the time went. Clips are indexed
and packed and kernels compiled before the clock starts. "rendering" is the rate while shards are
being made; "whole run" has the start of worker processes in it. Numbers scatter on a shared
machine: `--repeat` runs again and keeps the best and the median.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from scenesynth.corpus.corpora import Corpora, prepare_for_rendering
from scenesynth.pipeline.driver import run
from scenesynth.pipeline.plan import make_plan
from scenesynth.render.compile import ensure_compiled
from scenesynth.scene.recipe import load_recipe
from scenesynth.scene.recipe_records import Recipe
from scenesynth.store.commit import list_commits, read_commit

STAGES = (
    "sample",
    "clips",
    "responses",
    "project",
    "measure",
    "convolve",
    "mix",
    "labels",
    "render",
    "encode",
    "write",
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run.

    Attributes:
        seconds: the whole run, with the start of worker processes.
        busy_s: time in which shards were being made, summed over processes.
        stages_s: part of `busy_s` by stage.
        cpu_s: processor time, known for one process; what lies above it in `busy_s` was spent
            waiting for a core or the disk.
        n_bytes: committed to disk.
    """

    processes: int
    scenes: int
    audio_s: float
    seconds: float
    busy_s: float
    stages_s: dict[str, float]
    cpu_s: float | None
    n_bytes: int

    @property
    def scenes_per_s(self) -> float:
        """Rate while shards are being made."""
        return self.processes * self.scenes / self.busy_s

    @property
    def times_real_time(self) -> float:
        """Seconds of audio per second, at that rate."""
        return self.scenes_per_s * self.audio_s / self.scenes


def measure(
    corpora: Corpora, recipe: Recipe, format_names: str, scenes: int, shard: int, processes: int
) -> Result:
    """Render `scenes` scenes with a number of processes."""
    with tempfile.TemporaryDirectory(prefix="scenesynth-bench-") as folder:
        plan = make_plan(
            Path(folder) / "out",
            recipe,
            corpora,
            formats=format_names.split(","),
            scenes=scenes,
            shard_scenes=shard,
        )
        began = time.process_time()
        outcome = run(plan, workers=processes)
        cpu_s = time.process_time() - began
        if outcome.state != "done":
            raise SystemExit(f"the run ended as {outcome.state}: {outcome.message}")
        commits = [read_commit(plan.root, n) for n in list_commits(plan.root)]
    return Result(
        processes=processes,
        scenes=outcome.scenes,
        audio_s=outcome.audio_s,
        seconds=outcome.seconds,
        busy_s=sum(commit.log["render_s"] for commit in commits),
        stages_s=dict(outcome.stages_s),
        cpu_s=cpu_s if processes == 1 else None,
        n_bytes=sum(record.size for commit in commits for record in commit.files.values()),
    )


def breakdown_ms(result: Result) -> dict[str, float]:
    """Milliseconds per scene of each stage, and of what no stage covers."""
    known = [name for name in STAGES if name in result.stages_s]
    further = sorted(set(result.stages_s) - set(known))
    seconds = {name: result.stages_s[name] for name in (*known, *further)}
    seconds["other"] = result.busy_s - sum(seconds.values())
    return {name: 1e3 * value / result.scenes for name, value in seconds.items()}


def table(results: list[Result]) -> str:
    """Lines for people: a column per number of processes, the run of the median rate."""
    best = {r.processes: max(q.scenes_per_s for q in results if q.processes == r.processes)
            for r in results}  # fmt: skip
    shown = [median_run([r for r in results if r.processes == n]) for n in best]
    stages = {name: None for r in shown for name in breakdown_ms(r)}
    rows = [
        ("processes", [f"{r.processes}" for r in shown]),
        ("scenes", [f"{r.scenes}" for r in shown]),
        ("scenes/s, rendering", [f"{r.scenes_per_s:.1f}" for r in shown]),
        ("  best of the repeats", [f"{best[r.processes]:.1f}" for r in shown]),
        ("x real time", [f"{r.times_real_time:.0f}" for r in shown]),
        ("scenes/s, whole run", [f"{r.scenes / r.seconds:.1f}" for r in shown]),
        ("MB committed", [f"{r.n_bytes / 1e6:.0f}" for r in shown]),
        ("ms per scene and process", [f"{1e3 * r.busy_s / r.scenes:.1f}" for r in shown]),
    ]
    cpu = ["" if r.cpu_s is None else f"{1e3 * r.cpu_s / r.scenes:.1f}" for r in shown]
    rows.append(("  of these, on a core", cpu))
    parts = [breakdown_ms(r) for r in shown]
    rows += [(f"  {name}", [f"{p.get(name, 0.0):.1f}" for p in parts]) for name in stages]
    return "\n".join(f"{name:26}" + "".join(f"{c:>10}" for c in cells) for name, cells in rows)


def median_run(runs: list[Result]) -> Result:
    """The run of the median rate (the lower of two in the middle)."""
    middle = statistics.median_low([r.scenes_per_s for r in runs])
    return next(r for r in runs if r.scenes_per_s == middle)


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="gram")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--format", default="foa", help="several with commas between them")
    parser.add_argument("--sources", action="append", default=[], help="default: built-in clips")
    parser.add_argument("--noise", action="append", default=[])
    parser.add_argument("--scenes", type=int, default=256)
    parser.add_argument("--shard-scenes", type=int, default=32)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    changes = [(name, value) for name, _, value in (item.partition("=") for item in asked.set)]
    recipe = load_recipe(asked.recipe, changes)
    corpora = Corpora.open(asked.sources, asked.noise)
    corpora = prepare_for_rendering(corpora, recipe.sample_rate)
    ensure_compiled()
    load = os.getloadavg()[0]
    results = [
        measure(corpora, recipe, asked.format, asked.scenes, asked.shard_scenes, n)
        for _ in range(asked.repeat)
        for n in asked.processes
    ]
    if asked.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "load": load}
        rates = [
            asdict(r) | {"scenes_per_s": r.scenes_per_s, "ms_per_scene": breakdown_ms(r)}
            for r in results
        ]
        print(json.dumps({"recipe": asked.recipe, "format": asked.format, **machine,
                          "results": rates}, indent=1))  # fmt: skip
        return
    print(
        f"recipe {asked.recipe}, {recipe.mode}, {asked.format}, {platform.machine()}, "
        f"{os.cpu_count()} cores, load {load:.1f} before the start"
    )
    print(table(results))


if __name__ == "__main__":
    main()
