"""The commands about whole datasets, as a user types them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pipeline_helpers import make_corpora
from store_helpers import tree_bytes

from scenesynth import open_dataset
from scenesynth.cli import main
from scenesynth.pipeline import recheck
from scenesynth.store.commit import list_commits


def call(*arguments: object, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=answer)


def done(*arguments: object, answer: str | None = None) -> str:
    result = call(*arguments, answer=answer)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: object, code: int = 2) -> str:
    """The last line of a call that has to fail without a traceback."""
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    return result.output.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, compiled_kernels: None) -> Path:
    root = tmp_path_factory.mktemp("clips")
    make_corpora(root)
    return root


def corpora_of(clips: Path) -> list[object]:
    return ["--sources", clips / "sources", "--noise", clips / "noise"]


def render(clips: Path, out: Path, *more: object) -> list[object]:
    small = ["--sample-rate", 8000, "--duration", 1, "--workers", 1, "--seed", 3]
    return ["render", *corpora_of(clips), "--out", out, *small, "--shard-scenes", 2, *more]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """Six scenes in three shards."""
    out = tmp_path_factory.mktemp("rendered") / "ds"
    done(*render(clips, out, "--scenes", 6))
    return out


@pytest.fixture
def dataset(tmp_path: Path, rendered: Path) -> Path:
    """A copy of those, to be damaged."""
    return Path(shutil.copytree(rendered, tmp_path / "ds"))


def test_the_help_of_render_tells_of_given_scenes() -> None:
    text = done("render", "--help")
    assert "Scenes again:" in text
    assert "scenesynth render --from out/a --format binaural --out out/ears" in text


def test_scenes_again_are_copied_without_clips(tmp_path: Path, dataset: Path) -> None:
    command = ["render", "--from", dataset, "--only", "1,3-4", "--out", tmp_path / "some"]
    assert "nothing: all is copied as it is stored" in done(*command, "--dry-run")
    assert not (tmp_path / "some").exists()
    assert "3 scenes of 3 copied as they were stored" in done(*command)
    ids = open_dataset(tmp_path / "some").scenes["id"].to_pylist()
    assert ids == ["train-00000001", "train-00000003", "train-00000004"]
    assert "2 of 2 shards are already there" in done(*command)


def test_scenes_again_with_a_change(tmp_path: Path, clips: Path, dataset: Path) -> None:
    command = ["render", "--from", dataset, *corpora_of(clips), "--format", "foa,mono"]
    command += ["--set", "noise.snr_db=3", "--out", tmp_path / "changed", "--only", "0,1"]
    plan = json.loads(done(*command, "--dry-run", "--json"))
    assert (plan["scenes"], plan["changes"]) == (2, {"snr_db": 3})
    assert plan["rendering"] == "it does not hold mono in this form"
    assert "0 scenes of 2 copied" in done(*command)
    assert open_dataset(tmp_path / "changed").scenes["snr_requested_db"].to_pylist() == [3, 3]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--hours", 1], "--hours decides how scenes are drawn"),
        (["--seed", 0], "--seed decides how scenes are drawn"),
        (["--on-error", "redraw"], "given scenes are not drawn again; must be skip or stop"),
        (["--format", "foo"], "format 'foo' is not known"),
        (["--set", "targets.emitters=2"], "cannot change targets.emitters"),
        (["--only", "99"], "holds scenes 0 to 5"),
        (["--format", "mono"], "corpus noise is not the one that its scenes were made from"),
    ],
)
def test_what_does_not_go_with_given_scenes(
    tmp_path: Path, rendered: Path, clips: Path, more: Sequence[object], told: str
) -> None:
    corpora = ["--sources", clips / "sources", "--noise", clips / "sources"]
    message = refused("render", "--from", rendered, *corpora, "--out", tmp_path / "x", *more)
    assert told in message
    assert not (tmp_path / "x").exists()


def test_options_of_given_scenes_need_some(tmp_path: Path) -> None:
    for flag in (["--only", "3"], ["--anew"]):
        message = refused("render", *flag, "--hours", 1, "--out", tmp_path / "x")
        assert message == f"Error: {flag[0]} is about scenes that are given; give --from URI too"
    message = refused("render", "--from", tmp_path / "nowhere", "--out", tmp_path / "x")
    assert "not a scenesynth dataset (there is no such folder)" in message


def test_excluding_listing_and_taking_back(dataset: Path) -> None:
    text = done("exclude", dataset, "train-00000001", "3", "--reason", "too loud")
    assert text == "2 scenes excluded (exclude/0.json); readers see 4 now\n"
    assert done("exclude", dataset) == "train-00000001  too loud\ntrain-00000003  too loud\n"
    assert "2 scenes already excluded" in done("exclude", dataset, "1,3")
    assert "1 scene taken back in (exclude/1.json)" in done("exclude", dataset, "1", "--undo")
    assert done("exclude", dataset) == "train-00000003  too loud\n"
    assert "no such scene" in refused("exclude", dataset, "train-00000077")
    assert "it is excluded" in refused("preview", dataset, "--scene", "3")


def test_finalizing(dataset: Path) -> None:
    assert done("finalize", dataset).startswith("6 scenes and ")
    (dataset / "commits/2.json").unlink()
    assert "not all of its 6 scenes are rendered yet" in done("finalize", dataset)


def test_repairing_gives_the_same_bytes_again(dataset: Path, clips: Path) -> None:
    before = tree_bytes(dataset)
    assert "all is well" in done("verify", dataset, "--deep")
    path = dataset / "data.zarr/foa/audio/c/1/0/0"
    path.write_bytes(bytes(4) + path.read_bytes()[4:])
    result = call("verify", dataset, "--deep", "--repair", answer="n\n")
    assert result.exit_code == 1
    assert "c/1/0/0 (shard 1): damaged: the checksum of chunk 0 of scene 0" in result.output
    assert list_commits(dataset) == [0, 1, 2]
    assert call("verify", dataset, "--deep", "--repair", "--yes").exit_code == 1
    assert list_commits(dataset) == [0, 2]
    done(*render(clips, dataset, "--scenes", 6))
    assert tree_bytes(dataset) == before
    found = json.loads(done("verify", dataset, "--deep", "--json"))
    assert (found["findings"], found["shards"]) == ([], 3)


def test_samples_are_rendered_again_and_compared(
    dataset: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["verify", dataset, "--sample", 2, *corpora_of(clips)]
    text = done(*command)
    assert (
        "rendered 2 scenes again, in the recorded environment: 2 with the same spec, 2 with the "
        "same bytes, 2 within -80 dB\n"
        "verdict: reproduced exactly (2 of 2 byte-equal), in the recorded environment\n"
    ) in text
    monkeypatch.setattr("scenesynth.pipeline.recheck.cpu_level", lambda: "z80")
    text = done(*command)
    assert "2 scenes again, in another environment" in text
    recorded = open_dataset(dataset).info.cpu
    assert (
        f"verdict: reproduced exactly (2 of 2 byte-equal), in another environment: cpu {recorded} "
        f"recorded, z80 here\n"
    ) in text
    found = json.loads(done(*command, "--json"))
    assert found["verdict"] == "exact"
    assert found["counts"] == {
        "scenes": 2,
        "spec_equal": 2,
        "bytes_equal": 2,
        "within_tolerance": 2,
    }
    assert found["environment_differences"] == [
        {"what": "cpu", "recorded": recorded, "here": "z80"}
    ]
    assert [item["bytes_equal"] for item in found["samples"]] == [True, True]


def test_samples_need_the_clips_of_the_dataset(dataset: Path, clips: Path) -> None:
    text = refused("verify", dataset, "--sample", 1, "--noise", clips / "noise")
    assert "--sample: corpus sources holds other clips (digest " in text
    assert "Give --sources PATH as in the `scenesynth render` command of this dataset" in text


def test_samples_that_are_not_what_they_say_are_findings(
    tmp_path: Path, dataset: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = recheck.render_scene

    def louder(*args: object, **more: object) -> object:
        scene = real(*args, **more)  # type: ignore[arg-type]
        scene.audio_by_format["foa"][:] *= 1.001
        return scene

    monkeypatch.setattr(recheck, "render_scene", louder)
    result = call("verify", dataset, "--sample", 1, *corpora_of(clips))
    assert result.exit_code == 1
    told = r"differs by -6\d dB from what its spec gives; at most -80 dB are allowed"
    assert re.search(told, result.output)
    assert "1 with the same spec, 0 with the same bytes, 0 within -80 dB" in result.output


def test_samples_of_changed_scenes_have_the_changed_spec(
    tmp_path: Path, dataset: Path, clips: Path
) -> None:
    again = ["render", "--from", dataset, *corpora_of(clips), "--set", "snr_db=3"]
    done(*again, "--out", tmp_path / "changed")
    text = done("verify", tmp_path / "changed", "--sample", 3, *corpora_of(clips))
    assert "3 with the same spec, 3 with the same bytes" in text


def test_merging_two_halves(tmp_path: Path, rendered: Path) -> None:
    for name, gone in (("a", (1,)), ("b", (0, 2))):
        shutil.copytree(rendered, tmp_path / name)
        for shard in gone:
            (tmp_path / name / f"commits/{shard}.json").unlink()
    parts = [tmp_path / "a", tmp_path / "b"]
    text = done("merge", *parts, "--out", tmp_path / "out")
    assert "holds 3 shards now, 3 of them new, of a dataset of 6 scenes; it is complete" in text
    assert tree_bytes(tmp_path / "out") == tree_bytes(rendered)
    assert "merge needs two datasets" in refused("merge", *parts[:1], "--out", tmp_path / "x")
    text = done("merge", tmp_path / "b", tmp_path / "b/../a", "--out", tmp_path / "out")
    assert "0 of them new" in text
