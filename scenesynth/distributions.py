"""Numbers and choices that recipes state as distributions.

In YAML a number is either itself (`5`) or one named distribution:

    {uniform: [low, high]}                    [low, high)
    {log_uniform: [low, high]}                uniform in the logarithm; low > 0
    {normal: [mean, std, low, high]}          Gaussian cut to [low, high]
    {triangular: [low, mode, high]}
    {integers: [low, high]}                   whole numbers, both ends included
    {choice: [a, b, ...], weights: [...]}     one of several, which may be distributions themselves

A `Count` is a number that is always whole. A `Name` is a text or a weighted choice of texts.

Each draw of a simple distribution takes exactly one random word, by the inverse of its cumulative
distribution, so that a draw costs the same whatever the parameters and never loops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final, Self

from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean
from scenesynth.seeds import Rng, rng

ARGUMENTS: Final = {
    "uniform": ("low", "high"),
    "log_uniform": ("low", "high"),
    "normal": ("mean", "std", "low", "high"),
    "triangular": ("low", "mode", "high"),
    "integers": ("low", "high"),
}
DISTRIBUTIONS: Final = (*ARGUMENTS, "choice")


@dataclass(frozen=True, slots=True)
class Number:
    """A number, or a distribution of numbers.

    Attributes:
        kind: "constant", a key of `ARGUMENTS`, or "choice".
        arguments: the distribution's parameters in the order of its list.
        options, weights: of a "choice"; weights () means equally likely.
    """

    kind: str
    arguments: tuple[float, ...] = ()
    options: tuple[Number, ...] = ()
    weights: tuple[float, ...] = ()

    @classmethod
    def parse(cls, data: object, path: str) -> Self:
        """Read a number or distribution.

        Raises:
            ConfigError: neither, or impossible parameters; names `path`.
        """
        if isinstance(data, int | float) and not isinstance(data, bool):
            return cls("constant", (_finite(data, path),))
        kind, body, weights = _open_mapping(data, path)
        if kind == "choice":
            options = _listed(body, f"{path}.choice")
            return cls(
                "choice",
                options=tuple(
                    Number.parse(item, f"{path}.choice[{n}]") for n, item in enumerate(options)
                ),
                weights=_parse_weights(weights, len(options), path),
            )
        if weights is not None:
            raise ConfigError(f"{path}.weights: only a choice has weights, not {kind}")
        arguments = _parse_arguments(kind, body, f"{path}.{kind}")
        return cls(kind, arguments)

    def plain(self) -> Any:
        """Plain form as in YAML."""
        if self.kind == "constant":
            return self.arguments[0]
        if self.kind != "choice":
            return {self.kind: list(self.arguments)}
        body: dict[str, Any] = {"choice": [option.plain() for option in self.options]}
        return body | ({"weights": list(self.weights)} if self.weights else {})

    @property
    def constant(self) -> bool:
        """Whether no randomness is needed."""
        return self.kind == "constant"

    @property
    def low(self) -> float:
        """Smallest value that a draw can give."""
        if self.kind == "choice":
            return min(option.low for option in self.options)
        return self.arguments[2] if self.kind == "normal" else self.arguments[0]

    @property
    def high(self) -> float:
        """Largest value (or, for `uniform`, the least upper bound) of a draw."""
        if self.kind == "choice":
            return max(option.high for option in self.options)
        return self.arguments[-1]

    @property
    def whole(self) -> bool:
        """Whether every draw is a whole number."""
        if self.kind == "choice":
            return all(option.whole for option in self.options)
        return self.kind == "integers" or (self.constant and self.arguments[0].is_integer())

    def draw(self, rng: Rng) -> float:
        """A value."""
        if self.kind == "choice":
            return rng.choice(self.options, self.weights or None).draw(rng)
        if self.constant:
            return self.arguments[0]
        return _quantile(self.kind, self.arguments, rng.unit())

    def __str__(self) -> str:
        if self.kind == "constant":
            return f"{self.arguments[0]:g}"
        if self.kind != "choice":
            return f"{self.kind}({', '.join(f'{a:g}' for a in self.arguments)})"
        names = [str(option) for option in self.options]
        return _describe_choice(names, self.weights)


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number, or a distribution of whole numbers."""

    number: Number

    @classmethod
    def parse(cls, data: object, path: str) -> Self:
        """Read a whole number or distribution of them.

        Raises:
            ConfigError: a draw could have a fraction; names `path`.
        """
        number = Number.parse(data, path)
        if not number.whole:
            raise ConfigError(
                f"{path}: got {data!r}, must always be a whole number; "
                f"use `{{integers: [low, high]}}` or a choice of whole numbers"
            )
        return cls(number)

    def plain(self) -> Any:
        """Plain form as in YAML."""
        return self.number.plain()

    @property
    def constant(self) -> bool:
        """Whether no randomness is needed."""
        return self.number.constant

    @property
    def low(self) -> int:
        """Smallest value."""
        return int(self.number.low)

    @property
    def high(self) -> int:
        """Largest value."""
        return int(self.number.high)

    def draw(self, rng: Rng) -> int:
        """A value."""
        return int(self.number.draw(rng))

    def __str__(self) -> str:
        return str(self.number)


