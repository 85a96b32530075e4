"""Strict records and their plain form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from scenesynth.distributions import Number
from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean, from_json, from_plain, to_json, to_plain

ONE = Number("constant", (1.0,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    kind: Literal["a", "b"] = "a"
    size: float
    pair: tuple[int, int] = (1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    leaves: tuple[Leaf, ...]
    note: str | None = None
    number: Number = ONE

    def __post_init__(self) -> None:
        if self.note == "bad":
            raise ValueError("note = bad; must be good")


def test_records_round_trip_through_json() -> None:
    tree = Tree(
        leaves=(Leaf(size=0.1), Leaf(size=2.0, kind="b", pair=(3, 4))),
        note="ä",
        number=Number("uniform", (0.5, 1.5)),
    )
    assert from_json(Tree, to_json(tree)) == tree
    assert from_plain(Tree, to_plain(tree)) == tree


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, r"leaves: missing key of Tree"),
        ({"leaves": [], "nots": 1}, r"nots: unknown key of Tree; did you mean 'note'\?"),
        ({"leaves": [{}]}, r"leaves\[0\]\.size: missing key of Leaf"),
        ({"leaves": [{"size": 1}, {"size": "x"}]}, r"leaves\[1\]\.size: got 'x', must be a number"),
        ({"leaves": [{"size": True}]}, r"leaves\[0\]\.size: got True"),
        ({"leaves": [{"size": float("inf")}]}, r"leaves\[0\]\.size: got inf"),
        (
            {"leaves": [{"size": 1, "kind": "c"}]},
            r"leaves\[0\]\.kind: got 'c', must be one of a, b",
        ),
        ({"leaves": [{"size": 1, "pair": [1]}]}, r"leaves\[0\]\.pair: got 1 values, must be 2"),
        ({"leaves": 3}, r"leaves: got 3, must be a list"),
        ({"leaves": [], "note": 3}, r"note: got 3, must be text"),
        ({"leaves": [], "note": "bad"}, r"\(top level\): note = bad"),
        ({"leaves": [], "number": {"uniform": [1]}}, r"number\.uniform: got 1 values"),
        ([], r"\(top level\): got \[\], must be a mapping"),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(data: object, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        from_plain(Tree, data)


def test_broken_json_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="not valid JSON"):
        from_json(Tree, "{")


def test_a_close_name_is_suggested_and_a_far_one_is_not() -> None:
    assert did_you_mean("evryday", ["everyday", "gram"]) == "; did you mean 'everyday'?"
    assert did_you_mean("xyz", ["everyday", "gram"]) == ""
