"""What `render --from ... --set` can change on scenes that are given.

A recipe says how scenes are drawn; a given scene is drawn already. So a change is one value, and
only of what neither moves anything nor decides what is played: levels, and how the room and the
ears answer. Everything else would be other scenes, and those are drawn from a recipe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean, from_plain, to_plain
from scenesynth.scene.recipe_records import Recipe
from scenesynth.scene.spec import SceneSpec
from scenesynth.yaml_files import parse_yaml

Changes = Mapping[str, Any]
"""Plain values by field of the spec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """A field of the spec that can be changed.

    Attributes:
        recipe: where a recipe says it, whose checks hold for it; "" where it says something else.
        doc: what it does.
    """

    recipe: str
    doc: str


FIELDS: Final[Mapping[str, _Field]] = {
    "snr_db": _Field(recipe="noise.snr_db", doc="targets over noise, of scenes that have both"),
    "sir_db": _Field(recipe="sir_db", doc="targets over interferers, of scenes that have both"),
    "snr_reference": _Field(recipe="noise.snr_reference", doc="where that energy is measured"),
    "mode": _Field(recipe="mode", doc="full or tail"),
    "mixing_time_s": _Field(recipe="mixing_time_s", doc="where the statistical tail begins"),
    "highpass_hz": _Field(recipe="highpass_hz", doc="corner of the responses' high-pass"),
    "displacement_m": _Field(recipe="displacement_m", doc="of late images, at random"),
    "scattering": _Field(recipe="scattering", doc="how even over directions the late field is"),
    "doppler": _Field(recipe="doppler", doc="whether what moves changes its pitch"),
    "head": _Field(recipe="", doc="whose ears binaural has; null for the default head"),
}
_BY_RECIPE: Final = {field.recipe: name for name, field in FIELDS.items() if field.recipe}


def parse_changes(pairs: Sequence[tuple[str, str]], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Changes from (field, YAML text), as `--set` has them; checked as a recipe is.

    Args:
        pairs: fields of a spec, or of a recipe (`noise.snr_db`).
        recipe: the resolved recipe that the scenes were drawn from.

    Raises:
        ConfigError: a field that cannot be changed on given scenes, or an impossible value.
    """
    changes: dict[str, Any] = {}
    for field, text in pairs:
        where = f"--set {field}={text}"
        name = _BY_RECIPE.get(field, field)
        if name not in FIELDS:
            raise ConfigError(_refusal(where, field))
        changes[name] = _value(name, parse_yaml(text, where), where, recipe)
    return dict(sorted(changes.items()))


def changed_spec(text: str, changes: Changes) -> SceneSpec:
    """The spec of a JSON text, with changes; ratios only where there is what they relate.

    Raises:
        ConfigError: a scene that does not allow the change.
    """
    if not changes:
        return SceneSpec.from_json(text)
    plain = json.loads(text)
    roles = {event["role"] for emitter in plain["emitters"] for event in emitter["events"]}
    if plain.get("diffuse"):
        roles.add("noise")
    related = {"snr_db": {"target", "noise"}, "sir_db": {"target", "interferer"}}
    plain |= {name: v for name, v in changes.items() if related.get(name, roles) <= roles}
    scene = f"{plain['origin']['split']}-{plain['origin']['index']:08d}"
    try:
        return from_plain(SceneSpec, plain)
    except ConfigError as error:
        told = ", ".join(f"{name}={value}" for name, value in changes.items())
        raise ConfigError(
            f"scene {scene} cannot be changed by --set {told}: {error}. Leave such scenes out with "
            f"--only, or change something else"
        ) from None


def _value(name: str, value: Any, where: str, recipe: Mapping[str, Any]) -> Any:
    if isinstance(value, dict | list):
        raise ConfigError(
            f"{where}: given scenes take one value each, not a distribution; draw new scenes for "
            f"that: scenesynth render --recipe ... --set"
        )
    if name == "head":
        return None if value is None else _head(value, where)
    if value is None and name != "sir_db":
        raise ConfigError(f"{where}: must have a value")
    plain = json.loads(json.dumps(dict(recipe)))
    *outer, last = FIELDS[name].recipe.split(".")
    at = plain
    for part in outer:
        if at.get(part) is None:
            raise ConfigError(f"{where}: recipe {recipe.get('name')} has no {part}")
        at = at[part]
    at[last] = value
    try:
        from_plain(Recipe, plain)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    return value


def _head(value: Any, where: str) -> Any:
    from scenesynth.acoustics.receivers import head_ref

    try:
        return to_plain(head_ref(str(value)))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _refusal(where: str, field: str) -> str:
    known = ", ".join(f"{name} ({item.doc})" for name, item in FIELDS.items())
    return (
        f"{where}: scenes that are given cannot change {field}"
        f"{did_you_mean(field, [*FIELDS, *_BY_RECIPE])}; they can change {known}. What else there "
        f"is decides where things are or what they play: draw new scenes, with scenesynth render "
        f"--recipe ... --set {field}=..."
    )