@dataclass(frozen=True, slots=True)
class Name:
    """A text, or a weighted choice of texts: `{choice: [brick, plaster], weights: [2, 1]}`."""

    options: tuple[str, ...]
    weights: tuple[float, ...] = ()

    @classmethod
    def parse(cls, data: object, path: str) -> Self:
        """Read a text or a choice of texts.

        Raises:
            ConfigError: neither; names `path`.
        """
        if isinstance(data, str):
            return cls((data,))
        kind, body, weights = _open_mapping(data, path)
        if kind != "choice":
            raise ConfigError(f"{path}.{kind}: gives numbers; a name is a text or a choice")
        options = _listed(body, f"{path}.choice")
        for n, option in enumerate(options):
            if not isinstance(option, str):
                raise ConfigError(f"{path}.choice[{n}]: got {option!r}, must be text")
        return cls(tuple(map(str, options)), _parse_weights(weights, len(options), path))

    def plain(self) -> Any:
        """Plain form as in YAML."""
        if len(self.options) == 1 and not self.weights:
            return self.options[0]
        body: dict[str, Any] = {"choice": list(self.options)}
        return body | ({"weights": list(self.weights)} if self.weights else {})

    def draw(self, rng: Rng) -> str:
        """One of the texts."""
        return rng.choice(self.options, self.weights or None)

    def __str__(self) -> str:
        if len(self.options) == 1:
            return self.options[0]
        return _describe_choice(list(self.options), self.weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Draws of one scene (or room): a stream of its own for every quantity and slot.

    So an edit of one distribution changes the values that it describes, and no others.
    """

    seed: int
    split: str
    index: int
    attempt: int = 0

    def rng(self, stream: str, slot: int = 0) -> Rng:
        """The generator of a quantity."""
        return rng(self.seed, self.split, stream, self.index, slot, self.attempt)

    def number(self, of: Number, stream: str, slot: int = 0) -> float:
        """A value of a distribution, rounded to 1e-6: libraries differ in the last bits of log."""
        if of.constant:
            return of.arguments[0]
        return round(of.draw(self.rng(stream, slot)), 6)

    def count(self, of: Count, stream: str, slot: int = 0) -> int:
        """A value of a distribution of whole numbers."""
        return of.low if of.constant else of.draw(self.rng(stream, slot))

    def name(self, of: Name, stream: str, slot: int = 0) -> str:
        """A value of a choice of texts."""
        return of.options[0] if len(of.options) == 1 else of.draw(self.rng(stream, slot))


def constant(value: float) -> Number:
    """The number itself, as a default of a recipe field."""
    return Number("constant", (float(value),))


def count(value: int) -> Count:
    """The whole number itself, as a default of a recipe field."""
    return Count(constant(value))


def within(
    name: str, value: Number | Count | None, low: float = -math.inf, high: float = math.inf
) -> None:
    """Raise ValueError where a draw of the field `name` could leave [low, high]."""
    if value is not None and not low <= value.low <= value.high <= high:
        raise ValueError(f"{name} = {value} can leave [{low:g}, {high:g}]")


def _quantile(kind: str, arguments: tuple[float, ...], at: float) -> float:
    """Inverse cumulative distribution at `at` in [0, 1)."""
    low, high = arguments[0], arguments[-1]
    if kind == "uniform":
        return low + (high - low) * at
    if kind == "log_uniform":
        return min(high, max(low, low * math.exp(at * math.log(high / low))))
    if kind == "integers":
        return low + min(math.floor(at * (high - low + 1)), high - low)
    if kind == "normal":
        mean, std, low, high = arguments
        gaussian = NormalDist(mean, std)
        start, stop = gaussian.cdf(low), gaussian.cdf(high)
        # The open interval that inv_cdf asks for; only reached at the very ends.
        inside = min(max(start + (stop - start) * at, 2.0**-60), 1 - 2.0**-53)
        return min(high, max(low, gaussian.inv_cdf(inside)))
    mode = arguments[1]
    if at * (high - low) < mode - low:
        return low + math.sqrt(at * (high - low) * (mode - low))
    return high - math.sqrt((1 - at) * (high - low) * (high - mode))


def _open_mapping(data: object, path: str) -> tuple[str, object, object]:
    """Kind, body and weights (None without) of `{kind: body, weights: ...}`."""
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: got {data!r}, must be a value or one of {_known()}")
    kinds = [str(key) for key in data if key != "weights"]
    if unknown := [kind for kind in kinds if kind not in DISTRIBUTIONS]:
        raise ConfigError(
            f"{path}.{unknown[0]}: unknown distribution{did_you_mean(unknown[0], DISTRIBUTIONS)}; "
            f"known: {_known()}"
        )
    if len(kinds) != 1:
        raise ConfigError(f"{path}: got {len(kinds)} distributions in one place, must be one")
    return kinds[0], data[kinds[0]], data.get("weights")


def _parse_arguments(kind: str, body: object, path: str) -> tuple[float, ...]:
    names = ARGUMENTS[kind]
    values = _listed(body, path)
    if len(values) != len(names):
        raise ConfigError(f"{path}: got {len(values)} values, must be [{', '.join(names)}]")
    arguments = tuple(_finite(value, f"{path}[{n}]") for n, value in enumerate(values))
    if why := _impossible(kind, arguments):
        raise ConfigError(f"{path}: got {list(values)}, {why}")
    return arguments


def _impossible(kind: str, arguments: tuple[float, ...]) -> str | None:
    """Why these parameters define nothing, or None."""
    low, high = arguments[-2:] if kind == "normal" else (arguments[0], arguments[-1])
    if not low < high and not (kind == "integers" and low == high):
        return f"low must be below high, but {low:g} is not below {high:g}"
    if kind == "log_uniform" and low <= 0:
        return f"low must be positive, not {low:g}"
    if kind == "integers" and not (low.is_integer() and high.is_integer()):
        return "both ends must be whole numbers"
    if kind == "triangular" and not low <= arguments[1] <= high:
        return f"the mode must lie in [{low:g}, {high:g}]"
    if kind == "normal":
        mean, std = arguments[:2]
        if std <= 0:
            return f"std must be positive, not {std:g}"
        if NormalDist(mean, std).cdf(high) - NormalDist(mean, std).cdf(low) < 1e-6:
            return f"less than one draw in a million lies in [{low:g}, {high:g}]"
    return None


def _parse_weights(data: object, n: int, path: str) -> tuple[float, ...]:
    if data is None:
        return ()
    weights = tuple(
        _finite(value, f"{path}.weights[{i}]")
        for i, value in enumerate(_listed(data, f"{path}.weights"))
    )
    if len(weights) != n:
        raise ConfigError(f"{path}.weights: got {len(weights)} weights for {n} choices")
    if min(weights) < 0 or sum(weights) <= 0:
        raise ConfigError(f"{path}.weights: got {list(weights)}, must be >= 0 with one above 0")
    return weights


def _listed(data: object, path: str) -> list[object]:
    if not isinstance(data, list | tuple) or not data:
        raise ConfigError(f"{path}: got {data!r}, must be a list with at least one value")
    return list(data)


def _finite(data: object, path: str) -> float:
    if isinstance(data, bool) or not isinstance(data, int | float) or not math.isfinite(data):
        raise ConfigError(f"{path}: got {data!r}, must be a finite number")
    return float(data)


def _describe_choice(names: list[str], weights: tuple[float, ...]) -> str:
    if not weights:
        return " or ".join(names)
    total = math.fsum(weights)
    return " or ".join(
        f"{name} ({100 * weight / total:g} %)" for name, weight in zip(names, weights, strict=True)
    )


def _known() -> str:
    return ", ".join(DISTRIBUTIONS)
