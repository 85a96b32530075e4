"""Checkpoints: all that a run needs to go on, in one file that is there whole or not at all.

A file is written under a temporary name, flushed to disk and renamed, so a kill at any instant
leaves the checkpoints before it. Reading trusts nothing: checksums are compared, which torch does
not, no code is run from a checkpoint (`weights_only`), and its schema is checked.
"""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from scenesynth.errors import ConfigError
from scenesynth.store.local import LocalPlace

SCHEMA: Final = 1
FOLDER: Final = "checkpoints"
_NAME: Final = re.compile(r"step-(\d{8,})\.pt")
_KINDS: Final[dict[str, type | tuple[type, ...]]] = {
    "schema": int,
    "step": int,
    "config": dict,
    "model": dict,
    "optimisers": list,
    "rng": dict,
    "stream": (dict, type(None)),
    "samples": dict,
}
_KEYS: Final = tuple(name for name in _KINDS if name != "schema")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """State after `step` steps.

    Attributes:
        step: steps that were made.
        config: the whole configuration, as plain data.
        model: state of the model.
        optimisers: states of the optimisers, in order.
        rng: states of torch's generators by device, "cpu" and "cuda".
        stream: position in the data; None where a run has none.
        samples: clips and samples of audio that were seen.
    """

    step: int
    config: dict[str, Any]
    model: dict[str, torch.Tensor]
    optimisers: list[dict[str, Any]]
    rng: dict[str, torch.Tensor]
    stream: dict[str, Any] | None
    samples: dict[str, int]

    def without_stream(self) -> Checkpoint:
        """The same, for other data."""
        return replace(self, stream=None)


def save(run: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint of a run and delete all but the newest `keep`; its path.

    Raises:
        OSError: it could not be written; earlier ones are untouched.
    """
    name = f"step-{checkpoint.step:08d}.pt"
    content = {"schema": SCHEMA} | {key: getattr(checkpoint, key) for key in _KEYS}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    LocalPlace(run).replace(f"{FOLDER}/{name}", buffer.getvalue())
    for old in found(run)[:-keep]:
        old.unlink(missing_ok=True)
    return run / FOLDER / name


def found(run: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    folder = run / FOLDER
    paths = [
        path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name) and path.is_file()
    ]
    return sorted(paths, key=_step)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint, to the CPU.

    Raises:
        FileNotFoundError: none there.
        ConfigError: damaged, not a checkpoint of this trainer, or of a later version.
    """
    if path.is_dir():
        inside = found(path)
        example = f", such as {inside[-1]}" if inside else ""
        raise ConfigError(f"{path}: is a folder; give a checkpoint{example}")
    if not path.is_file():
        raise FileNotFoundError(2, "no such checkpoint", str(path))
    _check_bytes(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of zip files, pickles and tensors; they have no common base
        raise _damaged(path, str(error).partition("\n")[0][:120]) from None
    _check_content(path, content)
    return Checkpoint(**{key: content[key] for key in _KEYS})


def _check_bytes(path: Path) -> None:
    """Compare the checksum of everything in the file with the one noted beside it."""
    try:
        with zipfile.ZipFile(path) as file:
            wrong = file.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise _damaged(path, "cut short, or another kind of file") from error
    if wrong is not None:
        raise _damaged(path, f"the checksum of {wrong} does not match")


def _damaged(path: Path, why: str) -> ConfigError:
    ours = _NAME.fullmatch(path.name)
    return ConfigError(
        f"{path}: is damaged ({why}), or no checkpoint of `scenesynth train`; "
        + ("delete it, and the one before it is taken" if ours else "give one: step-N.pt of a run")
    )


def _check_content(path: Path, content: Any) -> None:
    there = content if isinstance(content, dict) else {}
    wrong = [name for name, kind in _KINDS.items() if not isinstance(there.get(name, ...), kind)]
    if not wrong and not isinstance(there["rng"].get("cpu"), torch.Tensor):
        wrong = ["rng"]
    if not wrong and not all(isinstance(v, torch.Tensor) for v in there["model"].values()):
        wrong = ["model"]
    if wrong:
        raise ConfigError(
            f"{path}: is no checkpoint of `scenesynth train` (lacks or has other values of "
            f"{', '.join(wrong)}); give one, or the folder of its run"
        )
    if there["schema"] > SCHEMA:
        raise ConfigError(
            f"{path}: has schema {there['schema']}; this version of scenesynth reads up to "
            f"{SCHEMA}: install a newer one"
        )


def rng_states() -> dict[str, torch.Tensor]:
    """States of torch's generators, by device."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_rng_states(states: dict[str, torch.Tensor]) -> None:
    """Put torch's generators into these states, those of devices that are not here aside."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])
