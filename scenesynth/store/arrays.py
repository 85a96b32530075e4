"""Audio as Zarr v3 bytes: quantisation, inner chunks, shard objects, array metadata.

A scene is stored as int16 with its own peak as gain:

    float = stored / full_scale * gain          (full_scale 32767)

so the loudest sample is recovered exactly and quiet scenes lose no resolution. A silent scene has
gain 0. The option `float32` stores the samples as they are (full_scale 1, gain 1, or 0 where
silent).

A shard object is written here rather than through zarr, because each scene can then be compressed
as soon as it is rendered and only compressed bytes are kept. It is the core-spec codec
`sharding_indexed`: chunks back to back, then an index of (offset, length) pairs, then the index's
crc32c. Every chunk of every scene is present, silent ones too: an absent chunk would read as zeros
without an error, and an absent file would look like one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import google_crc32c
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from scenesynth.errors import CorruptShardError
from scenesynth.store.layout import DatasetInfo, StoredArray, StoredFormat, StoredStem
from scenesynth.store.schema import Scene

_EMITTERS: Final = "; the column `stem` of the events table names their slot"
SLOT_NOTES: Final = {
    "direct": f"direct sound of each emitter{_EMITTERS}",
    "early": f"early reflections of each emitter{_EMITTERS}",
    "late": f"late sound of each emitter{_EMITTERS}",
    "noise": "all noise together",
    "dry": f"what each emitter plays, at its place{_EMITTERS}",
}
"""What the slots of each kind of stem hold, for people."""

ABSENT: Final = np.uint64(2**64 - 1)
_CRC_BYTES: Final = 4
_CRC_RESIDUE: Final = 0x48674BC7
"""The crc32c of any data followed by its own crc32c (RFC 3385, section 3.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """How samples become bytes: number type, full scale, and blosc's compressor."""

    dtype: str
    full_scale: float
    compressor: str
    level: int

    @property
    def itemsize(self) -> int:
        """Bytes of a sample before compression."""
        return np.dtype(self.dtype).itemsize


CODECS: Final[dict[str, Codec]] = {
    "lz4": Codec(dtype="int16", full_scale=32767.0, compressor="lz4", level=5),
    "zstd": Codec(dtype="int16", full_scale=32767.0, compressor="zstd", level=1),
    "float32": Codec(dtype="float32", full_scale=1.0, compressor="lz4", level=5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedScene:
    """One scene in one array: compressed chunks along time, with their checksums."""

    chunks: tuple[bytes, ...]
    gain: float
    peak: float


def rows_of(scene: Scene, array: StoredArray) -> NDArray[np.float32]:
    """What an array holds of a scene; slots that the scene does not need are silent.

    Shape: [rows, samples], the channels of the first slot first.

    Raises:
        ValueError: the scene lacks it, or needs more slots than there are.
    """
    if isinstance(array, StoredFormat):
        return scene.audio_by_format[array.name]
    found = _stems_of(scene, array)
    missing = array.slots - len(found)
    if missing < 0:
        raise ValueError(
            f"{array.name}: scene {scene.id} has {len(found)} slots; the dataset holds at most "
            f"{array.slots}"
        )
    padded = np.pad(found, ((0, missing), *((0, 0) for _ in found.shape[1:])))
    return padded.reshape(-1, found.shape[-1])


def _stems_of(scene: Scene, stem: StoredStem) -> NDArray[np.float32]:
    """Shape: [slots, channels, samples], or [slots, samples] where dry."""
    if stem.format is None:
        found = scene.dry
    else:
        found = scene.stems_by_format.get(stem.format.name, {}).get(stem.kind)
    if found is None:
        raise ValueError(f"scene {scene.id} lacks the stems {stem.name}")
    return found


def encode_scene(audio: NDArray[np.float32], array: StoredArray, info: DatasetInfo) -> EncodedScene:
    """Quantise and compress a scene, padded with silence to the dataset's length.

    Args:
        audio: Shape [rows, samples], at most `info.max_samples` long.

    Raises:
        ValueError: another number of rows, too long, or samples that are not finite.
    """
    stored, gain, peak = stored_samples(audio, array, info)
    codec = CODECS[info.codec]
    chunks = tuple(_compress(_window(stored, n, info), codec) for n in range(info.n_chunks))
    return EncodedScene(chunks=chunks, gain=float(gain), peak=float(peak))


def stored_samples(
    audio: NDArray[np.float32], array: StoredArray, info: DatasetInfo
) -> tuple[NDArray[Any], np.float32, np.float32]:
    """Samples of a scene as they are stored, with its gain and its peak.

    Args:
        audio: Shape [rows, samples], at most `info.max_samples` long.

    Raises:
        ValueError: another number of rows, too long, or samples that are not finite.
    """
    _check_audio(audio, array, info)
    codec = CODECS[info.codec]
    peak = _peak(audio)
    if not np.isfinite(peak):
        raise ValueError(f"{_what(array)}: the audio holds samples that are not finite")
    gain = peak if codec.dtype == "int16" else np.float32(peak > 0)
    return quantise(audio, gain, codec), gain, peak


def quantise(audio: NDArray[np.float32], gain: np.float32, codec: Codec) -> NDArray[Any]:
    """Stored samples of `audio`, rounded to the nearest; all zero where the gain is 0.

    Shape: [channels, samples] in and out.
    """
    if codec.dtype == "float32":
        return audio
    if gain == 0:
        return np.zeros(audio.shape, np.int16)
    from scenesynth.store import rounding  # numba takes long; reading needs none of it

    stored = np.empty(audio.shape, np.int16)
    rows = np.ascontiguousarray(audio)
    rounding.rounded(rows, gain, np.float32(codec.full_scale), stored)
    return stored


def dequantise(stored: NDArray[Any], gain: float, codec: Codec) -> NDArray[np.float32]:
    """Audio of stored samples: `stored / full_scale * gain`, in float32.

    Dividing first makes the loudest sample equal the gain exactly.
    """
    audio = stored.astype(np.float32)
    audio /= np.float32(codec.full_scale)
    audio *= np.float32(gain)
    return audio


def shard_object(scenes: Sequence[EncodedScene], info: DatasetInfo) -> bytes:
    """Bytes of a shard's audio object.

    A shard that the extent cuts short (a dataset of less than one shard) has no chunks for the
    scenes that do not exist.
    """
    index = np.full((info.shard_scenes, info.n_chunks, 2), ABSENT, dtype="<u8")
    chunks = [chunk for scene in scenes for chunk in scene.chunks]
    lengths = np.array([len(chunk) for chunk in chunks], dtype=np.uint64)
    shape = (len(scenes), info.n_chunks)
    index[: len(scenes), :, 0] = (np.cumsum(lengths) - lengths).reshape(shape)
    index[: len(scenes), :, 1] = lengths.reshape(shape)
    return b"".join([*chunks, _checksummed(index.tobytes())])


def gain_object(scenes: Sequence[EncodedScene], info: DatasetInfo) -> bytes:
    """Bytes of a shard's chunk of gains."""
    gains = np.zeros(info.shard_scenes, dtype="<f4")
    gains[: len(scenes)] = [scene.gain for scene in scenes]
    return _checksummed(gains.tobytes())


def check_audio_object(data: bytes, n_scenes: int, info: DatasetInfo) -> None:
    """Check index, presence and checksum of every chunk of a shard's audio object.

    Raises:
        CorruptShardError: saying what is wrong, without naming the file.
    """
    size = index_bytes(info)
    if len(data) < size:
        raise CorruptShardError(f"{len(data)} bytes are too few for a shard index")
    index = parse_index(data[-size:], info)
    for scene, chunk in np.ndindex(n_scenes, info.n_chunks):
        offset, length = (int(value) for value in index[scene, chunk])
        if offset + length > len(data) - size:
            raise CorruptShardError(f"chunk {chunk} of scene {scene} of the shard is absent")
        check_chunk(data[offset : offset + length], scene, chunk)


def index_bytes(info: DatasetInfo) -> int:
    """Bytes of the index at the end of an audio object."""
    return info.shard_scenes * info.n_chunks * 16 + _CRC_BYTES


def parse_index(data: bytes, info: DatasetInfo) -> NDArray[np.uint64]:
    """Offsets and lengths of the chunks of an audio object. Shape: [scenes, chunks, 2].

    Raises:
        CorruptShardError: saying what is wrong, without naming the file.
    """
    if len(data) != index_bytes(info):
        raise CorruptShardError(f"{len(data)} bytes are no shard index")
    _check_sum(data, "the shard index")
    return np.frombuffer(data[:-_CRC_BYTES], dtype="<u8").reshape(
        info.shard_scenes, info.n_chunks, 2
    )


def check_chunk(data: bytes, scene: int, chunk: int) -> None:
    """Check a chunk of an audio object by its checksum.

    Raises:
        CorruptShardError: saying what is wrong, without naming the file.
    """
    _check_sum(data, f"chunk {chunk} of scene {scene} of the shard")


def decode_chunk(data: bytes, array: StoredArray, info: DatasetInfo) -> NDArray[Any]:
    """Stored samples of one chunk of a scene. Shape: [the array's axes, chunk].

    Raises:
        CorruptShardError: saying what is wrong, without naming the file.
    """
    _check_sum(data, "a chunk")
    blosc.use_threads = False  # see _compress
    dtype = np.dtype(CODECS[info.codec].dtype).newbyteorder("<")
    samples = np.frombuffer(blosc.decompress(data[:-_CRC_BYTES]), dtype=dtype)
    return samples.reshape(*array.axes.values(), info.chunk_samples)


def decode_into(data: NDArray[np.uint8], out: NDArray[Any]) -> None:
    """As `decode_chunk`, into memory that is there.

    Fresh memory would take longer to fault in than the samples to decode.

    Args:
        out: of the stored type, contiguous. Shape: [the array's axes, chunk].

    Raises:
        CorruptShardError: saying what is wrong, without naming the file.
        RuntimeError: the same, found by blosc.
    """
    if google_crc32c.value(data) != _CRC_RESIDUE:
        raise CorruptShardError("the checksum of a chunk does not match")
    blosc.use_threads = False  # see _compress
    blosc.decompress(data[:-_CRC_BYTES], out)


def check_gain_object(data: bytes, info: DatasetInfo) -> None:
    """Check size and checksum of a shard's chunk of gains.

    Raises:
        CorruptShardError: saying what is wrong, without naming the file.
    """
    if len(data) != info.shard_scenes * 4 + _CRC_BYTES:
        raise CorruptShardError(f"{len(data)} bytes, expected {info.shard_scenes * 4 + _CRC_BYTES}")
    _check_sum(data, "the gains")


def decode_gains(data: bytes, info: DatasetInfo) -> NDArray[np.float32]:
    """Gains of the scenes of a shard.

    Raises:
        CorruptShardError: see `check_gain_object`.
    """
    check_gain_object(data, info)
    return np.frombuffer(data[:-_CRC_BYTES], dtype="<f4")


def group_metadata(info: DatasetInfo) -> dict[str, dict[str, Any]]:
    """Zarr metadata of the groups, by path inside `data.zarr` ("" is the root)."""
    group = {"zarr_format": 3, "node_type": "group"}
    rate = {"sample_rate": info.sample_rate}
    folders = {str(p): rate for a in info.arrays for p in PurePosixPath(a.name).parents[:-1]}
    attributes = {"": rate, **folders, **{a.name: _attributes(a, info) for a in info.arrays}}
    return {name: {**group, "attributes": found} for name, found in attributes.items()}


def array_metadata(array: StoredArray, info: DatasetInfo, n_scenes: int) -> dict[str, Any]:
    """Zarr v3 metadata of `<array>/audio`, sized for `n_scenes`."""
    codec = CODECS[info.codec]
    lengths = list(array.axes.values())
    chunk = [1, *lengths, info.chunk_samples]
    shard = [info.shard_scenes, *lengths, info.n_chunks * info.chunk_samples]
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    compress = {
        "name": "blosc",
        "configuration": {
            "typesize": codec.itemsize,
            "cname": codec.compressor,
            "clevel": codec.level,
            "shuffle": "bitshuffle",
            "blocksize": 0,
        },
    }
    sharding = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": chunk,
            "codecs": [little, compress, {"name": "crc32c"}],
            "index_codecs": [little, {"name": "crc32c"}],
            "index_location": "end",
        },
    }
    return {
        **_array([n_scenes, *lengths, info.max_samples], shard, codec.dtype, [sharding]),
        "dimension_names": ["scene", *array.axes, "time"],
        "attributes": {**_attributes(array, info), "full_scale": codec.full_scale},
    }


def gain_metadata(info: DatasetInfo, n_scenes: int) -> dict[str, Any]:
    """Zarr v3 metadata of `<array>/gain`, sized for `n_scenes`: a chunk per shard."""
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    return {
        **_array([n_scenes], [info.shard_scenes], "float32", codecs),
        "dimension_names": ["scene"],
        "attributes": {"note": _gain_note(info)},
    }


def _array(shape: list[int], chunk: list[int], dtype: str, codecs: list[Any]) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0 if dtype == "int16" else 0.0,
        "codecs": codecs,
        "storage_transformers": [],
    }


