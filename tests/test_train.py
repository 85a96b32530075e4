"""Laws of the training loop."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from pipeline_helpers import RECIPE  # noqa: E402
from training_helpers import changes, make_scenes, small_run  # noqa: E402

from scenesynth.errors import ConfigError, CorruptShardError, TrainingError  # noqa: E402
from scenesynth.train import checkpoint  # noqa: E402
from scenesynth.train.config import RunConfig, run_yaml  # noqa: E402
from scenesynth.train.feed import Feed  # noqa: E402
from scenesynth.train.folder import CONFIG_FILE, held  # noqa: E402
from scenesynth.train.journal import read_metrics  # noqa: E402
from scenesynth.train.loop import train  # noqa: E402


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scenes(tmp_path_factory.mktemp("data") / "train")


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_scenes(tmp_path_factory.mktemp("data") / "valid", split="valid")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def quiet(_: str) -> None:
    """Tell nobody."""


def state_of(run: Path) -> checkpoint.Checkpoint:
    """The newest state of a run."""
    return checkpoint.load(checkpoint.found(run)[-1])


def assert_equal_states(a: checkpoint.Checkpoint, b: checkpoint.Checkpoint) -> None:
    """Bit for bit, position in the data included."""
    assert a.step == b.step
    assert a.samples == b.samples
    assert a.stream == b.stream
    assert a.model.keys() == b.model.keys()
    for name, tensor in a.model.items():
        assert torch.equal(tensor, b.model[name]), name
    for mine, theirs in zip(a.optimisers, b.optimisers, strict=True):
        assert mine["state"].keys() == theirs["state"].keys()
        for key, values in mine["state"].items():
            for name, value in values.items():
                assert torch.equal(value, theirs["state"][key][name]), (key, name)


def assert_close_weights(a: checkpoint.Checkpoint, b: checkpoint.Checkpoint) -> None:
    """Equal to rounding.

    Biases of attention's keys are left out: a softmax does not see them, so their gradient is all
    rounding, which Adam makes into steps of full size.
    """
    for name, tensor in a.model.items():
        mine, theirs = tensor, b.model[name]
        if name.endswith("qkv.bias"):
            mine, theirs = (bias.unflatten(0, (3, -1))[::2] for bias in (mine, theirs))
        torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=2e-6, msg=name)


def losses(run: Path) -> list[tuple[int, float]]:
    """Steps and losses as the journal tells them."""
    return [(m["step"], m["loss"]) for m in read_metrics(run) if m["kind"] == "train"]


def dies_at(step: int) -> Callable[[str], None]:
    """Tells lines, and raises at the line of a step."""

    def tell(line: str) -> None:
        if line.startswith(f"step {step:>7,}"):
            raise KeyboardInterrupt

    return tell


@pytest.mark.parametrize("workers", [0, 2])
def test_three_steps_and_three_more_are_six_steps_bit_for_bit(
    scenes: Path, tmp_path: Path, workers: int
) -> None:
    config = small_run(scenes, data__workers=workers)
    assert train(config, tmp_path / "whole", tell=quiet) == "done"
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "torn", tell=dies_at(5))
    assert state_of(tmp_path / "torn").step == 3
    assert train(config, tmp_path / "torn", tell=quiet) == "done"
    assert_equal_states(state_of(tmp_path / "whole"), state_of(tmp_path / "torn"))
    assert losses(tmp_path / "torn") == losses(tmp_path / "whole")
    assert [step for step, _ in losses(tmp_path / "whole")] == [1, 2, 3, 4, 5, 6]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "scenesynth.cli", "train", *arguments]


def sets(*datasets: Path, **values: Any) -> list[str]:
    """The same as `small_run`, for the command line."""
    given = [("--set", f"{name}={text}") for name, text in changes(*datasets, **values)]
    return ["--preset", "tiny-cpu", *(word for pair in given for word in pair)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_was_killed_goes_on_bit_for_bit(
    scenes: Path, tmp_path: Path, workers: int
) -> None:
    values = {"steps": 40, "checkpoint__every": 1, "checkpoint__keep": 3, "data__workers": workers}
    config = small_run(scenes, **values)
    torn = tmp_path / "torn"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command("--run", str(torn), *sets(scenes, **values)),
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    limit = time.monotonic() + 120
    while len(checkpoint.found(torn)) < 3 and time.monotonic() < limit:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 3 <= state_of(torn).step < 40
    assert train(config, torn, tell=quiet) == "done"
    assert train(config, tmp_path / "whole", tell=quiet) == "done"
    assert_equal_states(state_of(tmp_path / "whole"), state_of(torn))
    assert losses(torn) == losses(tmp_path / "whole")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_two_processes_learn_what_one_does(scenes: Path, held_out: Path, tmp_path: Path) -> None:
    looks = {
        "validation__datasets": [str(held_out)],
        "validation__every": 6,
        "validation__probe_every": 6,
        "validation__scenes": 9,
        "validation__probe_scenes": 11,
    }
    config = small_run(scenes, micro_batch=1, **looks)
    train(config, tmp_path / "one", tell=quiet)
    port = free_port()
    processes = [
        subprocess.Popen(
            command("--run", str(tmp_path / "two"), *sets(scenes, micro_batch=1, **looks)),
            env=os.environ
            | {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    told = [process.communicate(timeout=240)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    one, two = state_of(tmp_path / "one"), state_of(tmp_path / "two")
    assert one.stream == two.stream
    assert_close_weights(one, two)
    for mine, theirs in zip(
        read_metrics(tmp_path / "one"), read_metrics(tmp_path / "two"), strict=True
    ):
        assert (mine["kind"], mine["step"]) == (theirs["kind"], theirs["step"])
        for key in ("loss", "grad_norm", "doa_mean_deg", "random_doa_mean_deg"):
            if key in mine:
                assert mine[key] == pytest.approx(theirs[key], rel=1e-3)


def test_passes_of_a_step_change_rounding_alone(scenes: Path, tmp_path: Path) -> None:
    found = []
    for micro in (4, 1):
        train(small_run(scenes, micro_batch=micro), tmp_path / str(micro), tell=quiet)
        found.append(state_of(tmp_path / str(micro)))
    assert_close_weights(*found)


def test_following_a_dataset_that_is_complete_changes_nothing(scenes: Path, tmp_path: Path) -> None:
    for follow in (False, True):
        train(small_run(scenes, data__follow=follow), tmp_path / str(follow), tell=quiet)
    offline, following = (state_of(tmp_path / str(follow)) for follow in (False, True))
    assert all(torch.equal(tensor, following.model[n]) for n, tensor in offline.model.items())


def test_half_precision_is_of_the_body_alone(scenes: Path, tmp_path: Path) -> None:
    train(small_run(scenes), tmp_path / "whole", tell=quiet)
    train(small_run(scenes, precision="bf16"), tmp_path / "half", tell=quiet)
    whole, half = losses(tmp_path / "whole"), losses(tmp_path / "half")
    assert half != whole
    assert [loss for _, loss in half] == pytest.approx([loss for _, loss in whole], rel=0.02)
    assert {tensor.dtype for tensor in state_of(tmp_path / "half").model.values()} == {
        torch.float32
    }


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_one_batch_is_learned_by_heart(tmp_path: Path, kind: str) -> None:
    few = make_scenes(tmp_path / "data", 4, shard_scenes=4)
    config = small_run(
        few,
        steps=150,
        data__windows=1,
        optimiser__kind=kind,
        optimiser__lr=1e-2,
        optimiser__warmup_steps=5,
        log_every=10,
        checkpoint__every=150,
    )
    train(config, tmp_path / "run", tell=quiet)
    found = losses(tmp_path / "run")
    assert found[-1][1] < 0.35 * found[0][1]


def test_numbers_that_are_not_finite_end_the_run_with_their_step_and_scenes(
    scenes: Path, tmp_path: Path
) -> None:
    config = small_run(scenes, optimiser__lr=1e30, optimiser__warmup_steps=0, log_every=6)
    with pytest.raises(TrainingError, match=r"step [12]: .* scenes train-0000") as caught:
        train(config, tmp_path, tell=quiet)
    (report,) = tmp_path.glob("not-finite-step-*-process-0.json")
    content = json.loads(report.read_text())
    assert f"step {content['step']}:" in str(caught.value)
    assert len(content["scenes"]) == 4
    assert all(scene in str(caught.value) for scene in content["scenes"])
    assert checkpoint.found(tmp_path) == []


def test_a_signal_ends_a_run_in_good_order(scenes: Path, tmp_path: Path) -> None:
    config = small_run(scenes)

    def tell(line: str) -> None:
        if line.startswith(f"step {2:>7,}"):
            os.kill(os.getpid(), signal.SIGTERM)

    assert train(config, tmp_path, tell=tell) == "drained"
    assert state_of(tmp_path).step == 2
    assert train(config, tmp_path, tell=quiet) == "done"


def test_data_that_are_damaged_end_a_run_with_what_it_has_learned(
    scenes: Path, tmp_path: Path
) -> None:
    """Checkpoints are due every three steps; the clips of the sixth step cannot be read."""
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    audio = [path for path in (data / "data.zarr/foa/audio/c").rglob("*") if path.is_file()]

    def tell(line: str) -> None:
        if line.startswith(f"step {4:>7,}"):
            for path in audio:
                os.truncate(path, 100)

    config = small_run(data)
    with pytest.raises(CorruptShardError, match="scenesynth verify"):
        train(config, tmp_path / "run", tell=tell)
    assert state_of(tmp_path / "run").step == 5
    assert [step for step, _ in losses(tmp_path / "run")] == [1, 2, 3, 4, 5]
    for path in audio:
        shutil.copy(scenes / path.relative_to(data), path)
    assert train(config, tmp_path / "run", tell=quiet) == "done"
    train(config, tmp_path / "whole", tell=quiet)
    assert_equal_states(state_of(tmp_path / "run"), state_of(tmp_path / "whole"))


def test_two_processes_do_not_train_one_run(scenes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with held(run), pytest.raises(ConfigError, match="another process is training this run"):
        train(small_run(scenes), run, tell=quiet)
    assert [*run.iterdir()] == []
    assert train(small_run(scenes), run, tell=quiet) == "done"


def test_a_batch_that_does_not_fit_into_memory_is_told_with_a_smaller_one(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(_: Feed) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Feed, "fetch", fetch)
    with pytest.raises(ConfigError, match=r"4 clips of 2 windows .* --set micro_batch=2"):
        train(small_run(scenes), tmp_path, tell=quiet)


@pytest.mark.parametrize("content", ["", "[1]"])
def test_a_folder_whose_configuration_is_gone_is_told(
    scenes: Path, tmp_path: Path, content: str
) -> None:
    (tmp_path / CONFIG_FILE).write_text(content)
    with pytest.raises(ConfigError, match=r"run\.yaml: holds no configuration"):
        train(small_run(scenes), tmp_path, tell=quiet)


def test_a_run_that_cannot_keep_checkpoints_does_not_begin(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).write_text(run_yaml(small_run(scenes)))
    (tmp_path / "checkpoints").write_text("")
    told: list[str] = []
    with pytest.raises(FileExistsError):
        train(small_run(scenes), tmp_path, tell=told.append)
    assert told == []


def test_a_run_of_a_version_that_lacked_a_value_goes_on(scenes: Path, tmp_path: Path) -> None:
    train(small_run(scenes), tmp_path, tell=quiet)
    path = tmp_path / CONFIG_FILE
    plain = yaml.safe_load(path.read_text())
    del plain["features"]["scales"]
    path.write_text(yaml.safe_dump(plain))
    assert train(small_run(scenes), tmp_path, tell=quiet) == "done"


def test_a_checkpoint_that_finds_no_space_is_told_with_the_way_out(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / ".tmp-0"))

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(
        OSError, match=r"No space left .* step 3 is not written.* free some"
    ) as error:
        train(small_run(scenes), tmp_path, tell=quiet)
    assert error.value.filename == str(tmp_path / "checkpoints")


def test_weights_of_another_version_are_told(scenes: Path, tmp_path: Path) -> None:
    train(small_run(scenes), tmp_path, tell=quiet)
    path = checkpoint.found(tmp_path)[-1]
    content = torch.load(path, weights_only=True)
    del content["model"]["cls"]
    torch.save(content, path)
    with pytest.raises(ConfigError, match=r"checkpoint after step 6 does not fit .*cls"):
        train(small_run(scenes), tmp_path, tell=quiet)


def test_control_c_ends_a_run_in_good_order_though_it_reaches_the_workers(
    scenes: Path, tmp_path: Path
) -> None:
    values = {"steps": 4000, "checkpoint__every": 4000, "data__workers": 2}
    run = tmp_path / "run"
    process = subprocess.Popen(
        command("--run", str(run), *sets(scenes, **values)),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    limit = time.monotonic() + 120
    while not losses(run) and time.monotonic() < limit:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    told = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 75, told
    assert "Traceback" not in told
    assert 1 <= state_of(run).step < 4000


def test_what_is_looked_at_does_not_change_what_is_learned(
    scenes: Path, held_out: Path, tmp_path: Path
) -> None:
    train(small_run(scenes), tmp_path / "blind", tell=quiet)
    watched = small_run(
        scenes,
        validation__datasets=[str(held_out)],
        validation__every=2,
        validation__probe_every=3,
        validation__scenes=8,
        validation__probe_scenes=12,
    )
    train(watched, tmp_path / "watched", tell=quiet)
    blind, seen = state_of(tmp_path / "blind").model, state_of(tmp_path / "watched").model
    assert all(torch.equal(tensor, seen[name]) for name, tensor in blind.items())
    kinds = [(line["kind"], line["step"]) for line in read_metrics(tmp_path / "watched")]
    assert ("controls", 0) in kinds
    assert [step for kind, step in kinds if kind == "validation"] == [2, 4, 6]
    assert [step for kind, step in kinds if kind == "probe"] == [3, 6]
    pictures = sorted(path.name for path in (tmp_path / "watched" / "panels").iterdir())
    assert len(pictures) == 6
    assert pictures[0] == "step-00000002-0.png"


def test_the_probe_is_told_beside_its_controls(
    scenes: Path, held_out: Path, tmp_path: Path
) -> None:
    config = small_run(
        scenes,
        validation__datasets=[str(held_out)],
        validation__probe_every=6,
        validation__scenes=16,
        validation__probe_scenes=16,
    )
    train(config, tmp_path, tell=quiet)
    (probe,) = [line for line in read_metrics(tmp_path) if line["kind"] == "probe"]
    for name in ("", "constant_", "random_"):
        assert 0 < probe[f"{name}doa_mean_deg"] < 180
        assert 0 < probe[f"{name}lateral_mean_deg"] < 180
    assert {"distance_error", "t60_error", "class_accuracy"} <= set(probe)


def test_a_folder_holds_the_resolved_configuration(scenes: Path, tmp_path: Path) -> None:
    from scenesynth.train.config import load_run

    config = small_run(scenes)
    train(config, tmp_path / "run", tell=quiet)
    again = load_run(tmp_path / "run" / CONFIG_FILE)
    assert again == config


def run_of(scenes: Path, folder: Path) -> RunConfig:
    """A run that is there."""
    config = small_run(scenes)
    train(config, folder, tell=quiet)
    return config


def test_a_folder_of_another_run_is_refused_with_the_difference(
    scenes: Path, tmp_path: Path
) -> None:
    run_of(scenes, tmp_path / "run")
    other = small_run(scenes, optimiser__lr=3e-3)
    with pytest.raises(ConfigError, match=r"optimiser\.lr: there 0\.001, here 0\.003"):
        train(other, tmp_path / "run", tell=quiet)
    freely = small_run(scenes, log_every=2, data__workers=1, checkpoint__every=5)
    assert train(freely, tmp_path / "run", tell=quiet) == "done"
    with pytest.raises(ConfigError, match="--resume none starts anew"):
        train(freely, tmp_path / "run", resume="none", tell=quiet)
    (tmp_path / "mess").mkdir()
    (tmp_path / "mess" / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match="not the folder of a run"):
        train(freely, tmp_path / "mess", tell=quiet)


def test_a_checkpoint_that_is_named_gives_its_weights_and_the_command_the_rest(
    scenes: Path, tmp_path: Path
) -> None:
    run_of(scenes, tmp_path / "run")
    named = str(checkpoint.found(tmp_path / "run")[0])
    told: list[str] = []
    longer = small_run(scenes, steps=8, optimiser__lr=1e-4)
    assert train(longer, tmp_path / "next", resume=named, tell=told.append) == "done"
    said = "\n".join(told)
    assert "whose values win" in said
    assert "optimiser.lr: there 0.001, here 0.0001" in said
    assert "goes on after step 3" in said
    assert state_of(tmp_path / "next").step == 8


def test_a_checkpoint_of_another_model_is_refused(scenes: Path, tmp_path: Path) -> None:
    run_of(scenes, tmp_path / "run")
    named = str(checkpoint.found(tmp_path / "run")[-1])
    wider = small_run(scenes, model__encoder={"dim": 48, "depth": 1, "heads": 2})
    with pytest.raises(ConfigError, match=r"of another model:\n *model\.encoder\.dim: there 32"):
        train(wider, tmp_path / "next", resume=named, tell=quiet)


def test_other_data_begin_anew(scenes: Path, tmp_path: Path) -> None:
    run_of(scenes, tmp_path / "run")
    named = str(checkpoint.found(tmp_path / "run")[0])
    others = make_scenes(tmp_path / "others", 8)
    told: list[str] = []
    train(small_run(others), tmp_path / "next", resume=named, tell=told.append)
    assert any("the data begin anew, as data.datasets" in line for line in told)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data__split": "test"}, r"data\.split = test: .* 16 of train"),
        ({"batch": 17}, r"batch = 17: the datasets hold 16 scenes"),
        ({"features__sample_rate": 32000}, r"features\.sample_rate = 32000 Hz: .* is at 16000 Hz"),
        ({"model__frames": 104}, r"model\.frames = 104, a window of 1\.04 s: clips .* have 1 s"),
        ({"data__crop_s": 3}, r"data\.crop_s = 3: scenes .* last 1 s"),
        ({"micro_batch": 3}, r"micro_batch = 3 does not divide the 4 clips .* micro_batch=2"),
        ({"validation__every": 2}, r"validation\.split = valid: .* theirs are train"),
    ],
)
def test_what_does_not_fit_is_named_with_the_way_out(
    scenes: Path, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(small_run(scenes, **values), tmp_path / "run", tell=quiet)
    assert not (tmp_path / "run").exists()


def test_a_dataset_of_another_format_is_refused(tmp_path: Path) -> None:
    from store_helpers import FOA

    only = make_scenes(tmp_path / "data", 4, shard_scenes=4, formats=(FOA,))
    config = small_run(
        only, features__input="binaural", features__intensity="none", features__channel_order=[]
    )
    with pytest.raises(ConfigError, match=r"features\.input = binaural: .* holds foa"):
        train(config, tmp_path / "run", tell=quiet)


def test_a_split_to_look_at_is_never_the_one_that_is_trained_on(
    scenes: Path, tmp_path: Path
) -> None:
    config = small_run(scenes, validation__every=3)
    with pytest.raises(ConfigError, match=r"theirs are train\. Render other rooms") as caught:
        train(config, tmp_path / "run", tell=quiet)
    assert "validation.split=" not in str(caught.value)


def test_no_dataset_is_told_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none is given"):
        train(small_run(), tmp_path / "run", tell=quiet)


def test_loss_is_told_as_it_is(scenes: Path, tmp_path: Path) -> None:
    """The journal's mean over an interval is the mean of its steps."""
    train(small_run(scenes), tmp_path / "each", tell=quiet)
    train(small_run(scenes, log_every=3, checkpoint__every=2), tmp_path / "third", tell=quiet)
    each = [loss for _, loss in losses(tmp_path / "each")]
    assert losses(tmp_path / "third") == [
        (3, pytest.approx(math.fsum(each[:3]) / 3)),
        (6, pytest.approx(math.fsum(each[3:]) / 3)),
    ]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe of short scenes that the built-in clips can play."""
    path = tmp_path / "short.yaml"
    path.write_text(json.dumps(RECIPE), encoding="utf-8")
    return path


def test_a_recipe_that_is_rendered_as_needed_is_resumed_bit_for_bit(
    recipe: Path, tmp_path: Path
) -> None:
    config = small_run(data__live=str(recipe))
    assert train(config, tmp_path / "whole", tell=quiet) == "done"
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "torn", tell=dies_at(5))
    assert train(config, tmp_path / "torn", tell=quiet) == "done"
    assert_equal_states(state_of(tmp_path / "whole"), state_of(tmp_path / "torn"))


def test_a_recipe_is_looked_at_through_a_dataset_of_its_scenes(
    recipe: Path, scenes: Path, held_out: Path, tmp_path: Path
) -> None:
    wanted = {"data__live": str(recipe), "validation__every": 3, "validation__probe_every": 3}
    with pytest.raises(ConfigError, match=r"render some .*--split all"):
        train(small_run(**wanted), tmp_path / "run", tell=quiet)
    config = small_run(**wanted, validation__datasets=[str(scenes), str(held_out)])
    assert train(config, tmp_path / "run", tell=quiet) == "done"
    kinds = {line["kind"] for line in read_metrics(tmp_path / "run")}
    assert {"train", "validation", "probe"} <= kinds


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data__datasets": ["elsewhere"]}, "give one of the two"),
        ({"data__follow": True}, "give one of the two"),
        ({"data__live": None, "data__sources": ["clips"]}, "--live RECIPE"),
        ({"features__sample_rate": 32000}, "features.sample_rate=16000"),
        ({"data__live": "garm"}, "did you mean 'gram'"),
        ({"model__frames": 200}, "longer clips"),
    ],
)
def test_a_recipe_that_does_not_fit_is_told_with_the_way_out(
    changed: dict[str, Any], message: str, recipe: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(small_run(**({"data__live": str(recipe)} | changed)), tmp_path / "run", tell=quiet)
