"""Laws of scenes made again: what is copied is what would be rendered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pipeline_helpers import make_clips, make_recipe, plan_of
from store_helpers import tree_bytes

from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ConfigError, ContentError, CorruptShardError, StoreError
from scenesynth.pipeline import again as again_module
from scenesynth.pipeline import given as given_module
from scenesynth.pipeline.again import AgainPlan, plan_again
from scenesynth.pipeline.driver import run
from scenesynth.pipeline.failures import reproduce
from scenesynth.pipeline.sources import open_source
from scenesynth.records import from_json
from scenesynth.scene.spec import SceneSpec
from scenesynth.store.commit import list_commits, read_commit
from scenesynth.store.exclude import ExcludeList, add_list
from scenesynth.store.layout import audio_key, read_extents, table_key
from scenesynth.store.manifest import MANIFESTS, finalize
from scenesynth.store.reader import open_dataset
from scenesynth.store.schema import Scene

RECIPE: dict[str, Any] = {
    "heads": {"names": ["sphere"], "shared": True},
    "clean": {"share": 0.3},
    "targets": {"event_s": 0.3, "emitters": {"integers": [1, 2]}},
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, corpora: Corpora) -> Path:
    """Twelve scenes in three shards, in two formats."""
    root = tmp_path_factory.mktemp("source") / "ds"
    plan = plan_of(root, corpora, recipe=make_recipe(**RECIPE), formats=["foa", "binaural"])
    assert run(plan).state == "done"
    return root


@pytest.fixture(scope="module")
def stemmed(tmp_path_factory: pytest.TempPathFactory, corpora: Corpora) -> Path:
    """Four scenes with all stems."""
    root = tmp_path_factory.mktemp("stemmed") / "ds"
    plan = plan_of(
        root, corpora, 4, recipe=make_recipe(**RECIPE), formats=["foa", "mono"], stems=["all"]
    )
    assert run(plan).state == "done"
    return root


@pytest.fixture(autouse=True)
def sources_anew() -> None:
    open_source.cache_clear()


def again(source: Path, out: Path, corpora: Corpora | None, **options: Any) -> AgainPlan:
    """A plan and its run; without corpora it must need none."""

    def open_corpora() -> Corpora:
        assert corpora is not None, "corpora were opened though nothing has to be rendered"
        return corpora

    plan = plan_again(source, out, open_corpora=open_corpora, **options)
    assert run(plan).state == "done"
    return plan


def files_of(root: Path) -> dict[str, bytes]:
    """Bytes of all files but the commits, with what these say of the files."""
    records = {f"commits/{k}": repr(read_commit(root, k).files) for k in list_commits(root)}
    return tree_bytes(root) | {key: text.encode() for key, text in records.items()}


def copied(root: Path) -> int:
    return sum(read_commit(root, k).log["copied"] for k in list_commits(root))


def refuse_to_render(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("rendered")

    monkeypatch.setattr(given_module, "render_scene", never)


CASES: list[tuple[dict[str, Any], int]] = [
    ({}, 12),
    ({"formats": ["foa"]}, 12),
    ({"formats": ["binaural", "foa"]}, 12),
    ({"only": ["1,5-7"], "shard_scenes": 3}, 4),
    ({"formats": ["mono", "foa"]}, 0),
    ({"changes": [("head", "null")]}, 0),
    ({"changes": [("noise.snr_db", "3")], "formats": ["foa"]}, -1),
    ({"codec": "zstd", "only": ["2"]}, 0),
    ({"stems": ["direct", "noise"], "only": ["2,3"]}, 0),
]


@pytest.mark.parametrize(("options", "n_copied"), CASES, ids=lambda x: str(x))
def test_copying_gives_the_bytes_of_rendering_anew(
    tmp_path: Path, corpora: Corpora, source: Path, options: dict[str, Any], n_copied: int
) -> None:
    again(source, tmp_path / "copied", corpora, **options)
    again(source, tmp_path / "anew", corpora, anew=True, **options)
    assert files_of(tmp_path / "copied") == files_of(tmp_path / "anew")
    assert copied(tmp_path / "anew") == 0
    if n_copied < 0:  # those without noise, which have no ratio to change
        snrs = open_dataset(source).scenes["snr_requested_db"].to_pylist()
        n_copied = snrs.count(None)
        assert 0 < n_copied < 12
    assert copied(tmp_path / "copied") == n_copied


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"formats": ["foa"]},
        {"stems": ["none"]},
        {"stems": ["noise"]},
        {"stems": ["direct", "dry"], "formats": ["mono"]},
        {"formats": ["foa", "hoa2"]},
    ],
    ids=str,
)
def test_stems_are_copied_with_their_format(
    tmp_path: Path, corpora: Corpora, stemmed: Path, options: dict[str, Any]
) -> None:
    again(stemmed, tmp_path / "copied", corpora, **options)
    again(stemmed, tmp_path / "anew", corpora, anew=True, **options)
    assert files_of(tmp_path / "copied") == files_of(tmp_path / "anew")
    assert copied(tmp_path / "copied") == (0 if "hoa2" in options.get("formats", ()) else 4)


def test_making_all_of_it_again_gives_the_same_data_and_needs_no_clip(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_render(monkeypatch)
    again(source, tmp_path / "ds", None)
    theirs, ours = (
        {k: v for k, v in tree_bytes(root).items() if k.startswith(("data.zarr", "tables"))}
        for root in (source, tmp_path / "ds")
    )
    assert theirs == ours


def test_newer_labels_are_made_anew_while_the_audio_is_kept(
    tmp_path: Path, corpora: Corpora, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again(source, tmp_path / "old", None, only=["1-3"])
    monkeypatch.setattr(again_module, "LABEL_VERSION", "2")
    render = given_module.render_scene

    def otherwise(*args: Any, **kwargs: Any) -> Scene:
        scene = render(*args, **kwargs)
        louder = {name: 2 * audio for name, audio in scene.audio_by_format.items()}
        events = tuple({**event, "caption": "anew"} for event in scene.events)
        return replace(scene, audio_by_format=louder, events=events)

    monkeypatch.setattr(given_module, "render_scene", otherwise)
    plan = again(source, tmp_path / "new", corpora, only=["1-3"])
    assert plan.rendering == "its labels are of version 1, now it is 2"
    assert open_dataset(plan.root).info.labels == "2"
    old, new = (tree_bytes(tmp_path / name) for name in ("old", "new"))
    differ = {name for name in old if old[name] != new[name]}
    assert differ == {"dataset.json", table_key("events", 0)}
    assert {*open_dataset(plan.root).events["caption"].to_pylist()} == {"anew"}
    monkeypatch.undo()
    with pytest.raises(StoreError, match='labels: there "2", here null'):
        again(source, plan.root, corpora, only=["1-3"])


def test_only_the_missing_formats_are_rendered(
    tmp_path: Path, corpora: Corpora, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = given_module.render_scene

    def spy(*args: Any, formats: Sequence[Any], **more: Any) -> Any:
        asked.append([fmt.name for fmt in formats])
        return real(*args, formats=formats, **more)

    monkeypatch.setattr(given_module, "render_scene", spy)
    again(source, tmp_path / "ds", corpora, changes=[("head", "null")], only=["0"])
    again(source, tmp_path / "more", corpora, formats=["foa", "mono"], only=["0"])
    assert asked == [["binaural"], ["mono"]]


def test_ids_stay_and_places_close_up(tmp_path: Path, source: Path) -> None:
    plan = again(source, tmp_path / "ds", None, only=["train-00000009", "2"])
    ds, old = open_dataset(plan.root), open_dataset(source)
    assert ds.scenes["id"].to_pylist() == ["train-00000002", "train-00000009"]
    assert ds.scenes["index"].to_pylist() == [0, 1]
    assert {e["scene"]: e["index"] for e in ds.events.to_pylist()} == {
        "train-00000002": 0,
        "train-00000009": 1,
    }
    for new, number in ((0, 2), (1, 9)):
        np.testing.assert_array_equal(
            ds[new].audio_by_format["foa"], old[number].audio_by_format["foa"]
        )


def test_a_change_is_in_every_spec_that_it_applies_to(
    tmp_path: Path, corpora: Corpora, source: Path
) -> None:
    changes = [("noise.snr_db", "3"), ("highpass_hz", "60"), ("mode", "tail")]
    plan = again(source, tmp_path / "ds", corpora, changes=changes, formats=["mono"])
    ds, before = open_dataset(plan.root), open_dataset(source).scenes["snr_requested_db"]
    for row, old in zip(ds.scenes.to_pylist(), before.to_pylist(), strict=True):
        spec = from_json(SceneSpec, row["spec"])
        assert (spec.highpass_hz, spec.mode) == (60, "tail")
        assert spec.snr_db == (None if old is None else 3)
        if old is not None:
            assert row["snr_achieved_db"] == pytest.approx(3, abs=0.01)
    assert ds.info.came_from is not None
    assert ds.info.came_from["changes"] == {"highpass_hz": 60, "mode": "tail", "snr_db": 3}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("rooms.box.height_m", "3"), "cannot change rooms.box.height_m"),
        (("highpas_hz", "3"), "did you mean 'highpass_hz'?"),
        (("duration_s", "1"), "draw new scenes, with scenesynth render --recipe"),
        (("snr_db", "{uniform: [0, 3]}"), "one value each, not a distribution"),
        (("scattering", "2"), "--set scattering=2: "),
        (("mode", "fast"), "--set mode=fast: mode: got 'fast', must be one of full, tail"),
        (("snr_db", "null"), "must have a value"),
        (("head", "nobody"), "--set head=nobody: "),
    ],
)
def test_what_cannot_be_changed_is_refused_before_anything_is_written(
    tmp_path: Path, corpora: Corpora, source: Path, change: tuple[str, str], told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        again(source, tmp_path / "ds", corpora, changes=[change])
    assert told in str(caught.value)
    assert not (tmp_path / "ds").exists()


# --- which scenes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "told"),
    [
        ("train-00000012", "no such scene"),
        ("train-0000000", "did you mean"),
        ("12", "holds scenes 0 to 11"),
        ("5-3", "the range is empty"),
        (",", "names no scene"),
        ("nowhere.txt", "cannot be read"),
    ],
)
def test_scenes_that_are_not_there(tmp_path: Path, source: Path, only: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        again(source, tmp_path / "ds", None, only=[only])
    assert not (tmp_path / "ds").exists()


def test_scenes_from_files(tmp_path: Path, source: Path) -> None:
    (tmp_path / "a.txt").write_text("train-00000003 # loud\n\n5\n")
    (tmp_path / "b.csv").write_text("why,id\nbad,train-00000004\n")
    files = [str(tmp_path / "a.txt"), str(tmp_path / "b.csv")]
    files.append(str(source / "tables/scenes/part-2.parquet"))
    plan = again(source, tmp_path / "ds", None, only=files)
    assert plan.numbers.tolist() == [3, 4, 5, 8, 9, 10, 11]
    (tmp_path / "c.csv").write_text("name\nx\n")
    with pytest.raises(ConfigError, match="has no column 'id'; its columns: name"):
        again(source, tmp_path / "other", None, only=[str(tmp_path / "c.csv")])


def test_excluded_scenes_are_left_out(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "source"
    shutil.copytree(source, root)
    add_list(root, ExcludeList(action="exclude", scenes={4: "train-00000004"}))
    plan = again(root, tmp_path / "ds", None, shard_scenes=11)
    assert 4 not in plan.numbers
    assert len(open_dataset(plan.root)) == 11
    with pytest.raises(ConfigError, match="is excluded; leave it out, or take that back"):
        again(root, tmp_path / "other", None, only=["4"])


# --- resume, growth, manifests ------------------------------------------------------------------


def test_a_lost_shard_comes_back_alike(tmp_path: Path, source: Path) -> None:
    plan = again(source, tmp_path / "ds", None)
    before = files_of(plan.root)
    for key in [*read_commit(plan.root, 1).files, "commits/1.json"]:
        (plan.root / key).unlink()
    again(source, tmp_path / "ds", None)
    assert files_of(plan.root) == before


def test_a_source_that_grows_is_followed_on_whole_shards(
    tmp_path: Path, corpora: Corpora, source: Path
) -> None:
    root = tmp_path / "source"
    shutil.copytree(source, root)
    late = root / "commits" / "2.json"
    hidden = late.read_bytes()
    late.unlink()
    plan = again(root, tmp_path / "ds", None, shard_scenes=3)
    assert [e.stop for e in read_extents(plan.root)] == [6]
    assert "still being rendered" in plan.notes[0]
    late.write_bytes(hidden)
    again(root, tmp_path / "ds", None, shard_scenes=3)
    assert [e.stop for e in read_extents(plan.root)] == [6, 12]
    ids = open_dataset(plan.root).scenes["id"]
    assert ids.to_pylist() == open_dataset(source).scenes["id"].to_pylist()
    late.unlink()
    with pytest.raises(ConfigError, match="do not fill a shard of 64"):
        again(root, tmp_path / "other", None, shard_scenes=64)


def test_another_command_on_the_same_folder_is_refused(tmp_path: Path, source: Path) -> None:
    again(source, tmp_path / "ds", None, only=["0-3"])
    for other in ({"only": ["0-4"]}, {}, {"only": ["0-3"], "formats": ["foa"]}):
        with pytest.raises(StoreError, match="made with other arguments"):
            again(source, tmp_path / "ds", None, **other)
    again(source, tmp_path / "ds", None, only=["3,2,1,0"])


def test_a_manifest_alone_is_enough_to_render_from(
    tmp_path: Path, corpora: Corpora, source: Path
) -> None:
    root = tmp_path / "source"
    shutil.copytree(source, root)
    finalize(open_dataset(root))
    alone = tmp_path / "manifest.parquet"
    shutil.copy(root / MANIFESTS["scenes"], alone)
    again(alone, tmp_path / "rendered", corpora, only=["train-00000003"])
    again(root / MANIFESTS["scenes"], tmp_path / "copied", None, only=["train-00000003"])
    assert copied(tmp_path / "copied") == 1
    one, other = (
        {k: v for k, v in tree_bytes(tmp_path / name).items() if k.startswith(("data", "tables"))}
        for name in ("rendered", "copied")
    )
    assert one == other


def test_a_table_without_the_identity_says_what_to_give(tmp_path: Path, source: Path) -> None:
    path = tmp_path / "mine.parquet"
    pq.write_table(open_dataset(source).scenes, path)
    with pytest.raises(ConfigError, match="has dropped its metadata 'scenesynth_dataset'"):
        again(path, tmp_path / "ds", None)


# --- clips and damage ---------------------------------------------------------------------------


def test_clips_that_are_not_the_recorded_ones_are_named(
    tmp_path: Path, corpora: Corpora, source: Path
) -> None:
    other = Corpora.open(
        [make_clips(tmp_path / "sources", "bell", "dog", per_label=3)],
        [make_clips(tmp_path / "noise", "hum")],
    )
    with pytest.raises(
        ConfigError, match=r"corpus sources is not the one .* it lacks, or has other"
    ):
        again(source, tmp_path / "ds", other, formats=["mono"])
    clips = {
        event["clip"].removeprefix("sources/")
        for event in open_dataset(source).events.to_pylist()
        if event["index"] == 0 and event["corpus"] == "sources"
    }
    enough = tmp_path / "enough"
    for clip in clips:
        (enough / clip).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(corpora["sources"].places[""].root / clip, enough / clip)
    few = Corpora.open([enough], [tmp_path / "noise"])
    again(source, tmp_path / "ds", few, formats=["mono"], only=["0"])


def test_damage_of_the_source_is_not_copied(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "source"
    shutil.copytree(source, root)
    path = root / audio_key("foa", 0)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    plan = plan_again(root, tmp_path / "ds", open_corpora=lambda: Corpora({}))
    outcome = run(plan)
    assert outcome.state == "failed"
    assert "the checksum of chunk 0 of scene 0 of the shard does not match" in outcome.message
    assert "verify" in outcome.message
    assert list_commits(plan.root) == []
    with pytest.raises(CorruptShardError):
        plan.specs.scene(plan.root, plan.info, 12, 0, lambda: Corpora({}))


def test_a_scene_that_cannot_be_rendered_is_left_silent_or_parks_its_shard(
    tmp_path: Path, corpora: Corpora, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = given_module.render_scene

    def picky(spec: SceneSpec, *args: Any, **more: Any) -> Any:
        if spec.origin.index == 5:
            raise error
        return real(spec, *args, **more)

    monkeypatch.setattr(given_module, "render_scene", picky)
    error: Exception = ContentError("its clip is silent")
    options: dict[str, Any] = {"formats": ["mono"], "only": ["2-9"], "shard_scenes": 4}
    plan = again(source, tmp_path / "silent", corpora, **options)
    ds = open_dataset(plan.root)
    assert (len(ds), ds.skipped["id"].to_pylist()) == (7, ["train-00000005"])
    error = ZeroDivisionError("division by zero")
    plan = plan_again(source, tmp_path / "parked", open_corpora=lambda: corpora, **options)
    assert run(plan).state == "failed"
    report = tmp_path / "parked/failures/0.json"
    body = json.loads(report.read_text())
    assert (body["scene"], json.loads(body["spec"])["origin"]["index"]) == ("train-00000005", 5)
    with pytest.raises(ZeroDivisionError):
        reproduce(str(report))
    monkeypatch.setattr(given_module, "render_scene", real)
    assert "rendered without an error: 3" in reproduce(str(report))


@pytest.mark.ray
def test_workers_make_the_bytes_of_one_process(
    tmp_path: Path, corpora: Corpora, source: Path
) -> None:
    options: dict[str, Any] = {"formats": ["foa", "mono"], "open_corpora": lambda: corpora}
    run(plan_again(source, tmp_path / "one", **options))
    assert run(plan_again(source, tmp_path / "two", **options), workers=2).state == "done"
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_a_source_made_elsewhere_is_told_of_in_the_identity(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scenesynth.pipeline.again.cpu_level", lambda: "z80")
    plan = again(source, tmp_path / "ds", None)
    origin = open_dataset(plan.root).info.came_from
    assert origin is not None
    assert origin["environment"]["cpu"] == open_dataset(source).info.cpu
    assert "--anew renders everything here" in plan.notes[0]


def test_the_source_is_never_the_target(source: Path) -> None:
    with pytest.raises(ConfigError, match="is the source itself"):
        again(source, source, None)
