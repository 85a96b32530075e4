"""Laws of the trainer's parts: schedule, draws, windows, checkpoints, journal, configuration."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from training_helpers import small_run  # noqa: E402

from scenesynth.errors import ConfigError  # noqa: E402
from scenesynth.records import to_plain  # noqa: E402
from scenesynth.store.local import is_temporary  # noqa: E402
from scenesynth.train import checkpoint  # noqa: E402
from scenesynth.train.checkpoint import Checkpoint  # noqa: E402
from scenesynth.train.config import bound, list_presets, load_run, run_yaml  # noqa: E402
from scenesynth.train.draws import cut_windows, draw  # noqa: E402
from scenesynth.train.journal import METRICS_FILE, Journal, read_metrics  # noqa: E402
from scenesynth.train.optimisers import make_optimisers  # noqa: E402
from scenesynth.train.schedule import learning_rate  # noqa: E402


def test_the_learning_rate_rises_in_a_line_and_falls_as_half_a_cosine() -> None:
    def rate(step: int) -> float:
        return learning_rate(step, peak=2.0, final=0.5, warmup_steps=4, steps=12)

    assert [rate(n) for n in range(4)] == [0.5, 1.0, 1.5, 2.0]
    assert rate(4) == 2.0
    assert rate(8) == pytest.approx(1.25)  # half way, the mean of peak and final
    assert rate(12) == pytest.approx(0.5)
    assert rate(99) == pytest.approx(0.5)
    assert all(rate(n) >= rate(n + 1) for n in range(4, 12))


def test_without_a_warm_up_the_first_step_is_at_the_peak() -> None:
    assert learning_rate(0, peak=2.0, warmup_steps=0, steps=1) == 2.0


def test_draws_depend_on_the_number_of_the_clip_and_not_on_its_company() -> None:
    together = draw(7, "train", 3, range(6), windows=2, patches=5)
    apart = [draw(7, "train", 3, range(rank, 6, 2), windows=2, patches=5) for rank in range(2)]
    for rank, part in enumerate(apart):
        assert torch.equal(part.places, together.places[rank::2])
        assert torch.equal(part.noise, together.noise[rank::2])


def test_draws_differ_by_seed_purpose_step_and_clip() -> None:
    asked = [(0, "train", 0, [0]), (1, "train", 0, [0]), (0, "validation", 0, [0])]
    asked += [(0, "train", 1, [0]), (0, "train", 0, [1])]
    found = {tuple(draw(*some, windows=1, patches=4).noise.flatten().tolist()) for some in asked}
    assert len(found) == len(asked)


def test_windows_are_those_that_a_loop_cuts() -> None:
    features = torch.randn(3, 2, 4, 20, generator=torch.Generator().manual_seed(0))
    places = torch.tensor([[0.0, 0.999], [0.5, 0.25], [0.0, 0.99]], dtype=torch.float64)
    valid = torch.tensor([20, 11, 4])
    found = cut_windows(features, places, valid, frames=8)
    assert found.shape == (6, 2, 4, 8)
    expected = [(0, 0), (0, 12), (1, 2), (1, 1), (2, 0), (2, 0)]
    for window, (clip, start) in zip(found, expected, strict=True):
        assert torch.equal(window, features[clip, :, :, start : start + 8])


def some_state(step: int = 5) -> Checkpoint:
    torch.manual_seed(step)
    return Checkpoint(
        step=step,
        config={"name": "x"},
        model={"w": torch.randn(3)},
        optimisers=[{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}],
        rng=checkpoint.rng_states(),
        stream={"epoch": 0, "step": 3},
        samples={"clips": 1, "samples": 2},
    )


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    saved = some_state()
    loaded = checkpoint.load(checkpoint.save(tmp_path, saved, keep=2))
    assert torch.equal(loaded.model["w"], saved.model["w"])
    assert (loaded.step, loaded.config, loaded.stream) == (5, {"name": "x"}, saved.stream)
    torch.manual_seed(0)
    checkpoint.set_rng_states(loaded.rng)
    drawn = torch.rand(2)
    torch.manual_seed(5)
    torch.randn(3)
    assert torch.equal(drawn, torch.rand(2))


def test_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    for step in (1, 12, 3, 9, 10):
        checkpoint.save(tmp_path, some_state(step), keep=2)
    assert [path.name for path in checkpoint.found(tmp_path)] == [
        "step-00000010.pt",
        "step-00000012.pt",
    ]


@pytest.mark.parametrize("fails", ["write", "fsync", "replace"])
def test_a_checkpoint_that_cannot_be_written_leaves_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    checkpoint.save(tmp_path, some_state(1), keep=1)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "no space left")

    owner: Any = {"write": torch, "fsync": os, "replace": Path}[fails]
    monkeypatch.setattr(owner, {"write": "save"}.get(fails, fails), fail)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(tmp_path, some_state(2), keep=1)
    monkeypatch.undo()
    (left,) = checkpoint.found(tmp_path)
    assert checkpoint.load(left).step == 1
    assert not [path for path in left.parent.iterdir() if is_temporary(path.name)]


def test_what_a_kill_leaves_under_a_temporary_name_is_no_checkpoint(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, some_state(1), keep=2)
    (path.parent / ".tmp-0123").write_bytes(path.read_bytes()[:100])
    assert checkpoint.found(tmp_path) == [path]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"not a checkpoint"])
def test_damaged_checkpoints_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "step-00000001.pt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"step-00000001\.pt: is damaged .*, or no checkpoint"):
        checkpoint.load(path)


def test_a_cut_checkpoint_is_named(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, some_state(), keep=1)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ConfigError, match="is damaged"):
        checkpoint.load(path)


def test_a_wrong_byte_anywhere_in_the_weights_is_found(tmp_path: Path) -> None:
    saved = some_state()
    path = checkpoint.save(tmp_path, saved, keep=1)
    content = path.read_bytes()
    at = content.index(saved.model["w"].numpy().tobytes())
    path.write_bytes(content[: at + 1] + bytes([content[at + 1] ^ 1]) + content[at + 2 :])
    with pytest.raises(ConfigError, match=r"is damaged \(the checksum of .* delete it"):
        checkpoint.load(path)


def test_only_a_checkpoint_is_told_to_be_deleted(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("steps: 3")
    with pytest.raises(ConfigError) as caught:
        checkpoint.load(path)
    assert "delete" not in str(caught.value)


def test_a_folder_is_told_with_the_checkpoint_in_it(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, some_state(), keep=1)
    with pytest.raises(ConfigError, match=f"is a folder; give a checkpoint, such as {path}"):
        checkpoint.load(tmp_path)


def test_a_folder_in_place_of_a_checkpoint_is_none(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, some_state(), keep=1)
    (path.parent / "step-00000099.pt").mkdir()
    assert checkpoint.found(tmp_path) == [path]


@pytest.mark.parametrize(
    "wrong",
    [{"step": "x"}, {"model": {"w": 3}}, {"rng": {}}, {"optimisers": None}, {"schema": "x"}],
)
def test_a_checkpoint_of_other_values_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = checkpoint.save(tmp_path, some_state(), keep=1)
    torch.save(torch.load(path, weights_only=True) | wrong, path)
    with pytest.raises(ConfigError, match=rf"is no checkpoint .*{next(iter(wrong))}"):
        checkpoint.load(path)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "proof"),))

    path = tmp_path / "step-00000001.pt"
    torch.save({"schema": 1, "step": Evil()}, path)
    with pytest.raises(ConfigError, match="no checkpoint"):
        checkpoint.load(path)
    assert not (tmp_path / "proof").exists()


def test_other_and_later_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"model": {}}, path)
    with pytest.raises(ConfigError, match="no checkpoint of `scenesynth train`"):
        checkpoint.load(path)
    whole = torch.load(checkpoint.save(tmp_path, some_state(), keep=1), weights_only=True)
    torch.save(whole | {"schema": 99}, path)
    with pytest.raises(ConfigError, match="has schema 99"):
        checkpoint.load(path)
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "nothing.pt")


def test_the_journal_forgets_what_was_after_the_checkpoint(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0, lambda _: None)
    for step in (1, 2, 3):
        journal.write("train", step, {"loss": step + 0.5, "grad_norm": float("nan")})
    journal.close()
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write('{"kind": "train", "st')
    again = Journal(tmp_path, 2, lambda _: None)
    again.write("train", 3, {"loss": 9.0})
    again.close()
    assert [(line["step"], line["loss"]) for line in read_metrics(tmp_path)] == [
        (1, 1.5),
        (2, 2.5),
        (3, 9.0),
    ]
    assert read_metrics(tmp_path)[0]["grad_norm"] is None


@pytest.mark.parametrize("line", [b"not json\n", b"\xff\xfe\n", b"[1]\n", b'{"step": 1}\n'])
def test_a_damaged_line_of_the_journal_is_named(tmp_path: Path, line: bytes) -> None:
    (tmp_path / METRICS_FILE).write_bytes(b'{"kind": "train", "step": 1}\n' + line)
    with pytest.raises(ConfigError, match=r"metrics\.jsonl: line 2 is damaged.* move the file"):
        read_metrics(tmp_path)


def test_only_matrices_decay() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3), torch.nn.Linear(3, 1))
    (adamw,) = make_optimisers(
        model, kind="adamw", betas=(0.9, 0.95), weight_decay=0.1, fused=False
    )
    decaying, others = adamw.param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert {tuple(p.shape) for p in decaying["params"]} == {(3, 2), (1, 3)}
    assert len(others["params"]) == 4


@pytest.mark.parametrize("name", sorted(list_presets()))
def test_presets_are_complete_and_come_back_from_their_yaml(name: str, tmp_path: Path) -> None:
    config = load_run(name)
    assert config.description == list_presets()[name]
    path = tmp_path / "run.yaml"
    path.write_text(run_yaml(config), encoding="utf-8")
    assert load_run(path) == config


def test_the_presets_of_gram_are_those_of_the_paper() -> None:
    for name, channels in (("gram-foa", 7), ("gram-binaural", 2)):
        config = load_run(name)
        assert config.model.channels == channels
        assert (config.model.n_tokens, config.model.n_hidden) == (200, 160)
        assert (config.batch, config.data.windows) == (96, 16)
        assert config.window_s == 2.0
        assert (config.optimiser.lr, config.optimiser.warmup_steps) == (2e-4, 10_000)


def test_values_change_in_the_order_in_which_they_are_given() -> None:
    config = load_run(
        "gram-binaural",
        [("features", "binaural-phase"), ("features.n_mels", "64"), ("model.size", "tiny")],
    )
    assert config.features.phase == "ipd_ild"
    assert (config.model.channels, config.model.mels) == (5, 64)
    assert (
        config.model.encoder.dim
        == load_run("gram-binaural", [("model.size", "tiny")]).model.encoder.dim
    )
    assert config.model.encoder.dim < 768


def test_a_part_of_a_size_can_be_changed() -> None:
    config = load_run("gram-foa", [("model.encoder.depth", "6")])
    assert (config.model.encoder.depth, config.model.encoder.dim) == (6, 768)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("optimiser.learning_rate", "1"), r"optimiser\.learning_rate: unknown key"),
        (("optimser.lr", "1"), r"optimser: unknown key .* did you mean 'optimiser'"),
        (("features", "gram-fao"), r"did you mean 'gram-foa'"),
        (("model.size", "bsae"), r"model\.size = 'bsae'; .* did you mean 'base'"),
        (("model.mask_ratio", "1"), r"mask_ratio = 1\.0 hides 200 of 200 tokens"),
        (("model.patch", "[16, 7]"), r"frames = 200 is no multiple"),
        (("model.channels", "2"), r"model\.channels = 2, but the features have 7"),
        (("steps", "0"), r"steps = 0; must be at least 1"),
        (("steps", "many"), r"steps: got 'many', must be a whole number"),
        (("optimiser.lr", "0"), r"optimiser\.lr = 0\.0; must be above 0"),
        (("data.weights", "[1, 2]"), r"data\.weights has 2 values for 0 datasets"),
        (("validation.split", "train"), r"validation\.split = train is trained on"),
        (("checkpoint.keep", "0"), r"checkpoint\.keep = 0; must be at least 1"),
        (
            ("optimiser.betas", "[0.9, 1]"),
            r"optimiser\.betas = \(0\.9, 1\.0\); both must be",
        ),
        (("optimiser.betas", "[-0.1, 0.9]"), r"optimiser\.betas = \(-0\.1, 0\.9\); both must"),
        (("peak_tflops", "0"), r"peak_tflops = 0\.0; must be above 0, or null"),
        (("seed", "9223372036854775808"), r"seed = 9223372036854775808; must be at most"),
    ],
)
def test_wrong_values_are_named(change: tuple[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_run("gram-foa", [change])


def test_unknown_presets_are_told_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'gram-foa'"):
        load_run("gram-fao")
    with pytest.raises(ConfigError, match="no such file"):
        load_run(tmp_path / "none.yaml")
    (tmp_path / "bare.yaml").write_text("steps: 3\nbatch: 2\n")
    with pytest.raises(ConfigError, match="features: missing key"):
        load_run(tmp_path / "bare.yaml")


@pytest.mark.parametrize(
    ("values", "world", "expected"),
    [
        ({"batch": 8}, 1, (1, 8)),
        ({"batch": 8}, 4, (1, 2)),
        ({"batch": 8, "micro_batch": 2}, 2, (2, 2)),
    ],
)
def test_passes_follow_from_batch_processes_and_micro_batch(
    values: dict[str, Any], world: int, expected: tuple[int, int]
) -> None:
    assert small_run(**values).accumulation(world) == expected


def test_batches_that_cannot_be_shared_are_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be shared by 3 processes"):
        small_run(batch=8).accumulation(3)


def test_what_may_change_when_a_run_goes_on_decides_nothing() -> None:
    plain = bound(to_plain(small_run()))
    assert {"features", "model", "optimiser", "steps", "batch", "seed", "data"} <= set(plain)
    assert not {"log_every", "device", "checkpoint", "validation", "micro_batch"} & set(plain)
    assert "workers" not in plain["data"]
    json.dumps(plain)
