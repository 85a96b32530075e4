"""How fast random crops are read, beside other ways of storing and reading the same scenes.

    python benchmarks/read.py                     renders 256 scenes first (a minute)
    python benchmarks/read.py --data out/mine     reads a dataset that is there

All read the same crops of 2 s, shuffled, in batches of 32 as int16, in one process and with two
workers. zarr-python and tensorstore read the dataset itself; for WebDataset and LitData it is
written anew, as raw samples, which they need not decompress. What is not installed is left out. All
take turns, round after round, since the machine may be shared; the median and the ratio to
zarr-python within the same round are told, and the same of processor time, which other users of the
machine disturb less. Files are in the page cache.

Apart from that: what a crop costs of one processor, in parts.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import scenesynth as ss
from scenesynth.store.arrays import decode_into
from scenesynth.store.batch import BatchMaker, Facts
from scenesynth.store.order import Picks

CROP_S = 2.0
BATCH = 32
FORMAT = "foa"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
AHEAD = 4
"""More batches than any worker reads ahead."""

Crops = Iterator[int]
"""How many crops each batch has, as the batches come."""


def main() -> None:
    """Render or open, convert, measure, tell."""
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", help="a dataset with the format foa")
    parser.add_argument("--scenes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, default=24, help="of each round")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = asked.data or rendered(Path(folder) / "foa", asked.scenes)
        print(json.dumps(parts_of_a_crop(root)))
        for workers in (0, asked.workers):
            measure(root, Path(folder), workers, asked.rounds, asked.batches)


def rendered(out: Path, scenes: int) -> str:
    """A dataset of recipe gram."""
    command = [sys.executable, "-m", "scenesynth.cli", "render", "--format", FORMAT]
    command += ["--scenes", str(scenes), "--shard-scenes", "32", "--out", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return str(out)


class Crop(Dataset):
    """A map-style dataset of random crops: what users of an array library write."""

    def __init__(self, root: str) -> None:
        info = ss.open_dataset(root).info
        self.path = f"{root}/data.zarr/{FORMAT}/audio"
        self.length = round(CROP_S * info.sample_rate)
        self.room = info.max_samples - self.length + 1
        self.array: Any = None

    def __getitem__(self, at: tuple[int, float]) -> Any:
        if self.array is None:
            self.array = self.open()
        scene, unit = at
        start = int(unit * self.room)
        return self.read(scene, slice(start, start + self.length))

    def open(self) -> Any:
        """The array, in the process that reads it."""
        raise NotImplementedError

    def read(self, scene: int, samples: slice) -> Any:
        """Samples of a scene."""
        return self.array[scene, :, samples]


class ZarrPython(Crop):
    """zarr-python with its own pipeline."""

    def open(self) -> Any:
        """The array."""
        import zarr

        return zarr.open_array(self.path, mode="r")


class TensorStore(Crop):
    """tensorstore with a cache that holds shard indices."""

    def open(self) -> Any:
        """The array."""
        import tensorstore

        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": self.path}}
        context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 50_000_000}})
        return tensorstore.open(spec, context=context, open=True, read=True).result()

    def read(self, scene: int, samples: slice) -> Any:
        """Samples of a scene."""
        return self.array[scene, :, samples].read().result()


class Endless:
    """Batches of scenes in random order, each with a number that places the crop."""

    def __init__(self, n_scenes: int) -> None:
        self.n_scenes = n_scenes

    def __iter__(self) -> Iterator[list[tuple[int, float]]]:
        random = np.random.default_rng(0)
        while True:
            order = random.permutation(self.n_scenes)
            for start in range(0, self.n_scenes - BATCH + 1, BATCH):
                yield [(int(n), random.random()) for n in order[start : start + BATCH]]


def of_stream(root: str, folder: Path, workers: int) -> Crops:
    """scenesynth."""
    stream = ss.stream(root, crop_s=CROP_S, batch=BATCH, format=FORMAT, workers=workers)
    while True:
        for batch in stream:
            yield len(batch)


def of_array(kind: type[Crop]) -> Callable[[str, Path, int], Crops]:
    """An array library under torch's DataLoader."""

    def crops(root: str, folder: Path, workers: int) -> Crops:
        data = kind(root)
        loader = DataLoader(
            data,
            batch_sampler=Endless(len(ss.open_dataset(root))),
            num_workers=workers,
            **({"multiprocessing_context": "forkserver"} if workers else {}),
        )
        for batch in loader:
            yield len(batch)

    return crops


