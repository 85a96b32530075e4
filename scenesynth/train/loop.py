"""The training loop.

    clips of a step -> features -> windows of each clip -> masked autoencoder -> optimiser

Clips come from `scenesynth.store.stream` as int16; all else happens on the device. What a step
computes depends on the configuration, the data and its number alone: not on the processes that
share it, the passes that it is cut into, the workers that read, or where the run was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Final, Literal

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from scenesynth.errors import ConfigError, StoreError
from scenesynth.features.front_end import FrontEnd
from scenesynth.models.flops import flops
from scenesynth.models.mae import MaskedAutoencoder
from scenesynth.pipeline.signals import Drain, draining
from scenesynth.records import to_plain
from scenesynth.store.stream import Batch
from scenesynth.train import checkpoint
from scenesynth.train.checkpoint import Checkpoint
from scenesynth.train.config import RunConfig, run_yaml
from scenesynth.train.data import open_data, open_stream
from scenesynth.train.draws import cut_windows, draw
from scenesynth.train.feed import Feed
from scenesynth.train.folder import held, settle, write_config
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
        ConfigError: data, folder, checkpoint or process count do not fit the configuration, another
            process trains the same run, or memory is too small.
        StoreError: data are damaged or gone; the steps that were made are in a checkpoint.
        TrainingError: a loss or gradient is not finite.
    """
    with ExitStack() as stack:
        processes = stack.enter_context(joined(config.device))
        told = tell if processes.first else _silent
        drain = stack.enter_context(draining(told, work="the step under way and its checkpoint"))
        try:
            session = _Session(config, run, resume, told, processes, stack)
            stack.callback(session.close)
            return session.go_on(drain, profile)
        except RuntimeError as error:
            # torch has a class for this on GPUs alone.
            if "out of memory" in str(error) or "can't allocate memory" in str(error):
                raise ConfigError(_too_large(config, processes, error)) from error
            raise


