"""The folder of a run: whose it is, and from where the run goes on.

run.yaml            the configuration, all of it
metrics.jsonl       what was measured (scenesynth.train.journal)
checkpoints/        the newest states (scenesynth.train.checkpoint)
panels/             pictures of reconstructions
tensorboard/        where tensorboard is installed
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from scenesynth.errors import ConfigError
from scenesynth.records import from_plain, to_plain
from scenesynth.store.local import replace
from scenesynth.store.writer import listing, plain_differences
from scenesynth.train import checkpoint
from scenesynth.train.checkpoint import Checkpoint
from scenesynth.train.config import RunConfig, bound, run_yaml
from scenesynth.yaml_files import read_yaml

CONFIG_FILE: Final = "run.yaml"


def settle(
    run: Path, config: RunConfig, resume: str, tell: Callable[[str], None]
) -> Checkpoint | None:
    """Check that the folder is this run's, and find the state from which it goes on.

    Args:
        resume: "auto" is the newest checkpoint of the folder, if there is one; "none" starts anew,
            in a folder without checkpoints; else the path of a checkpoint.

    Raises:
        ConfigError: the folder holds another run, or the checkpoint another model.
    """
    _check_folder(run, config)
    ours = checkpoint.found(run)
    if resume == "none" and ours:
        raise ConfigError(
            f"{run}: holds {len(ours)} checkpoints, and --resume none starts anew; give another "
            f"--run, or delete {run / checkpoint.FOLDER}"
        )
    if resume not in ("auto", "none"):
        return _from_elsewhere(Path(resume), config, tell)
    return checkpoint.load(ours[-1]) if ours and resume == "auto" else None


@contextmanager
def held(run: Path) -> Iterator[None]:
    """The folder of a run, made if need be, kept from other processes that would train it too.

    The lock ends with the process, however that ends. Where a file system has none, there is none.

    Raises:
        ConfigError: another process has it.
    """
    run.mkdir(parents=True, exist_ok=True)
    folder = os.open(run, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"{run}: another process is training this run; wait for its end, or give another "
                f"--run"
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(folder)


def write_config(run: Path, config: RunConfig) -> None:
    """Write `run.yaml`, and make the folder of checkpoints, before work is done that needs it."""
    (run / checkpoint.FOLDER).mkdir(parents=True, exist_ok=True)
    replace(run / CONFIG_FILE, run_yaml(config).encode())


def _check_folder(run: Path, config: RunConfig) -> None:
    path = run / CONFIG_FILE
    if not path.exists():
        if run.is_dir() and any(run.iterdir()):
            raise ConfigError(
                f"{run}: is not empty and not the folder of a run; give another --run"
            )
        return
    there = read_yaml(path)
    if not isinstance(there, dict):
        raise ConfigError(
            f"{path}: holds no configuration; put back what was there (checkpoints hold it, too), "
            f"or give another --run"
        )
    found = _bound_differences(there, config)
    if found:
        raise ConfigError(
            f"{run}: holds a run of another configuration:\n{listing(found)}\n"
            f"Give the values of that run to go on with it, or another --run; `--resume "
            f"CHECKPOINT` with another --run takes its weights along"
        )


def _from_elsewhere(path: Path, config: RunConfig, tell: Callable[[str], None]) -> Checkpoint:
    """A checkpoint that was named: model and features must agree, else the command's values win."""
    there = checkpoint.load(path)
    found = _bound_differences(there.config, config)
    fatal = {k: v for k, v in found.items() if k.partition(".")[0] in ("model", "features")}
    if fatal:
        raise ConfigError(
            f"{path}: is of another model:\n{listing(fatal)}\n"
            f"Give its values (its run.yaml as --preset), or --resume none"
        )
    if found:
        tell(f"{path}: differs from the command, whose values win:\n{listing(found)}")
    moved = [name for name in found if name.partition(".")[0] in ("data", "batch", "seed")]
    if there.stream is None or not moved:
        return there
    tell(f"the data begin anew, as {', '.join(moved)} differ")
    return there.without_stream()


def _bound_differences(there: Any, config: RunConfig) -> dict[str, tuple[Any, Any]]:
    ours = bound(to_plain(config))
    with suppress(ConfigError):  # what an earlier version did not write has its default
        there = to_plain(from_plain(RunConfig, there))
    return plain_differences(bound(there if isinstance(there, dict) else {}), ours)
