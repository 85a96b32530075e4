"""Where a dataset is: a folder, or a prefix of an object store.

Both hold *keys*, names with slashes that are relative to the dataset, such as `commits/3.json`,
and both can give a key once: whoever comes second finds it taken. Upon that stands everything
else in this package, which asks no further what kind of place it works in.

Objects need no temporary names: a put is there whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from scenesynth.errors import RefusedError, StoreError
from scenesynth.store.local import LocalPlace
from scenesynth.store.objects import SCHEMES, ObjectPlace


@runtime_checkable
class Place(Protocol):
    """Root of a dataset; small, and picklable: another process opens it anew.

    All methods raise OSError for a failure that may pass, FileNotFoundError for a key that is not
    there, and RefusedError where an object store refuses for good.
    """

    @property
    def uri(self) -> str:
        """What opens this place, as given to --out."""

    def locate(self, key: str) -> str:
        """Path or URI of a key, for people."""

    def put_once(self, key: str, data: bytes) -> bool:
        """Publish `data` unless the key is taken; True where it was not.

        It is there whole or not at all, and does not change from then on.
        """

    def replace(self, key: str, data: bytes) -> None:
        """Put `data` under a key, whole at any instant, whatever was there.

        Only for what is derived from other keys and may be written again.
        """

    def read(self, key: str) -> bytes:
        """Bytes of a key."""

    def read_all(self, keys: Sequence[str]) -> Iterator[bytes]:
        """Bytes of many keys, in their order; from an object store, several at a time."""

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """At most `length` bytes of a key, less where it ends before."""

    def size(self, key: str) -> int:
        """Bytes of a key."""

    def exists(self, key: str) -> bool:
        """Whether the key is taken."""

    def list(self, folder: str = "") -> tuple[str, ...]:
        """All keys in a folder and the folders below, sorted."""

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Bytes of all keys in a folder and the folders below; from a single listing."""

    def total_size(self) -> int:
        """Bytes of all keys."""

    def names(self) -> tuple[str, ...]:
        """Names of the files and folders at the top, sorted.

        Raises:
            FileNotFoundError: no folder, or a prefix with nothing under it.
        """

    def remove(self, names: Sequence[str]) -> None:
        """Delete keys, and folders with all that is in them, one after another."""

    def removal(self, keys: Sequence[str], *, maybe_gone: bool = False) -> str:
        """Shell command that deletes the keys."""

    def remove_stale_temporaries(self) -> int:
        """Delete what crashes left behind; how many files that were."""

    def refusal(self, error: OSError) -> RefusedError | None:
        """What to tell of an error in writing that no retry mends; None for one that may pass."""

    def open_array(self, key: str) -> Any:
        """The Zarr array in a folder, to read from."""


Address = Path | str
"""A folder, or the URI of an object-store prefix."""

Root = Address | Place
"""What the functions of this package take for a dataset."""


def address_of(given: Address) -> Address:
    """A path for a folder (plain or file://); for object stores a URI without a final slash.

    Raises:
        StoreError: a URI of another kind, or without a bucket.
    """
    text = str(given)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Path(text)
    if scheme == "file":
        return Path(rest)
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise StoreError(f"{text}: must be a folder, or a URI of {known}")
    clean = rest.rstrip("/")
    if not clean or "" in clean.split("/"):
        raise StoreError(f"{text}: must be {scheme}://BUCKET/PREFIX")
    return f"{scheme}://{clean}"


def place_of(root: Root) -> Place:
    """The place of a dataset; nothing is read or made.

    Raises:
        StoreError: a URI of another kind, or of a store whose package is missing.
    """
    if not isinstance(root, str | Path):
        return root
    address = address_of(root)
    return LocalPlace(address) if isinstance(address, Path) else ObjectPlace.open(address)
