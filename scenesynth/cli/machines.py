"""On which machines `render` works: options to a number of workers, a part, a Ray cluster."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from scenesynth.pipeline.parts import Part

# Starting Ray, or a process to watch, takes about as long as rendering this many shards.
_FEWEST_SHARDS_FOR_OTHERS = 4


@dataclass(frozen=True, kw_only=True)
class Machines:
    """What was asked for; `address` is that of a Ray cluster to join.

    Attributes:
        watched: whether scenes have a limit on their time, which takes a process that watches.
    """

    workers: int | None
    address: str | None
    part: Part | None
    cpus: float
    gpus: float
    memory_bytes: int | None
    runtime_env: dict[str, Any] | None
    grace_s: float | None
    watched: bool = False

    def workers_for(self, n_shards: int) -> int:
        """Workers on this machine: one per core, or one where others would start too late."""
        from scenesynth.corpus.threads import available_cores

        if self.workers is not None:
            return self.workers
        if n_shards < _FEWEST_SHARDS_FOR_OTHERS and self.part is None:
            return 1
        return min(available_cores(), max(n_shards, 1))

    def how(self, n_shards: int, backend: str) -> dict[str, Any]:
        """Arguments of `pipeline.driver.run` that say where to render."""
        from scenesynth.pipeline.pools import Cluster

        grace = {} if self.grace_s is None else {"grace_s": self.grace_s}
        workers = self.workers_for(n_shards)
        parts = self.part is not None
        watched = parts or self.watched or n_shards >= _FEWEST_SHARDS_FOR_OTHERS
        if self.address is None and (parts or workers == 1):
            return {**grace, "workers": workers, "processes": watched}
        cluster = Cluster(
            address=self.address,
            workers=self.workers if self.address else workers,
            cpus=self.cpus,
            gpus=(self.gpus or 1.0) if backend == "cuda" else 0.0,
            memory_bytes=self.memory_bytes,
            runtime_env=self.runtime_env,
        )
        return {**grace, "cluster": cluster}


def machines_of(asked: Any) -> Machines:
    """The machines that the options of `render`, given as attributes, ask for.

    Raises:
        UsageError: options that exclude each other, or a size that is none.
    """
    from scenesynth.pipeline.parts import parse_part

    address = asked.address
    if asked.part is not None and address is not None:
        if _typed("address"):
            raise click.UsageError("--part and --address: give one of the two; parts need no Ray")
        address = None
    return Machines(
        workers=asked.workers,
        address=address,
        part=None if asked.part is None else parse_part(asked.part),
        cpus=asked.worker_cpus,
        gpus=asked.gpus_per_worker,
        memory_bytes=None if asked.worker_memory is None else parse_bytes(asked.worker_memory),
        runtime_env=_runtime_env(asked.runtime_env),
        grace_s=asked.grace,
        watched=asked.scene_timeout is not None,
    )


def parse_bytes(text: str) -> int:
    """The number of bytes of a size such as "1.5GB" or "800 MiB".

    Raises:
        UsageError: it is no size.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?)\s*([kMGT]?)(i?)B?", text.strip())
    if match is None:
        raise click.UsageError(f"--worker-memory {text}: must be a size, such as 1.5GB")
    base = 1024 if match[3] else 1000
    return round(float(match[1]) * float(base) ** ("kMGT".find(match[2] or "?") + 1))


def own_stdout() -> TextIO:
    """Standard output for results alone: what else is printed there from now on goes to stderr.

    Ray prints there, from its own code, when a node dies.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return sys.stdout
    ours = os.fdopen(os.dup(descriptor), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), descriptor)
    return ours


def _typed(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def _runtime_env(file: str | None) -> dict[str, Any] | None:
    if file is None:
        return None
    from scenesynth.errors import ConfigError
    from scenesynth.yaml_files import read_yaml

    found = read_yaml(Path(file))
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: must map names such as working_dir or env_vars to values")
    return found
