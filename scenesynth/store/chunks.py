"""Reading parts of a shard's audio object: its index, and the chunks of a scene in one request.

Chunks of a scene lie side by side, so a scene or a part of it is one range. They are taken for
what they are only after their checksums agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenesynth.errors import CorruptShardError
from scenesynth.store.arrays import ABSENT, decode_chunk, index_bytes, parse_index
from scenesynth.store.layout import DatasetInfo, StoredArray
from scenesynth.store.places import Place


def read_index(place: Place, key: str, size: int, info: DatasetInfo) -> NDArray[np.uint64]:
    """Offsets and lengths of the chunks of an audio object. Shape: [scenes, chunks, 2].

    Args:
        size: of the object, which is known from its commit.

    Raises:
        CorruptShardError: saying what is wrong, without naming the file.
    """
    start = max(size - index_bytes(info), 0)
    return parse_index(place.read_range(key, start, size - start), info)


def read_samples(
    place: Place,
    key: str,
    index: NDArray[np.uint64],
    array: StoredArray,
    info: DatasetInfo,
    n_samples: int,
) -> NDArray[Any]:
    """The first `n_samples` stored samples of a scene. Shape: [the array's axes, n_samples].

    Args:
        index: the scene's part of the object's. Shape: [chunks, 2].

    Raises:
        CorruptShardError: saying what is wrong, without naming the file.
    """
    wanted = index[: max(1, -(-n_samples // info.chunk_samples))]
    chunks = [decode_chunk(data, array, info) for data in read_chunks(place, key, wanted)]
    return np.concatenate(chunks, axis=-1)[..., :n_samples]


def read_chunks(place: Place, key: str, index: NDArray[np.uint64]) -> Iterator[bytes]:
    """Bytes of chunks, one request for all that lie side by side."""
    if (index == ABSENT).any():
        raise CorruptShardError("a chunk is absent")
    spans = [(int(offset), int(length)) for offset, length in index]
    breaks = [n for n, ((a, size), (b, _)) in enumerate(pairwise(spans), 1) if a + size != b]
    for first, last in pairwise([0, *breaks, len(spans)]):
        run = spans[first:last]
        start, stop = run[0][0], sum(run[-1])
        data = place.read_range(key, start, stop - start)
        yield from (data[a - start : a - start + size] for a, size in run)
