"""Flat records as parquet columns, and files that appear whole or not at all."""

from __future__ import annotations

import dataclasses
import io
import os
import time
import typing
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from scenesynth.errors import ConfigError

T = TypeVar("T")

_ARROW = {
    str: pa.string(),
    str | None: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    tuple[str, ...]: pa.list_(pa.string()),
}


def columns_of(kind: type, records: Sequence[Any]) -> dict[str, pa.Array]:
    """A column per field of the record `kind`; a record that is None gives nulls."""
    hints = typing.get_type_hints(kind)
    return {
        name: pa.array(
            [None if record is None else getattr(record, name) for record in records],
            type=_ARROW[hints[name]],
        )
        for name in field_names(kind)
    }


def records_of(kind: type[T], table: pa.Table) -> list[T]:
    """Inverse of `columns_of` for columns without null records."""
    hints = typing.get_type_hints(kind)
    columns = []
    for name in field_names(kind):
        values = table[name].to_pylist()
        columns.append(map(tuple, values) if hints[name] == tuple[str, ...] else values)
    names = field_names(kind)
    return [kind(**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def field_names(kind: type) -> tuple[str, ...]:
    """Names of a record's fields, in order."""
    return tuple(field.name for field in dataclasses.fields(kind))


def to_parquet(table: pa.Table) -> bytes:
    """A table as the bytes of a parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def publish(file: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or nothing.

    Raises:
        ConfigError: the folder cannot be written.
    """
    temporary = scratch_name(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise unwritable(file.parent, error) from None


def scratch_name(path: Path) -> Path:
    """A hidden name beside `path` that no other process or thread uses."""
    return path.with_name(f".{path.name}.{os.getpid()}-{time.time_ns():x}")


def unwritable(folder: Path, error: OSError) -> ConfigError:
    """The error for a cache folder that cannot be written."""
    return ConfigError(
        f"{folder}: cannot be written ({error.strerror}); give a folder that can, or set "
        f"SCENESYNTH_CACHE to one for caches"
    )
