"""The command line, as a user types it: help, exact errors, and small jobs from end to end."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from scenesynth import __version__, open_dataset
from scenesynth.cli import main
from scenesynth.cli.app import counted, pairs, plural, span, table
from scenesynth.cli.live import Counter
from scenesynth.cli.machines import Machines
from scenesynth.errors import ConfigError, CorruptShardError, StoreError
from scenesynth.scene.spec import SceneSpec
from scenesynth.store.verify import verify

SMALL = ["--sample-rate", "8000", "--duration", "2", "--seed", "3", "--workers", "1"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(*arguments: object, code: int = 2) -> str:
    """The message of a call that has to fail without a traceback."""
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert result.stdout == ""
    return result.stderr


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, compiled_kernels: None) -> Path:
    """Two classes of bursts in `sources`, steady noise in `noise`, 8 kHz."""
    root = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(5)
    for label, freq_hz in (("low tone", 400.0), ("high tone", 1500.0)):
        (root / "sources" / label).mkdir(parents=True)
        for n in range(6):
            t = np.arange(6000) / 8000
            tone = 0.5 * np.sin(2 * np.pi * (freq_hz + 30 * n) * t) * np.exp(-3 * (t % 0.25) * 4)
            soundfile.write(root / "sources" / label / f"{n}.wav", tone, 8000)
    (root / "noise").mkdir()
    for n in range(6):
        soundfile.write(root / "noise" / f"{n}.wav", 0.1 * rng.standard_normal(30000), 8000)
    return root


def render_command(clips: Path, out: Path, *more: object) -> list[object]:
    corpora = ["--sources", clips / "sources", "--noise", clips / "noise"]
    return ["render", *corpora, "--out", out, *SMALL, *more]


@pytest.fixture(scope="module")
def rendered(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of four scenes in two formats."""
    out = tmp_path_factory.mktemp("rendered") / "dataset"
    size = ["--scenes", "4", "--shard-scenes", "2"]
    result = call(*render_command(clips, out, "--format", "foa,mono", *size))
    assert result.exit_code == 0, result.output
    return out


