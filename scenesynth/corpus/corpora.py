"""Corpora: named sets of clips that recipes draw from and renderings read.

    corpora = Corpora.open(sources=["clips", "speech=/data/speech"], noise=["ambience"])
    clip = corpora["speech"].pool("train", {"train": 0.8, "valid": 0.1, "test": 0.1}).pick(17)
    samples = corpora["speech"].load(clip, 32000)

A worker process opens them by `Corpora.from_descriptor`, or by unpickling, from the cached index,
without a look at the files.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenesynth.corpus.builtin import builtin_folder
from scenesynth.corpus.clips import PREPARE_VERSION, Progress
from scenesynth.corpus.corpus import Corpus as Corpus
from scenesynth.corpus.corpus import Reference
from scenesynth.corpus.packed import Packed, pack_clips, packed_bytes
from scenesynth.corpus.place import Place, open_place, reopen_place
from scenesynth.data import cache_root
from scenesynth.errors import ConfigError

PACK_LIMIT_BYTES = 8 << 30
"""Size up to which clips are packed into the cache before rendering."""

_NAMED = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)=(.+)")
_SPARE_DISK = 0.5
"""Share of the free disk space that packing into the cache may take."""


class Corpora(Mapping[str, Corpus]):
    """Corpora by name."""

    def __init__(self, corpora: Mapping[str, Corpus]) -> None:
        self._corpora = dict(corpora)

    def __getitem__(self, name: str) -> Corpus:
        return self._corpora[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._corpora)

    def __len__(self) -> int:
        return len(self._corpora)

    def __repr__(self) -> str:
        return f"<Corpora {', '.join(map(repr, self._corpora.values()))}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Corpora.from_descriptor, (self.descriptor(),))

    @classmethod
    def open(
        cls,
        sources: Sequence[str | Path] = (),
        noise: Sequence[str | Path] = (),
        *,
        progress: Progress | None = None,
    ) -> Corpora:
        """Open corpora, indexing what is new.

        Args:
            sources: PATH or NAME=PATH, each a folder of audio files, a clips.csv or a packed
                corpus. Paths without a name, or with the same one, are joined; where all have
                names, "sources" is all of them. Nothing opens the built-in clips.
            noise: the same for "noise".
            progress: called as files are measured.

        Raises:
            ConfigError: a path with nothing usable, or the same one twice.
        """
        given = _by_name("sources", sources or [builtin_folder("sources", progress=progress)])
        noises = noise or [builtin_folder("noise", progress=progress)]
        for name, paths in _by_name("noise", noises).items():
            given.setdefault(name, []).extend(paths)
        opened: dict[Path, Place] = {}
        for path in (path for paths in given.values() for path in paths):
            if path not in opened:
                opened[path] = open_place(path, progress=progress)
        return cls({name: _join(name, paths, opened) for name, paths in given.items()})

    def named(self, name: str) -> Corpus:
        """The corpus of a name.

        Raises:
            ConfigError: there is none.
        """
        if name in self._corpora:
            return self._corpora[name]
        raise ConfigError(
            f"no corpus named {name!r}; there are {', '.join(self._corpora)}; give it with "
            f"--sources {name}=PATH or --noise {name}=PATH"
        )

    def load(
        self, ref: Reference, sample_rate: int, start: int = 0, stop: int | None = None
    ) -> NDArray[np.float32]:
        """Samples of a referenced clip, as `Corpus.load`. Shape: [n]. Errors also as `named`."""
        return self.named(ref.corpus).load(ref, sample_rate, start, stop)

    def descriptor(self) -> dict[str, Any]:
        """Plain data from which another process opens the same corpora."""
        return {
            name: {
                "digest": corpus.digest,
                "places": {prefix: _describe(p) for prefix, p in corpus.places.items()},
            }
            for name, corpus in self._corpora.items()
        }

    @classmethod
    def from_descriptor(cls, descriptor: Mapping[str, Any]) -> Corpora:
        """Inverse of `descriptor`: reads the cached indexes and scans nothing.

        Raises:
            ConfigError: an index is gone, or is not the one that was described.
        """
        corpora = {}
        for name, item in descriptor.items():
            places = {prefix: _reopen(place) for prefix, place in item["places"].items()}
            corpus = Corpus(name, places)
            if corpus.digest != item["digest"]:
                raise ConfigError(
                    f"corpus {name}: digest {corpus.digest[:12]}, expected {item['digest'][:12]}; "
                    f"its clips changed since the run began; restore them or begin a new run"
                )
            corpora[name] = corpus
        return cls(corpora)


def builtin_corpora(progress: Progress | None = None) -> Corpora:
    """The built-in procedural clips, as "sources" and "noise"; made on first use."""
    return Corpora.open(progress=progress)


def pack(
    corpus: Corpus,
    folder: Path | None,
    sample_rate: int,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Packed:
    """Pack a corpus at a rate.

    Args:
        corpus: what to pack.
        folder: where to; None for the cache.
        sample_rate: rate of the packed samples.
        progress: called after each part.
        workers: threads; None for one per core.

    Raises:
        ConfigError: the folder holds something else.
    """
    return pack_clips(
        corpus.clips,
        lambda clip: corpus.prepared(clip, sample_rate),
        folder or _cached_pack(corpus.digest, sample_rate),
        sample_rate,
        progress=progress,
        workers=workers,
    )


def prepare_for_rendering(
    corpora: Corpora,
    sample_rate: int,
    *,
    progress: Progress | None = None,
    limit_bytes: int = PACK_LIMIT_BYTES,
) -> Corpora:
    """Corpora whose clips are packed in the cache at `sample_rate`, if they fit there.

    Places that would take more than `limit_bytes` together, or more than half of the free disk
    space, are left to be decoded as they are needed. The samples are the same either way.
    """
    places = {id(p): p for corpus in corpora.values() for p in corpus.places.values()}
    waiting = {key: p for key, p in places.items() if sample_rate not in p.packs and p.index_file}
    need = sum(packed_bytes(place.clips, sample_rate) for place in waiting.values())
    if not waiting or need > min(limit_bytes, _SPARE_DISK * _free_bytes()):
        return corpora
    ready = {
        key: replace(place, packs={sample_rate: _pack_place(place, sample_rate, progress)})
        for key, place in waiting.items()
    }
    return Corpora(
        {
            name: Corpus(name, {x: ready.get(id(p), p) for x, p in corpus.places.items()})
            for name, corpus in corpora.items()
        }
    )


def _pack_place(place: Place, sample_rate: int, progress: Progress | None) -> Packed:
    return pack(Corpus(place.root.name, {"": place}), None, sample_rate, progress=progress)


def _cached_pack(digest: str, sample_rate: int) -> Path:
    return cache_root() / "packed" / f"{digest}-{sample_rate}-v{PREPARE_VERSION}"


def _free_bytes() -> int:
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(root).free


def _by_name(default: str, given: Sequence[str | Path]) -> dict[str, list[Path]]:
    """Paths by corpus name; where all are named, `default` is all of them together."""
    named: dict[str, list[Path]] = {}
    for item in given:
        match = _NAMED.fullmatch(str(item))
        if match and not Path(item).exists():
            named.setdefault(match[1], []).append(Path(match[2]))
        else:
            named.setdefault(default, []).append(Path(item))
    if default not in named:
        named[default] = list(dict.fromkeys(path for paths in named.values() for path in paths))
    return named


def _join(name: str, paths: Sequence[Path], opened: Mapping[Path, Place]) -> Corpus:
    prefixes = place_prefixes(name, paths)
    return Corpus(name, {x: opened[path] for x, path in zip(prefixes, paths, strict=True)})


def place_prefixes(name: str, paths: Sequence[Path]) -> list[str]:
    """Id prefixes of the places of a corpus: none for one, else the shortest distinct ends.

    Raises:
        ConfigError: the same place twice.
    """
    if len(paths) == 1:
        return [""]
    ends = [_naming_parts(path) for path in paths]
    for n in range(1, max(map(len, ends)) + 1):
        short = ["/".join(parts[-n:]) for parts in ends]
        if len(set(short)) == len(short):
            return short
    (twice, _), *_ = Counter(ends).most_common(1)
    raise ConfigError(f"corpus {name}: /{'/'.join(twice)} is given twice; give each path once")


def _naming_parts(path: Path) -> tuple[str, ...]:
    whole = path.resolve()
    if whole.name == "clips.csv":
        return whole.parent.parts[1:]
    return whole.with_suffix("").parts[1:] if whole.suffix == ".csv" else whole.parts[1:]


def _describe(place: Place) -> dict[str, Any]:
    return {
        "path": str(place.path.resolve()),
        "root": str(place.root.resolve()),
        "index": None if place.index_file is None else str(place.index_file),
        "packs": {str(rate): str(packed.folder) for rate, packed in place.packs.items()},
    }


def _reopen(described: Mapping[str, Any]) -> Place:
    index = described["index"]
    place = reopen_place(
        Path(described["path"]), Path(described["root"]), None if index is None else Path(index)
    )
    if index is None:
        return place
    packs = {int(rate): Packed(Path(folder)) for rate, folder in described["packs"].items()}
    return replace(place, packs=packs)
