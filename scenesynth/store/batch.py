"""A batch of crops as torch tensors, and how it is made of what crops are read from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scenesynth.store.arrays import CODECS
from scenesynth.store.crops import Contents, Cut
from scenesynth.store.order import Picks
from scenesynth.store.targets import Arrays, stack


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Crops of some scenes. B of them, with C channels and N samples.

    Attributes:
        audio: int16 [B, C, N]; float32 of datasets with that codec.
        gain: float32 [B].
        valid: int64 [B], samples that belong to the scene, from the first; zeros follow.
        dataset: int64 [B], which of the datasets.
        index: int64 [B], number of the scene, the column `index`.
        start: int64 [B], sample of the scene at which the crop begins.
        ids: names of the scenes.
        columns: float32 [B] for each column asked for; NaN for null.
        targets: see `scenesynth.store.targets`.
        step: counted from the beginning of the epoch.
        full_scale: what `audio` is divided by.
    """

    audio: torch.Tensor
    gain: torch.Tensor
    valid: torch.Tensor
    dataset: torch.Tensor
    index: torch.Tensor
    start: torch.Tensor
    ids: tuple[str, ...]
    columns: Mapping[str, torch.Tensor]
    targets: Mapping[str, torch.Tensor]
    epoch: int
    step: int
    full_scale: float

    def waveform(self) -> torch.Tensor:
        """Audio as float32 on its device: `audio / full_scale * gain`. Shape: [B, C, N]."""
        return self.audio.float().div_(self.full_scale).mul_(self.gain[:, None, None])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The same in page-locked memory."""
        return self._each(lambda tensor: tensor.pin_memory())

    def __len__(self) -> int:
        return len(self.ids)

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        changed: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, torch.Tensor):
                changed[item.name] = change(value)
            elif isinstance(value, Mapping):
                changed[item.name] = {name: change(tensor) for name, tensor in value.items()}
        return replace(self, **changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A batch without its samples, as plain arrays; see `Batch`."""

    picks: Picks
    gain: NDArray[np.float32]
    valid: NDArray[np.int64]
    start: NDArray[np.int64]
    ids: tuple[str, ...]
    columns: Arrays
    targets: Arrays


class BatchMaker:
    """Reads batches; travels to workers, and opens nothing before the first one.

    Attributes:
        shape: of the samples of a scene.
        dtype: of the samples.
    """

    def __init__(self, sources: tuple[Contents, ...], n_samples: int) -> None:
        self._readers = [source.reader() for source in sources]
        self._contents = first = sources[0]
        self.shape = (first.format.n_channels, n_samples)
        self._codec = CODECS[first.info.codec]
        self.dtype = torch.int16 if self._codec.dtype == "int16" else torch.float32

    def read(self, picks: Picks, audio: torch.Tensor) -> Facts:
        """Read the samples of a batch into `audio`, and return what else there is of it.

        Raises:
            StoreError: a shard is missing or damaged, or the store refuses.
        """
        samples = audio.numpy()
        taken: dict[int, Cut] = {}
        for number, reader in enumerate(self._readers):
            mine = np.flatnonzero(picks.dataset == number)
            found = reader.take(picks.index[mine], picks.unit[mine], [samples[n] for n in mine])
            taken |= dict(zip(mine.tolist(), found, strict=True))
        crops = [taken[n] for n in range(len(picks.index))]
        return Facts(
            picks=picks,
            gain=np.array([crop.gain for crop in crops], np.float32),
            valid=np.array([crop.valid for crop in crops], np.int64),
            start=np.array([crop.start for crop in crops], np.int64),
            ids=tuple(crop.id for crop in crops),
            columns={
                name: np.array([crop.column(name) for crop in crops], np.float32)
                for name in self._contents.columns
            },
            targets=self._targets(picks, crops),
        )

    def batch(self, facts: Facts, audio: torch.Tensor) -> Batch:
        """The batch of what was read."""
        return Batch(
            audio=audio,
            gain=torch.from_numpy(facts.gain),
            valid=torch.from_numpy(facts.valid),
            dataset=torch.from_numpy(facts.picks.dataset.copy()),
            index=torch.from_numpy(facts.picks.index.copy()),
            start=torch.from_numpy(facts.start),
            ids=facts.ids,
            columns=_tensors(facts.columns),
            targets=_tensors(facts.targets),
            epoch=facts.picks.epoch,
            step=facts.picks.step,
            full_scale=self._codec.full_scale,
        )

    def empty(self, scenes: int, *, shared: bool) -> torch.Tensor:
        """Fresh memory for the samples of some scenes."""
        audio = torch.empty((scenes, *self.shape), dtype=self.dtype)
        return audio.share_memory_() if shared else audio

    def _targets(self, picks: Picks, crops: list[Cut]) -> Arrays:
        if self._contents.targets is None:
            return {}
        pairs = zip(picks.dataset, crops, strict=True)
        return stack([self._readers[number].targets(crop) for number, crop in pairs])


def _tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