COMMANDS: list[Sequence[str]] = [
    [],
    ["render"],
    ["preview"],
    ["audit"],
    ["verify"],
    ["exclude"],
    ["finalize"],
    ["merge"],
    ["corpus"],
    ["corpus", "index"],
    ["corpus", "check"],
    ["corpus", "pack"],
    ["recipe"],
    ["recipe", "list"],
    ["recipe", "show"],
    ["recipe", "check"],
    ["recipe", "schema"],
    ["hrtf"],
    ["hrtf", "list"],
    ["hrtf", "show"],
    ["hrtf", "check"],
    ["hrtf", "add"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "main")
def test_every_command_explains_itself(command: Sequence[str]) -> None:
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    if command[-1:] != ["list"]:
        assert "Example" in result.stdout
    assert call(*command, "-h").stdout == result.stdout


def test_help_of_render_shows_groups_defaults_and_the_first_job() -> None:
    text = call("render", "--help").stdout
    headings = ("How much:", "What the scenes are:", "Clips:", "Output:", "How the work is done:")
    places = [text.index(heading) for heading in headings]
    assert places == sorted(places)
    for default in ("[default: foa]", "[default: gram]", "[default: redraw]", "[default: lz4]"):
        assert default in " ".join(text.split())
    assert "scenesynth render --format foa --hours 0.05 --out out/first" in text


def test_the_first_help_page_names_every_command() -> None:
    text = call("--help").stdout
    for line in (
        "  corpus    Look at, check and pack clips.",
        "  exclude   Drop scenes from a dataset, or take that back.",
        "  finalize  Merge the tables of a dataset into one file each.",
        "  hrtf      Look at heads, check and add HRTF sets.",
        "  merge     Join datasets rendered in different places by the same command.",
        "  preview   Show scenes as a page to see and hear.",
        "  recipe    List, show and check recipes.",
        "  render    Render scenes into a dataset.",
        "  rooms     Look at rooms, fit their walls, import measured ones.",
        "  verify    Check a dataset, repair it, render samples of it again.",
    ):
        assert line in text.splitlines()


def test_version() -> None:
    assert call("--version").stdout == f"scenesynth {__version__}\n"


def test_a_misspelt_command_or_option_is_answered_with_the_right_one() -> None:
    assert "Did you mean 'render'?" in refused("rendr")
    assert "--scenes" in refused("render", "--scene", "3", "--out", "x")


# --- render: what is refused before anything is begun ---


def test_unknown_stems_and_none_at_all(tmp_path: Path) -> None:
    error = refused("render", "--stems", "direct,nois", "--scenes", 1, "--out", tmp_path / "x")
    assert error == (
        "error: stems: 'nois' is not known; did you mean 'noise'?; kinds of stems: direct, early, "
        "late, noise, dry, or all\n"
    )
    error = refused("render", "--stems", ",", "--scenes", 1, "--out", tmp_path / "x")
    assert last_line(error) == "Error: --stems: no kind given; for example --stems direct,noise"


def test_both_hours_and_scenes(tmp_path: Path) -> None:
    message = refused("render", "--hours", 1, "--scenes", 2, "--out", tmp_path / "out")
    assert last_line(message) == "Error: --hours and --scenes: give one of the two"
    assert not (tmp_path / "out").exists()


def test_neither_hours_nor_scenes(clips: Path, tmp_path: Path) -> None:
    message = refused(*render_command(clips, tmp_path / "out"))
    assert last_line(message) == "error: give --hours H or --scenes N"
    assert not (tmp_path / "out").exists()


def test_no_output() -> None:
    assert "Missing option '--out'" in refused("render", "--hours", 1)


def test_an_unknown_format_is_answered_with_the_known_ones() -> None:
    message = refused("render", "--format", "foa,binaurl", "--hours", 1, "--out", "x")
    answer = "error: format 'binaurl' is not known; did you mean 'binaural'?; formats: mono, foa"
    assert last_line(message).startswith(answer)


def test_what_a_terminal_cannot_show_is_told_by_its_codes(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(Path("room_specs/gram.yaml").read_text("utf-8") + "\n# \u03b1\n", "utf-8")
    result = CliRunner(charset="latin-1").invoke(main, ["recipe", "show", str(recipe)])
    assert result.exit_code == 0
    assert result.stdout.endswith("# \\u03b1\n")


def test_an_unknown_recipe(tmp_path: Path) -> None:
    message = refused("render", "--recipe", "gramm", "--hours", 1, "--out", tmp_path / "out")
    assert last_line(message).startswith("error: no recipe 'gramm'; did you mean 'gram'?")


def test_an_unknown_recipe_key_by_set(tmp_path: Path) -> None:
    change = "noise.snr=10"
    message = refused("render", "--set", change, "--hours", 1, "--out", tmp_path / "out")
    assert "gram.yaml (with noise.snr=10): noise.snr: unknown key" in last_line(message)
    assert "snr_db" in message


def test_an_unknown_recipe_key_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(call("recipe", "show", "gram").stdout + "\nnoize: 3\n")
    for command in (
        ["render", "--recipe", file, "--hours", 1, "--out", tmp_path / "out"],
        ["recipe", "check", file],
    ):
        message = last_line(refused(*command))
        assert message.startswith(f"error: {file}: noize: unknown key")


def test_a_set_without_a_value() -> None:
    message = refused("render", "--set", "noise.snr_db", "--hours", 1, "--out", "x")
    assert last_line(message) == (
        "error: --set noise.snr_db: must be FIELD=VALUE, such as noise.snr_db=10"
    )


@pytest.mark.parametrize("option", ["--sources", "--noise"])
def test_a_missing_folder_of_clips(option: str, clips: Path, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    command = ["render", option, missing, "--hours", 1, "--out", tmp_path / "out"]
    if option == "--noise":
        command += ["--sources", clips / "sources"]
    else:
        command += ["--noise", clips / "noise"]
    assert last_line(refused(*command)).startswith(f"error: {missing}: nothing there; a corpus is")


def test_an_empty_folder_of_clips(clips: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    message = refused(
        "render", "--sources", empty, "--noise", clips / "noise", "--hours", 1, "--out", "x"
    )
    assert str(empty) in last_line(message)
    assert last_line(message).startswith("error: ")


def test_an_output_that_cannot_be_written(clips: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    message = refused(*render_command(clips, blocked / "out", "--scenes", 1))
    assert str(blocked) in last_line(message)


def test_an_output_that_holds_something_else(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    message = refused(*render_command(clips, tmp_path, "--scenes", 1))
    assert last_line(message).startswith(f"error: {tmp_path}: is not empty and not a scenesynth")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_an_output_of_another_run_names_the_difference(clips: Path, rendered: Path) -> None:
    more = ["--format", "foa,mono", "--shard-scenes", "2", "--scenes", "4"]
    message = refused(*render_command(clips, rendered, *more, "--set", "noise.snr_db=10"))
    assert "holds a dataset made with other arguments" in message
    assert "snr_db" in message


def test_an_unknown_split_codec_and_error_policy(clips: Path, tmp_path: Path) -> None:
    for option, value in (("--split", "trian"), ("--codec", "mp3"), ("--on-error", "shrug")):
        command = render_command(clips, tmp_path / "out", "--scenes", 1, option, value)
        assert value in last_line(refused(*command))


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENESYNTH_DEBUG", "1")
    result = call("recipe", "show", "nothing")
    assert isinstance(result.exception, ConfigError)


# --- render: what is done ---


def test_a_render_can_be_read_and_tells_the_next_command(rendered: Path) -> None:
    dataset = open_dataset(rendered)
    assert len(dataset) == 4
    assert dataset.formats == ("foa", "mono")
    assert dataset[0].audio_by_format["foa"].shape == (4, 16000)


def test_the_same_command_again_finds_nothing_left(clips: Path, rendered: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in rendered.rglob("*") if path.is_file()}
    more = ["--format", "foa,mono", "--shard-scenes", "2", "--scenes", "4"]
    result = call(*render_command(clips, rendered, *more))
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-2:] == [
        "2 of 2 shards are already there",
        "nothing left to do: all shards are there",
    ]
    assert result.stdout == (f"{rendered} is complete; look at it: scenesynth preview {rendered}\n")
    after = {path: path.stat().st_mtime_ns for path in rendered.rglob("*") if path.is_file()}
    assert after == before


def test_more_scenes_extend_a_dataset(clips: Path, rendered: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(rendered, out)
    more = ["--format", "foa,mono", "--shard-scenes", "2", "--scenes", "5"]
    result = call(*render_command(clips, out, *more))
    assert result.exit_code == 0
    assert f"extending {out} from 4 to 6 scenes" in result.stderr
    assert "5 scenes rounded up to 6: whole shards of 2" in result.stderr
    assert len(open_dataset(out)) == 6


def test_json_is_one_object_a_line(clips: Path, tmp_path: Path) -> None:
    result = call(*render_command(clips, tmp_path / "out", "--scenes", 2, "--json"))
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    kinds = [line["event"] for line in lines]
    assert kinds[-3:] == ["started", "shard", "done"]
    assert lines[-1]["state"] == "done"
    assert lines[-1]["scenes"] == 2


def test_unusable_clips_are_left_out_and_named(clips: Path, tmp_path: Path) -> None:
    dirty = tmp_path / "dirty"
    shutil.copytree(clips / "sources", dirty)
    soundfile.write(dirty / "silence.wav", np.zeros(8000), 8000)
    (dirty / "torn.wav").write_bytes(b"RIFFjunk")
    command = ["render", "--sources", dirty, "--noise", clips / "noise", "--scenes", 1, *SMALL]
    result = call(*command, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "sources: 2 files cannot be used and left out, the first: silence.wav:" in result.stderr

    checked = call("corpus", "check", dirty)
    assert checked.exit_code == 1
    assert [line.partition(":")[0] for line in checked.stdout.splitlines()[:2]] == [
        "silence.wav",
        "torn.wav",
    ]
    assert last_line(checked.stdout) == f"{dirty}: 12 clips can be used, 2 cannot"


def test_a_check_warns_of_clips_that_look_wrong_and_passes(clips: Path, tmp_path: Path) -> None:
    doubtful = tmp_path / "doubtful"
    shutil.copytree(clips / "sources", doubtful)
    shutil.copy(doubtful / "low tone" / "0.wav", doubtful / "low tone" / "copy.wav")
    checked = call("corpus", "check", doubtful)
    assert checked.exit_code == 0
    assert "low tone/copy.wav: warning: has the same samples as low tone/0.wav" in checked.stdout
    assert last_line(checked.stdout) == f"{doubtful}: 13 clips can be used, 0 cannot; 1 warning"


def test_a_dry_run_prints_the_plan_and_writes_nothing(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = render_command(clips, out, "--scenes", 3, "--dry-run")
    result = call(*command)
    assert result.exit_code == 0, result.output
    assert not out.exists()
    for words in (
        f"{out} (not touched by --dry-run)",
        "3 (train 3)",
        "measured on 3 scenes rendered in memory just now",
        "2: high tone, low tone",
        "12 clips; licences: not stated (12)",
    ):
        assert words in result.stdout
    plain = json.loads(call(*command, "--json").stdout)
    assert plain["scenes"] == 3
    assert plain["classes"] == ["high tone", "low tone"]
    assert 0 < plain["bytes"] <= plain["bytes_at_most"]


def test_a_dry_run_tells_the_cost_where_a_price_is_given(clips: Path, tmp_path: Path) -> None:
    command = render_command(clips, tmp_path / "out", "--scenes", 3, "--dry-run")
    assert "cost" not in json.loads(call(*command, "--json").stdout)
    plain = json.loads(call(*command, "--json", "--node-price", "3.5/32").stdout)
    assert plain["node_hours"] == pytest.approx(plain["core_hours"] / 32, rel=0.05, abs=1e-5)
    assert plain["cost"] == pytest.approx(3.5 * plain["node_hours"])
    words = call(*command, "--node-price", "3.5/32").stdout
    assert " hours of a machine of 32 cores, if they are as fast as here" in words
    wrong = refused(*command, "--node-price", "3,5")
    assert "--node-price 3,5: must be a price per hour, or PRICE/CORES" in wrong
    assert "--dry-run estimates" in refused(*command[:-1], "--node-price", "3.5")


def test_stems_are_rendered_counted_and_part_of_the_identity(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = render_command(clips, out, "--scenes", 2, "--stems", "noise, late")
    plain = json.loads(call(*command, "--dry-run", "--json").stdout)
    assert plain["stems"] == ["late", "noise"]
    assert "late, noise of up to 1 emitter" in call(*command, "--dry-run").stdout
    result = call(*command)
    assert result.exit_code == 0, result.output
    objects = [path for path in out.glob("data.zarr/foa/**/audio/c/**/0") if path.is_file()]
    audio = sum(path.stat().st_size for path in objects)
    assert plain["bytes"] == pytest.approx(audio, rel=0.02)
    stems = open_dataset(out).stems(1)
    assert {kind: stem.shape for kind, stem in stems["foa"].items()} == {
        "late": (1, 4, 16000),
        "noise": (1, 4, 16000),
    }
    error = refused(*render_command(clips, out, "--scenes", 2))
    assert 'stems: there {"kinds": ["late", "noise"], "slots": 1}, here null' in error


def test_a_dry_run_estimates_the_bytes_on_disk(clips: Path, rendered: Path) -> None:
    size = ["--scenes", "4", "--shard-scenes", "2", "--format", "foa,mono", "--dry-run", "--json"]
    plain = json.loads(call(*render_command(clips, rendered, *size)).stdout)
    audio = sum(path.stat().st_size for path in rendered.glob("data.zarr/*/audio/c/*/*/*"))
    assert plain["bytes"] == pytest.approx(audio, rel=0.02)


def test_overwrite_shows_what_would_go_and_asks(
    clips: Path, rendered: Path, tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(rendered, out)
    command = render_command(clips, out, "--scenes", 1, "--overwrite")
    declined = CliRunner().invoke(main, [str(a) for a in command], input="n\n")
    assert declined.exit_code == 1
    assert f"{out} holds 4 scenes of recipe 'gram' (foa, mono, seed 3), 2 shards" in declined.stderr
    assert len(open_dataset(out)) == 4

    (out / "mine.txt").write_text("keep")
    stopped = call(*command, "--yes")
    assert stopped.exit_code == 2
    assert "it holds 'mine.txt'" in stopped.stderr
    (out / "mine.txt").unlink()
    accepted = call(*command, "--yes")
    assert accepted.exit_code == 0, accepted.output
    assert len(open_dataset(out)) == 1


def test_overwrite_leaves_what_is_no_dataset(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    command = render_command(clips, tmp_path, "--scenes", 1, "--overwrite", "--yes")
    assert "not a scenesynth dataset" in refused(*command)
    assert (tmp_path / "letter.txt").exists()


def test_an_interrupt_drains_and_the_same_command_goes_on(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    more = ["--scenes", "200", "--shard-scenes", "1", "--format", "mono"]
    command = [sys.executable, "-m", "scenesynth.cli", *map(str, render_command(clips, out, *more))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (out / "commits" / "0.json").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=60)
    assert process.returncode == 75, message
    assert "give the same command again to go on" in message
    some = len(open_dataset(out))
    assert 0 < some < 200
    again = call(*render_command(clips, out, "--scenes", some + 1, *more[2:]))
    assert again.exit_code == 0, again.output
    assert len(open_dataset(out)) > some


# --- preview ---


def test_a_preview_writes_pictures_and_wavs(rendered: Path, tmp_path: Path) -> None:
    result = call("preview", rendered, "--png", "--scene", 2, "--out", tmp_path / "pictures")
    assert result.exit_code == 0, result.output
    first, *_, last = result.stdout.splitlines()
    picture = tmp_path / "pictures" / "train-00000002.png"
    assert first == f"train-00000002  {picture}"
    assert last == f"1 picture with wav files in {tmp_path / 'pictures'} (chosen by name)"
    image = np.asarray(matplotlib.image.imread(picture))
    assert min(image.shape[:2]) > 1000
    assert image[..., :3].std() > 0.1
    foa, rate = soundfile.read(tmp_path / "pictures" / "train-00000002.foa.wav")
    assert (foa.shape, rate) == ((16000, 4), 8000)
    mono, _ = soundfile.read(tmp_path / "pictures" / "train-00000002.mono.wav")
    assert mono.shape == (16000,)


def test_a_preview_of_random_scenes_is_repeatable(rendered: Path, tmp_path: Path) -> None:
    def drawn(seed: int) -> list[str]:
        out = tmp_path / "page.html"
        result = call("preview", rendered, "--random", 1, "--seed", seed, "--out", out)
        assert result.exit_code == 0, result.output
        return [line for line in result.stdout.splitlines() if line.startswith("train-")]

    assert drawn(1) == drawn(1)
    assert len(drawn(1)) == 1


def test_a_preview_lies_in_the_dataset_by_default(rendered: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(rendered, out)
    result = call("preview", out)
    assert result.exit_code == 0, result.output
    page = out / "preview" / "index.html"
    html = page.read_text("utf-8")
    assert html.count("<article") == html.count("<audio") == 4
    assert last_line(result.stdout) == (
        f"{page}  (4 scenes, {len(html.encode()) / 1e6:.1f} MB; all 4 scenes)"
    )
    assert len(open_dataset(out)) == 4
    assert verify(out).findings == ()


def test_the_command_on_a_page_renders_that_scene_again(
    rendered: Path, clips: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    assert call("preview", rendered, "--scene", 2, "--out", page).exit_code == 0
    (text,) = re.findall(r"<code>(scenesynth render .*)</code>", page.read_text("utf-8"))
    for placeholder, folder in (("NOISE_CLIPS", "noise"), ("CLIPS", "sources")):
        assert f" {placeholder} " in text
        text = text.replace(f" {placeholder} ", f" {shlex.quote(str(clips / folder))} ")
    again = text.replace("out/again", str(tmp_path / "again"))
    result = call(*shlex.split(again)[1:], "--workers", 1)
    assert result.exit_code == 0, result.output
    old, (new,) = open_dataset(rendered)[2], open_dataset(tmp_path / "again")
    assert new.id == old.id
    for name, audio in old.audio_by_format.items():
        np.testing.assert_array_equal(new.audio_by_format[name], audio)


def test_a_preview_works_while_a_dataset_is_being_rendered(rendered: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(rendered, out)
    (out / "commits" / "0.json").unlink()
    shown = call("preview", out, "--scene", 3)
    assert shown.exit_code == 0, shown.output
    assert "2 scenes of 4 promised" in (out / "preview" / "index.html").read_text("utf-8")
    assert shown.stdout.startswith("train-00000003\n  ")
    assert last_line(refused("preview", out, "--scene", 1)) == (
        f"error: --scene 1: not rendered yet in {out}; wait for it, or leave it out"
    )
    (out / "commits" / "1.json").unlink()
    assert last_line(refused("preview", out, code=1)).startswith(
        f"error: {out}: none of its 4 scenes is there yet"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scene", 4], "error: --scene 4: {} holds scenes 0 to 3"),
        (["--only", "1-9"], "error: --only 1-9: {} holds scenes 0 to 3"),
        (["--scene", 1, "--random", 1], "Error: --scene and --random: give one of the two"),
        (["--worst", 1, "--random", 1], "Error: --random and --worst: give one of the two"),
        (["--serve", "--png"], "Error: --serve writes nothing; leave out --png"),
        (["--recipe", "gram"], "Error: give a dataset URI, or --recipe NAME, one of the two"),
        (
            ["--set", "noise.snr_db=0"],
            "Error: --set is about scenes that are rendered for the page; give --recipe NAME in "
            "place of URI, or leave it out",
        ),
        (
            ["--out", "/proc/page.html"],
            "error: /proc/page.html: cannot be written (No such file or directory); give another "
            "file with --out",
        ),
    ],
)
def test_what_a_preview_cannot_do_is_said_first(
    rendered: Path, arguments: list[object], message: str
) -> None:
    assert last_line(refused("preview", rendered, *arguments)) == message.format(rendered)


def test_a_preview_of_nothing_or_of_what_is_no_dataset(tmp_path: Path) -> None:
    assert "give a dataset URI, or --recipe NAME" in refused("preview")
    assert last_line(refused("preview", tmp_path / "nowhere")) == (
        f"error: {tmp_path / 'nowhere'}: not a scenesynth dataset (there is no such folder)"
    )
    assert "not a scenesynth dataset" in refused("preview", tmp_path)
    assert "no recipe 'gam'; did you mean 'gram'?" in refused("preview", "--recipe", "gam")
    assert "no recipe ''" in refused("preview", "--recipe", "")
    message = refused("preview", "--recipe", "gram", "--only", "1")
    assert "--only is about scenes of a dataset; take --scene or --random" in message


def test_scenes_of_a_damaged_shard_are_named_and_the_rest_shown(
    rendered: Path, tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(rendered, out)
    (out / "data.zarr" / "foa" / "audio" / "c" / "0" / "0" / "0").unlink()
    page = tmp_path / "page.html"
    result = call("preview", out, "--out", page)
    assert result.exit_code == 1
    assert "error: scene 0: " in result.stderr
    assert "damaged: it is missing" in result.stderr
    assert f"rm -f {out}/commits/0.json" in result.stderr
    html = page.read_text("utf-8")
    assert html.count("<article") == 2
    assert "2 of the chosen scenes cannot be shown" in html
    message = refused("preview", out, "--scene", 0, "--out", tmp_path / "none.html", code=1)
    assert "damaged: it is missing" in message
    assert not (tmp_path / "none.html").exists()


def test_files_of_ids_and_the_worst_are_shown(rendered: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("id,why\ntrain-00000003,far off\ntrain-00000001,loud\n")
    page = tmp_path / "page.html"
    result = call("preview", rendered, "--only", tmp_path / "bad.csv", "--out", page)
    assert [line for line in result.stdout.splitlines() if line.startswith("train-")] == [
        *("train-00000001", "train-00000003")
    ]
    result = call("preview", rendered, "--worst", 1, "--out", page)
    assert result.exit_code == 0, result.output
    assert "the 1 with the largest label errors, the largest first, of all 4 scenes" in (
        result.stdout
    )


def test_without_directions_in_the_audio_no_scene_is_the_worst(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "mono"
    assert call(*render_command(clips, out, "--format", "mono", "--scenes", 1)).exit_code == 0
    assert "no format of this dataset tells directions" in refused("preview", out, "--worst", 1)


def test_scenes_of_a_recipe_are_those_that_would_be_rendered(
    rendered: Path, clips: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    corpora = ["--sources", clips / "sources", "--noise", clips / "noise", "--seed", 3]
    sizes = ["--set", "sample_rate=8000", "--set", "duration_s=2"]
    command = ["preview", "--recipe", "gram", *corpora, *sizes, "--scene", 2, "--out", page]
    result = call(*command, "--format", "foa,mono", "--stems", "direct,noise")
    assert result.exit_code == 0, result.output
    html = page.read_text("utf-8")
    assert "all noise" in html
    (program,) = re.findall(r"<code>(import scenesynth.*?)</code>", html, re.DOTALL)
    made: dict[str, Any] = {}
    exec(unescape(program), made)
    stored = open_dataset(rendered)[2]
    assert made["scene"].id == stored.id
    for name, audio in stored.audio_by_format.items():
        step = 2 * np.max(np.abs(audio)) / 65534
        np.testing.assert_allclose(made["scene"].audio_by_format[name], audio, atol=step)


# --- corpus and recipe ---


def test_index_says_what_is_there(clips: Path) -> None:
    text = call("corpus", "index", clips / "sources").stdout
    assert text.splitlines()[0] == f"{clips / 'sources'}: 12 usable clips, 9 s"
    assert "2: high tone (6), low tone (6)" in text
    assert "8000 Hz (12)" in text


def test_check_of_good_clips_is_content(clips: Path) -> None:
    result = call("corpus", "check", clips / "sources")
    assert result.exit_code == 0
    assert result.stdout == f"{clips / 'sources'}: 12 clips can be used, 0 cannot\n"


def test_a_packed_corpus_renders_the_same_scenes(clips: Path, tmp_path: Path) -> None:
    packed = {}
    for name in ("sources", "noise"):
        packed[name] = tmp_path / f"packed-{name}"
        command = ["corpus", "pack", clips / name, "--sample-rate", 8000, "--out", packed[name]]
        result = call(*command)
        assert result.exit_code == 0, result.output
        assert f"packed {6 if name == 'noise' else 12} clips at 8000 Hz" in result.stdout
        assert call("corpus", "check", packed[name]).exit_code == 0
    plain, same = tmp_path / "plain", tmp_path / "same"
    assert call(*render_command(clips, plain, "--scenes", 2)).exit_code == 0
    command = ["render", "--sources", packed["sources"], "--noise", packed["noise"]]
    assert call(*command, "--out", same, *SMALL, "--scenes", 2).exit_code == 0
    for ours, theirs in zip(open_dataset(plain), open_dataset(same), strict=True):
        assert np.array_equal(ours.audio, theirs.audio)


@pytest.mark.parametrize("command", ["index", "check", "pack"])
def test_a_corpus_that_is_not_there(command: str, tmp_path: Path) -> None:
    more = ["--out", tmp_path / "out"] if command == "pack" else []
    message = refused("corpus", command, tmp_path / "nowhere", *more)
    assert last_line(message).startswith(f"error: {tmp_path / 'nowhere'}: nothing there")


def test_recipes_are_listed_and_shown() -> None:
    listed = call("recipe", "list").stdout
    for name in ("gram", "gram-paper", "everyday", "meeting"):
        assert f"  {name} " in listed
        assert call("recipe", "show", name).stdout.startswith("description: ")


def test_a_good_recipe_passes_its_check() -> None:
    result = call("recipe", "check", "gram", "--scenes", 20, "--set", "noise.snr_db=10")
    assert result.exit_code == 0
    assert result.stdout.startswith("gram: 20 scenes drawn")
    assert "snr_db" in result.stdout


def test_the_schema_is_text_or_json() -> None:
    assert "snr_db" in call("recipe", "schema").stdout
    assert json.loads(call("recipe", "schema", "--json").stdout)["title"] == "scenesynth recipe"


# --- the parts ---


def test_pairs_split_at_the_first_equals_sign() -> None:
    assert pairs(["a.b=1", "c={choice: [x=1]}"]) == [("a.b", "1"), ("c", "{choice: [x=1]}")]
    for wrong in ("a", "=1", " =1"):
        with pytest.raises(ConfigError, match="must be FIELD=VALUE"):
            pairs([wrong])


def test_a_limit_on_a_scene_s_time_takes_a_process_that_watches() -> None:
    asked = dict.fromkeys(("workers", "address", "part", "memory_bytes", "runtime_env", "grace_s"))
    few = Machines(**{**asked, "workers": 1, "cpus": 1.0, "gpus": 0.0, "watched": False})
    assert few.how(3, "cpu") == {"workers": 1, "processes": False}
    assert few.how(4, "cpu") == {"workers": 1, "processes": True}
    assert replace(few, watched=True).how(1, "cpu") == {"workers": 1, "processes": True}


def test_numbers_for_people() -> None:
    assert [plural(n, "clip") for n in (0, 1, 2000)] == ["0 clips", "1 clip", "2,000 clips"]
    assert plural(2, "class") == "2 classes"
    assert [span(s) for s in (0.25, 9.6, 45, 200, 7500, 270_000)] == [
        "0.25 s",
        "9.6 s",
        "45 s",
        "3 min 20 s",
        "2 h 5 min",
        "3 d 3 h",
    ]
    assert counted({"b": 1, "a": 1, "": 5}, limit=2) == "not stated (5), a (1) and 1 more"
    assert table([("a", "1"), ("long", ""), ("bcd", "2")]) == "  a    1\n  bcd  2"


def test_a_counter_is_quiet_about_fast_work(capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, 0.1, 0.2])
    with Counter(lambda: next(clock)) as progress:
        for n in range(3):
            progress("index", n, 2)
    assert capsys.readouterr().err == ""


def test_a_counter_tells_slow_work_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    times = [0.0, 1.0, 11.0, 12.0, 20.0]
    clock = iter(times)
    with Counter(lambda: next(clock)) as progress:
        for n in range(len(times)):
            progress("index", n, len(times) - 1)
    assert capsys.readouterr().err.splitlines() == [
        "index: 2 of 4, about 11 s left",
        "index: 4 done in 20 s",
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (StoreError("x"), 2),
        (CorruptShardError("x"), 1),
        (OSError(28, os.strerror(28)), 1),
    ],
)
def test_exit_codes_tell_a_wrong_command_from_failed_work(error: Exception, code: int) -> None:
    from scenesynth.cli.app import exit_code

    assert exit_code(error) == code


@pytest.mark.parametrize("mode", ["full", "tail"])
def test_rir_sets_the_mode_of_the_scenes(clips: Path, tmp_path: Path, mode: str) -> None:
    out = tmp_path / mode
    size = ["--scenes", "1", "--shard-scenes", "1"]
    result = call(*render_command(clips, out, "--format", "mono", *size, "--rir", mode))
    assert result.exit_code == 0, result.output
    scene = open_dataset(out)[0]
    assert SceneSpec.from_json(scene.spec_json).mode == mode
