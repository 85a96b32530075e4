"""Responses as plain wav or npy files with a table of positions, as simulators export them.

The table is a csv file with a header. `source_x`, `source_y`, `source_z` are required;
`listener_x`, `listener_y`, `listener_z` (0 if left out) and `yaw_deg`, `pitch_deg`, `roll_deg`, how
the listener was turned, may be there. Rows are responses: of one npy file [responses, channels,
samples] in its order, or of a folder by the column `file`.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean
from scenesynth.room.recorded import Recorded
from scenesynth.scene.geometry import rotation_matrix

_SOURCE: Final = ("source_x", "source_y", "source_z")
_LISTENER: Final = ("listener_x", "listener_y", "listener_z")
_TURN: Final = ("yaw_deg", "pitch_deg", "roll_deg")
COLUMNS: Final = ("file", *_SOURCE, *_LISTENER, *_TURN)
SUFFIXES: Final = (".wav", ".flac", ".npy")

Row = dict[str, str]


def read_exports(path: Path, positions: Path, sample_rate: int | None) -> Recorded:
    """Responses of a wav or npy file or of a folder of them.

    Args:
        positions: the table.
        sample_rate: of npy files, which do not say; wav files do.

    Raises:
        ConfigError: files or rows that are missing, or do not belong together.
    """
    table = _table(positions)
    if path.is_dir():
        found = [_read(path, row, n, positions, sample_rate) for n, row in enumerate(table)]
    else:
        responses, rate = _samples(path, sample_rate)
        if len(responses) != len(table):
            raise ConfigError(
                f"{path}: holds {len(responses)} responses, but {positions} has {len(table)} rows"
            )
        found = [(response, rate) for response in responses]
    rates = sorted({rate for _, rate in found})
    counts = sorted({len(response) for response, _ in found})
    if len(rates) > 1 or len(counts) > 1:
        raise ConfigError(
            f"{path}: responses have {counts} channels at {rates} Hz; expected one number and rate"
        )
    responses = _stacked([response for response, _ in found])
    turns_deg = _numbers(table, _TURN, positions, 0.0)
    return Recorded(
        path=path,
        responses=responses,
        sample_rate=rates[0],
        delay=np.zeros(responses.shape[:2]),
        source_m=_numbers(table, _SOURCE, positions, None),
        listener_m=_numbers(table, _LISTENER, positions, 0.0),
        rotation=np.stack([rotation_matrix(*turn) for turn in turns_deg]),
        title=path.stem,
        notes=(f"positions from {positions.name}",),
    ).check()


def with_axes(recorded: Recorded, axes: str) -> Recorded:
    """The same with positions in axes of ours, such as "x,-z,y" for a file whose y points up.

    Args:
        axes: which of the file's axes, with its sign, is our x (front), y (left) and z (up).

    Raises:
        ConfigError: anything but three different axes.
    """
    names = [name.strip() for name in axes.split(",")]
    if sorted(name.removeprefix("-") for name in names) != ["x", "y", "z"]:
        raise ConfigError(f"--axes {axes}: must be three signed axes such as x,-z,y")
    matrix = np.zeros((3, 3))
    for row, name in enumerate(names):
        matrix[row, "xyz".index(name[-1])] = -1.0 if name.startswith("-") else 1.0
    return replace(
        recorded,
        source_m=recorded.source_m @ matrix.T,
        listener_m=recorded.listener_m @ matrix.T,
        notes=(*recorded.notes, f"axes {axes} of the file are x, y, z"),
    )


def _table(path: Path) -> list[Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read as csv ({error})") from None
    columns = [name.strip() for name in lines[0]] if lines else []
    for name in columns:
        if name not in COLUMNS:
            raise ConfigError(
                f"{path}: unknown column {name!r}{did_you_mean(name, COLUMNS)}; it knows "
                f"{', '.join(COLUMNS)}"
            )
    if twice := [name for name in COLUMNS if columns.count(name) > 1]:
        raise ConfigError(f"{path}: column {twice[0]} is there twice; leave one of them out")
    if missing := [name for name in _SOURCE if name not in columns]:
        raise ConfigError(f"{path}: column {missing[0]} is missing; it needs {', '.join(_SOURCE)}")
    if len(lines) < 2:
        raise ConfigError(f"{path}: has no rows; expected one per response")
    for n, line in enumerate(lines[1:]):
        if len(line) != len(columns):
            raise ConfigError(
                f"{path}: row {n + 1} has {len(line)} values; expected {len(columns)}, one for "
                f"each of {', '.join(columns)}"
            )
    return [dict(zip(columns, line, strict=True)) for line in lines[1:]]


def _numbers(
    table: Sequence[Row], names: Sequence[str], path: Path, default: float | None
) -> NDArray[np.float64]:
    values = np.zeros((len(table), len(names)))
    for n, row in enumerate(table):
        for k, name in enumerate(names):
            text = row.get(name)
            if text is None and default is not None:
                values[n, k] = default
                continue
            try:
                values[n, k] = float(text or "")
            except ValueError:
                raise ConfigError(
                    f"{path}: row {n + 1}: {name} = {text!r}; must be a number"
                ) from None
    return values


def _read(
    folder: Path, row: Row, n: int, positions: Path, sample_rate: int | None
) -> tuple[NDArray[np.float32], int]:
    name = row.get("file")
    if not name:
        raise ConfigError(f"{positions}: row {n + 1}: file is missing; {folder} is a folder")
    responses, rate = _samples(folder / name, sample_rate)
    if len(responses) != 1:
        raise ConfigError(f"{folder / name}: holds {len(responses)} responses; expected one")
    return responses[0], rate


def _samples(path: Path, sample_rate: int | None) -> tuple[NDArray[np.float32], int]:
    """Responses of a file and their rate. Shape: [responses, channels, samples]."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        raise ConfigError(f"{path}: no such file of responses ({', '.join(SUFFIXES)})")
    if path.suffix.lower() != ".npy":
        try:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise ConfigError(f"{path}: cannot be decoded ({error})") from None
        return samples.T[None], int(rate)
    if sample_rate is None:
        raise ConfigError(f"{path}: a npy file does not say its rate; give --sample-rate")
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    if values.ndim == 1:
        values = values[None]
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or values.dtype.kind not in "fi" or values.shape[1] > values.shape[2]:
        raise ConfigError(
            f"{path}: holds {values.dtype} {values.shape}; expected real numbers [responses, "
            f"channels, samples]"
        )
    if values.dtype.kind == "i":
        values = values / -float(np.iinfo(values.dtype).min)
    with np.errstate(over="ignore"):  # infinity is an error of its own later on
        return values.astype(np.float32), sample_rate


def _stacked(responses: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Responses of different lengths, zeros after the shorter ones."""
    longest = max(response.shape[1] for response in responses)
    out = np.zeros((len(responses), len(responses[0]), longest), dtype=np.float32)
    for row, response in zip(out, responses, strict=True):
        row[:, : response.shape[1]] = response
    return out
