"""Which scenes a user means: ids, numbers, ranges of numbers, or files of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean
from scenesynth.store.commit import Commit
from scenesynth.store.reader import Dataset

_NUMBERS: Final = re.compile(r"(\d+)(?:-(\d+))?")
_ENDING_NUMBER: Final = re.compile(r".*-(\d+)")
_FILES: Final = (".txt", ".csv", ".parquet")


def read_ids(given: Sequence[str]) -> list[str]:
    """Names of scenes from a command line, each once.

    Args:
        given: texts of names between commas, or paths of files: .txt with a name per line (what
            follows # is a comment), .csv or .parquet with a column `id`, such as a part of the
            scenes table.

    Raises:
        ConfigError: a file that is missing or has no such column, or no name at all.
    """
    names = [name for text in given for name in _names(text)]
    if not names:
        raise ConfigError(f"{', '.join(given) or 'no scene'}: names no scene")
    return list(dict.fromkeys(names))


def find_scenes(dataset: Dataset, names: Iterable[str], option: str) -> dict[int, str]:
    """Ids of the named scenes by their number, rising; excluded ones are found too.

    Args:
        names: ids (`train-00000017`), numbers as in the column `index` (`17`), or ranges with
            both ends included (`0-99`).
        option: what to call them in an error.

    Raises:
        ConfigError: a scene that is not there, and why.
    """
    search = _Search(dataset)
    found: dict[int, str] = {}
    for name in names:
        match = _NUMBERS.fullmatch(name)
        if match:
            found |= search.numbers(name, int(match[1]), int(match[2] or match[1]), option)
        else:
            found |= search.id(name, option)
    return dict(sorted(found.items()))


class _Search:
    """Looks into the shard that a name points to first, and at all ids only if it must."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._commits = {commit.shard: commit for commit in dataset.commits}
        self._shards: dict[int, dict[int, str]] = {}
        self._all: dict[str, int] | None = None

    def numbers(self, name: str, first: int, last: int, option: str) -> dict[int, str]:
        if last < first:
            raise ConfigError(f"{option} {name}: the range is empty; give the smaller number first")
        if last >= self._dataset.n_promised:
            raise ConfigError(
                f"{option} {name}: {self._dataset.place} holds scenes 0 to "
                f"{self._dataset.n_promised - 1}"
            )
        return {number: self._at(number, option) for number in range(first, last + 1)}

    def id(self, name: str, option: str) -> dict[int, str]:
        match = _ENDING_NUMBER.fullmatch(name)
        number = int(match[1]) if match else -1
        if self._shard(number).get(number) == name:
            return {self._usable(number, option): name}
        if self._all is None:
            self._all = self._all_ids()
        if name not in self._all:
            raise ConfigError(
                f"{option} {name}: no such scene among those rendered of {self._dataset.place}"
                f"{did_you_mean(name, list(self._all)[:10_000])}"
            )
        return {self._usable(self._all[name], option): name}

    def _at(self, number: int, option: str) -> str:
        if (found := self._shard(number).get(number)) is None:
            raise ConfigError(
                f"{option} {number}: not rendered yet in {self._dataset.place}; wait for it, or "
                f"leave it out"
            )
        self._usable(number, option)
        return found

    def _usable(self, number: int, option: str) -> int:
        commit = self._commits[number // self._dataset.info.shard_scenes]
        if number in commit.skipped:
            raise ConfigError(
                f"{option} {number}: was skipped when {self._dataset.place} was rendered, so it "
                f"holds nothing; leave it out"
            )
        return number

    def _shard(self, number: int) -> dict[int, str]:
        shard = number // self._dataset.info.shard_scenes
        if shard not in self._shards:
            commit = self._commits.get(shard)
            self._shards[shard] = {} if commit is None else self._ids(commit)
        return self._shards[shard]

    def _ids(self, commit: Commit) -> dict[int, str]:
        if commit.status != "ok":
            return {}
        return _by_number(next(self._dataset.parts("scenes", [commit], ["index", "id"])))

    def _all_ids(self) -> dict[str, int]:
        table = self._dataset.table("scenes", ["index", "id"])
        by_number = _by_number(table) | dict(self._dataset.excluded)
        return {name: number for number, name in by_number.items()}


def _by_number(table: pa.Table) -> dict[int, str]:
    return dict(zip(table["index"].to_pylist(), table["id"].to_pylist(), strict=True))


def _names(text: str) -> list[str]:
    if not text.endswith(_FILES):
        return [name.strip() for name in text.split(",") if name.strip()]
    path = Path(text)
    try:
        if path.suffix == ".txt":
            lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
            return [name for line in lines for name in line.replace(",", " ").split()]
        return _column(path)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read ({why})") from None


def _column(path: Path) -> list[str]:
    """The column `id` of a table."""
    if path.suffix == ".parquet":
        names = pq.read_schema(path).names
        if "id" in names:
            found = pc.unique(pq.read_table(path, columns=["id"])["id"])
            return [str(name) for name in found.to_pylist()]
    else:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or ())
            if "id" in names:
                return [row["id"] for row in reader if row["id"]]
    raise ConfigError(f"{path}: has no column 'id'; its columns: {', '.join(names)}")