def of_webdataset(root: str, folder: Path, workers: int) -> Crops:
    """WebDataset: tars of npy."""
    import webdataset

    ds = ss.open_dataset(root)
    tars = folder / "tars"
    if not tars.exists():
        tars.mkdir()
        for number, samples in enumerate(raw_shards(ds)):
            with tarfile.open(tars / f"{number:03d}.tar", "w") as tar:
                for row, scene in enumerate(samples):
                    data = io.BytesIO()
                    np.save(data, scene)
                    entry = tarfile.TarInfo(f"{number:03d}-{row:03d}.npy")
                    entry.size = data.tell()
                    data.seek(0)
                    tar.addfile(entry, data)
    urls = sorted(str(path) for path in tars.iterdir())
    pipe = (
        webdataset.WebDataset(
            urls, shardshuffle=len(urls), workersplitter=webdataset.split_by_worker
        )
        .decode()
        .map(_WebCrop(Crop(root)))
        .shuffle(32)
        .repeat()
        .batched(BATCH, collation_fn=_stacked)
    )
    for batch in loading(pipe, workers):
        yield len(batch)


class _WebCrop:
    def __init__(self, crop: Crop) -> None:
        self.length, self.room = crop.length, crop.room
        self.random = np.random.default_rng(0)

    def __call__(self, sample: dict[str, Any]) -> Any:
        start = int(self.random.random() * self.room)
        return sample["npy"][:, start : start + self.length]


def _stacked(crops: list[Any]) -> Any:
    return torch.from_numpy(np.stack(crops))


def of_litdata(root: str, folder: Path, workers: int) -> Crops:
    """LitData: chunks of raw arrays."""
    import litdata

    ds = ss.open_dataset(root)
    chunks = folder / "litdata"
    if not chunks.exists():
        scenes = [scene for samples in raw_shards(ds) for scene in samples]
        np.save(folder / "all.npy", np.stack(scenes))
        litdata.optimize(
            fn=_LitScene(str(folder / "all.npy")),
            inputs=list(range(len(scenes))),
            output_dir=str(chunks),
            chunk_bytes="64MB",
            num_workers=1,
            verbose=False,
        )
    data = litdata.StreamingDataset(str(chunks), shuffle=True, transform=_LitCrop(Crop(root)))
    loader = litdata.StreamingDataLoader(
        data, batch_size=BATCH, num_workers=workers, persistent_workers=workers > 0
    )
    while True:
        for batch in loader:
            yield len(batch)


class _LitScene:
    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, number: int) -> Any:
        return np.ascontiguousarray(np.load(self.path, mmap_mode="r")[number])


class _LitCrop(_WebCrop):
    def __call__(self, sample: Any) -> Any:
        start = int(self.random.random() * self.room)
        return sample[:, start : start + self.length].copy()


def raw_shards(ds: Any) -> Iterator[Any]:
    """Stored samples, a shard at a time. Shape: [scenes, channels, samples]."""
    size = ds.info.shard_scenes
    for first in range(0, ds.n_promised, size):
        yield ds.audio[FORMAT][first : first + size]


def loading(pipe: Any, workers: int) -> Any:
    """A DataLoader of what makes its own batches."""
    context = {"multiprocessing_context": "forkserver"} if workers else {}
    return DataLoader(pipe, batch_size=None, num_workers=workers, **context)


READERS: dict[str, tuple[str | None, Callable[[str, Path, int], Crops]]] = {
    "scenesynth": (None, of_stream),
    "zarr-python": ("zarr", of_array(ZarrPython)),
    "tensorstore": ("tensorstore", of_array(TensorStore)),
    "WebDataset (raw)": ("webdataset", of_webdataset),
    "LitData (raw)": ("litdata", of_litdata),
}


