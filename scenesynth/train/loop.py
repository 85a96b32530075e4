"""The training loop.

    clips of a step -> features -> windows of each clip -> masked autoencoder -> optimiser

Clips come from `scenesynth.store.stream` as int16; all else happens on the device. What a step
computes depends on the configuration, the data and its number alone: not on the processes that
share it, the passes that it is cut into, the workers that read, or where the run was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Literal

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from scenesynth.features.front_end import FrontEnd
from scenesynth.models.mae import MaskedAutoencoder
from scenesynth.pipeline.signals import Drain, draining
from scenesynth.records import to_plain
from scenesynth.train import checkpoint
from scenesynth.train.checkpoint import Checkpoint
from scenesynth.train.config import RunConfig
from scenesynth.train.data import open_data
from scenesynth.train.draws import cut_windows, draw
from scenesynth.train.feed import Fed, Feed
from scenesynth.train.folder import settle, write_config
from scenesynth.train.guard import Guard, Noted
from scenesynth.train.journal import Journal, Meter, read_metrics
from scenesynth.train.optimisers import make_optimisers, set_learning_rate
from scenesynth.train.processes import Processes, joined
from scenesynth.train.profiling import profiled
from scenesynth.train.schedule import learning_rate
from scenesynth.train.watch import Watch

Outcome = Literal["done", "drained"]

PANELS: Final = "panels"


def train(
    config: RunConfig,
    run: Path,
    *,
    resume: str = "auto",
    tell: Callable[[str], None] = print,
    profile: int = 0,
) -> Outcome:
    """Train a model; its state and what was measured are in the folder `run`.

    Args:
        resume: "auto", "none" or the path of a checkpoint (`scenesynth.train.folder.settle`).
        tell: takes lines for people, from the first process.
        profile: steps of which a trace is written.

    Returns:
        "done", or "drained" where a signal ended the run: the same call goes on.

    Raises:
        ConfigError: data, folder, checkpoint or process count do not fit the configuration.
        TrainingError: a loss or gradient is not finite.
    """
    with ExitStack() as stack:
        processes = stack.enter_context(joined(config.device))
        told = tell if processes.first else _silent
        drain = stack.enter_context(draining(told, work="the step under way and its checkpoint"))
        session = _Session(config, run, resume, told, processes)
        stack.callback(session.close)
        return session.go_on(drain, profile)


class _Session:
    """A run from the state in which it was found, in this process."""

    def __init__(
        self,
        config: RunConfig,
        run: Path,
        resume: str,
        tell: Callable[[str], None],
        processes: Processes,
    ) -> None:
        self._config = config
        self._run = run
        self._processes = processes
        self._passes, self._micro = config.accumulation(processes.world)
        datasets = open_data(config)
        found = settle(run, config, resume, tell)
        device = processes.device
        self._body = _body(config, device)
        self._front_end = FrontEnd(config.features).to(device)
        torch.manual_seed(config.seed)
        self._model = MaskedAutoencoder(config.model).to(device)
        self._optimisers = make_optimisers(
            self._model,
            kind=config.optimiser.kind,
            betas=config.optimiser.betas,
            weight_decay=config.optimiser.weight_decay,
            fused=device.type == "cuda",
        )
        self._watch = _watch(config, datasets, self._front_end, processes, self._body)
        self._journal = self._open_journal(found, tell)
        self._controls = self._find_controls()
        self._step = 0
        self._samples = {"clips": 0, "samples": 0}
        self._stream = open_stream(config, processes)
        self._position = self._stream.state_dict()
        if found is not None:
            self._restore(found)
            tell(f"goes on after step {found.step:,}")
        if _compiles(config, device):
            self._model.compile()
        self._learner = _shared(self._model, processes)
        self._feed = Feed(self._stream, device)
        self._guard = Guard(run, processes.rank)
        self._meter = Meter()
