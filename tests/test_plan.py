"""Laws of plans: counts, identity, shard sizes, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pipeline_helpers import make_recipe, plan_of

from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ConfigError
from scenesynth.pipeline.environment import cpu_level, package_versions, x86_level
from scenesynth.pipeline.plan import Plan, make_plan, settle
from scenesynth.store.writer import differences


@pytest.fixture
def plan(tmp_path: Path, corpora: Corpora) -> Plan:
    return plan_of(tmp_path / "ds", corpora)


def test_hours_become_scenes_by_the_mean_length(tmp_path: Path, corpora: Corpora) -> None:
    assert plan_of(tmp_path, corpora, scenes=None, hours=0.01).scenes == 72
    uniform = make_recipe(duration_s={"uniform": [0.25, 0.75]})
    assert plan_of(tmp_path, corpora, scenes=None, hours=0.01, recipe=uniform).scenes in {72, 73}


def test_scenes_are_rounded_up_to_whole_shards_unless_fewer_than_one(
    tmp_path: Path, corpora: Corpora
) -> None:
    stops = [plan_of(tmp_path, corpora, scenes=n).stop for n in (1, 3, 4, 5, 8, 9)]
    assert stops == [1, 3, 4, 8, 8, 12]


def test_a_plan_equals_what_it_settles(tmp_path: Path, corpora: Corpora) -> None:
    plan = plan_of(tmp_path / "ds", corpora, scenes=9)
    settled = settle(plan)
    assert (
        (settled.stop, settled.todo) == (plan.stop, tuple(range(plan.n_shards))) == (12, (0, 1, 2))
    )
    assert "9 scenes rounded up to 12: whole shards of 4" in settled.notes


def test_planning_writes_nothing(plan: Plan) -> None:
    assert not plan.root.exists()


def test_default_shards_hold_64_scenes_or_less_when_those_are_large(
    tmp_path: Path, corpora: Corpora
) -> None:
    long = make_recipe(duration_s=10, sample_rate=32000)

    def size(name: str) -> int:
        options: dict[str, Any] = {"recipe": long, "formats": [name], "shard_scenes": None}
        return plan_of(tmp_path, corpora, **options).info.shard_scenes

    assert [size(name) for name in ("mono", "foa", "hoa3", "hoa7")] == [64, 64, 16, 4]


def test_all_splits_share_one_dataset_in_pure_shards(tmp_path: Path, corpora: Corpora) -> None:
    plan = plan_of(tmp_path, corpora, scenes=80, split="all")
    counts = plan.scenes_by_split
    assert sum(counts.values()) == 80
    assert {plan.split_of(shard) for shard in range(plan.n_shards)} == {"train", "test"}
    assert abs(counts["train"] - 60) <= 8


def test_each_once_makes_a_scene_for_every_clip_and_no_more(
    tmp_path: Path, corpora: Corpora
) -> None:
    recipe = make_recipe(targets={"pick": "each_once"})
    plan = plan_of(tmp_path / "ds", corpora, scenes=None, recipe=recipe)
    assert plan.scenes == plan.stop == plan.limit
    assert settle(plan).stop == plan.limit
    with pytest.raises(ConfigError, match="plays each of"):
        plan_of(tmp_path, corpora, scenes=100, recipe=recipe)
    with pytest.raises(ConfigError, match="--split all"):
        plan_of(tmp_path, corpora, scenes=None, recipe=recipe, split="all")


def test_identity_names_corpora_classes_and_environment(plan: Plan) -> None:
    info = plan.info
    assert info.classes == ("bell", "dog")
    assert info.corpora["noise"]["clips"] == 12
    assert info.corpora["sources"]["digest"] == plan.corpora["sources"].digest
    assert info.packages == package_versions()
    assert info.cpu == cpu_level()
    assert info.recipe["rooms"][0]["name"] == "box"


def test_identity_does_not_depend_on_extent_or_place(tmp_path: Path, corpora: Corpora) -> None:
    one = plan_of(tmp_path / "a", corpora, scenes=4).info
    two = plan_of(tmp_path / "b", corpora, scenes=400).info
    assert differences(one, two) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formats": ["foo"]}, "format 'foo' is not known"),
        ({"formats": []}, "no format given"),
        ({"codec": "mp3"}, "--codec mp3: must be one of lz4, zstd, float32"),
        ({"on_error": "shrug"}, "--on-error shrug: must be one of redraw, skip, stop"),
        ({"scenes": 0}, "--scenes 0; must be at least 1"),
        ({"hours": 1.0}, "give one of the two"),
        ({"scenes": None}, "give --hours H or --scenes N"),
        ({"scenes": None, "hours": -1.0}, "--hours -1; must be positive"),
        ({"shard_scenes": 0}, "--shard-scenes 0; must be at least 1"),
        ({"split": "holdout"}, "no split 'holdout'"),
    ],
)
def test_impossible_arguments_are_refused_by_name(
    tmp_path: Path, corpora: Corpora, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(tmp_path, corpora, **changes)


def test_unknown_kinds_of_output_are_refused(corpora: Corpora) -> None:
    with pytest.raises(
        ConfigError, match=r"--out ftp://bucket/ds: must be a folder, or a URI of s3://"
    ):
        make_plan("ftp://bucket/ds", make_recipe(), corpora, formats=["foa"], scenes=4)


def test_size_estimate_bounds_what_is_written(plan: Plan) -> None:
    assert plan.raw_bytes == 12 * (8000 * 4 * 2 + 1500)
    assert plan.hours == pytest.approx(12 * 0.5 / 3600)


def test_cpu_levels_follow_the_flags() -> None:
    v2 = "cx16 popcnt sse4_1 sse4_2 ssse3"
    v3 = f"{v2} avx avx2 bmi1 bmi2 f16c fma movbe"
    assert x86_level("flags : fpu sse2") == "x86-64-v1"
    assert x86_level(f"flags : {v2}") == "x86-64-v2"
    assert x86_level(f"model: x\nflags : {v3}\n") == "x86-64-v3"
    assert x86_level("Features : neon") is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hours": 1e9, "scenes": None}, "7,200,000,000,000 scenes make 1,800,000,000,000 shards"),
        ({"scenes": 4_000_001}, "at most 1,000,000. Ask for fewer --hours or --scenes"),
        ({"shard_scenes": 10**12}, r"--shard-scenes 1000000000000; must be at most \d+: "),
    ],
)
def test_more_than_can_be_made_is_refused_before_anything_is_promised(
    tmp_path: Path, corpora: Corpora, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(tmp_path / "ds", corpora, **options)
    assert not (tmp_path / "ds").exists()


@pytest.mark.parametrize("layer", ["targets", "interferers", "noise"])
@pytest.mark.parametrize("split", ["train", "all"])
def test_a_layer_without_clips_is_refused_before_anything_is_promised(
    tmp_path: Path, corpora: Corpora, layer: str, split: str
) -> None:
    plain: dict[str, Any] = {"noise": {"snr_db": 10}}.get(layer, {})
    lost = make_recipe(**{layer: {**plain, "labels": ["zebra"]}})
    with pytest.raises(ConfigError, match=rf"{layer}\.labels = zebra, but corpus"):
        plan_of(tmp_path / "ds", corpora, recipe=lost, split=split)


def test_a_layer_that_is_never_heard_needs_no_clips(tmp_path: Path, corpora: Corpora) -> None:
    silent = {"snr_db": 10, "corpus": "nowhere"}
    plan_of(tmp_path, corpora, recipe=make_recipe(noise=silent, clean={"share": 1}))
    plan_of(tmp_path, corpora, recipe=make_recipe(noise={**silent, "emitters": 0}))
