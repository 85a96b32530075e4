"""`scenesynth train` and `scenesynth export`, as a user types them."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from training_helpers import changes, make_scenes  # noqa: E402

from scenesynth.cli import main  # noqa: E402
from scenesynth.evaluate.hear import get_scene_embeddings, load_model  # noqa: E402
from scenesynth.train.config import load_run  # noqa: E402
from scenesynth.train.journal import read_metrics  # noqa: E402


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def sets(**values: Any) -> list[str]:
    """The preset and what makes it small."""
    given = [(n, text) for n, text in changes(**values) if n != "data.datasets"]
    return ["--preset", "tiny-cpu", *(w for pair in given for w in ("--set", "=".join(pair)))]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scenes(tmp_path_factory.mktemp("data") / "train", 8)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scenes(tmp_path_factory.mktemp("data") / "valid", 8, split="valid")


def test_train_and_export_from_end_to_end(scenes: Path, held_out: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "encoder"
    looks = {"validation.every": 3, "validation.probe_every": 3, "checkpoint.every": 6}
    result = call("train", scenes, "--valid", held_out, "--run", run, *sets(**looks))
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    told = result.stderr
    assert "mask_ratio" in told  # the whole configuration
    assert "step       6  train       loss" in told
    assert "step       6  probe       direction" in told
    assert f"scenesynth export {run}" in told
    assert load_run(run / "run.yaml").validation.datasets == (str(held_out),)

    result = call("export", run, "--out", out)
    assert result.exit_code == 0, result.output
    assert "W, Y, Z, X at 16000 Hz; embeddings of 32 numbers every 40 ms" in result.stdout
    model = load_model(str(out))
    assert model.origin["steps"] == 6
    assert get_scene_embeddings(torch.zeros(2, 4, 16000), model).shape == (2, 32)


def test_a_run_goes_on_with_the_configuration_in_its_folder(scenes: Path, tmp_path: Path) -> None:
    assert call("train", scenes, "--run", tmp_path / "run", *sets()).exit_code == 0
    again = call("train", "--run", tmp_path / "run", "--set", "log_every=2")
    assert again.exit_code == 0, again.output
    assert "goes on after step 6" in again.stderr
    assert len(read_metrics(tmp_path / "run")) == 6


def test_the_options_are_short_for_values(scenes: Path, tmp_path: Path) -> None:
    result = call(
        *("train", scenes, scenes, "--run", tmp_path / "run", *sets()),
        *("--weights", "3,1", "--workers", "3", "--device", "cpu", "--dry-run"),
    )
    assert result.exit_code == 0, result.output
    assert "weights: [3.0, 1.0]" in result.stdout
    assert "workers: 3" in result.stdout
    assert "a step    4 clips, 8 windows" in result.stdout
    assert "window    0.4 s, 10 patches of which" in result.stdout
    assert not (tmp_path / "run").exists()


def test_a_run_whose_lines_nobody_takes_goes_on(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if line.startswith("step"):
            raise BrokenPipeError

    monkeypatch.setattr(importlib.import_module("scenesynth.cli.train"), "tell", tell)
    assert call("train", scenes, "--run", tmp_path / "run", *sets()).exit_code == 0
    assert sum(line.startswith("step") for line in told) == 1
    assert len(read_metrics(tmp_path / "run")) == 6


def test_a_trace_is_written(scenes: Path, tmp_path: Path) -> None:
    result = call("train", scenes, "--run", tmp_path / "run", *sets(), "--profile", 1)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "trace.json").stat().st_size > 1000


@pytest.mark.parametrize("command", [("train", "--run", "r"), ("export", ".", "--out", "o")])
def test_without_torch_it_is_said_how_to_install_it(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name)
    )
    result = call(*command)
    assert result.exit_code == 2
    assert f"`scenesynth {command[0]}` needs torch" in result.stderr
    assert "pip install 'scenesynth[train]'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "tiny"], "no preset 'tiny'; did you mean 'tiny-cpu'?"),
        (["--set", "stesp=3"], "stesp: unknown key of RunConfig; did you mean 'steps'?"),
        (["--weights", "a,b"], "must be numbers separated by commas"),
        (["--preset", "tiny-cpu"], "data.datasets: none is given"),
        (["--preset", "tiny-cpu", "nowhere"], "nowhere"),
    ],
)
def test_wrong_commands_end_without_a_traceback(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    result = call("train", "--run", tmp_path / "run", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_not_finite_fails_with_its_step(scenes: Path, tmp_path: Path) -> None:
    values = sets(**{"optimiser.lr": 1e30, "optimiser.warmup_steps": 0})
    result = call("train", scenes, "--run", tmp_path / "run", *values)
    assert result.exit_code == 1
    assert "is not finite" in last_line(result.stderr)


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_nothing_to_export_is_said(tmp_path: Path) -> None:
    result = call("export", tmp_path, "--out", tmp_path / "o")
    assert result.exit_code == 2
    assert "has no checkpoints" in result.stderr
