"""What a dataset folder holds and what its identity is.

`dataset.json` is written once and never changes: it states everything that decides the bytes, but
no number of scenes. `extents/<n>.json` add scenes, one extent after another, on whole shards.
Both are *sealed*: they carry a hash of themselves, so a flipped byte is an error and not another
dataset.

    dataset.json  extents/<n>.json  data.zarr/<format>/{audio,gain}
    data.zarr/<format>/stems/<kind>/{audio,gain}  data.zarr/stems/dry/{audio,gain}
    tables/{scenes,events}/part-<k>.parquet  commits/<k>.json  failures/<k>.json
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import xxhash

from scenesynth.errors import CorruptShardError, StoreError
from scenesynth.records import from_plain, to_plain
from scenesynth.store.places import Place, Root, place_of
from scenesynth.store.schema import SCHEMA_VERSION, STEM_KINDS

DATASET_FILE: Final = "dataset.json"
ZARR_GROUP: Final = "data.zarr"
COMMITS: Final = "commits"
FIRST_LABELS: Final = "1"
FAILURES: Final = "failures"
CHUNK_S: Final = 2.0
"""Length of an inner chunk: shorter ones slow whole clips down, longer ones slow crops down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFormat:
    """An output format as the store sees it.

    Attributes:
        convention: what the channels mean, for people ("AmbiX: ACN order, SN3D").
        microphones: where they are and what they hear, as JSON; "" for formats without any.
    """

    name: str
    channel_names: tuple[str, ...]
    convention: str
    microphones: str = ""

    def __post_init__(self) -> None:
        if not self.name or set(self.name) & set("/\\\0") or self.name.startswith("."):
            raise ValueError(f"format name {self.name!r} cannot name a folder")
        if not self.channel_names:
            raise ValueError(f"format {self.name}: channel_names is empty")

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.channel_names)

    @property
    def axes(self) -> dict[str, int]:
        """Axes of its array between scene and time, with their lengths."""
        return {"channel": self.n_channels}

    @property
    def n_rows(self) -> int:
        """Signals of a scene."""
        return self.n_channels


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStems:
    """Which stems a dataset holds beside its audio.

    Attributes:
        kinds: some of `STEM_KINDS`, in that order.
        slots: most emitters of a scene that have one; those that a scene does not need are silent.
    """

    kinds: tuple[str, ...]
    slots: int

    def __post_init__(self) -> None:
        if not self.kinds or self.kinds != tuple(k for k in STEM_KINDS if k in self.kinds):
            raise ValueError(f"stems.kinds = {self.kinds}; must be some of {STEM_KINDS}, in order")
        if self.slots < 1:
            raise ValueError(f"stems.slots = {self.slots}; must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStem:
    """Stems of one kind in one format; the dry ones have none.

    Attributes:
        slots: emitters; 1 for noise.
    """

    kind: str
    slots: int
    format: StoredFormat | None

    @property
    def name(self) -> str:
        """Its folder."""
        folder = f"stems/{self.kind}"
        return folder if self.format is None else f"{self.format.name}/{folder}"

    @property
    def axes(self) -> dict[str, int]:
        """Axes of its array between scene and time, with their lengths."""
        return {"slot": self.slots, **(self.format.axes if self.format else {})}

    @property
    def n_rows(self) -> int:
        """Signals of a scene."""
        return math.prod(self.axes.values())


StoredArray = StoredFormat | StoredStem
"""What has a folder in the group, with samples and a gain for every scene."""


def stored_arrays(
    formats: Sequence[StoredFormat], stems: StoredStems | None
) -> tuple[StoredArray, ...]:
    """All arrays of samples: those of the formats, then those of the stems."""
    if stems is None:
        return tuple(formats)
    wet = [
        StoredStem(kind=kind, slots=1 if kind == "noise" else stems.slots, format=item)
        for item in formats
        for kind in stems.kinds
        if kind != "dry"
    ]
    dry = [StoredStem(kind=k, slots=stems.slots, format=None) for k in stems.kinds if k == "dry"]
    return (*formats, *wet, *dry)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """Identity of a dataset: equal identities and an equal index give an equal scene.

    Attributes:
        recipe: the resolved recipe, as plain data.
        split: the split that was forced, or "all".
        max_samples: length of the time axis of the arrays.
        shard_scenes: scenes of a shard.
        codec: name in `scenesynth.store.arrays.CODECS`.
        on_error: what becomes of a scene whose content cannot be used.
        backend: where responses and convolutions are computed ("cpu").
        render: version of the renderer.
        labels: version of the rows of the tables.
        packages: versions of the packages that decide bytes.
        cpu: instruction set level that compiled kernels were made for.
        corpora: digest, licences and size of each corpus, by name.
        classes: names of the event classes; `class_ids` index this list.
        stems: what is stored beside the audio; None for nothing.
        came_from: of which dataset these are scenes again, and what was changed; None for scenes
            that were drawn.
    """

    recipe: Mapping[str, Any]
    seed: int
    split: str
    formats: tuple[StoredFormat, ...]
    sample_rate: int
    max_samples: int
    shard_scenes: int = 64
    codec: str = "lz4"
    on_error: str = "redraw"
    backend: str = "cpu"
    render: str
    packages: Mapping[str, str]
    cpu: str
    corpora: Mapping[str, Any]
    classes: tuple[str, ...]
    stems: StoredStems | None = None
    came_from: Mapping[str, Any] | None = None
    labels: str = FIRST_LABELS

    def __post_init__(self) -> None:
        for name in ("sample_rate", "max_samples", "shard_scenes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} = {getattr(self, name)}; must be positive")
        names = [f.name for f in self.formats]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"formats = {names}; must be one or more different ones")

    @property
    def format_names(self) -> tuple[str, ...]:
        """Names of the formats, in order."""
        return tuple(f.name for f in self.formats)

    @property
    def arrays(self) -> tuple[StoredArray, ...]:
        """All arrays of samples: those of the formats, then those of the stems."""
        return stored_arrays(self.formats, self.stems)

    @property
    def stem_kinds(self) -> tuple[str, ...]:
        """Kinds of the stems."""
        return () if self.stems is None else self.stems.kinds

    @property
    def chunk_samples(self) -> int:
        """Length of an inner chunk along time."""
        return min(round(CHUNK_S * self.sample_rate), self.max_samples)

    @property
    def n_chunks(self) -> int:
        """Inner chunks of a scene."""
        return -(-self.max_samples // self.chunk_samples)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the schema version; no word of stems or an origin if there is none.

        Nor of the first version of labels, which had no number.
        """
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["formats"] = [to_plain(f) for f in self.formats]
        del plain["stems"], plain["came_from"]
        if self.labels == FIRST_LABELS:
            del plain["labels"]
        if self.stems is not None:
            plain["stems"] = to_plain(self.stems)
        if self.came_from is not None:
            plain["came_from"] = dict(self.came_from)
        plain["classes"] = list(self.classes)
        # Through JSON, so that a recipe's tuples equal the lists that are read back.
        return dict(json.loads(json.dumps({"schema": SCHEMA_VERSION, **plain}, allow_nan=False)))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], path: str) -> DatasetInfo:
        """Inverse of `to_dict`.

        Raises:
            StoreError: unknown or missing keys, or values that make no dataset.
        """
        known = {f.name for f in fields(cls)} | {"schema"}
        if odd := sorted((known ^ set(data)) - {"stems", "came_from", "labels"}):
            raise StoreError(f"{path}: unknown or missing key {odd[0]!r}; this is not a dataset")
        plain = {key: value for key, value in data.items() if key != "schema"}
        plain["formats"] = tuple(from_plain(StoredFormat, f, "formats") for f in plain["formats"])
        plain["classes"] = tuple(plain["classes"])
        try:
            if "stems" in plain:
                plain["stems"] = from_plain(StoredStems, plain["stems"], "stems")
            return cls(**plain)
        except ValueError as error:
            raise StoreError(f"{path}: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Scenes [first, stop) that were asked for at one time."""

    first: int
    stop: int


def seal(payload: Mapping[str, Any]) -> bytes:
    """JSON bytes of `payload` with a hash of itself under the key "seal"."""
    body = json.loads(json.dumps(payload, allow_nan=False))
    text = json.dumps({**body, "seal": _digest(body)}, indent=1, ensure_ascii=False)
    return (text + "\n").encode()


def unseal(data: bytes, path: object) -> dict[str, Any]:
    """Payload of sealed JSON bytes, which lie at `path`.

    Raises:
        StoreError: written by a newer scenesynth.
        CorruptShardError: not JSON, or not what was written.
    """
    try:
        body = json.loads(data)
        claimed = body.pop("seal")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        body, claimed = None, None
    if body is None or claimed != _digest(body):
        raise CorruptShardError(
            f"{path}: damaged or edited by hand (its content does not match its seal); "
            f"put the original back from a copy"
        )
    version = body.get("schema")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: written with store schema {version}; this scenesynth reads up to "
            f"{SCHEMA_VERSION}. Install a newer scenesynth"
        )
    return dict(body)


