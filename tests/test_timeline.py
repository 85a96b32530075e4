"""Interval scheduling: limits hold, what cannot fit is said, nothing takes for ever."""

from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from scenesynth.scene.timeline import Sound, most_at_once, next_turn, scatter
from scenesynth.seeds import rng

SOUNDS = st.lists(
    st.builds(
        Sound,
        duration=st.integers(1, 60),
        emitter=st.integers(0, 3),
        classes=st.sampled_from([frozenset("a"), frozenset("b"), frozenset("ab"), frozenset()]),
        pause=st.integers(0, 15),
    ),
    max_size=12,
)


def placed(sounds: list[Sound], onsets: tuple[int | None, ...]) -> list[tuple[Sound, int]]:
    return [(s, onset) for s, onset in zip(sounds, onsets, strict=True) if onset is not None]


@given(
    sounds=SOUNDS,
    length=st.integers(1, 200),
    polyphony=st.integers(1, 4),
    same=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_arrangement_keeps_its_limits(
    sounds: list[Sound], length: int, polyphony: int, same: bool, seed: int
) -> None:
    arranged = scatter(
        sounds, length, rng(seed, "", "t"), polyphony=polyphony, same_class_overlap=same
    )
    there = placed(sounds, arranged.onsets)
    assert all(0 <= onset <= length - sound.duration for sound, onset in there)
    spans = [(onset, onset + sound.duration) for sound, onset in there]
    assert most_at_once(spans) <= polyphony
    for (a, start_a), (b, start_b) in combinations(there, 2):
        gap = max(start_a, start_b) - min(start_a + a.duration, start_b + b.duration)
        if a.emitter == b.emitter:
            assert gap >= max(a.pause, b.pause)
        elif not same and a.classes & b.classes:
            assert gap >= 0
    assert bool(arranged.reason) == (arranged.missing > 0)


@given(
    spans=st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 9)).map(lambda p: (p[0], p[0] + p[1])),
        max_size=10,
    )
)
def test_most_at_once_counts_every_instant(spans: list[tuple[int, int]]) -> None:
    counts = [sum(start <= t < stop for start, stop in spans) for t in range(40)]
    assert most_at_once(spans) == max(counts)


def test_24_events_in_10_seconds_at_overlap_2_end_with_a_reason() -> None:
    # The peer that recurses until its stack is full dies of this one.
    sounds = [Sound(duration=16000 * 3, emitter=n) for n in range(24)]
    arranged = scatter(sounds, 160000, rng(0, "", "t"), polyphony=2)
    assert arranged.missing == 24 - 6
    assert "18 of 24 events found no place" in arranged.reason
    assert "polyphony 2" in arranged.reason


def test_a_scene_that_is_exactly_full_is_filled() -> None:
    sounds = [Sound(duration=duration, emitter=n) for n, duration in enumerate((30, 50, 20))]
    arranged = scatter(sounds, 100, rng(1, "", "t"), polyphony=1)
    assert arranged.missing == 0


def test_an_event_longer_than_the_scene_is_left_out_alone() -> None:
    sounds = [Sound(duration=500, emitter=0), Sound(duration=50, emitter=1)]
    arranged = scatter(sounds, 100, rng(1, "", "t"), polyphony=2)
    assert arranged.onsets[0] is None
    assert arranged.onsets[1] is not None


def test_onsets_are_even_over_all_allowed_places() -> None:
    onsets = [
        scatter([Sound(duration=40, emitter=0)], 100, rng(k, "", "t"), polyphony=1).onsets[0]
        for k in range(2000)
    ]
    values = [onset for onset in onsets if onset is not None]
    assert min(values) == 0
    assert max(values) == 60
    assert abs(sum(values) / len(values) - 30) < 1.6  # 4 standard errors


@given(
    turns=st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 50), st.integers(-60, 30)),
        min_size=1,
        max_size=15,
    ),
    polyphony=st.integers(1, 3),
)
def test_turns_keep_polyphony_order_and_one_mouth_each(
    turns: list[tuple[int, int, int]], polyphony: int
) -> None:
    said: list[tuple[int, int, int]] = []
    for who, duration, gap in turns:
        onset = next_turn(said, who, gap, polyphony=polyphony) if said else 0
        said.append((who, onset, onset + duration))
    assert all(a[1] <= b[1] for a, b in pairwise(said))
    assert most_at_once([(start, stop) for _, start, stop in said]) <= polyphony
    for talker in range(3):
        assert most_at_once([(start, stop) for who, start, stop in said if who == talker]) <= 1


def test_a_turn_follows_after_its_gap_or_overlaps_by_it() -> None:
    assert next_turn([(0, 0, 100)], 1, 20, polyphony=2) == 120
    assert next_turn([(0, 0, 100)], 1, -20, polyphony=2) == 80
    assert next_turn([(0, 0, 100)], 1, -20, polyphony=1) == 100
    assert next_turn([(0, 0, 100)], 0, -20, polyphony=2) == 100
