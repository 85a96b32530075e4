"""The processes of a run: one, or those that torchrun, Ray Train or a scheduler has started.

Their number and this one's place come from a process group that is there already, or from the
variables that torchrun sets (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from scenesynth.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """This process among those of the run.

    Attributes:
        rank: number of this process; 0 writes the files of the run.
        world: how many there are.
        device: what this one computes on.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean over the processes; values [...] must have one shape in all."""
        if self.world == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.world

    def largest(self, value: float) -> float:
        """The largest of what the processes say."""
        if self.world == 1:
            return value
        box = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(box, op=dist.ReduceOp.MAX)
        return float(box)

    def gather(self, value: Any) -> list[Any]:
        """What each process says, by rank."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, value)
        return found


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """This process among the others; a process group that is made here ends on leaving.

    Args:
        device: "auto" (a GPU where there is one), "cpu" or "cuda".

    Raises:
        ConfigError: cuda is asked for and not there.
    """
    chosen = _device(device)
    ours = not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1
    if ours:
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        grouped = dist.is_initialized()
        yield Processes(
            rank=dist.get_rank() if grouped else 0,
            world=dist.get_world_size() if grouped else 1,
            device=chosen,
        )
    finally:
        if ours:
            dist.destroy_process_group()


def _device(name: str) -> torch.device:
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ConfigError(
            "device = cuda: torch sees no CUDA device here; give --set device=cpu, or install a "
            "CUDA build of torch (https://pytorch.org/get-started)"
        )
    if name == "cpu" or not there:
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device