def has_info(root: Root) -> bool:
    """Whether there is a dataset in `root`."""
    return place_of(root).exists(DATASET_FILE)


def read_info(root: Root) -> DatasetInfo:
    """Identity of the dataset in `root`.

    Raises:
        StoreError: no dataset there, or one that this version cannot read.
    """
    place = place_of(root)
    try:
        data = place.read(DATASET_FILE)
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"{place}: not a scenesynth dataset ({_what_is_amiss(place)})") from None
    where = place.locate(DATASET_FILE)
    return DatasetInfo.from_dict(unseal(data, where), where)


def read_extents(root: Root) -> list[Extent]:
    """Extents of the dataset in `root`, in order; each starts where the one before stops.

    Raises:
        CorruptShardError: an extent is missing or damaged.
    """
    place = place_of(root)
    extents: list[Extent] = []
    while (data := _read_if_there(place, key := extent_key(len(extents)))) is not None:
        body = unseal(data, place.locate(key))
        extent = Extent(first=body["first"], stop=body["stop"])
        expected = extents[-1].stop if extents else 0
        if extent.first != expected or extent.stop <= extent.first:
            raise CorruptShardError(
                f"{place.locate(key)}: scenes [{extent.first}, {extent.stop}) do not follow the "
                f"{expected} scenes before them; put the original back from a copy"
            )
        extents.append(extent)
    return extents


