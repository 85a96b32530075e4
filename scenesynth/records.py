"""Frozen records and their strict, exact plain-data form.

A record is a frozen keyword-only dataclass whose fields are str, int, float, bool, None, Literal,
tuples of those, or other records; or a type that knows its own plain form (`PlainForm`). `to_plain`
and `from_plain` round-trip exactly; reading rejects unknown and missing keys and wrong types,
naming the path (`emitters[3].events[0].onset_s`).
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Iterable
from functools import cache
from typing import Any, Literal, Protocol, Self, TypeVar, Union, get_args, get_origin

from scenesynth.errors import ConfigError

T = TypeVar("T")


class PlainForm(Protocol):
    """A value whose plain form is not a mapping of its fields (a distribution, say)."""

    @classmethod
    def parse(cls, data: object, path: str) -> Self:
        """Read the plain form; raises ConfigError naming `path`."""
        ...

    def plain(self) -> Any:
        """Plain form; `parse` gives back an equal value."""
        ...


_SCALARS = (str, int, float, bool, type(None))


def to_plain(value: Any) -> Any:
    """Plain dicts, lists and scalars of a record, in field order."""
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    if hasattr(value, "plain"):
        return value.plain()
    kind: type = type(value)
    return {name: to_plain(getattr(value, name)) for name in _field_names(kind)}


def from_plain(kind: type[T], data: object, path: str = "") -> T:
    """Build the record `kind` from plain data.

    Raises:
        ConfigError: an unknown or missing key or a value of another type, named by its path.
    """
    return typing.cast(T, _parse(kind, data, path))


def to_json(value: Any) -> str:
    """Canonical JSON of a record: no spaces, keys in field order, exact floats."""
    return json.dumps(to_plain(value), separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def from_json(kind: type[T], text: str, path: str = "") -> T:
    """Inverse of `to_json`.

    Raises:
        ConfigError: not JSON, or not a `kind`.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path or kind.__name__}: not valid JSON ({error})") from None
    return from_plain(kind, data, path)


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(kind))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest of the known names, "" where none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _parse(kind: Any, data: object, path: str) -> Any:
    where = path or "(top level)"
    origin = get_origin(kind)
    if hasattr(kind, "parse"):
        return kind.parse(data, where)
    if dataclasses.is_dataclass(kind):
        return _parse_record(typing.cast(type, kind), data, path)
    if origin is Literal:
        choices = get_args(kind)
        if data in choices and not isinstance(data, bool):
            return data
        raise ConfigError(
            f"{where}: got {data!r}, must be one of {', '.join(map(str, choices))}"
            f"{did_you_mean(str(data), map(str, choices))}"
        )
    if origin in (Union, types.UnionType):
        return _parse_union(get_args(kind), data, path)
    if origin is tuple:
        return _parse_tuple(get_args(kind), data, path)
    return _parse_scalar(kind, data, where)


def _parse_record(kind: type, data: object, path: str) -> Any:
    where = path or "(top level)"
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: got {data!r}, must be a mapping ({kind.__name__})")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(set(map(str, data)) - set(fields)):
        raise ConfigError(
            f"{_join(path, unknown[0])}: unknown key of {kind.__name__}"
            f"{did_you_mean(unknown[0], fields)}; it knows {', '.join(fields)}"
        )
    required = {
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - set(data)):
        raise ConfigError(f"{_join(path, missing[0])}: missing key of {kind.__name__}")
    hints = _hints(kind)
    values = {name: _parse(hints[name], item, _join(path, name)) for name, item in data.items()}
    try:
        return kind(**values)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _parse_union(options: tuple[Any, ...], data: object, path: str) -> Any:
    if data is None and type(None) in options:
        return None
    rest = [option for option in options if option is not type(None)]
    errors = []
    for option in rest:
        try:
            return _parse(option, data, path)
        except ConfigError as error:
            errors.append(str(error))
    if len(rest) == 1:
        raise ConfigError(errors[0])
    raise ConfigError(
        f"{path or '(top level)'}: got {data!r}, which fits none: {'; '.join(errors)}"
    )


def _parse_tuple(items: tuple[Any, ...], data: object, path: str) -> tuple[Any, ...]:
    where = path or "(top level)"
    if not isinstance(data, list | tuple):
        raise ConfigError(f"{where}: got {data!r}, must be a list")
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_parse(items[0], item, f"{path}[{n}]") for n, item in enumerate(data))
    if len(data) != len(items):
        raise ConfigError(f"{where}: got {len(data)} values, must be {len(items)}")
    return tuple(
        _parse(kind, item, f"{path}[{n}]")
        for n, (kind, item) in enumerate(zip(items, data, strict=True))
    )


def _parse_scalar(kind: Any, data: object, where: str) -> Any:
    if kind is float and isinstance(data, int | float) and not isinstance(data, bool):
        if not math.isfinite(data):
            raise ConfigError(f"{where}: got {data!r}, must be a finite number")
        return float(data)
    if kind is int and isinstance(data, int) and not isinstance(data, bool):
        return data
    if kind in (str, bool) and isinstance(data, kind):
        return data
    name = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}[kind]
    raise ConfigError(f"{where}: got {data!r}, must be {name}")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
