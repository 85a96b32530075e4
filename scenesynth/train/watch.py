"""What is looked at on scenes that are not trained on: loss, pictures, and linear probes.

All of it is of fixed windows with fixed masks, so that it is comparable from step to step. The
processes of a run share the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.evaluate.embedding import embed
from scenesynth.evaluate.scenes import Window, choose_windows, read_windows
from scenesynth.evaluate.scores import Embedded, constant_scores, probe_scores
from scenesynth.features.front_end import FrontEnd
from scenesynth.models.mae import MaskedAutoencoder
from scenesynth.store.reader import Dataset
from scenesynth.train.config import RunConfig
from scenesynth.train.data import scenes_by_split
from scenesynth.train.draws import draw
from scenesynth.train.panels import write_panels
from scenesynth.train.processes import Processes


class Watch:
    """Looks at a model from time to time."""

    def __init__(
        self,
        config: RunConfig,
        datasets: Sequence[Dataset],
        held_out: Sequence[Dataset],
        front_end: FrontEnd,
        processes: Processes,
        body: torch.autocast,
    ) -> None:
        """Choose the windows.

        Args:
            datasets: what is trained on.
            held_out: where the scenes are that are not.
            body: the precision in which the model computes its loss.

        Raises:
            ConfigError: no scene is held out.
        """
        self._config = config
        self._front_end = front_end
        self._processes = processes
        self._body = body
        wanted = config.validation
        samples = config.window_samples
        self._held = choose_windows(held_out, wanted.split, wanted.scenes, samples)
        if len(self._held) < 2:
            raise ConfigError(
                _nothing_held_out(held_out, wanted.split, config.data.split, len(self._held))
            )
        self._asked = [window for window in self._held if window.direction is not None]
        self._known: list[Window] = []
        if wanted.probe_every:
            known = choose_windows(datasets, config.data.split, wanted.probe_scenes, samples)
            self._known = [window for window in known if window.direction is not None]

    @property
    def can_probe(self) -> bool:
        """Whether there are windows with labels to fit and to score a probe."""
        return len(self._known) >= 2 and len(self._asked) >= 2

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def loss(self, model: MaskedAutoencoder) -> float:
        """Mean loss over the windows that are held out."""
        total = torch.zeros((), dtype=torch.float64)
        for numbers, features in self._features(self._held):
            noise = self._noise(model, numbers)
            with self._body:
                output = model(features, noise=noise)
            total += float(output.loss) * len(numbers)
        return sum(map(float, self._processes.gather(total))) / len(self._held)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def draw(self, model: MaskedAutoencoder, folder: Path, step: int) -> list[Path]:
        """Pictures of the reconstruction of the first windows; the first process alone."""
        wanted = self._held[: self._config.validation.panels]
        if not wanted or not self._processes.first:
            return []
        waveform = next(self._read(wanted, len(wanted)))
        features = self._window_features(waveform)
        with self._body:
            output = model(features, noise=self._noise(model, range(len(wanted))))
        hidden = output.mask[..., None]
        made = model.unpatch(torch.where(hidden, output.prediction.float(), output.target.float()))
        target = model.unpatch(output.target.float())
        seen = model.unpatch((~hidden).expand_as(output.target).float())[:, 0] > 0
        paths = []
        for n, window in enumerate(wanted):
            path = folder / f"step-{step:08d}-{n}.png"
            write_panels(
                path,
                target[n].cpu().numpy(),
                seen[n].cpu().numpy(),
                made[n].cpu().numpy(),
                self._front_end.channel_names,
                f"{self._name(window)}, after {step:,} steps",
            )
            paths.append(path)
        return paths

    def probe(self, model: MaskedAutoencoder) -> dict[str, float]:
        """Scores of linear probes of the model's embeddings."""
        return probe_scores(self._embedded(model, self._known), self._embedded(model, self._asked))

    def controls(self, fresh: MaskedAutoencoder) -> dict[str, float]:
        """Direction errors of the constant answer, and of an encoder that has learned nothing."""
        blind = [
            Embedded(features=np.zeros((len(w), 1)), windows=w) for w in (self._known, self._asked)
        ]
        constant, random = constant_scores(*blind), self.probe(fresh)
        return {
            f"{name}_{score}": scores[score]
            for name, scores in (("constant", constant), ("random", random))
            for score in ("doa_mean_deg", "doa_median_deg", "lateral_mean_deg")
        }

    def _embedded(self, model: MaskedAutoencoder, windows: Sequence[Window]) -> Embedded:
        mine = windows[self._processes.rank :: self._processes.world]
        parts = [
            embed(self._front_end, model, self._on_device(waveform))
            .steps.mean(dim=1)
            .double()
            .cpu()
            for waveform in self._read(mine, self._n_windows)
        ]
        shares = self._processes.gather(torch.cat(parts).numpy() if parts else None)
        width = next(share.shape[1] for share in shares if share is not None)
        features = np.empty((len(windows), width))
        for rank, share in enumerate(shares):
            if share is not None:
                features[rank :: self._processes.world] = share
        return Embedded(features=features, windows=windows)

    def _features(self, windows: Sequence[Window]) -> Iterator[tuple[range, torch.Tensor]]:
        """Numbers and features of this process's share of windows, in batches."""
        rank, world = self._processes.rank, self._processes.world
        numbers = range(len(windows))[rank::world]
        first = 0
        for waveform in self._read(windows[rank::world], self._n_windows):
            yield numbers[first : first + len(waveform)], self._window_features(waveform)
            first += len(waveform)

    @property
    def _n_windows(self) -> int:
        """Windows at once: about as many as a pass of training has."""
        _, micro = self._config.accumulation(self._processes.world)
        return max(1, min(micro * self._config.data.windows, 256))

    def _read(self, windows: Sequence[Window], batch: int) -> Iterator[NDArray[np.float32]]:
        config = self._config
        return read_windows(windows, config.features.input, config.window_samples, batch)

    def _window_features(self, waveform: NDArray[np.float32]) -> torch.Tensor:
        features = self._front_end(self._on_device(waveform))
        return features[..., : self._config.model.frames]

    def _on_device(self, waveform: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(waveform).to(self._processes.device)

    def _noise(self, model: MaskedAutoencoder, numbers: Sequence[int]) -> torch.Tensor:
        draws = draw(self._config.seed, "validation", 0, numbers, 1, model.config.n_tokens)
        return draws.noise[:, 0].to(self._processes.device)

    def _name(self, window: Window) -> str:
        start_s = window.start / self._config.features.sample_rate
        return f"{window.dataset.place}, scene {window.number}, from {start_s:.2f} s"


def _nothing_held_out(datasets: Sequence[Dataset], split: str, trained: str, n: int) -> str:
    there = sorted(scenes_by_split(datasets))
    others = [name for name in there if name not in (split, trained)]
    return (
        f"validation.split = {split}: the datasets hold {n} scenes of it; theirs are "
        f"{', '.join(there) or 'none at all'}. Render other rooms and clips into a dataset of "
        f"their own (--split {split}) and give it as --valid URI, "
        + (f"name another split (--set validation.split={others[-1]}), " if others else "")
        + "or do without (--set validation.every=0 --set validation.probe_every=0)"
    )
