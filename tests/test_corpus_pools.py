"""Pools: draws that other clips do not disturb, and splits that share no group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from corpus_helpers import SHARES, clip
from hypothesis import given
from hypothesis import strategies as st

from scenesynth.corpus.clips import Clip
from scenesynth.corpus.pools import Pool, split_names
from scenesynth.errors import ConfigError, ContentError

KEYS = range(5000)


def _clips(n: int = 60) -> list[Clip]:
    return [clip(f"c{k}", labels=(f"class{k % 5}",), group=f"g{k % 20}") for k in range(n)]


def _draws(clips: Sequence[Clip]) -> list[str]:
    pool = Pool(clips)
    return [pool.pick(key).id for key in KEYS]


def test_taking_a_clip_away_changes_exactly_the_draws_that_had_it() -> None:
    clips = _clips()
    before = _draws(clips)
    after = _draws([c for c in clips if c.id != "c7"])
    assert "c7" in before
    changed = {key for key in KEYS if before[key] != after[key]}
    assert changed == {key for key in KEYS if before[key] == "c7"}


@pytest.mark.parametrize("gone", ["class2", "class4"])
def test_taking_a_class_away_changes_exactly_the_draws_that_had_it(gone: str) -> None:
    clips = _clips()
    of = {c.id: c.labels[0] for c in clips}
    before = _draws(clips)
    after = _draws([c for c in clips if c.labels != (gone,)])
    changed = {key for key in KEYS if before[key] != after[key]}
    assert changed == {key for key in KEYS if of[before[key]] == gone}


def test_taking_a_group_away_changes_exactly_the_draws_that_had_it() -> None:
    clips = _clips()
    of = {c.id: c.group for c in clips}
    before = _draws(clips)
    after = _draws([c for c in clips if c.group != "g3"])
    changed = {key for key in KEYS if before[key] != after[key]}
    assert changed == {key for key in KEYS if of[before[key]] == "g3"}
    pool = Pool(clips)
    assert [pool.pick(key, exclude_groups={"g3"}).id for key in KEYS] == after


def test_the_last_clip_of_a_group_takes_only_its_own_draws_along() -> None:
    clips = [clip("lonely", group="alone"), *(clip(f"c{k}", group=f"g{k % 3}") for k in range(9))]
    before, after = _draws(clips), _draws(clips[1:])
    assert all(b == a for b, a in zip(before, after, strict=True) if b != "lonely")
    assert "lonely" in before


def test_weighted_draws_keep_the_law_and_the_shares() -> None:
    clips = _clips()
    weights = {"class0": 3.0, "class1": 0.0}
    pool = Pool(clips)
    before = [pool.pick(key, class_weights=weights) for key in KEYS]
    counts = Counter(c.labels[0] for c in before)
    assert counts["class1"] == 0
    # 3 : 1 : 1 : 1, with four standard deviations of 5,000 draws to spare
    assert counts["class0"] / len(KEYS) == pytest.approx(0.5, abs=0.03)
    rest = Pool([c for c in clips if c.id != before[0].id])
    after = [rest.pick(key, class_weights=weights) for key in KEYS]
    assert {k for k in KEYS if before[k] != after[k]} == {
        k for k in KEYS if before[k].id == before[0].id
    }


def test_classes_are_drawn_equally_whatever_their_sizes() -> None:
    clips = [clip(f"many{k}", labels=("many",)) for k in range(40)] + [clip("one", labels=("one",))]
    assert Counter(_draws(clips))["one"] / len(KEYS) == pytest.approx(0.5, abs=0.03)


def test_groups_of_a_class_are_drawn_equally_whatever_their_sizes() -> None:
    clips = [clip(f"many{k}", group="many") for k in range(40)] + [clip("one", group="one")]
    assert Counter(_draws(clips))["one"] / len(KEYS) == pytest.approx(0.5, abs=0.03)


def test_a_clip_of_two_labels_is_drawn_for_each_of_them() -> None:
    both = clip("both", labels=("a", "b"))
    pool = Pool([both, clip("other", labels=("c",))])
    assert pool.classes == ("a", "b", "c")
    assert pool.pick(1, labels=["a"]) is both
    assert pool.pick(1, labels=["b"]) is both


def test_labels_draw_as_if_the_other_classes_were_not_there() -> None:
    clips = _clips()
    pool = Pool(clips)
    alone = Pool([c for c in clips if c.labels[0] in ("class1", "class3")])
    for key in range(500):
        assert pool.pick(key, labels=["class3", "class1"]) == alone.pick(key)


def test_draws_do_not_depend_on_the_order_of_clips_and_labels() -> None:
    clips = _clips()
    assert _draws(clips)[:500] == _draws(clips[::-1])[:500]


def test_every_clip_once_comes_in_order_of_id() -> None:
    ordered = Pool(_clips()[::-1]).ordered()
    assert [c.id for c in ordered] == sorted(c.id for c in _clips())


def test_an_unknown_label_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no clip with a label among dog; it has x"):
        Pool([clip("a")]).pick(1, labels=["dog"])


def test_excluding_every_group_is_an_error_of_content() -> None:
    with pytest.raises(ContentError, match=r"every group .* excluded"):
        Pool([clip("a", group="g")]).pick(1, exclude_groups={"g"})


@pytest.mark.parametrize("weights", [{"x": -1.0}, {"x": 0.0}, {"x": float("nan")}])
def test_weights_that_are_none_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="class weights"):
        Pool([clip("a")]).pick(1, class_weights=weights)


def test_a_group_lies_in_one_split_only() -> None:
    clips = _clips(200)
    names = split_names(clips, SHARES)
    splits = {c.group: set[str]() for c in clips}
    for item, name in zip(clips, names, strict=True):
        splits[item.group].add(name)
    assert all(len(found) == 1 for found in splits.values())


def test_shares_are_kept_over_many_groups() -> None:
    clips = [clip(f"c{k}") for k in range(5000)]
    counts = Counter(split_names(clips, SHARES))
    for name, share in SHARES.items():
        assert counts[name] / len(clips) == pytest.approx(share, abs=0.03)


@given(st.sets(st.integers(0, 99), min_size=1, max_size=90))
def test_clips_that_come_or_go_move_no_other_clip_to_another_split(gone: set[int]) -> None:
    clips = [clip(f"c{k}", group=f"g{k // 3}") for k in range(100)]
    before = dict(zip((c.id for c in clips), split_names(clips, SHARES), strict=True))
    left = [c for k, c in enumerate(clips) if k not in gone]
    after = dict(zip((c.id for c in left), split_names(left, SHARES), strict=True))
    assert all(before[name] == split for name, split in after.items())


def test_a_larger_share_moves_groups_only_towards_it() -> None:
    clips = [clip(f"c{k}") for k in range(2000)]
    before = split_names(clips, {"train": 0.8, "valid": 0.1, "test": 0.1})
    after = split_names(clips, {"train": 0.8, "valid": 0.2, "test": 0.1})
    assert {a for b, a in zip(before, after, strict=True) if a != b} == {"valid"}


def test_stated_splits_stay_and_take_their_group_along() -> None:
    clips = [
        clip("a", group="g", split="test"),
        clip("b", group="g"),
        clip("c", group="h", split="own"),
    ]
    assert split_names(clips, {"train": 1.0}) == ["test", "test", "own"]


@pytest.mark.parametrize("shares", [{}, {"train": 0.0}, {"train": -1.0}, {"train": float("inf")}])
def test_shares_that_are_none_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="splits: got shares"):
        split_names([clip("a")], shares)
