"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_audio() -> Path:
    """Folder of real clips (`SCENESYNTH_TEST_AUDIO`, or `../shared/audio` beside the checkout)."""
    default = Path(__file__).resolve().parents[2] / "shared" / "audio"
    folder = Path(os.environ.get("SCENESYNTH_TEST_AUDIO", default))
    if not (folder / "clips.csv").is_file():
        pytest.skip("needs real clips: set SCENESYNTH_TEST_AUDIO to a folder with a clips.csv")
    return folder


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep the tests' caches out of the user's, in one folder for the session."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["SCENESYNTH_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def compiled_kernels(private_cache: Path) -> None:
    """Give the session's cache every kernel, for commands that must not wait for a compiler.

    Modules with kernels are imported, and settle on a cache, before any fixture runs.
    """
    from scenesynth.jit import kernel_cache, sources_digest
    from scenesynth.render.compile import ensure_compiled

    ensure_compiled()
    folder = private_cache / "numba" / sources_digest()
    if folder != kernel_cache():
        shutil.copytree(kernel_cache(), folder, dirs_exist_ok=True)
