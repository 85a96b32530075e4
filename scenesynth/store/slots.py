"""Memory for batches that is used again once nobody holds what was in it.

Fresh memory is faulted in page by page and filled with zeros by the kernel, which takes as long as
decoding what is written to it, and in shared memory longer.
"""

from __future__ import annotations

import shutil
import weakref
from collections import deque
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from scenesynth.errors import ConfigError

SHARED: Final = Path("/dev/shm")


class Slots:
    """Equal pieces of memory, each taken, filled, lent, and free again when it is let go of.

    Attributes:
        memory: all of them. Shape: [slots, ...].
    """

    def __init__(self, count: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self.memory = torch.empty((count, *shape), dtype=dtype)
        self._free = deque(range(count))
        self._being_filled: set[int] = set()

    def share(self) -> None:
        """Make it memory that other processes see.

        Raises:
            ConfigError: there is not that much. Whoever touches the lack of it is killed.
        """
        needed = self.memory.numel() * self.memory.itemsize
        if SHARED.is_dir() and (free := shutil.disk_usage(SHARED).free) < needed:
            raise ConfigError(
                f"workers need {needed / 1e6:.0f} MB of shared memory, of which {SHARED} has "
                f"{free / 1e6:.0f} MB left; take a smaller batch, shorter crops or fewer workers, "
                f"or give a container more (docker run --shm-size)"
            )
        self.memory.share_memory_()

    def take(self) -> int | None:
        """A free one; None if all are in use."""
        if not self._free:
            return None
        slot = self._free.popleft()
        self._being_filled.add(slot)
        return slot

    def lend(self, slot: int) -> torch.Tensor:
        """What was filled. The slot is free again once neither this nor a view of it is held."""
        self._being_filled.remove(slot)
        # The tensor's storage holds this very array, and nothing else does.
        array: NDArray[Any] = np.asarray(self.memory[slot].numpy())[...]
        weakref.finalize(array, self._free.append, slot).atexit = False
        return torch.from_numpy(array)

    def reclaim(self) -> None:
        """Free those that were being filled, by workers who are not any more."""
        self._free.extend(self._being_filled)
        self._being_filled.clear()
