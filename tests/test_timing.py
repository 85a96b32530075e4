"""Laws of the stage timer."""

from __future__ import annotations

import pytest

from scenesynth import timing
from scenesynth.timing import collect, stage


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands at the last of these values."""
    now = [0.0]
    monkeypatch.setattr(timing, "perf_counter", lambda: now[-1])
    return now


def test_time_counts_for_the_innermost_stage_only(ticks: list[float]) -> None:
    with collect() as seconds:
        with stage("outer"):
            ticks.append(1.0)
            with stage("inner"):
                ticks.append(3.0)
            ticks.append(3.5)
        ticks.append(100.0)
        with stage("outer"):
            ticks.append(101.0)
    assert seconds == {"outer": 2.5, "inner": 2.0}


def test_a_stage_that_fails_is_counted_and_left(ticks: list[float]) -> None:
    @stage("broken")
    def fail() -> None:
        ticks.append(2.0)
        raise KeyError("x")

    with collect() as seconds:
        with pytest.raises(KeyError):
            fail()
        with stage("next"):
            ticks.append(3.0)
    assert seconds == {"broken": 2.0, "next": 1.0}


def test_stages_outside_of_a_collection_do_nothing() -> None:
    with stage("alone"):
        pass
    with collect() as seconds:
        pass
    assert seconds == {}