def measure(root: str, folder: Path, workers: int, rounds: int, batches: int) -> None:
    """Rates of all readers, in turns."""
    where = "in one process" if workers == 0 else f"with {workers} workers"
    running: dict[str, Crops] = {}
    starts: dict[str, float] = {}
    for name, (package, make) in READERS.items():
        if package is not None and missing(package):
            print(f"{name}: not installed, left out")
            continue
        began = time.perf_counter()
        crops = make(root, folder, workers)
        next(crops)
        starts[name] = time.perf_counter() - began
        for _ in islice(crops, 8):  # indices, files and memory are there from now on
            pass
        running[name] = crops
    rates: dict[str, list[float]] = {name: [] for name in running}
    costs: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(rounds):
        for name, crops in running.items():
            for _ in islice(
                crops, AHEAD * workers
            ):  # what was read ahead while others had their turn
                pass
            spent_s, began = processor_s(), time.perf_counter()
            n_crops = sum(islice(crops, batches))
            rates[name].append(n_crops / (time.perf_counter() - began))
            costs[name].append((processor_s() - spent_s) / n_crops * 1e6)
    print(f"\n{where}: crops of {CROP_S:g} s a second, median of {rounds} rounds (least to most)")
    for name, found in rates.items():
        ratios = [a / b for a, b in zip(found, rates["zarr-python"], strict=True)]
        cost = statistics.median(costs[name])
        print(
            f"  {name:17s}{statistics.median(found):6.0f} ({min(found):.0f} to {max(found):.0f})"
            f"  {statistics.median(ratios):4.2f} x zarr-python, {cost:.0f} us of processors "
            f"a crop, {statistics.median(costs['zarr-python']) / cost:4.2f} x; first after "
            f"{starts[name]:.1f} s"
        )
    running.clear()
    gc.collect()


def processor_s() -> float:
    """Processor time of this process and all below it that still run."""
    parents, times = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                times[int(entry.name)] = (int(fields[11]) + int(fields[12])) * TICK_S
    mine = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return sum(times[pid] for pid in mine)


def missing(package: str) -> bool:
    """Whether a package cannot be imported."""
    try:
        importlib.import_module(package)
    except Exception:
        return True
    return False


def parts_of_a_crop(root: str) -> dict[str, float]:
    """What a crop costs, in microseconds of a processor: reading, checksum, decoding, and so on."""
    stream = ss.stream(root, crop_s=CROP_S, batch=BATCH, format=FORMAT)
    maker = stream._make
    reader, info = maker._readers[0], maker._contents.info
    n_samples, n_scenes = stream.n_samples, len(ss.open_dataset(root))
    index, units = np.arange(n_scenes), np.random.default_rng(0).random(n_scenes)
    crops = [reader._place(n, unit, n_samples) for n, unit in enumerate(units)]
    shape = (BATCH, len(stream.channel_names), n_samples)
    out = np.empty(shape[1:], np.int16)
    decoded = np.empty((shape[1], info.chunk_samples), np.int16)
    fetched = [[data.copy() for data in reader._fetch(crop)] for crop in crops]

    def decode() -> None:
        for chunks in fetched:
            for data in chunks:
                decode_into(data, decoded)

    def checksum() -> None:
        for chunks in fetched:
            for data in chunks:
                google_crc32c.value(data)

    def batches() -> None:
        for _ in stream:
            pass

    whole, checked = per_crop(decode, n_scenes), per_crop(checksum, n_scenes)
    read = per_crop(lambda: [reader._fetch(crop) for crop in crops], n_scenes)
    cut = per_crop(lambda: reader.take(index, units, [out] * n_scenes), n_scenes)
    return {
        "read": read,
        "checksum": checked,
        "decompress": whole - checked,
        "cut": cut - read - whole,
        "into a batch": per_crop(batches, len(stream) * BATCH) - cut,
        "hand over from a worker": handed_over(root),
    }


def per_crop(work: Callable[[], object], crops: int, repeats: int = 5) -> float:
    """Processor time of a crop in microseconds; median."""
    work()
    found = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        found.append((time.process_time() - began) / crops * 1e6)
    return round(statistics.median(found), 1)


class Filler(BatchMaker):
    """Makes batches that hold a number, and were not read from anywhere."""

    def read(self, picks: Picks, audio: torch.Tensor) -> Facts:
        """Fill the samples."""
        audio.fill_(picks.step)
        n = len(picks.index)
        return Facts(
            picks=picks,
            gain=np.ones(n, np.float32),
            valid=np.ones(n, np.int64),
            start=np.zeros(n, np.int64),
            ids=("a scene",) * n,
            columns={},
            targets={},
        )


def handed_over(root: str) -> float:
    """Time of a crop in microseconds where a worker fills batches, one after another."""
    stream = ss.stream(root, crop_s=CROP_S, batch=BATCH, format=FORMAT, workers=1)
    stream._make = Filler(tuple(part.source for part in stream._parts), stream.n_samples)
    n_crops = sum(len(batch) for batch in stream)
    began = time.perf_counter()
    for _ in range(8):
        for _ in stream:
            pass
    return round((time.perf_counter() - began) / n_crops / 8 * 1e6, 1)


if __name__ == "__main__":
    main()
