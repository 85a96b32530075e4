"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import s3_helpers
from disk_helpers import TinyDisk, tiny_file_system, tiny_files

if TYPE_CHECKING:
    from scenesynth.corpus.corpora import Corpora


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


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """Small models on one thread: a pool that waits for its slowest costs minutes on a busy CPU."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory, compiled_kernels: None) -> Corpora:
    """Small corpora of real files, for runs; nobody changes them."""
    from pipeline_helpers import make_corpora

    return make_corpora(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Endpoint of an S3 server for the session, with the bucket `bucket`."""
    for package in ("obstore", "moto", "flask"):
        if find_spec(package) is None:
            pytest.skip(f"needs {package}: pip install obstore 'moto[server]'")
    with s3_helpers.s3_server() as endpoint:
        s3_helpers.make_bucket(endpoint, "bucket")
        yield endpoint


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URI of a prefix of that bucket, empty at first; the environment leads to its server."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_helpers.CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    return f"s3://bucket/{uuid.uuid4().hex}"


@pytest.fixture(params=["disk", "files"])
def tiny_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TinyDisk]:
    """A file system of 1 MB where mounting is allowed; and files of at most 100 kB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    kind = {"disk": tiny_file_system, "files": tiny_files}[request.param]
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(kind(folder))
        except PermissionError:
            pytest.skip("needs the right to mount a small file system")
        yield disk
