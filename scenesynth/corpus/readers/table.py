"""The clips.csv contract: a row per clip; only `path` is required.

Columns: id, path, labels (or label; several separated by `;` or `|`), split, group, fold, licence
(or license), attribution, url, caption. Paths are relative to the folder of the file and stay
inside it. Other columns are ignored, but not a misspelt one: a lost split would leak quietly.
"""

from __future__ import annotations

import csv
import difflib
import posixpath
import unicodedata
from pathlib import Path

from scenesynth.corpus.clips import Entry, Rejected, parse_labels, parse_split
from scenesynth.errors import ConfigError

COLUMNS = (
    "id",
    "path",
    "labels",
    "split",
    "group",
    "fold",
    "licence",
    "attribution",
    "url",
    "caption",
)
_ALIASES = {"label": "labels", "license": "licence"}


def read_table(file: Path) -> tuple[list[Entry], list[Rejected]]:
    """Entries of a clips.csv, and the rows that cannot be used with the reason.

    Raises:
        ConfigError: not a readable CSV, no `path` column, or no rows.
    """
    rows = _rows(file)
    entries: dict[str, Entry] = {}
    rejected = []
    for number, row in rows:
        reason = _fault(row, entries)
        if reason:
            shown = row.get("path", "").strip() or f"{file.name} line {number}"
            rejected.append(Rejected(path=shown, reason=f"{reason} ({file.name} line {number})"))
            continue
        entry = _entry(row)
        entries[entry.id] = entry
    return list(entries.values()), rejected


def _rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            names = [_column(name) for name in reader.fieldnames or ()]
            reader.fieldnames = names
            rows = [(reader.line_num, {k: v or "" for k, v in row.items() if k}) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{file}: not a CSV table in UTF-8 ({error})") from None
    if "path" not in names:
        raise ConfigError(
            f"{file}: no column 'path'; got {', '.join(names) or 'an empty file'}; a clips.csv "
            f"knows {', '.join(COLUMNS)} and needs only path; columns are separated by commas"
        )
    if twice := [name for name in COLUMNS if names.count(name) > 1]:
        raise ConfigError(f"{file}: column {twice[0]!r} is there twice; leave one of them out")
    _refuse_misspelt(file, names)
    if not rows:
        raise ConfigError(f"{file}: no rows below the header; one row per clip is needed")
    return rows


def _refuse_misspelt(file: Path, names: list[str]) -> None:
    """A column that is nearly one of ours, where ours is missing."""
    missing = [name for name in (*COLUMNS, *_ALIASES) if _column(name) not in names]
    for name in set(names) - set(COLUMNS):
        if close := difflib.get_close_matches(name, missing, n=1, cutoff=0.8):
            raise ConfigError(
                f"{file}: column {name!r} is not known; did you mean {close[0]!r}? Rename it, or "
                f"leave it out"
            )


def _column(name: str) -> str:
    name = name.strip().lower()
    return _ALIASES.get(name, name)


def _relative(row: dict[str, str]) -> str:
    return posixpath.normpath(row["path"].strip().replace("\\", "/"))


def _id(row: dict[str, str]) -> str:
    return unicodedata.normalize("NFC", row.get("id", "").strip() or _relative(row))


def _fault(row: dict[str, str], entries: dict[str, Entry]) -> str:
    if not row["path"].strip():
        return "path is empty"
    path = _relative(row)
    if path.startswith(("/", "../")) or path == ".." or path[1:3] == ":/":
        return "path leads out of the folder of the table; it must be relative to it"
    if known := entries.get(_id(row)):
        return f"id {known.id!r} is already that of {known.path!r}"
    return ""


def _entry(row: dict[str, str]) -> Entry:
    def cell(name: str) -> str:
        return row.get(name, "").strip()

    return Entry(
        id=_id(row),
        path=_relative(row),
        labels=parse_labels(cell("labels")),
        split=parse_split(cell("split")),
        group=cell("group"),
        fold=cell("fold"),
        licence=cell("licence"),
        attribution=cell("attribution"),
        url=cell("url"),
        caption=cell("caption"),
    )
