"""YAML read strictly: no key twice (YAML would silently take the last one), no hostile anchors.

`set_field` changes one value of what was read, as `--set a.b=v` asks.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean

MAX_VALUES: Final = 100_000
"""Values of a file, its anchors written out; a few lines of nested anchors can hold billions."""


def read_yaml(path: Path) -> Any:
    """Content of a YAML file, in which no key may be given twice.

    Raises:
        ConfigError: not readable, not YAML, or a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text ({error.reason})") from None
    return parse_yaml(text, str(path))


def find_yaml(
    name_or_path: str | Path, folder: Path, known: Callable[[], Iterable[str]], kind: str, file: str
) -> Path:
    """Path of a YAML file that is given as such, or by the name of one that comes along.

    Args:
        folder: where those are.
        known: tells their names; not asked where a path is given.
        kind, file: what to call one of them, and a file, in an error.

    Raises:
        ConfigError: there is none.
    """
    text = str(name_or_path)
    if text.endswith((".yaml", ".yml")):
        if not Path(text).exists():
            raise ConfigError(f"{text}: no such {file}")
        return Path(text)
    names = list(known())
    if text not in names:
        raise ConfigError(
            f"no {kind} {text!r}{did_you_mean(text, names)}; known: {', '.join(names)}; a file is "
            f"given by its path with .yaml"
        )
    return folder / f"{text}.yaml"


def parse_yaml(text: str, where: str) -> Any:
    """Plain data of YAML text, in which no key may be given twice.

    Raises:
        ConfigError: not YAML, or a key twice; begins with `where`.
    """
    try:
        return _load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: {_where(error)}") from None


def set_field(plain: dict[str, Any], field: str, text: str, where: str, whole: str) -> None:
    """Set a field of plain data in place.

    Args:
        field: names with dots between; lists are entered by number or by the `name` of an item.
        text: the value, as YAML.
        where: how errors begin.
        whole: what the plain data is, such as "the recipe".

    Raises:
        ConfigError: not YAML, or no such place.
    """
    value = parse_yaml(text, where)
    parts = field.split(".")
    if not all(parts):
        raise ConfigError(f"{where}: a field is written as names with dots between, such as a.b")
    at: Any = plain
    for n, part in enumerate(parts[:-1]):
        at = _enter(at, part, f"{where}: {'.'.join(parts[:n]) or whole}")
    last = parts[-1]
    if isinstance(at, list):
        at[_item(at, last, where)] = value
    elif isinstance(at, dict):
        at[last] = value
    else:
        raise ConfigError(f"{where}: {'.'.join(parts[:-1])} is {at!r}, which has no fields")


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML without repeated keys."""


def _mapping_once(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: set[Hashable] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(
                None, None, f"{key!r} cannot be a key; a key is a name", key_node.start_mark
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} is given twice", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_once)


# YAML 1.1 takes 1e3 for text, since it has no dot; YAML 1.2 and people take it for a number.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _load(text: str) -> Any:
    """Plain data of YAML text.

    Raises:
        yaml.YAMLError: not YAML, a key twice, or far more than a file of ours holds.
    """
    try:
        return _unshared(yaml.load(text, Loader=_StrictLoader), itertools.count(1))
    except RecursionError:
        raise yaml.YAMLError("nested too deeply") from None
    except ValueError as error:
        # What a date, a whole number or a code point of YAML cannot be.
        raise yaml.YAMLError(str(error)) from None


def _unshared(value: Any, counter: Iterator[int]) -> Any:
    """A copy in which an anchor's uses are separate, so that an override changes one of them."""
    if next(counter) > MAX_VALUES:
        raise yaml.YAMLError(f"more than {MAX_VALUES} values, with all anchors written out")
    if isinstance(value, dict):
        return {key: _unshared(item, counter) for key, item in value.items()}
    return [_unshared(item, counter) for item in value] if isinstance(value, list) else value


def _where(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return f"not valid YAML ({error})"


def _enter(at: Any, part: str, where: str) -> Any:
    if isinstance(at, list):
        return at[_item(at, part, where)]
    if not isinstance(at, dict):
        raise ConfigError(f"{where} is {at!r}, which has no field {part}")
    if at.get(part) is None:
        at[part] = {}
    return at[part]


def _item(items: list[Any], part: str, where: str) -> int:
    """Place of a list's item by number or by its `name`."""
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    if part in names:
        return names.index(part)
    if part.isdigit() and int(part) < len(items):
        return int(part)
    named = [str(name) for name in names if name is not None]
    raise ConfigError(
        f"{where}: no item {part!r}{did_you_mean(part, named)}; "
        f"it has {', '.join(named) or f'items 0 to {len(items) - 1}'}"
    )
