"""Laws of the comparison of two audits: what differs is told, chance is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_helpers import IDENTITY, make_audit
from scipy import stats

from scenesynth.audit.compare import Comparison, Overlap, compare
from scenesynth.audit.distances import chance_of, ks_distance, worth

Array = np.ndarray
SOME = st.lists(st.integers(-20, 20), min_size=1, max_size=30).map(lambda v: np.array(v, float))


@given(SOME, SOME)
def test_the_distance_is_that_of_kolmogorov_and_smirnov(one: Array, other: Array) -> None:
    at = np.arange(-20, 21)
    shares = [np.mean(values[:, None] <= at, axis=0) for values in (one, other)]
    assert ks_distance(one, other) == pytest.approx(np.abs(shares[0] - shares[1]).max())
    assert ks_distance(one, other) == pytest.approx(ks_distance(other, one))
    assert ks_distance(one, one) == 0


def test_the_chance_of_a_distance_is_scipys() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(0, 1, 400), random.normal(0.1, 1, 900)
    wanted = stats.ks_2samp(one, other, method="asymp").pvalue
    assert chance_of(ks_distance(one, other), 400, 900) == pytest.approx(wanted, rel=0.15)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 99))
def test_values_are_worth_between_their_groups_and_themselves(
    n_groups: int, size: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    groups = [str(group) for group in range(n_groups) for _ in range(size)]
    values = random.normal(0, 1, n_groups * size)
    assert n_groups - 1e-9 <= worth(values, groups) <= n_groups * size + 1e-9
    assert worth(np.repeat(values[:n_groups], size), groups) == pytest.approx(n_groups)
    assert worth(values, [str(n) for n in range(len(values))]) == len(values)
    assert worth(values, ["one"] * len(values)) == 1


def clustered(random: np.random.Generator) -> tuple[Array, list[str]]:
    """Values of 20 rooms in 20 scenes each."""
    rooms = [str(room) for room in range(20) for _ in range(20)]
    return np.repeat(random.uniform(0.2, 0.6, 20), 20) + random.normal(0, 0.01, 400), rooms


def test_rooms_that_differ_do_not_make_distributions_differ() -> None:
    random = np.random.default_rng(5)
    naive, chances = [], []
    for _ in range(100):
        one, other = clustered(random), clustered(random)
        distance = ks_distance(one[0], other[0])
        naive.append(chance_of(distance, 400, 400))
        chances.append(chance_of(distance, worth(*one), worth(*other)))
    assert np.mean(np.array(naive) < 0.01) > 0.5
    assert np.mean(np.array(chances) < 0.01) <= 0.03
    assert np.mean(np.array(chances) < 0.5) > 0.2


@pytest.fixture(scope="module")
def changed() -> Comparison:
    recipe: Any = json.loads(json.dumps(IDENTITY["recipe"]))
    recipe["noise"]["snr_db"]["uniform"] = [0.0, 10.0]
    recipe["rooms"][1]["length_m"] = 14.0
    b = make_audit(
        200,
        seed=2,
        rooms=50,
        snr_db=(0.0, 10.0),
        labels=("bell", "drum"),
        tag="new-",
        uri="out/b",
        identity={**IDENTITY, "recipe": recipe, "seed": 4},
    )
    return compare(make_audit(200, seed=1, rooms=50), b)


def test_draws_of_one_recipe_are_alike() -> None:
    found = compare(make_audit(200, seed=1, rooms=50), make_audit(200, seed=2, rooms=50))
    assert found.differing == ()
    assert found.identity == {}


def test_a_change_of_the_snr_is_found_and_nothing_else(changed: Comparison) -> None:
    assert {each.name for each in changed.differing} == {
        *("snr_requested_db", "snr_achieved_db", "snr_foa_db", "local_snr_db"),
    }
    snr = next(each for each in changed.contrasts if each.name == "snr_requested_db")
    assert snr.a.median == pytest.approx(12.5, abs=1)
    assert snr.b.median == pytest.approx(5, abs=1)
    assert snr.distance is not None
    assert 0.4 < snr.distance < 0.8


def test_what_differs_comes_first(changed: Comparison) -> None:
    assert changed.ordered[: len(changed.differing)] == changed.differing
    assert set(changed.ordered) == set(changed.contrasts)


def test_identity_differs_by_dotted_path_and_records_by_name(changed: Comparison) -> None:
    assert changed.identity == {
        "recipe.rooms.hall.length_m": (12.0, 14.0),
        "recipe.noise.snr_db.uniform": ([5.0, 20.0], [0.0, 10.0]),
        "seed": (3, 4),
    }


def test_classes_are_gained_and_lost(changed: Comparison) -> None:
    assert (changed.gained, changed.lost) == (("drum",), ("dog",))
    assert sum(each.a for each in changed.classes) == 200


def test_what_has_other_names_is_not_in_common(changed: Comparison) -> None:
    assert [each.common for each in changed.overlaps] == [0, 0, 0]


def test_a_dataset_has_everything_in_common_with_itself() -> None:
    audit = make_audit()
    found = compare(audit, audit)
    assert found.overlaps[0] == Overlap(what="rooms", a=6, b=6, common=6, crossing=0)
    assert found.overlaps[2] == Overlap(what="scenes", a=60, b=60, common=60, crossing=0)
    assert {each.distance for each in found.contrasts} == {0.0}


def test_rooms_of_other_splits_are_told() -> None:
    audit = make_audit()
    split = pa.array(["valid"] * len(audit.scenes))
    at = audit.scenes.column_names.index("split")
    other = replace(audit, scenes=audit.scenes.set_column(at, "split", split))
    rooms = compare(audit, other).overlaps[0]
    assert (rooms.common, rooms.crossing) == (6, 6)
    assert "6 of them in different splits" in "\n".join(compare(audit, other).lines())


def test_what_only_one_has_differs() -> None:
    a = make_audit()
    b = replace(a, scenes=a.scenes.drop_columns(["snr_requested_db"]))
    (only,) = (each for each in compare(a, b).differing if each.name == "snr_requested_db")
    assert (only.distance, only.b.n) == (None, 0)
    assert any("SNR requested: 12" in line and "-> none" in line for line in compare(a, b).lines())


def test_a_comparison_with_nothing_stands() -> None:
    found = compare(make_audit(0), make_audit())
    assert len(found.differing) == len(found.contrasts) > 10
    assert found.lost == ()


def test_lines_and_plain_data_say_the_same(changed: Comparison) -> None:
    text = "\n".join(changed.lines())
    assert "recipe.noise.snr_db.uniform: [5.0, 20.0] -> [0.0, 10.0]" in text
    assert "classes gained: drum; lost: dog" in text
    plain = json.loads(json.dumps(changed.plain(), allow_nan=False))
    differing = [each["title"] for each in plain["quantities"] if each["differs"]]
    assert list(titles(text)) == [each.title for each in changed.differing]
    assert set(titles(text)) == set(differing)
    assert plain["classes_gained"] == ["drum"]
    assert plain["identity"]["seed"] == {"a": 3, "b": 4}


def titles(text: str) -> Iterator[str]:
    part = text[text.index("differ by more than chance:") :].splitlines()[1:]
    for line in part:
        if not line.startswith("  "):
            return
        yield line.strip().partition(":")[0]
