"""The built-in procedural corpus."""

from __future__ import annotations

from pathlib import Path

from scenesynth.corpus.clips import Progress
from scenesynth.errors import ConfigError


def builtin_folder(role: str, *, progress: Progress | None = None) -> Path:
    """Folder with the built-in clips of a role ("sources" or "noise")."""
    raise ConfigError(f"no built-in {role} yet; give --{role} PATH")
