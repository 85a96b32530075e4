"""Diffuse noise as recipes draw it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scene_helpers import FakeCorpus, fake_corpora, make_clip, small_recipe

from scenesynth.errors import ConfigError
from scenesynth.scene.check import check
from scenesynth.scene.recipe import load_recipe
from scenesynth.scene.sample import check_corpora, sample_scene
from scenesynth.scene.spec import SceneSpec


@pytest.fixture(scope="module")
def corpora() -> dict[str, FakeCorpus]:
    return fake_corpora()


def scenes(
    folder: Path, corpora: dict[str, FakeCorpus], n: int = 60, **noise: Any
) -> list[SceneSpec]:
    recipe = small_recipe(folder, noise={"snr_db": {"uniform": [0, 20]}, "emitters": 2} | noise)
    return [sample_scene(recipe, corpora, index=index) for index in range(n)]


def test_a_field_lasts_for_the_scene_and_is_another_in_every_one(
    tmp_path: Path, corpora: dict[str, FakeCorpus]
) -> None:
    specs = scenes(tmp_path, corpora, diffuse={}, fade_s=0.3)
    for spec in specs:
        (item,) = spec.diffuse
        assert (item.onset_s, item.duration_s, item.ratio_db) == (0.0, 4.0, 0.0)
        assert (item.fade_in_s, item.fade_out_s) == (0.3, 0.3)
        assert item.clip is not None
        assert item.clip.corpus == "noise"
        assert item.length_s >= 8
        assert len(spec.emitters) == 3
        assert SceneSpec.from_json(spec.to_json()) == spec
    assert len({spec.diffuse[0].seed for spec in specs}) == len(specs)
    assert len({spec.diffuse[0].clip for spec in specs}) > 10


def test_a_field_plays_no_clip_that_an_emitter_plays(
    tmp_path: Path, corpora: dict[str, FakeCorpus]
) -> None:
    for spec in scenes(tmp_path, corpora, diffuse={}):
        (item,) = spec.diffuse
        assert item.clip is not None
        assert item.clip.group not in {e.clip.group for m in spec.emitters for e in m.events}


def test_shares_are_those_of_scenes(tmp_path: Path, corpora: dict[str, FakeCorpus]) -> None:
    diffuse = {
        "share": 0.6,
        "alone_share": 0.5,
        "ratio_db": {"uniform": [-9, 3]},
        "sound": {"choice": ["clip", "pink", "brown"]},
    }
    specs = scenes(tmp_path, corpora, 300, diffuse=diffuse)
    sounds: Counter[str] = Counter()
    kinds: Counter[tuple[bool, bool]] = Counter()
    for spec in specs:
        localised = any(e.role == "noise" for m in spec.emitters for e in m.events)
        kinds[bool(spec.diffuse), localised] += 1
        assert spec.snr_db is not None
        for item in spec.diffuse:
            sounds[item.colour or "clip"] += 1
            assert (item.ratio_db is not None) == localised
            assert item.ratio_db is None or -9 <= item.ratio_db < 3
    assert kinds[False, False] == 0
    assert kinds[False, True] == pytest.approx(120, abs=25)
    assert kinds[True, False] == pytest.approx(90, abs=25)
    assert set(sounds) == {"clip", "pink", "brown"}
    assert max(sounds.values()) < 1.7 * min(sounds.values())


def test_diffuse_noise_changes_nothing_else_of_a_scene(
    tmp_path: Path, corpora: dict[str, FakeCorpus]
) -> None:
    without = scenes(tmp_path, corpora, 20)
    beside = scenes(tmp_path, corpora, 20, diffuse={"sound": {"choice": ["clip", "white"]}})
    for one, two in zip(without, beside, strict=True):
        assert (one.emitters, one.room, one.listener) == (two.emitters, two.room, two.listener)
        assert (one.snr_db, one.acoustic_seed) == (two.snr_db, two.acoustic_seed)


def test_noise_may_be_diffuse_only_and_need_no_corpus(
    tmp_path: Path, corpora: dict[str, FakeCorpus]
) -> None:
    recipe = small_recipe(
        tmp_path,
        noise={"snr_db": 5, "emitters": 0, "level_dbfs": -20, "diffuse": {"sound": "pink"}},
    )
    own = {"sources": corpora["sources"]}
    check_corpora(recipe, own, "train")
    spec = sample_scene(recipe, own, index=0)
    (item,) = spec.diffuse
    assert (item.colour, item.clip, item.ratio_db, item.gain) == ("pink", None, None, 0.1)
    assert spec.snr_db == 5
    assert {e.role for m in spec.emitters for e in m.events} == {"target"}


def test_clean_scenes_have_no_diffuse_noise_either(
    tmp_path: Path, corpora: dict[str, FakeCorpus]
) -> None:
    recipe = small_recipe(tmp_path, noise={"snr_db": 5, "diffuse": {}}, clean={"share": 1})
    assert sample_scene(recipe, corpora, index=0).diffuse == ()


def test_the_level_of_a_clip_is_that_of_the_recipe(
    tmp_path: Path, corpora: dict[str, FakeCorpus]
) -> None:
    (spec,) = scenes(tmp_path, corpora, 1, level_dbfs=-34, diffuse={"ratio_db": None})
    assert spec.diffuse[0].ratio_db is None
    assert 0.1 * spec.diffuse[0].gain == pytest.approx(10 ** (-34 / 20))


def test_clips_that_are_too_short_are_left_out(tmp_path: Path) -> None:
    beds = [make_clip(f"bed/{n}", "hum", 2.0 if n % 2 else 9.0, split="train") for n in range(12)]
    corpora = {
        "sources": FakeCorpus([make_clip("a", "dog", split="train")]),
        "noise": FakeCorpus(beds),
        "short": FakeCorpus(beds[1::2]),
    }
    for spec in scenes(tmp_path, corpora, 30, emitters=1, diffuse={}):
        assert spec.diffuse[0].length_s == 9.0
    recipe = small_recipe(
        tmp_path, noise={"snr_db": 3, "emitters": 0, "diffuse": {"corpus": "short"}}
    )
    for find in (
        lambda: sample_scene(recipe, corpora, index=0),
        lambda: check_corpora(recipe, corpora, "train"),
    ):
        with pytest.raises(ConfigError, match=r"in corpus short sounds for 5 s .*sound: pink"):
            find()


@pytest.mark.parametrize(
    ("diffuse", "message"),
    [
        ({"share": 1.5}, r"noise\.diffuse: share = 1\.5; must lie in \[0, 1\]"),
        ({"sound": "pnik"}, r"noise\.diffuse: sound = 'pnik'; did you mean 'pink'"),
        ({"ratio_db": {"uniform": [0, 900]}}, r"noise\.diffuse: ratio_db .* can leave"),
        ({"loudness": 1}, r"noise\.diffuse\.loudness: unknown key of Diffuse"),
        ({"corpus": "street"}, r"noise\.diffuse\.corpus = 'street', but .* street=PATH"),
        ({"labels": ["rian"]}, r"noise\.diffuse\.labels = rian, but corpus noise has none"),
    ],
)
def test_wrong_recipes_are_named(
    tmp_path: Path, corpora: dict[str, FakeCorpus], diffuse: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_corpora(
            small_recipe(tmp_path, noise={"snr_db": 3, "diffuse": diffuse}), corpora, "train"
        )


def test_one_value_is_enough_to_ask_for_it_and_the_check_counts_it() -> None:
    found = check(load_recipe("gram", [("noise.diffuse.share", "0.5")]), n_scenes=40)
    assert found.ok
    assert found.ranges["diffuse ratio_db"] == (0, 0, 0)
    (note,) = found.notes
    words = note.split()
    assert words[:3] == ["diffuse", "noise", "in"]
    assert 8 <= int(words[3]) <= 30
    assert note in str(found)