class _Session:
    """A run from the state in which it was found, in this process."""

    def __init__(
        self,
        config: RunConfig,
        run: Path,
        resume: str,
        tell: Callable[[str], None],
        processes: Processes,
        stack: ExitStack,
    ) -> None:
        device = processes.device
        self._config = config
        self._run = run
        self._processes = processes
        self._passes, self._micro = config.accumulation(processes.world)
        datasets, held_out = open_data(config)
        found = settle(run, config, resume, tell)
        self._body = _body(config, device)
        self._front_end = FrontEnd(config.features).to(device)
        torch.manual_seed(config.seed)
        self._model = MaskedAutoencoder(config.model).to(device)
        self._optimisers = _optimisers(config, self._model, device)
        self._watch = (
            Watch(config, datasets, held_out, self._front_end, processes, self._body)
            if config.validation.every or config.validation.probe_every
            else None
        )
        self._stream = open_stream(config, processes)
        self._step = 0
        self._clips = 0
        self._samples = 0
        self._journal = self._open_journal(found, tell, stack)
        self._controls = self._find_controls()
        tell(run_yaml(config))
        if found is not None:
            self._restore(found)
            tell(f"goes on after step {found.step:,}")
        if config.compile == "on" or (config.compile == "auto" and device.type == "cuda"):
            self._model.compile()
        self._learner = _shared(self._model, processes)
        self._feed = Feed(self._stream, device)
        self._window_flops = flops(config.model).training if config.peak_tflops else 0
        self._guard = Guard(run, processes.rank)
        self._looked: list[tuple[float, float]] = []
        self._unread: StoreError | None = None

    def go_on(self, drain: Drain, profile: int) -> Outcome:
        """Make the steps that are left."""
        config = self._config
        if self._step < config.steps:
            self._feed.fetch()  # starts the processes that read, which counts for no step
        self._meter = Meter()
        with profiled(self._run, profile if self._processes.first else 0) as stepped:
            while self._step < config.steps:
                batch, waited_s = self._feed.take()
                self._learn(batch)
                self._step += 1
                last = self._step == config.steps
                # The next clips are fetched while the device computes.
                self._meter.waited(waited_s + (0.0 if last else self._fetch(drain)))
                stepped()
                if last or self._due(config.log_every):
                    self._log()
                ended = not last and (self._unread is not None or self._ended(drain))
                if not ended:
                    self._look(last)
                if last or ended or self._due(config.checkpoint.every):
                    self._save(batch)
                if self._unread is not None:
                    raise self._unread
                if ended:
                    return "drained"
        return "done"

    def close(self) -> None:
        """Flush what was told."""
        if self._journal is not None:
            self._journal.close()

    def _learn(self, batch: Batch) -> None:
        """One step of the optimiser, in as many passes as the micro batch makes of it."""
        config, processes, model = self._config, self._processes, self._model.config
        clips = range(processes.rank, config.batch, processes.world)
        draws = draw(
            config.seed, "train", self._step, clips, config.data.windows, model.n_tokens
        ).to(processes.device)
        waveform = batch.waveform()
        valid = 1 + batch.valid // config.features.hop  # frames that belong to the scene
        losses, finite = [], []
        for n in range(self._passes):
            part = slice(n * self._micro, (n + 1) * self._micro)
            with torch.no_grad():
                features = self._front_end(waveform[part])
                windows = cut_windows(features, draws.places[part], valid[part], model.frames)
                finite.append(features.isfinite().flatten(1).all(dim=1))
            with self._alone(n < self._passes - 1):
                with self._body:
                    output = self._learner(windows, noise=draws.noise[part].flatten(0, 1))
                (output.loss / self._passes).backward()
            losses.append(output.loss.detach())
        self._guard.note(self._update(batch, torch.stack(losses), torch.cat(finite)))
        self._clips += config.batch
        self._samples += config.batch * waveform.shape[-1]
        self._meter.count(
            config.batch * config.data.windows,
            config.batch * waveform.shape[-1] / config.features.sample_rate,
        )

    def _update(self, batch: Batch, losses: torch.Tensor, finite: torch.Tensor) -> Noted:
        """Change the weights by the gradients that are there."""
        wanted = self._config.optimiser
        norm = nn.utils.clip_grad_norm_(self._model.parameters(), wanted.clip)
        rate = learning_rate(
            self._step,
            peak=wanted.lr,
            final=wanted.final_lr,
            warmup_steps=wanted.warmup_steps,
            steps=self._config.steps,
        )
        set_learning_rate(self._optimisers, rate)
        for optimiser in self._optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return Noted(
            step=self._step, ids=batch.ids, losses=losses, finite=finite, norm=norm, rate=rate
        )

    def _alone(self, accumulates: bool) -> AbstractContextManager[None]:
        """Keep gradients in this process until the last pass of a step."""
        if accumulates and isinstance(self._learner, DistributedDataParallel):
            return self._learner.no_sync()  # type: ignore[no-any-return]
        return nullcontext()

    def _due(self, every: int) -> bool:
        return every > 0 and self._step % every == 0

    def _fetch(self, drain: Drain) -> float:
        """Fetch the next clips, unless Ctrl-C has ended the processes that read, too.

        Clips that cannot be read end the run once the step before them is in a checkpoint.
        """
        try:
            return self._feed.fetch()
        except RuntimeError as error:
            if drain.requested:
                return 0.0
            if not isinstance(error, StoreError):
                raise
            self._unread = error
            return 0.0

    def _ended(self, drain: Drain) -> bool:
        """Whether a signal has come; several processes agree on it from line to line only."""
        if self._processes.world == 1:
            return drain.requested
        return self._due(self._config.log_every) and bool(
            self._processes.largest(float(drain.requested))
        )

    def _log(self) -> None:
        """Tell how it goes; the only place beside checkpoints that waits for the device."""
        self._looked += self._guard.look()
        steps, self._looked = self._looked, []
        means = torch.tensor(steps, dtype=torch.float64, device=self._processes.device).mean(dim=0)
        loss, norm = self._processes.mean(means).tolist()
        rates = self._meter.read()
        optimiser = self._optimisers[0]
        values = {"loss": loss, "lr": optimiser.param_groups[0]["lr"], "grad_norm": norm} | rates
        values["clips_seen"] = self._clips
        values["audio_hours_seen"] = self._samples / self._config.features.sample_rate / 3600
        if self._config.peak_tflops is not None:
            done = rates["windows_per_s"] * self._window_flops
            values["mfu"] = done / (self._config.peak_tflops * 1e12 * self._processes.world)
        if self._processes.device.type == "cuda":
            values["memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        self._write("train", values)

    def _look(self, last: bool) -> None:
        """Validation, pictures and probes where they are due."""
        watch, wanted = self._watch, self._config.validation
        if watch is None:
            return
        began = perf_counter()
        self._model.eval()
        if wanted.every and (last or self._due(wanted.every)):
            self._write("validation", {"loss": watch.loss(self._model)})
            for path in watch.draw(self._model, self._run / PANELS, self._step):
                if self._journal is not None:
                    self._journal.picture(path.stem.rpartition("-")[2], self._step, path)
        if self._controls and (last or self._due(wanted.probe_every)):
            self._write("probe", watch.probe(self._model) | self._controls)
        self._model.train()
        self._meter.aside(perf_counter() - began)

    def _write(self, kind: str, values: dict[str, float]) -> None:
        if self._journal is not None:
            self._journal.write(kind, self._step, values)

    def _save(self, batch: Batch) -> None:
        """Write a checkpoint after a step of `batch`, of weights that are known to be finite."""
        self._looked += self._guard.look()
        if not self._processes.first:
            return
        began = perf_counter()
        state = Checkpoint(
            step=self._step,
            config=to_plain(self._config),
            model=self._model.state_dict(),
            optimisers=[optimiser.state_dict() for optimiser in self._optimisers],
            rng=checkpoint.rng_states(),
            stream=self._stream.state_dict(batch),
            samples={"clips": self._clips, "samples": self._samples},
        )
        try:
            checkpoint.save(self._run, state, self._config.checkpoint.keep)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}: the checkpoint of step {self._step} is not written, those "
                "before it are kept; free some space, or make the folder writable, and give "
                "the same command again",
                str(self._run / checkpoint.FOLDER),
            ) from error
        self._meter.aside(perf_counter() - began)

    def _restore(self, found: Checkpoint) -> None:
        try:
            self._model.load_state_dict(found.model)
            for optimiser, state in zip(self._optimisers, found.optimisers, strict=True):
                optimiser.load_state_dict(state)
            checkpoint.set_rng_states(found.rng)
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            why = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"the checkpoint after step {found.step} does not fit the model of its own "
                f"configuration ({why}); it is of another version of scenesynth: go on with that "
                f"one, or begin anew in another --run"
            ) from error
        if found.stream is not None:
            self._stream.load_state_dict(found.stream)
        self._step = found.step
        self._clips, self._samples = found.samples["clips"], found.samples["samples"]

    def _open_journal(
        self, found: Checkpoint | None, tell: Callable[[str], None], stack: ExitStack
    ) -> Journal | None:
        """The run's folder, made this run's, by the first process once all have looked at it."""
        self._processes.gather(None)
        if not self._processes.first:
            return None
        stack.enter_context(held(self._run))
        write_config(self._run, self._config)
        return Journal(self._run, found.step if found is not None else 0, tell)

    def _find_controls(self) -> dict[str, float]:
        """What probes are compared with, noted in the journal; nothing where none are made."""
        if self._watch is None or not self._watch.can_probe:
            return {}
        noted = [line for line in read_metrics(self._run) if line["kind"] == "controls"]
        (known, *_) = self._processes.gather(noted[:1])
        if known:
            return {name: v for name, v in known[0].items() if name.endswith("_deg")}
        controls = self._watch.controls(self._model.eval())
        self._model.train()
        self._write("controls", controls)
        return controls


