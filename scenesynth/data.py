"""Where the data folders (hrtf, room_specs, manifests) lie, and where caches may be written."""

from __future__ import annotations

import os
from pathlib import Path

from scenesynth.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent


def data_root() -> Path:
    """Folder that holds `hrtf/`, `room_specs/` and `manifests/`.

    A wheel carries them inside the package (`_data`); an editable install or a plain checkout has
    them beside it.

    Raises:
        FileNotFoundError: neither place has them, so the installation is broken.
    """
    for candidate in (_PACKAGE / "_data", _PACKAGE.parent):
        if (candidate / "room_specs").is_dir():
            return candidate
    raise FileNotFoundError(
        f"scenesynth's data folders (room_specs, manifests, hrtf) are neither in "
        f"{_PACKAGE / '_data'} nor beside {_PACKAGE}; install the package again"
    )


def check_name(path: Path) -> None:
    """See that a path can be written down.

    Raises:
        ConfigError: it is not valid UTF-8, or was read under a locale that is not.
    """
    try:
        str(path.resolve()).encode()
    except UnicodeEncodeError as error:
        shown = error.object.encode(errors="surrogateescape").decode(errors="replace")
        raise ConfigError(
            f"{shown}: the path is not valid UTF-8 in this locale; rename what is not, or set "
            f"LC_ALL=C.UTF-8"
        ) from None


def cache_root() -> Path:
    """Folder for caches that can be made again (indexes, packed clips, compiled kernels).

    `SCENESYNTH_CACHE`, else `$XDG_CACHE_HOME/scenesynth`, else `~/.cache/scenesynth`.
    """
    explicit = os.environ.get("SCENESYNTH_CACHE")
    if explicit:
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "scenesynth"