def n_scenes(root: Root) -> int:
    """Scenes that the extents promise, rendered or not."""
    return promised(read_extents(root))


def promised(extents: Sequence[Extent]) -> int:
    """Scenes that some extents promise."""
    return extents[-1].stop if extents else 0


def extent_key(number: int) -> str:
    """Where extent `number` lies inside the dataset."""
    return f"extents/{number}.json"


def commit_key(shard: int) -> str:
    """Where the commit record of a shard lies inside the dataset."""
    return f"{COMMITS}/{shard}.json"


def failure_key(shard: int) -> str:
    """Where the report on a parked shard lies inside the dataset."""
    return f"{FAILURES}/{shard}.json"


def selection_key(number: int) -> str:
    """Where the scenes of extent `number` are listed, of a dataset made from another."""
    return f"selection/{number}.parquet"


def shard_keys(info: DatasetInfo, shard: int) -> list[str]:
    """Paths of all files of a shard inside the dataset, its commit record aside."""
    arrays = info.arrays
    return [
        *(audio_key(array.name, shard, len(array.axes)) for array in arrays),
        *(gain_key(array.name, shard) for array in arrays),
        *(table_key(table, shard) for table in ("scenes", "events")),
    ]


def audio_key(name: str, shard: int, n_axes: int = 1) -> str:
    """Path of a shard's audio object inside the dataset.

    Args:
        name: of the array.
        n_axes: how many it has between scene and time.
    """
    return f"{ZARR_GROUP}/{name}/audio/c/{shard}/0" + n_axes * "/0"


def gain_key(name: str, shard: int) -> str:
    """Path of a shard's gains inside the dataset."""
    return f"{ZARR_GROUP}/{name}/gain/c/{shard}"


def table_key(table: str, shard: int) -> str:
    """Path of a shard's part of the table "scenes" or "events" inside the dataset."""
    return f"tables/{table}/part-{shard}.parquet"


def _what_is_amiss(place: Place) -> str:
    try:
        place.names()
    except FileNotFoundError:
        return "there is no such folder"
    except NotADirectoryError:
        pass
    return f"it holds no {DATASET_FILE}"


def _read_if_there(place: Place, key: str) -> bytes | None:
    try:
        return place.read(key)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _digest(body: Any) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return str(xxhash.xxh3_128_hexdigest(text.encode()))
