"""Laws of audits: what is wrong is found and named, what is not raises no alarm."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from audit_helpers import (
    SCENES,
    SHARD,
    check_of,
    clips_of,
    edit,
    edit_identity,
    edit_specs,
    failed,
    render_small,
    shards_of,
)
from click.testing import CliRunner, Result
from pipeline_helpers import plan_of

from scenesynth.audit.actions import plain, write_actions
from scenesynth.audit.anew import draw_anew, source_of
from scenesynth.audit.choose import choose_scenes
from scenesynth.audit.distributions import compare, compare_classes
from scenesynth.audit.findings import joined, with_shards
from scenesynth.audit.mistakes import MISTAKES, mistake
from scenesynth.audit.reading import Columns
from scenesynth.audit.records import Audit, Check, Finding
from scenesynth.audit.run import run_audit
from scenesynth.audit.sound import RERENDER, listen
from scenesynth.audit.splits import class_check, clip_check, head_check
from scenesynth.cli import main
from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ConfigError, StoreError
from scenesynth.pipeline.driver import run
from scenesynth.scene.recipe import load_recipe
from scenesynth.store.commit import Commit
from scenesynth.store.exclude import ExcludeList, add_list
from scenesynth.store.layout import commit_key, read_info, seal, shard_keys, table_key
from scenesynth.store.places import place_of
from scenesynth.store.reader import Dataset, open_dataset

look = partial(run_audit, listening=False)
"""Files and tables alone; what is heard has tests of its own."""

AUDIO = "data.zarr/foa/audio/c/{}/0/0"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory, corpora: Corpora) -> Path:
    root = tmp_path_factory.mktemp("audited") / "ds"
    render_small(root, corpora)
    return root


@pytest.fixture
def root(tmp_path: Path, rendered: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(rendered, tmp_path / "ds"))


@pytest.fixture(scope="module")
def clean(rendered: Path, corpora: Corpora) -> Audit:
    return run_audit(rendered, corpora=corpora)


def test_a_clean_dataset_raises_no_alarm(clean: Audit) -> None:
    assert [(check.name, check.summary) for check in clean.failed] == []
    assert len(clean.scenes) == clean.n_scenes == clean.n_promised == SCENES
    assert len(clean.events) == sum(clean.scenes["n_events"].to_pylist())
    assert "spec" not in clean.scenes.column_names
    looked = {check.name: check.looked for check in clean.checks if check.unit == "scenes"}
    assert looked["spec"] == looked["labels"] == looked["snr"] == looked["t60"] == SCENES
    assert check_of(clean, "head_leak").status == "skipped"


@pytest.mark.parametrize("recipe", ["gram", "everyday"])
def test_recipes_that_come_along_raise_no_alarm(
    tmp_path: Path, compiled_kernels: None, recipe: str
) -> None:
    small = load_recipe(recipe, [("duration_s", "2"), ("sample_rate", "16000")])
    builtin = Corpora.open()
    plan = plan_of(tmp_path / "ds", builtin, 24, recipe=small, split="all", seed=5)
    assert run(plan).state == "done"
    audit = look(tmp_path / "ds")
    assert [(check.name, check.summary) for check in audit.failed] == []
    assert check_of(audit, "recipe").figures["own_clips"]


def test_scenes_drawn_anew_have_the_columns_that_a_spec_decides(clean: Audit) -> None:
    assert clean.drawn is not None
    assert clean.drawn_events is not None
    assert clean.drawn_clips
    assert len(clean.drawn) == SCENES
    names = {"split", "room", "room_size_m", "snr_requested_db", "n_targets", "n_samples"}
    assert names <= set(clean.drawn.column_names) <= set(clean.scenes.column_names)
    places = {"azimuth_start_deg", "distance_start_m", "role", "labels"}
    assert places <= set(clean.drawn_events.column_names) <= set(clean.events.column_names)
    assert not set(clean.drawn["room"].to_pylist()) & set(clean.scenes["room"].to_pylist())


def test_scenes_drawn_anew_are_told_apart_where_splits_have_other_numbers_of_rooms(
    rendered: Path, corpora: Corpora
) -> None:
    info = read_info(rendered)
    splits = {"train": {"share": 1, "rooms": 70}, "test": {"share": 1, "rooms": 15}}
    info = replace(info, recipe={**info.recipe, "splits": splits})
    # Beyond the dataset, the rooms of these two come again at one and the same number.
    chosen = [{"index": 12, "split": "train"}, {"index": 2, "split": "test"}]
    drawn = draw_anew(info, source_of(info, corpora), chosen, lambda *told: None)
    assert not isinstance(drawn, str)
    assert [set(table["index"].to_pylist()) for table in drawn] == [{2, 12}, {2, 12}]


def test_other_clips_leave_out_what_depends_on_clips(rendered: Path) -> None:
    audit = look(rendered)
    assert failed(audit) == set()
    assert not audit.drawn_clips
    assert audit.drawn_events is not None
    assert audit.drawn_events["clip"].null_count == len(audit.drawn_events)
    assert "the clips are not at hand" in check_of(audit, "recipe").summary


# --- planted faults ------------------------------------------------------------------------------


def set_to(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    def apply(row: dict[str, Any]) -> None:
        if row[name] is not None:
            row[name] = change(row[name])

    return apply


def of_scene(index: int, name: str, change: Callable[[Any], Any]) -> Callable[[dict], None]:
    def apply(row: dict[str, Any]) -> None:
        if row["index"] == index:
            row[name] = change(row[name])

    return apply


def mirrored(event: dict[str, Any]) -> None:
    for end in ("start", "end"):
        event[f"azimuth_{end}_deg"] = -event[f"azimuth_{end}_deg"]
    for entry in event["heard"]:
        entry["y"] = -entry["y"]


def longer(values: list[float | None]) -> list[float | None]:
    return [None if value is None else 1.3 * value for value in values]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def gone(root: Path, shard: int) -> None:
    for key in (commit_key(shard), *shard_keys(read_info(root), shard)):
        (root / key).unlink()


def long_reverberation(root: Path) -> None:
    edit(root, "scenes", set_to("rt60_measured_s", longer))
    edit(root, "events", set_to("rt60_s", longer))


FAULTS: list[tuple[str, Callable[[Path], object], str, str]] = [
    ("flipped byte", lambda root: flip(root / AUDIO.format(1)), "files", AUDIO.format(1)),
    ("flipped table", lambda root: flip(root / table_key("events", 2)), "files", "part-2"),
    ("missing file", lambda root: (root / AUDIO.format(3)).unlink(), "files", "missing"),
    ("missing shard", lambda root: gone(root, 2), "complete", "missing are 2 and nobody"),
    ("flipped commit", lambda root: flip(root / commit_key(4)), "files", "commits/4.json"),
    (
        "SNR of all",
        lambda root: edit(root, "scenes", set_to("snr_achieved_db", lambda x: x - 3)),
        "snr",
        "median of all -3.00 dB",
    ),
    ("T60 of all", long_reverberation, "t60", "a bias of the whole dataset"),
    ("labels mirrored", lambda root: edit(root, "events", mirrored), "labels", "+90 were right"),
    (
        "labels of a shard mirrored",
        lambda root: edit(root, "events", mirrored, 6),
        "labels",
        "all that was looked at of shard 6",
    ),
    (
        "+90 = right from 0 to 360",
        lambda root: edit(root, "events", set_to("azimuth_start_deg", lambda x: (-x) % 360)),
        "labels",
        "as if +90 were right",
    ),
    (
        "upside down",
        lambda root: edit(root, "events", set_to("elevation_start_deg", lambda x: -x)),
        "labels",
        "elevations have the wrong sign",
    ),
]


@pytest.mark.parametrize(
    ("plant", "check", "told"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
def test_a_planted_fault_is_named_by_its_check_alone(
    root: Path, plant: Callable[[Path], object], check: str, told: str
) -> None:
    plant(root)
    audit = look(root)
    assert failed(audit) == {check}
    found = check_of(audit, check)
    said = [found.summary, *(f"{f.key} {f.what}" for f in found.findings)]
    assert told in "\n".join(said)
    json.dumps(plain(audit), allow_nan=False)


SCENE_FAULTS: dict[str, tuple[str, str, Callable[[Any], Any], str, str]] = {
    "SNR": ("scenes", "snr_achieved_db", lambda x: x + 3, "snr", "dB achieved"),
    "SIR": ("scenes", "sir_achieved_db", lambda x: x - 1, "sir", "dB achieved"),
    "T60": ("scenes", "rt60_measured_s", longer, "t60", "% off"),
    "SNR asked for": ("scenes", "snr_requested_db", lambda x: x + 3, "spec", "snr_requested_db ="),
    "T60 asked for": ("scenes", "rt60_requested_s", longer, "spec", "rt60_requested_s ="),
    "room": ("scenes", "room", lambda x: "elsewhere", "spec", "room = elsewhere; its spec gives"),
    "turn": ("scenes", "listener_quaternion", lambda q: q[::-1], "spec", "listener_quaternion ="),
    "key": ("scenes", "render_key_foa", lambda x: "0" * 32, "spec", "render_key_foa = 0000"),
    "cut spec": ("scenes", "spec", lambda text: text[:-9], "spec", "its spec cannot be read"),
    "distance": ("events", "distance_start_m", lambda x: x + 0.1, "labels", "distance_start_m ="),
    "onset": ("events", "wet_onset_s", lambda x: x - 0.01, "labels", "wet_onset_s ="),
    "frames": ("events", "frame_stop", lambda x: x + 1, "labels", "frame_stop ="),
    "class": ("events", "class_ids", lambda x: [7], "labels", "class_ids = [7]"),
    "clip": ("events", "clip", lambda x: "<script>", "spec", "clip = <script>; its spec gives"),
}
"""Faults of single scenes: table, column, what becomes of it, check, what is told."""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, rendered: Path) -> Audit:
    """One scene with each of these faults, the first at 1, the next at 3, and so on."""
    root = Path(shutil.copytree(rendered, tmp_path_factory.mktemp("faulty") / "ds"))
    for place, (table, column, change, _, _) in enumerate(SCENE_FAULTS.values()):
        index = 1 + 2 * place
        edit(root, table, of_scene(index, column, change), index // SHARD)
    return look(root)


@pytest.mark.parametrize("fault", list(SCENE_FAULTS))
def test_a_fault_in_one_scene_is_named_with_it_by_its_check_alone(
    faulty: Audit, fault: str
) -> None:
    index = 1 + 2 * list(SCENE_FAULTS).index(fault)
    *_, check, told = SCENE_FAULTS[fault]
    found = [(c.name, f) for c in faulty.failed for f in c.findings if f.index == index]
    ((name, finding),) = found
    assert name == check
    assert told in finding.what
    assert finding.scene.endswith(f"-{index:08d}")
    assert finding.shard is None


def test_all_scenes_of_a_shard_that_looks_wrong_are_listed(tmp_path: Path, root: Path) -> None:
    edit(root, "events", mirrored, 6)
    write_actions(tmp_path, look(root, sample=20), {})
    lines = (tmp_path / "scenes.txt").read_text().splitlines()
    assert len(lines) == 3
    assert lines[-1].startswith("24-27  # labels: event 0 (target0): azimuth_start_deg = ")


def test_all_scenes_of_a_shard_that_sounds_wrong_are_listed(tmp_path: Path, root: Path) -> None:
    audit = look(root, sample=20)
    wrong = Check(
        name="directions",
        title="?",
        status="failed",
        summary="",
        findings=(Finding(what="mirrored", shard=6),),
    )
    write_actions(tmp_path, replace(audit, checks=(*audit.checks, wrong)), {})
    lines = (tmp_path / "scenes.txt").read_text().splitlines()
    looked = [scene for scene in audit.scenes["id"].to_pylist() if 24 <= int(scene[-8:]) < 28]
    assert 0 < len(looked) < 4
    things = [*looked, "24-27"]
    assert lines == [f"{thing}  # directions: mirrored" for thing in things]


def test_a_room_in_two_splits_is_named(root: Path) -> None:
    train = shards_of(root, "train")[0]
    room = open_dataset(root).scenes["room"][SHARD * train].as_py()
    test = shards_of(root, "test")[0]

    def move(spec: dict[str, Any]) -> bool:
        mine = spec["origin"]["index"] == SHARD * test
        spec["room"]["id"] = room if mine else spec["room"]["id"]
        return mine

    edit_specs(root, move, test)
    audit = look(root)
    assert failed(audit) == {"room_leak", "recipe"}
    assert f"1 room in two splits: {room}" in check_of(audit, "room_leak").summary
    findings = check_of(audit, "room_leak").findings
    assert {room in finding.what for finding in findings} == {True}
    assert {finding.index for finding in findings} & {SHARD * test, SHARD * train}


def test_checks_of_one_name_are_made_one() -> None:
    asked = {"name": "snr", "title": "?", "summary": "by rows"}
    one = Check(**asked, status="passed", looked=9, findings=(Finding(what="a"),))
    other = replace(one, status="failed", summary="by ear", looked=3, findings=(Finding(what="b"),))
    (found,) = joined([one, other])
    assert (found.status, found.summary, found.looked) == ("failed", "by rows; by ear", 9)
    assert [finding.what for finding in found.findings] == ["a", "b"]
    of_scenes = [
        replace(check, findings=(Finding(what=what, index=7, shard=n), Finding(what=f"{what}!")))
        for check, what, n in ((one, "a", None), (other, "b", 1))
    ]
    (found,) = joined(of_scenes)
    assert [(finding.what, finding.index, finding.shard) for finding in found.findings] == [
        ("a; b", 7, 1),
        ("a!", None, None),
        ("b!", None, None),
    ]
    assert joined([one, replace(other, status="skipped")]) == (one,)
    assert joined([replace(one, status="skipped"), other]) == (other,)


def test_a_clip_in_two_splits_is_named(root: Path) -> None:
    index = SHARD * shards_of(root, "train")[0]
    first = next(clips_of(json.loads(open_dataset(root).scenes["spec"][index].as_py()), "target"))
    test = shards_of(root, "test")[0]

    def play(spec: dict[str, Any]) -> bool:
        next(clips_of(spec, "target")).update(first)
        return spec["origin"]["index"] == SHARD * test

    edit_specs(root, play, test)
    audit = look(root)
    assert failed(audit) == {"clip_leak"}
    findings = check_of(audit, "clip_leak").findings
    assert f"sources:{first['id']}" in {finding.clip for finding in findings}


def test_a_class_missing_from_a_split_is_named(root: Path) -> None:
    def relabel(spec: dict[str, Any]) -> bool:
        for role in ("target", "interferer"):
            for clip in clips_of(spec, role):
                clip["labels"] = ["dog"]
        return True

    edit_specs(root, relabel, *shards_of(root, "test"))
    number = read_info(root).classes.index("dog")
    edit(
        root,
        "events",
        set_to("class_ids", lambda ids: [number for _ in ids]),
        *shards_of(root, "test"),
    )
    audit = look(root)
    assert failed(audit) == {"classes"}
    (finding,) = check_of(audit, "classes").findings
    assert "class 'bell' is in none of the 20 scenes of split test" in finding.what


def test_scenes_of_another_distribution_are_found(root: Path, corpora: Corpora) -> None:
    recipe = json.loads(json.dumps(read_info(root).recipe))
    recipe["noise"]["snr_db"] = {"uniform": [25, 40]}
    edit_identity(root, recipe=recipe)
    audit = look(root, corpora=corpora)
    assert failed(audit) == {"recipe", "distributions"}
    (finding,) = check_of(audit, "distributions").findings
    assert finding.what.startswith("SNR requested in dB")
    assert "snr_db" in check_of(audit, "recipe").findings[0].what


def test_scenes_drawn_by_another_version_are_no_fault(root: Path, corpora: Corpora) -> None:
    def change(spec: dict[str, Any]) -> bool:
        spec["acoustic_seed"] += 1
        return True

    edit_specs(root, change, 0)
    assert failed(look(root, corpora=corpora)) == {"recipe"}
    for shard in range(SCENES // SHARD):
        path = root / commit_key(shard)
        body = json.loads(path.read_bytes())
        fields = {key: value for key, value in body.items() if key not in ("seal", "schema")}
        commit = Commit.from_dict(fields)
        versions = {**commit.versions, "scenesynth": "0.0.1"}
        path.write_bytes(seal({**commit.to_dict(), "versions": versions}))
    audit = look(root, corpora=corpora)
    assert failed(audit) == set()
    assert check_of(audit, "recipe").status == "noted"


def test_labels_of_another_version_are_noted_and_no_fault(root: Path) -> None:
    edit(root, "events", set_to("frame_stop", lambda x: x + 1))
    edit_identity(root, labels="0")
    audit = look(root)
    assert failed(audit) == set()
    assert check_of(audit, "labels").status == "noted"


def test_keys_of_another_renderer_are_not_compared(root: Path) -> None:
    edit(root, "scenes", set_to("render_key_foa", lambda key: "0" * 32))
    edit_identity(root, render="0.1")
    audit = look(root)
    assert failed(audit) == set()
    assert "rendered by version 0.1" in check_of(audit, "spec").summary


def test_excluded_scenes_are_left_out(root: Path) -> None:
    edit(root, "scenes", of_scene(5, "snr_achieved_db", lambda x: x + 3), 1)
    name = open_dataset(root).scenes["id"][5].as_py()
    add_list(root, ExcludeList(action="exclude", scenes={5: name}))
    audit = look(root)
    assert failed(audit) == set()
    assert len(audit.scenes) == audit.n_scenes == SCENES - 1
    assert 5 not in audit.scenes["index"].to_pylist()


def test_damaged_shards_are_left_out_and_the_rest_is_audited(root: Path) -> None:
    flip(root / table_key("scenes", 0))
    (root / table_key("scenes", 1)).unlink()
    flip(root / commit_key(2))
    edit(root, "scenes", of_scene(17, "snr_achieved_db", lambda x: x + 3), 4)
    audit = look(root)
    assert failed(audit) == {"files", "snr"}
    assert {f.shard for f in check_of(audit, "files").findings} == {0, 1, 2}
    assert len(audit.scenes) == SCENES - 3 * SHARD


def test_a_dataset_with_nothing_but_damage_is_audited(root: Path) -> None:
    for shard in range(SCENES // SHARD):
        (root / table_key("events", shard)).unlink()
    assert failed(look(root)) == {"files"}


# --- a dataset that is being rendered ------------------------------------------------------------


def write_log(root: Path, host: str, pid: int, ago_s: float, *lines: str) -> None:
    for path in (root / "logs").glob("*"):
        path.unlink()
    (root / "logs").mkdir(exist_ok=True)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago_s))
    text = "".join(f"{stamp} {line}\n" for line in ("10 shards to render", *lines))
    (root / f"logs/20260101T000000-{host}-{pid}.log").write_text(text)


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("host", "pid", "ago_s", "lines", "alive"),
    [
        (platform.node(), os.getpid(), 5, [], True),
        (platform.node(), None, 5, [], False),
        ("else-where", 7, 60, [], True),
        ("else-where", 7, 3600, [], False),
        ("else-where", 7, 60, ["12 scenes (0:06 of audio) rendered in 0:01, 6x real time"], False),
        ("else-where", 7, 60, ["ended by KeyboardInterrupt: "], False),
    ],
)
def test_missing_shards_are_no_fault_while_a_run_lives(
    root: Path, host: str, pid: int | None, ago_s: float, lines: list[str], alive: bool
) -> None:
    gone(root, 7)
    write_log(root, host, pid or dead_pid(), ago_s, *lines)
    audit = look(root)
    assert audit.running == alive
    assert failed(audit) == (set() if alive else {"complete"})
    assert check_of(audit, "complete").status == ("noted" if alive else "failed")
    assert len(audit.scenes) == SCENES - SHARD


# --- parts ---------------------------------------------------------------------------------------


def fake_dataset(shards: int, size: int) -> Any:
    commits = [Commit(shard=n, first=n * size, stop=(n + 1) * size) for n in range(shards)]

    class Fake(SimpleNamespace):
        def __len__(self) -> int:
            return shards * size

        def n_usable(self, at: int) -> int:
            return size

    return Fake(commits=commits)


def splits_of_ten(shard: int) -> str:
    return "test" if shard % 100 == 0 else "train"


@pytest.mark.parametrize(("shards", "count"), [(15_625, 512), (40, 512), (300, 7)])
def test_chosen_scenes_are_of_many_shards_and_all_splits(shards: int, count: int) -> None:
    dataset = fake_dataset(shards, 64)
    chosen = choose_scenes(dataset, count, 0, splits_of_ten)
    assert len(chosen) == len(set(chosen)) == count
    assert chosen == sorted(chosen) == choose_scenes(dataset, count, 0, splits_of_ten)
    assert chosen != choose_scenes(dataset, count, 1, splits_of_ten)
    of = [number // 64 for number in chosen]
    assert len(set(of)) >= min(shards, count // 2)
    assert {splits_of_ten(shard) for shard in of} == {"test", "train"}
    assert max(np.diff([-1, *sorted(set(of)), shards])) <= 2 * shards / (count // 2) + 100


def test_all_scenes_are_chosen_where_there_are_no_more() -> None:
    assert choose_scenes(fake_dataset(3, 4), 12, 0, splits_of_ten) == list(range(12))


def test_a_smaller_sample_looks_at_fewer_scenes(rendered: Path) -> None:
    audit = look(rendered, sample=8, seed=3)
    assert failed(audit) == set()
    assert len(audit.scenes) == check_of(audit, "labels").looked == 8
    assert check_of(audit, "labels").of == SCENES
    assert len(look(rendered, sample=8, full=True).scenes) == SCENES


@pytest.mark.parametrize(("full", "rerender"), [(False, RERENDER), (True, None)])
def test_all_scenes_are_rendered_again_in_full_audits_alone(
    rendered: Path, monkeypatch: pytest.MonkeyPatch, full: bool, rerender: int | None
) -> None:
    asked: list[int | None] = []

    def listened(dataset: Dataset, numbers: Sequence[int], **settings: Any) -> pa.Table:
        asked.append(settings["rerender"])
        return listen(dataset, [], **settings)

    monkeypatch.setattr("scenesynth.audit.run.listen", listened)
    run_audit(rendered, sample=4, full=full)
    assert asked == [rerender]


@pytest.mark.parametrize("name", list(MISTAKES))
def test_each_mistake_is_known_by_its_name(name: str) -> None:
    random = np.random.default_rng(1)
    right = np.stack([random.uniform(-180, 180, 40), random.uniform(-50, 50, 40)], axis=1)
    room = right + np.array([30.0, 0.0]) * random.uniform(1, 3, (40, 1))
    assert mistake(MISTAKES[name](right), right, room) == name


def test_a_turn_left_out_and_a_constant_turn_are_told_apart() -> None:
    random = np.random.default_rng(1)
    right = np.stack([random.uniform(-180, 180, 40), random.uniform(-50, 50, 40)], axis=1)
    room = right + random.uniform(10, 90, (40, 1)) * np.array([1.0, 0.0])
    assert "his turn is left out" in mistake(room, right, room)
    assert "turned by +25.0 degrees" in mistake(right + np.array([25.0, 0.0]), right, room)
    assert mistake(random.uniform(-180, 180, (40, 2)), right, room) == ""


def test_a_shard_is_named_where_all_of_it_is_wrong_and_others_are_not() -> None:
    found = [Finding(what="wrong", index=index) for index in (4, 5, 9)]
    shards = [f.shard for f in with_shards(found, [0, 4, 5, 8, 9, 12], 4)]
    assert shards == [1, 1, None]
    everywhere = with_shards([Finding(what="wrong", index=n) for n in range(8)], range(8), 4)
    assert {f.shard for f in everywhere} == {None}


def columns_of(heads: dict[str, list[str]], labels: dict[str, list[str]]) -> Columns:
    rows = [(split, head) for split, names in heads.items() for head in names]
    scenes = pa.table(
        {
            "index": list(range(len(rows))),
            "id": [f"{split}-{n}" for n, (split, _) in enumerate(rows)],
            "split": [split for split, _ in rows],
            "head": [head for _, head in rows],
        }
    )
    words = [label for names in labels.values() for label in names]
    events = pa.table(
        {
            "index": pa.array(range(len(words)), pa.int64()),
            "role": ["target"] * len(words),
            "labels": [[word] for word in words],
            "group": [""] * len(words),
            "corpus": ["sources"] * len(words),
            "clip": [f"{word}/{n}" for n, word in enumerate(words)],
            "clip_digest": [f"d{word}{n}" for n, word in enumerate(words)],
        }
    )
    return Columns(scenes=scenes, events=events, shards=1, damaged=())


def test_a_head_in_two_splits_is_a_fault_unless_the_recipe_shares_them() -> None:
    columns = columns_of({"train": ["a", "a", "b"], "test": ["b"]}, {"train": ["x"]})
    found = head_check(columns, 4, shared=False)
    assert found.status == "failed"
    assert "1 head in two splits: b" in found.summary
    assert head_check(columns, 4, shared=True).status == "noted"
    apart = columns_of({"train": ["a"], "test": ["b"]}, {"train": ["x"]})
    assert head_check(apart, 2, shared=False).status == "passed"


def test_the_same_samples_by_another_name_are_a_leak() -> None:
    columns = columns_of({"train": ["a"], "test": ["a"]}, {"train": ["x"], "test": ["x"]})
    assert clip_check(columns, 2).status == "passed"
    digests = pa.array(["same", "same"])
    place = columns.events.schema.get_field_index("clip_digest")
    events = columns.events.set_column(place, "clip_digest", digests)
    leak = clip_check(Columns(scenes=columns.scenes, events=events, shards=1, damaged=()), 2)
    assert leak.status == "failed"


def test_a_class_that_is_rare_may_be_missing_by_chance() -> None:
    heads = {"train": ["a"] * 90, "test": ["a"] * 30}
    labels = {"train": ["x"] * 60 + ["y"] * 30, "test": ["x"] * 30}
    found = class_check(columns_of(heads, labels), ["x", "y", "z"], 120)
    assert found.status == "noted"
    rare = "too rare to be expected in test, and not met there: 'y'; in no scene are 'z'"
    assert rare in found.summary
    labels = {"train": ["x"] * 30 + ["y"] * 60, "test": ["x"] * 30}
    assert class_check(columns_of(heads, labels), ["x", "y"], 120).status == "failed"
    # Two of eight tell little of the share that a large split should have.
    heads = {"train": ["a"] * 56, "test": ["a"] * 8}
    labels = {"train": ["x"] * 56, "test": ["x"] * 6 + ["y"] * 2}
    assert class_check(columns_of(heads, labels), ["x", "y"], 64).status == "noted"


@pytest.mark.parametrize(("found", "expected"), [(1, 1), (1, 2), (3, 1), (3, 3), (1, 500), (4, 4)])
def test_a_handful_of_values_tells_nothing_about_a_distribution(found: int, expected: int) -> None:
    p, _ = compare(np.zeros(found), np.ones(expected))
    assert p > 1e-3


def test_draws_of_one_distribution_are_not_told_apart_and_others_are() -> None:
    random = np.random.default_rng(0)
    one, same = random.uniform(0, 1, (2, 500))
    assert compare(one, same)[0] > 1e-3
    assert compare(one, random.uniform(0.2, 1, 500))[0] < 1e-6
    partly = np.where(np.arange(500) % 2, one, np.nan)
    assert compare(one, partly)[0] < 1e-6
    few = ["a"] * 100 + ["b"] * 100
    assert compare_classes(few, few[::-1]) > 0.5
    assert compare_classes(few, ["a"] * 10 + ["b"] * 190) < 1e-6


# --- the command ---------------------------------------------------------------------------------


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_clean_audit_ends_with_0_and_leaves_no_lists(tmp_path: Path, rendered: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "scenes.txt").write_text("of an earlier audit\n")
    result = call("audit", rendered, "--out", out, "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "passed  labels" in result.stdout
    assert (out / "report.json").exists()
    assert not (out / "scenes.txt").exists()


def test_findings_become_files_that_other_commands_take(tmp_path: Path, root: Path) -> None:
    edit(root, "scenes", of_scene(5, "snr_achieved_db", lambda x: x + 3), 1)
    edit(root, "events", mirrored, 6)
    flip(root / AUDIO.format(3))
    out = tmp_path / "out"
    result = call("audit", root, "--out", out, "--workers", 1)
    assert result.exit_code == 1
    (told,) = (line for line in result.stderr.splitlines() if line.startswith("failed: "))
    assert {"files", "labels", "snr"} <= set(told.removeprefix("failed: ").split(", "))
    lines = (out / "scenes.txt").read_text().splitlines()
    assert len(lines) == 1 + SHARD
    assert sum("labels: " in line for line in lines) == SHARD
    assert (out / "keys.txt").read_text().startswith(AUDIO.format(3))
    assert [line.split()[0] for line in (out / "shards.txt").read_text().splitlines()] == ["3"]
    again = call(
        *("render", "--from", root, "--only", out / "scenes.txt", "--out", tmp_path / "some"),
        *("--dry-run", "--json"),
    )
    assert json.loads(again.stdout)["scenes"] == len(lines)
    assert call("exclude", root, "--file", out / "scenes.txt").exit_code == 0
    result = call("audit", root, "--out", out, "--workers", 1)
    assert "failed: files\n" in result.stderr
    assert not (out / "scenes.txt").exists()


def test_json_is_one_object_and_nothing_else(tmp_path: Path, root: Path) -> None:
    edit(root, "events", mirrored)
    result = call("audit", root, "--json", "--out", tmp_path / "out", "--workers", 1)
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["schema"], told["scenes"]) == (1, SCENES)
    assert "labels" in told["failed"]
    assert {check["name"] for check in told["checks"]} >= {"files", "labels", "snr", "t60"}
    assert told == json.loads((tmp_path / "out/report.json").read_text())


def test_what_cannot_be_audited_is_refused(
    tmp_path: Path, rendered: Path, corpora: Corpora
) -> None:
    result = call("audit", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "not a scenesynth dataset" in result.stderr
    file = tmp_path / "file"
    file.touch()
    result = call("audit", rendered, "--out", file / "out")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
    assert call("audit", rendered, "--sample", 0).exit_code == 2
    with pytest.raises(ConfigError, match="--sample 0; must be at least 1"):
        look(rendered, sample=0)
    empty = Path(shutil.copytree(rendered, tmp_path / "empty"))
    for shard in range(SCENES // SHARD):
        gone(empty, shard)
    with pytest.raises(StoreError, match="no scene has been rendered yet"):
        look(empty)
    hidden = Path(shutil.copytree(rendered, tmp_path / "hidden"))
    scenes = {index: f"train-{index:08d}" for index in range(SCENES)}
    add_list(place_of(hidden), ExcludeList(action="exclude", scenes=scenes, reason=""))
    for command in (["audit", hidden, "--out", tmp_path / "out"], ["preview", hidden]):
        assert "all scenes that are there were excluded" in call(*command).stderr
    assert not (tmp_path / "out").exists()
