"""What follows from an audit: files that other commands take, and its JSON.

    scenes.txt   failing scenes, for render --only, exclude --file, preview --only; of a shard that
                 is wrong as far as it was looked at, all of them
    clips.txt    clips to blame, as corpus:id
    keys.txt     damaged or missing files inside the dataset
    shards.txt   shards to make again

Each line has its reasons behind a #.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from scenesynth.audit.records import Audit, Check, Finding
from scenesynth.errors import ConfigError
from scenesynth.store.local import replace_file

JSON_VERSION: Final = 1
REPORT: Final = "report.html"
RESULT: Final = "report.json"
LISTS: Final = ("scenes.txt", "clips.txt", "keys.txt", "shards.txt")
_REASON: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A file of an audit, and what to do with it.

    Attributes:
        count: its lines.
        commands: that take it, or a sentence where no command does.
    """

    path: Path
    count: int
    commands: tuple[str, ...]


def check_folder(folder: Path) -> None:
    """Make the folder of an audit, and see that it can be written.

    Raises:
        ConfigError: it cannot.
    """
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"--out {folder}: cannot be written ({error.strerror or error}); give another folder"
        ) from None


def write_actions(folder: Path, audit: Audit, more: Mapping[str, Any]) -> list[Action]:
    """Write the lists and the JSON of an audit; lists of an earlier one go.

    Args:
        more: what else the JSON holds.

    Raises:
        ConfigError: the folder cannot be written.
    """
    try:
        told = json.dumps({**plain(audit), **more}, indent=1) + "\n"
        replace_file(folder / RESULT, told.encode())
        actions = []
        for name, lines in _lists(audit).items():
            path = folder / name
            if lines:
                text = "".join(f"{line}\n" for line in lines)
                replace_file(path, text.encode("utf-8", "replace"))
                actions.append(
                    Action(path=path, count=len(lines), commands=_commands(name, path, audit))
                )
            else:
                with suppress(FileNotFoundError):
                    path.unlink()
    except OSError as error:
        raise ConfigError(
            f"--out {folder}: cannot be written ({error.strerror or error}); give another folder"
        ) from None
    return actions


def plain(audit: Audit) -> dict[str, Any]:
    """An audit as plain data, for JSON: what `--json` prints."""
    return {
        "schema": JSON_VERSION,
        "uri": audit.uri,
        "seed": audit.seed,
        "scenes": audit.n_scenes,
        "promised_scenes": audit.n_promised,
        "looked_at": len(audit.scenes),
        "running": audit.running,
        "failed": [check.name for check in audit.failed],
        "checks": [_check(check) for check in audit.checks],
    }


def _check(check: Check) -> dict[str, Any]:
    found = {name: getattr(check, name) for name in ("name", "title", "status", "summary")}
    found |= {name: getattr(check, name) for name in ("looked", "of", "unit")}
    findings = [
        {name: value for name, value in asdict(item).items() if value not in ("", None)}
        for item in check.findings
    ]
    return {**found, "findings": findings, "figures": _finite(dict(check.figures))}


def _finite(value: Any) -> Any:
    """Plain data in which what is not finite is null, as JSON has no word for it."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lists(audit: Audit) -> dict[str, list[str]]:
    """Lines of each list, with reasons."""
    found = [(check.name, finding) for check in audit.failed for finding in check.findings]
    damaged = [(name, f) for name, f in found if f.key and f.shard is not None]
    unreadable = {f.shard for _, f in damaged}
    size = int(audit.identity["shard_scenes"])
    scenes = [
        (finding.scene, name, finding)
        for name, finding in found
        if finding.scene and (finding.index is None or finding.index // size not in unreadable)
    ]
    return {
        "scenes.txt": _lines([*scenes, *_of_shards(audit, found, size)]),
        "clips.txt": _lines([(f.clip, name, f) for name, f in found if f.clip]),
        "keys.txt": _lines([(f.key, name, f) for name, f in found if f.key]),
        "shards.txt": _lines([(str(f.shard), name, f) for name, f in damaged]),
    }


def _of_shards(
    audit: Audit, found: Sequence[tuple[str, Finding]], size: int
) -> Iterator[tuple[str, str, Finding]]:
    """Scenes of the shards of which all is wrong: those looked at by name, the rest as a range.

    Skipped scenes cannot be named, so there are no ranges where the dataset has any.
    """
    whole = {f.shard: (name, f) for name, f in found if _is_of_shard(f)}
    names = zip(*(audit.scenes[column].to_pylist() for column in ("index", "id")), strict=True)
    for index, scene in names:
        if index // size in whole:
            yield scene, *whole[index // size]
    if any(check.figures.get("skipped_scenes") for check in audit.checks):
        return
    wrong: dict[int, dict[int, tuple[str, Finding]]] = {}
    for name, finding in found:
        if finding.shard is not None and finding.index is not None:
            wrong.setdefault(finding.shard, {})[finding.index] = (name, finding)
    for index in audit.scenes["index"].to_pylist():
        if index // size in whole:
            wrong.setdefault(index // size, {})[index] = whole[index // size]
    for shard, scenes in sorted(wrong.items()):
        first, last = shard * size, min((shard + 1) * size, audit.n_promised) - 1
        if len(scenes) < last - first + 1:
            yield f"{first}-{last}", *next(iter(scenes.values()))


def _is_of_shard(finding: Finding) -> bool:
    """Whether a finding is about the scenes of a shard as a whole, all of which can be read."""
    return finding.shard is not None and finding.index is None and not finding.key


def _lines(items: Iterable[tuple[str, str, Finding]]) -> list[str]:
    """A line for each thing, in order, with all that is wrong with it."""
    reasons: dict[str, dict[str, str]] = {}
    for thing, check, finding in items:
        reasons.setdefault(thing, {}).setdefault(check, finding.what)
    return [
        f"{_flat(thing)}  # {_flat('; '.join(f'{c}: {what}' for c, what in why.items()), _REASON)}"
        for thing, why in reasons.items()
    ]


def _flat(text: str, limit: int | None = None) -> str:
    """A text on one line."""
    line = " ".join(text.split())
    return line if limit is None or len(line) <= limit else line[: limit - 3] + "..."


def _commands(name: str, path: Path, audit: Audit) -> tuple[str, ...]:
    uri, file = shlex.quote(audit.uri), shlex.quote(str(path))
    commands: Mapping[str, Sequence[str]] = {
        "scenes.txt": (
            f"scenesynth preview {uri} --only {file} --random 12",
            f"scenesynth exclude {uri} --file {file} --reason audit",
            f"scenesynth render --from {uri} --only {file} --anew --out NEW",
        ),
        "clips.txt": ("set their split or drop them in the corpus (clips.csv), and render anew",),
        "keys.txt": (f"scenesynth verify {uri} --deep",),
        "shards.txt": (
            f"scenesynth verify {uri} --deep --repair",
            "then the `scenesynth render` command of this dataset, which makes them again",
        ),
    }
    return tuple(commands[name])
