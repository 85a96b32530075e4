"""Scenes rendered in batches on a GPU, for shards of datasets whose backend is "cuda".

A GPU is fed by batches. Asked for a scene, the maker renders the next scenes of the shard with it,
and begins with the batch after them in a thread, so that the device works while the caller encodes.
What no GPU code renders (something that moves) is rendered on the CPU; which scenes those are is
for the spec alone to say, so the bytes do not depend on the batch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from scenesynth.errors import ConfigError, ContentError
from scenesynth.pipeline.formats import format_of
from scenesynth.pipeline.shard import (
    Blaming,
    SceneMaker,
    ShardJob,
    corpora_of,
    make_scene,
    sample,
)
from scenesynth.render.compile import ensure_compiled
from scenesynth.render.motion import moves
from scenesynth.render.renderer import Clips, render_scene
from scenesynth.scene.spec import SceneSpec
from scenesynth.spatial.formats import Format
from scenesynth.store.schema import Scene
from scenesynth.timing import stage

BATCH: Final = 32
"""Scenes of a batch; two of them are in memory at a time, as float32."""
HOST_THREADS: Final = 4

Drawn = Scene | ContentError
T = TypeVar("T")


def choose_backend(
    device: str, formats: Sequence[Format], stems: Sequence[str], gpus: bool
) -> tuple[str, str]:
    """Backend of a new dataset, "cpu" or "cuda", and a note where it is not what was asked for.

    Args:
        device: "auto", "cpu" or "cuda".
        formats: output formats of the dataset.
        stems: stems that are stored.
        gpus: whether workers are given GPUs of a cluster.

    Raises:
        ConfigError: "cuda" where torch sees no device.
    """
    if device == "cpu":
        return "cpu", ""
    others = [item.name for item in formats if item.kind != "ambisonics"]
    if others or stems:
        what = f"format {others[0]} is" if others else "stems are"
        return "cpu", f"{what} rendered on the CPU alone: no GPU is used" * (device == "cuda")
    if gpus or has_cuda():
        return "cuda", ""
    if device == "cuda":
        raise ConfigError(
            "--device cuda: there is no CUDA device here, or no CUDA build of torch; "
            "pip install 'scenesynth[gpu]', use --device cpu, or --address with --gpus-per-worker"
        )
    return "cpu", ""


def has_cuda() -> bool:
    """Whether this machine has a GPU that torch can use; torch is not imported without one."""
    if not Path("/dev/nvidiactl").exists() or importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def maker_for(job: ShardJob, maker: SceneMaker) -> SceneMaker:
    """What a worker makes the scenes of a job with: `maker`, after what it needs is ready."""
    if maker is not make_scene:
        return maker
    ensure_compiled()
    return Batches(job.info.backend) if job.info.backend != "cpu" else maker


class Batches:
    """Makes the scenes of one shard, several at a time."""

    def __init__(self, device: str, size: int = BATCH) -> None:
        self._device = device
        self._size = size
        self._thread = ThreadPoolExecutor(1)
        self._ready: dict[int, Drawn] = {}
        self._coming: Future[dict[int, Drawn]]
        self._next: int | None = None

    def __call__(self, job: ShardJob, index: int, attempt: int) -> Scene:
        """Scene `index` of the job at an attempt.

        Raises:
            ContentError: this draw cannot be used.
        """
        if attempt:
            return usable(rendered(job, [index], attempt, self._device)[index])
        if index not in self._ready:
            self._turn(job, index)
        return usable(self._ready.pop(index))

    def _turn(self, job: ShardJob, index: int) -> None:
        """Take the batch that begins with `index`, and begin with the one after it."""
        if self._next != index:
            self._begin(job, index)
        with stage("render"):
            self._ready = self._coming.result()
        self._begin(job, index + len(self._ready))

    def _begin(self, job: ShardJob, first: int) -> None:
        stop = min(first + self._size, (job.shard + 1) * job.info.shard_scenes, job.stop)
        if first < stop:
            self._next = first
            self._coming = self._thread.submit(rendered, job, range(first, stop), 0, self._device)


def rendered(job: ShardJob, indices: Sequence[int], attempt: int, device: str) -> dict[int, Drawn]:
    """Scenes by index, each rendered or with the error that its content is at fault for."""
    found: dict[int, Drawn] = {}
    specs: dict[int, SceneSpec] = {}
    for index in indices:
        drawn = _attempted(lambda index=index: sample(job, index, attempt))  # type: ignore[misc]
        if isinstance(drawn, ContentError):
            found[index] = drawn
        else:
            specs[index] = drawn
    corpora = Blaming(corpora_of(job))
    formats = [format_of(stored) for stored in job.info.formats]
    still = {index: spec for index, spec in specs.items() if not _moving(spec)}
    if still:
        found |= dict(zip(still, _on_device(still.values(), corpora, formats, device), strict=True))
    for index in specs.keys() - still.keys():
        found[index] = _attempted(
            lambda spec=specs[index]: render_scene(spec, corpora, formats=formats)  # type: ignore[misc]
        )
    return found


def _on_device(
    specs: Iterable[SceneSpec], corpora: Clips, formats: Sequence[Format], device: str
) -> Sequence[Drawn]:
    from scenesynth.render.batch import render_scenes

    try:
        return render_scenes(
            list(specs), corpora, formats=formats, device=device, threads=HOST_THREADS
        )
    except RuntimeError as error:
        # torch's own class for this is not a MemoryError; what may pass is not the scene's fault.
        if "out of memory" in str(error):
            raise MemoryError(str(error)) from error
        raise


def _attempted(make: Callable[[], T]) -> T | ContentError:
    try:
        return make()
    except ContentError as error:
        return error


def _moving(spec: SceneSpec) -> bool:
    return any(moves(emitter, spec) for emitter in spec.emitters)


def usable(drawn: Drawn) -> Scene:
    """The scene; raises the error in place of one."""
    if isinstance(drawn, ContentError):
        raise drawn
    return drawn
