"""Numbers out of tables, as arrays in which NaN stands for what is not there.

A table may lack a column: datasets of older versions do, and scenes that were only drawn have
nothing that was measured. That is no error here; there are no values then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST_BANDS: Final = 16
_MID: Final = slice(2, 4)


def numbers(table: pa.Table, name: str) -> Array:
    """A column of numbers. Shape: [rows]."""
    if name not in table.column_names or not _numeric(table.schema.field(name).type):
        return np.full(len(table), np.nan)
    found = pc.cast(table[name], pa.float64()).to_numpy()
    return np.array(found, dtype=np.float64)


def lists(table: pa.Table, name: str, width: int = MOST_BANDS) -> Array:
    """A column of lists of numbers; longer ones are cut. Shape: [rows, width]."""
    found = np.full((len(table), width), np.nan)
    if name not in table.column_names or not _listed(table.schema.field(name).type):
        return found
    column = table[name].combine_chunks()
    rows = pc.list_parent_indices(column).to_numpy()
    values = pc.cast(pc.list_flatten(column), pa.float64()).to_numpy(zero_copy_only=False)
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = place < width
    found[rows[kept], place[kept]] = values[kept]
    return found


def texts(table: pa.Table | None, name: str) -> list[str]:
    """A column of texts, "" for null; nothing where there is no such column."""
    if table is None or name not in table.column_names:
        return []
    return ["" if value is None else str(value) for value in table[name].to_pylist()]


def matching(table: pa.Table, name: str, values: Sequence[str]) -> pa.Table:
    """The rows whose column is one of `values`; none where there is no such column."""
    if name not in table.column_names:
        return table.slice(0, 0)
    return table.filter(pc.is_in(table[name], pa.array(values, pa.string())))


def with_scenes(events: pa.Table, scenes: pa.Table, columns: Sequence[str]) -> pa.Table:
    """`events` with these columns of their scenes, found by the column `index`.

    A column that scenes do not have, or a scene that is not among them, gives null.
    """
    known = "index" in events.column_names and "index" in scenes.column_names
    for name in columns:
        if known and name in scenes.column_names and len(scenes):
            at = pc.index_in(events["index"], scenes["index"].combine_chunks())
            value = scenes[name].combine_chunks().take(at)
        else:
            value = pa.nulls(len(events), pa.string())
        if name in events.column_names:
            events = events.drop_columns([name])
        events = events.append_column(name, value)
    return events


def middle_bands(values: Array) -> Array:
    """The mean of the octaves of 500 and 1000 Hz, which stands for "the" T60 of a room.

    Of rooms with fewer bands it is the mean of those. Shape: [rows, bands] -> [rows].
    """
    middle = np.full_like(values, np.nan)
    middle[:, _MID] = values[:, _MID]
    octaves = np.isfinite(middle).any(axis=1, keepdims=True)
    chosen = np.where(octaves, middle, values)
    there = np.isfinite(chosen)
    total = np.where(there, chosen, 0.0).sum(axis=1)
    count = there.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def present(values: Array) -> Array:
    """The values that are there, as one row of them. Shape: any -> [values]."""
    return values[np.isfinite(values)]


def _numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def _listed(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) and _numeric(kind.value_type))
