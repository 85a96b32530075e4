"""A dataset rendered while everything dies, compared byte for byte with one that was left alone.

    python benchmarks/chaos.py
    python benchmarks/chaos.py --minutes 10 --kills 50 --driver-kills 3

Two Ray nodes on this machine; drivers join them as `scenesynth render --address` does. In the given
time workers are killed at random moments, drivers are killed and their command is given again, one
node is removed without a farewell and another added. All the while a reader polls the dataset and
compares what it reads with what it read before. At the end: no scene that was seen has changed, was
zero or could not be read; every file equals that of an undisturbed run in one process.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import xxhash

from scenesynth.store.commit import list_commits, read_commit
from scenesynth.store.reader import open_dataset

RECIPE = ["--sample-rate", "16000", "--duration", "1", "--format", "foa", "--shard-scenes", "4"]


def main() -> None:
    """Run, and end with exit code 1 if anything was lost, changed or doubled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2.0, help="for the disturbances, about")
    parser.add_argument("--kills", type=int, default=20, help="of workers")
    parser.add_argument("--driver-kills", type=int, default=2)
    parser.add_argument("--scenes", type=int, default=1600)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and victims")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        sys.exit(0 if chaos(Path(folder), asked) else 1)


def chaos(folder: Path, asked: argparse.Namespace) -> bool:
    """Disturb one run, leave another alone, compare."""
    from ray.cluster_utils import Cluster

    clips = make_clips(folder)
    nodes = Cluster(initialize_head=True, head_node_args=node())
    lost = nodes.add_node(**node())
    try:
        report = disturbed(folder / "chaos", clips, asked, nodes, lost)
    finally:
        nodes.shutdown()
    began = time.monotonic()
    command(clips, folder / "calm", asked.scenes, "--workers", "1").wait()
    print(f"undisturbed, one process: {time.monotonic() - began:.0f} s")
    same = files_of(folder / "chaos") == files_of(folder / "calm")
    print(*report, sep="\n")
    print(f"byte-identical to the undisturbed run: {same}")
    return same and not any(line.startswith("WRONG") for line in report)


def disturbed(
    root: Path, clips: Path, asked: argparse.Namespace, nodes: Any, lost: Any
) -> list[str]:
    """Render while everything dies; what happened, a line each."""
    pick = random.Random(asked.seed)
    kinds = ["worker"] * asked.kills + ["driver"] * asked.driver_kills
    pick.shuffle(kinds)
    kinds.insert(len(kinds) // 3, "remove")
    kinds.insert(len(kinds) * 2 // 3, "add")
    pauses = [pick.expovariate(1.0) for _ in kinds]
    scale = asked.minutes * 60 / sum(pauses)
    join = ("--address", nodes.address)
    done = {kind: 0 for kind in kinds}
    began = time.monotonic()
    with Reader(root) as reader:
        driver = command(clips, root, asked.scenes, *join)
        starts = 1
        wait_for(lambda: bool(list_commits(root)), 120)
        for kind, pause in zip(kinds, pauses, strict=True):
            time.sleep(min(pause * scale, 20.0))
            if driver.poll() is not None:
                break
            if kind == "worker" and (victims := workers()):
                os.kill(pick.choice(victims), signal.SIGKILL)
            elif kind == "driver":
                driver.kill()
                driver.wait()
                driver = command(clips, root, asked.scenes, *join)
                starts += 1
            elif kind == "remove":
                nodes.remove_node(lost, allow_graceful=False)
            elif kind == "add":
                nodes.add_node(**node())
            done[kind] += 1
        early = driver.poll() is not None
        code = driver.wait()
    return [
        f"disturbed, two nodes: {time.monotonic() - began:.0f} s, exit code {code}, "
        f"drivers {starts}, " + ", ".join(f"{kind} {n}" for kind, n in done.items()),
        f"readings {reader.polls}, scenes seen {len(reader.seen)}",
        *(["WRONG: it ended before all was disturbed; give more --scenes"] if early else []),
        *([f"WRONG: exit code {code}"] if code else []),
        *(f"WRONG: {text}" for text in reader.wrong[:10]),
    ]


class Reader:
    """Polls a growing dataset: the newest shards, and some of the older ones again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seen: dict[int, int] = {}
        self.wrong: list[str] = []
        self.polls = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _poll(self) -> None:
        pick = random.Random(1)
        while not self._ended.wait(0.5):
            if not list_commits(self.root):
                continue
            try:
                ds = open_dataset(self.root)
                numbers = ds.scenes["index"].to_pylist()
                for row in {len(ds) - 1, *(pick.randrange(len(ds)) for _ in range(8))}:
                    self._check(numbers[row], ds[row].audio)
            except Exception as error:
                self.wrong.append(repr(error))
            self.polls += 1

    def _check(self, index: int, audio: np.ndarray) -> None:
        digest = xxhash.xxh3_64_intdigest(np.ascontiguousarray(audio).data)
        if not audio.any():
            self.wrong.append(f"scene {index} is zero")
        if self.seen.setdefault(index, digest) != digest:
            self.wrong.append(f"scene {index} has changed")


def command(clips: Path, out: Path, scenes: int, *more: str) -> subprocess.Popen[bytes]:
    """`scenesynth render` in a process of its own."""
    places = ["--sources", clips / "sources", "--noise", clips / "noise", "--out", out]
    arguments = [*RECIPE, "--scenes", scenes, *places, *more]
    return subprocess.Popen(
        [sys.executable, "-m", "scenesynth.cli", "render", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[1:])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def node() -> dict[str, Any]:
    """What a node of the cluster has."""
    return {"num_cpus": 1, "object_store_memory": 100 << 20}


def workers() -> list[int]:
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


def make_clips(folder: Path) -> Path:
    """Short bursts of two classes, and a hum."""
    for name in ("sources/bell", "sources/dog", "noise/hum"):
        (folder / "clips" / name).mkdir(parents=True)
        for n in range(12):
            burst = 0.3 * np.random.default_rng([len(name), n]).uniform(-1, 1, 16000)
            soundfile.write(folder / "clips" / name / f"{n}.wav", burst, 16000)
    return folder / "clips"


def files_of(root: Path) -> dict[str, Any]:
    """What the commits name, and the bytes of everything else but logs and left-overs."""
    commits = {f"commit {k}": read_commit(root, k).files for k in list_commits(root)}
    rest = {
        str(path.relative_to(root)): xxhash.xxh3_128_hexdigest(path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
        and path.parent.name not in ("commits", "logs")
        and not path.name.startswith(".tmp-")
    }
    return {**commits, **rest}


def wait_for(condition: Any, limit_s: float) -> None:
    """Wait until something is so."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("waited in vain")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
