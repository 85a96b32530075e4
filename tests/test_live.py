"""Scenes rendered as they are asked for are those that a dataset would hold."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from pipeline_helpers import IMPORTS, make_clips, make_recipe

from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ConfigError
from scenesynth.pipeline.driver import run
from scenesynth.pipeline.plan import make_plan
from scenesynth.store.reader import Dataset, open_dataset
from scenesynth.store.targets import frames

torch = pytest.importorskip("torch", reason="needs torch: pip install 'scenesynth[torch]'")

from scenesynth.pipeline import live as module  # noqa: E402
from scenesynth.pipeline.live import LiveStream, live  # noqa: E402
from scenesynth.store.stream import Batch  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread", "compiled_kernels")

RECIPE = make_recipe(duration_s={"uniform": [0.4, 0.6]})
SPLITS = ("train", "all")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Corpora:
    folder = tmp_path_factory.mktemp("clips")
    return Corpora.open(
        [make_clips(folder / "s", "bell", "dog")], [make_clips(folder / "n", "hum")]
    )


@pytest.fixture(scope="module")
def stored(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    """A dataset of each split, and one of all."""
    found = {}
    for split in SPLITS:
        out = tmp_path_factory.mktemp("stored") / split
        plan = make_plan(
            out, RECIPE, corpora, formats=["foa"], scenes=12, split=split, shard_scenes=4
        )
        assert run(plan).state == "done"
        found[split] = open_dataset(out)
    return found


def stream_of(corpora: Corpora, split: str = "train", **settings: Any) -> LiveStream:
    defaults: dict[str, Any] = {"batch": 4, "epoch_scenes": 8}
    defaults |= {"split": split, "shard_scenes": 4}
    return live(RECIPE, corpora, **{**defaults, **settings})


def take(stream: LiveStream, n: int) -> list[Batch]:
    found: list[Batch] = []
    while len(found) < n:
        for batch in stream:
            found.append(batch)
            if len(found) == n:
                break
    return found


def assert_same(a: Batch, b: Batch) -> None:
    assert (a.ids, a.epoch, a.step) == (b.ids, b.epoch, b.step)
    for name in ("audio", "gain", "valid", "index", "start"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert a.targets.keys() == b.targets.keys()
    for name, value in a.targets.items():
        assert torch.equal(value, b.targets[name]), name


@pytest.mark.parametrize("split", SPLITS)
def test_a_scene_is_the_one_that_a_dataset_would_hold(
    split: str, stored: dict[str, Dataset], corpora: Corpora
) -> None:
    dataset = stored[split]
    columns = ("snr_achieved_db", "rt60_broadband_s", "gain_foa", "peak_foa", "n_samples")
    stream = stream_of(corpora, split, columns=columns)
    array = dataset.audio["foa"]
    for batch in take(stream, 3):
        for n, index in enumerate(batch.index.tolist()):
            row, valid = dataset[index].row, int(batch.valid[n])
            assert batch.ids[n] == row["id"]
            assert valid == row["n_samples"]
            assert np.array_equal(batch.audio[n, :, :valid], array[index][:, :valid])
            assert not batch.audio[n, :, valid:].any()
            assert float(batch.gain[n]) == row["gain_foa"]
            for name in columns:
                assert float(batch.columns[name][n]) == np.float32(row[name])


def test_crops_and_their_targets_are_parts_of_the_dataset(
    stored: dict[str, Dataset], corpora: Corpora
) -> None:
    asked = frames(form="accdoa")
    whole = stream_of(corpora, targets=asked)
    stream = stream_of(corpora, crop_s=0.2, targets=asked)
    array = stored["train"].audio["foa"]
    starts = set()
    for batch, complete in zip(take(stream, 3), take(whole, 3), strict=True):
        for n, index in enumerate(batch.index.tolist()):
            start = int(batch.start[n])
            starts.add(start)
            assert start % 1600 == 0
            assert np.array_equal(batch.audio[n], array[index][:, start : start + 3200])
            first = start // 1600
            expected = complete.targets["accdoa"][n, first : first + 2]
            assert torch.equal(batch.targets["accdoa"][n], expected)
    assert len(starts) > 1


def test_no_scene_comes_twice(corpora: Corpora) -> None:
    batches = take(stream_of(corpora), 5)
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(20))
    assert [(batch.epoch, batch.step) for batch in batches[:3]] == [(0, 0), (0, 1), (1, 0)]


def test_ranks_share_a_batch(corpora: Corpora) -> None:
    (whole,) = take(stream_of(corpora), 1)
    for rank in range(2):
        (part,) = take(stream_of(corpora, rank=rank, world=2), 1)
        assert torch.equal(part.audio, whole.audio[rank::2])


def test_workers_and_resume_change_nothing(corpora: Corpora) -> None:
    settings: dict[str, Any] = {"crop_s": 0.3, "targets": frames(form="events")}
    plain = take(stream_of(corpora, **settings), 4)
    first = stream_of(corpora, workers=2, **settings)
    before = take(first, 1)
    again = stream_of(corpora, **settings)
    again.load_state_dict(first.state_dict())
    first.close()
    for a, b in zip(before + take(again, 3), plain, strict=True):
        assert_same(a, b)


def test_a_state_of_another_recipe_is_refused(corpora: Corpora) -> None:
    other = live(
        make_recipe(name="other", duration_s={"uniform": [0.4, 0.6]}),
        corpora,
        batch=4,
        epoch_scenes=8,
    )
    with pytest.raises(ConfigError, match="another dataset"):
        stream_of(corpora).load_state_dict(other.state_dict())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 3, "world": 2}, "cannot be divided by world"),
        ({"epoch_scenes": 2}, "at least batch"),
        ({"crop_s": 5.0}, "longer than any scene"),
        ({"device": "cuda", "workers": 2}, "workers=0"),
        ({"columns": ["snr_db"]}, "no column 'snr_db'"),
        ({"format": "fao"}, "fao"),
        ({"split": "tset"}, "tset"),
        ({"split": None}, "split = None; must be a name"),
        ({"format": ["foa"]}, r"format = \['foa'\]; must be a name"),
        ({"shard_scenes": 0}, "shard_scenes = 0; must be at least 1"),
        ({"epoch_scenes": 8.5}, "epoch_scenes = 8.5; must be a whole number"),
        ({"seed": -1}, "seed = -1; must be at least 0"),
        ({"columns": "n_events"}, "must be a list of names"),
        ({"targets": "adpit"}, r"must be what ss.frames\(...\) gives"),
        ({"device": "gpu"}, "device = 'gpu'; must be cpu, cuda or cuda:N"),
    ],
)
def test_what_cannot_be_is_refused(
    settings: dict[str, Any], message: str, corpora: Corpora
) -> None:
    with pytest.raises(ConfigError, match=message):
        stream_of(corpora, **settings)


def test_corpora_have_to_be_opened() -> None:
    with pytest.raises(ConfigError, match=r"corpora = '/data/speech'; must be what ss.Corpora"):
        live(RECIPE, "/data/speech")  # type: ignore[arg-type]


def test_what_a_gpu_does_not_render_is_refused_there(
    corpora: Corpora, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "torch_device", lambda device: None)
    with pytest.raises(ConfigError, match=r"device = 'cuda': format binaural is rendered on the C"):
        stream_of(corpora, format="binaural", device="cuda")


def test_a_recipe_that_plays_each_clip_once_is_refused(corpora: Corpora) -> None:
    recipe = make_recipe(targets={"event_s": 0.4, "pick": "each_once"})
    with pytest.raises(ConfigError, match="plays every clip once and then has no more"):
        live(recipe, corpora)


@pytest.mark.parametrize("call", ["ss.stream('x')", "ss.live('gram')"])
def test_without_torch_the_error_says_how_to_get_it(call: str) -> None:
    code = f"""
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, NoTorch())
import scenesynth as ss
{call}
"""
    env = {**os.environ, "PYTHONPATH": IMPORTS}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert "ConfigError: streams need torch, which is missing; install it: pip" in done.stderr