def _body(config: RunConfig, device: torch.device) -> torch.autocast:
    """The precision of the model's body."""
    half = config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=half)


def _optimisers(
    config: RunConfig, model: nn.Module, device: torch.device
) -> list[torch.optim.Optimizer]:
    wanted = config.optimiser
    return make_optimisers(
        model,
        kind=wanted.kind,
        betas=wanted.betas,
        weight_decay=wanted.weight_decay,
        fused=device.type == "cuda",
    )


def _shared(model: nn.Module, processes: Processes) -> nn.Module:
    """The model, its gradients averaged over the processes where there are several."""
    if processes.world == 1:
        return model
    devices = [processes.device] if processes.device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, gradient_as_bucket_view=True)


def _too_large(config: RunConfig, processes: Processes, error: RuntimeError) -> str:
    micro = config.accumulation(processes.world)[1]
    fewer = f"--set micro_batch={micro // 2} (changes nothing else), " if micro > 1 else ""
    return (
        f"{processes.device}: out of memory with {micro} clips of {config.data.windows} windows at "
        f"once ({str(error).partition(chr(10))[0][:120]}); give {fewer}"
        f"{'fewer --set data.windows=N' if config.data.windows > 1 else 'shorter windows'}, or a "
        f"smaller model"
    )


def _silent(_: str) -> None:
    """What processes other than the first tell."""