def _attributes(array: StoredArray, info: DatasetInfo) -> dict[str, Any]:
    fmt = array if isinstance(array, StoredFormat) else array.format
    return {
        "sample_rate": info.sample_rate,
        **({"channel_names": list(fmt.channel_names), "convention": fmt.convention} if fmt else {}),
        "gain_note": _gain_note(info),
        **({"slot_note": SLOT_NOTES[array.kind]} if isinstance(array, StoredStem) else {}),
    }


def _gain_note(info: DatasetInfo) -> str:
    return f"audio as float = stored / {CODECS[info.codec].full_scale:g} * gain of the scene"


def _check_audio(audio: NDArray[np.float32], array: StoredArray, info: DatasetInfo) -> None:
    expected = f"[{array.n_rows}, up to {info.max_samples}] float32"
    fits = audio.ndim == 2 and audio.shape[0] == array.n_rows
    if not fits or audio.shape[1] > info.max_samples or audio.dtype != np.float32:
        got = f"{list(audio.shape)} {audio.dtype}"
        raise ValueError(f"{_what(array)}: audio is {got}; must be {expected}")


def _what(array: StoredArray) -> str:
    return f"format {array.name}" if isinstance(array, StoredFormat) else array.name


def _peak(audio: NDArray[np.float32]) -> np.float32:
    """Largest magnitude; NaN where any sample is NaN."""
    if audio.size == 0:
        return np.float32(0)
    return np.float32(np.maximum(audio.max(), -audio.min()))


def _window(stored: NDArray[Any], number: int, info: DatasetInfo) -> NDArray[Any]:
    """Inner chunk `number` of a scene, padded to its full length. Shape: [rows, chunk]."""
    size = info.chunk_samples
    part = stored[:, number * size : (number + 1) * size]
    if part.shape[1] == size:
        return part
    return np.pad(part, ((0, 0), (0, size - part.shape[1])))


def _compress(stored: NDArray[Any], codec: Codec) -> bytes:
    # One thread: blosc's pool would fight the other workers, and fork badly.
    blosc.use_threads = False
    little = np.ascontiguousarray(stored, dtype=np.dtype(codec.dtype).newbyteorder("<"))
    packed = blosc.compress(
        little, codec.compressor.encode(), codec.level, blosc.BITSHUFFLE, blocksize=0
    )
    return _checksummed(packed)


def _checksummed(data: bytes) -> bytes:
    return data + int(google_crc32c.value(data)).to_bytes(_CRC_BYTES, "little")


def _check_sum(data: bytes, what: str) -> None:
    if len(data) < _CRC_BYTES or _checksummed(data[:-_CRC_BYTES]) != data:
        raise CorruptShardError(f"the checksum of {what} does not match")
