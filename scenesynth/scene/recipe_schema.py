"""The recipe format itself, for machines (JSON Schema) and for people (indented text).

Both are read off the records and the `doc` metadata of their fields, so they cannot lag behind.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from scenesynth.distributions import ARGUMENTS, DISTRIBUTIONS, Count, Name, Number
from scenesynth.records import to_plain
from scenesynth.room.model import AssetRef
from scenesynth.scene.recipe_records import Recipe

_WORDS = {
    Number: "a number or distribution",
    Count: "a whole number or distribution",
    Name: "a text or choice",
    AssetRef: "a file",
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def recipe_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a recipe file.

    It holds the structure; the limits that tie fields together are checked when reading.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "scenesynth recipe",
        **_record_schema(Recipe),
        "$defs": {
            "number": _number_schema("number"),
            "count": _number_schema("integer"),
            "name": _name_schema(),
        },
    }


def describe_schema() -> str:
    """The recipe format as indented text: field, what it takes, default, meaning."""
    lines = [
        "Every number may be a distribution:",
        *(f"  {form}" for form in _FORMS),
        "",
        *_describe_record(Recipe, ""),
    ]
    return "\n".join(lines)


_FORMS = (
    "5                                        the number itself",
    "{uniform: [low, high]}",
    "{log_uniform: [low, high]}",
    "{normal: [mean, std, low, high]}         cut to [low, high]",
    "{triangular: [low, mode, high]}",
    "{integers: [low, high]}                  whole numbers, both ends included",
    "{choice: [a, b], weights: [2, 1]}        values or distributions; weights may be left out",
)


def _record_schema(kind: Any) -> dict[str, Any]:
    properties, required = {}, []
    for field, hint in _fields(kind):
        schema = _schema(hint)
        schema["description"] = field.metadata["doc"]
        default = _default(field)
        if default is dataclasses.MISSING:
            required.append(field.name)
        else:
            schema["default"] = to_plain(default)
        properties[field.name] = schema
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _schema(hint: Any) -> dict[str, Any]:
    known: dict[Any, dict[str, Any]] = {
        Number: {"$ref": "#/$defs/number"},
        Count: {"$ref": "#/$defs/count"},
        Name: {"$ref": "#/$defs/name"},
        AssetRef: {"type": "string"},
        str: {"type": "string"},
        int: {"type": "integer"},
        float: {"type": "number"},
        bool: {"type": "boolean"},
        type(None): {"type": "null"},
    }
    if hint in known:
        return dict(known[hint])
    if dataclasses.is_dataclass(hint):
        return _record_schema(hint)
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _schema(get_args(hint)[0])}
    return {"anyOf": [_schema(option) for option in get_args(hint)]}


def _number_schema(of: str) -> dict[str, Any]:
    """A number, or an object with one of the distributions (`count`: only whole ones)."""
    this = {"$ref": "#/$defs/number" if of == "number" else "#/$defs/count"}
    kinds = DISTRIBUTIONS if of == "number" else ("integers", "choice")
    forms: list[dict[str, Any]] = [{"type": of}]
    for kind in kinds:
        if kind == "choice":
            forms.append(_choice_schema(this))
            continue
        numbers = {"type": "number" if of == "number" else "integer"}
        length = len(ARGUMENTS[kind])
        body = {"type": "array", "items": numbers, "minItems": length, "maxItems": length}
        forms.append(_one_key(kind, body))
    return {"anyOf": forms}


def _name_schema() -> dict[str, Any]:
    return {"anyOf": [{"type": "string"}, _choice_schema({"type": "string"})]}


def _choice_schema(items: dict[str, Any]) -> dict[str, Any]:
    schema = _one_key("choice", {"type": "array", "items": items, "minItems": 1})
    schema["properties"]["weights"] = {"type": "array", "items": {"type": "number", "minimum": 0}}
    return schema


def _one_key(name: str, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: body},
        "required": [name],
        "additionalProperties": False,
    }


def _describe_record(kind: Any, indent: str) -> Iterator[str]:
    for field, hint in _fields(kind):
        record = _record_in(hint)
        default = _default(field)
        takes = "" if record else f" ({_takes(hint)}{_default_text(default)})"
        if record and default is None:
            takes = " (may be left out)"
        if get_origin(hint) is tuple and record:
            takes = " (a list)"
        yield f"{indent}{field.name}{takes}: {field.metadata['doc']}"
        if record:
            yield from _describe_record(record, indent + "  ")


def _takes(hint: Any) -> str:
    if hint in _WORDS:
        return _WORDS[hint]
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        return f"a list of {_takes(get_args(hint)[0])}"
    options = [_takes(option) for option in get_args(hint) if option is not type(None)]
    return " or ".join([*options, "null"])


def _default_text(default: Any) -> str:
    if default is dataclasses.MISSING:
        return ", required"
    if default is None:
        return ", default null"
    if default == () or default == "":
        return ""
    return f", default {str(default).lower() if isinstance(default, bool) else default}"


def _record_in(hint: Any) -> Any:
    """The record that a hint is, may be, or is a list of; None if none."""
    options = get_args(hint) if get_origin(hint) in (tuple, Union, types.UnionType) else (hint,)
    records = [
        option
        for option in options
        if dataclasses.is_dataclass(option) and option not in (Number, Count, Name, AssetRef)
    ]
    return records[0] if records else None


def _fields(kind: Any) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        yield field, hints[field.name]


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default
