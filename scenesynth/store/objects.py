"""A dataset under a prefix of an object store, reached through obstore.

Where the store is, which region, and who asks come from the environment alone, as its vendor has
it (for S3: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN; AWS_ALLOW_HTTP for an endpoint without TLS), or from the machine's role.

Keys are given once by a conditional put (If-None-Match: *). A put whose answer is lost may have
succeeded: if a further try then finds the key taken, by the very same bytes, they count as ours.
So puts are repeated here and not inside obstore, which would not tell whether it has repeated any.
"""

from __future__ import annotations

import errno
import os
import random
import re
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from scenesynth.errors import RefusedError, StoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PAUSES_S: Final = (0.2, 0.8, 3.0, 10.0, 30.0)
"""Between tries of a put, each varied by half."""
RETRIES: Final = 10
"""Of requests that change nothing, within obstore."""
FIRST_BACKOFF_S: Final = 0.1
LAST_BACKOFF_S: Final = 10.0
RETRY_TIMEOUT_S: Final = 60.0
REQUEST_TIMEOUT_S: Final = 600.0
"""Of a whole request: a shard of 256 MB at 3.4 Mbit/s."""
STALL_TIMEOUT_S: Final = 60.0
"""Without a byte, while reading."""
PARALLEL_READS: Final = 16

_MISSING: Final = "the package obstore is missing; install it: pip install 'scenesynth[s3]'"
_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>([^<]{1,80})</Code>")
_PASSING: Final = {408, 429}
_CREDENTIALS_SERVICE: Final = ("169.254.169.254", "/latest/api/token")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scheme:
    """A kind of store: obstore's class, its variables, those of credentials, a tool."""

    store: str
    variables: str
    credentials: str
    remover: str


SCHEMES: Final = {
    "s3": _Scheme(
        store="S3Store",
        variables="AWS_",
        credentials="AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN)",
        remover="aws s3 rm",
    ),
    "gs": _Scheme(
        store="GCSStore",
        variables="GOOGLE_",
        credentials="GOOGLE_APPLICATION_CREDENTIALS",
        remover="gcloud storage rm",
    ),
    "az": _Scheme(
        store="AzureStore",
        variables="AZURE_",
        credentials="AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY",
        remover="az storage blob delete --blob-url",
    ),
}

_CLIENT_OPTIONS: Final = (
    *("allow_http", "allow_invalid_certificates", "root_certificate"),
    *("proxy_url", "proxy_ca_certificate", "proxy_excludes"),
)
"""Settings that obstore reads from the environment only while no other one is passed."""


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """A prefix of a bucket; a key is what follows it. See `scenesynth.store.places.Place`."""

    uri: str

    @classmethod
    def open(cls, uri: str) -> ObjectPlace:
        """The place of a URI; nothing is asked of the store.

        Raises:
            StoreError: obstore is missing, or settings in the environment that cannot be right.
        """
        place = cls(uri)
        place._store(writing=False)
        return place

    def __str__(self) -> str:
        return self.uri

    def locate(self, key: str) -> str:
        """URI of a key."""
        return f"{self.uri}/{key}"

    def put_once(self, key: str, data: bytes) -> bool:
        """Publish `data` unless the key is taken; True where it was not."""
        from obstore.exceptions import AlreadyExistsError

        unsure = False

        def put() -> bool:
            nonlocal unsure
            try:
                self._store(writing=True).put(key, data, mode="create")
            except AlreadyExistsError:
                return unsure and self._holds(key, data)
            except Exception:
                unsure = True
                raise
            return True

        return self._repeated(key, put)

    def replace(self, key: str, data: bytes) -> None:
        """Put `data` under a key, whole at any instant, whatever was there."""

        def put() -> bool:
            self._store(writing=True).put(key, data, use_multipart=False)
            return True

        self._repeated(key, put)

    def read(self, key: str) -> bytes:
        """Bytes of a key."""
        with self._told(key, "read"):
            return bytes(self._store().get(key).bytes())

    def read_all(self, keys: Sequence[str]) -> Iterator[bytes]:
        """Bytes of many keys, in their order, several at a time."""
        with ThreadPoolExecutor(PARALLEL_READS) as pool:
            yield from pool.map(self.read, keys)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """At most `length` bytes of a key, less where it ends before."""
        with self._told(key, "read"):
            try:
                return bytes(self._store().get_range(key, start=start, length=length))
            except Exception as error:
                if _status(error) == 416:  # it ends before `start`
                    return b""
                raise

    def size(self, key: str) -> int:
        """Bytes of a key."""
        with self._told(key, "read"):
            return int(self._store().head(key)["size"])

    def exists(self, key: str) -> bool:
        """Whether the key is taken."""
        try:
            self.size(key)
        except FileNotFoundError:
            return False
        return True

    def list(self, folder: str = "") -> tuple[str, ...]:
        """All keys in a folder and the folders below, sorted."""
        return tuple(sorted(self.sizes(folder)))

    def total_size(self) -> int:
        """Bytes of all keys."""
        return sum(self.sizes().values())

    def names(self) -> tuple[str, ...]:
        """Names of the objects and folders at the top, sorted.

        Raises:
            FileNotFoundError: there are none.
        """
        with self._told("", "list"):
            found = self._store().list_with_delimiter()
        names = [*found["common_prefixes"], *(item["path"] for item in found["objects"])]
        if not names:
            raise FileNotFoundError(errno.ENOENT, "there is nothing there", self.uri)
        return tuple(sorted(names))

    def remove(self, names: Sequence[str]) -> None:
        """Delete keys, and folders with all that is in them, one after another."""
        for name in names:
            keys = [*self.list(name), *([name] if self.exists(name) else [])]
            if keys:
                with self._told(name, "delete"):
                    self._store().delete(keys)

    def removal(self, keys: Sequence[str], *, maybe_gone: bool = False) -> str:
        """Shell command that deletes the keys; those that are gone do not stop it."""
        tool = self._scheme.remover
        return " && ".join(f"{tool} {shlex.quote(self.locate(key))}" for key in keys)

    def remove_stale_temporaries(self) -> int:
        """Nothing: a put leaves none."""
        return 0

    def refusal(self, error: OSError) -> RefusedError | None:
        """None: what no retry mends is a RefusedError at once."""
        return None

    def open_array(self, key: str) -> Any:
        """The Zarr array in a folder, to read from."""
        import zarr
        from zarr.storage import ObjectStore

        return zarr.open_array(ObjectStore(self._store(), read_only=True), path=key, mode="r")

    @property
    def _scheme(self) -> _Scheme:
        return SCHEMES[self.uri.partition("://")[0]]

    def _store(self, *, writing: bool = False) -> ObjectStore:
        _refuse_forked(self.uri)
        return _opened(self.uri, writing, self.settings())

    def settings(self) -> tuple[tuple[str, str], ...]:
        """Variables of the environment that decide how this place is reached, with their values."""
        prefix = self._scheme.variables
        return tuple(sorted(item for item in os.environ.items() if item[0].startswith(prefix)))

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Bytes of all keys in a folder and the folders below."""
        with self._told(folder, "list"):
            chunks = self._store().list(folder or None, chunk_size=1000)
            return {item["path"]: int(item["size"]) for chunk in chunks for item in chunk}

    def _holds(self, key: str, data: bytes) -> bool:
        try:
            return self.read(key) == data
        except FileNotFoundError:
            return False

    def _repeated(self, key: str, put: Callable[[], bool]) -> bool:
        """Put until there is an answer, or it has failed too often."""
        for pause_s in PAUSES_S:
            try:
                with self._told(key, "write"):
                    return put()
            except OSError:
                time.sleep(pause_s * random.uniform(0.5, 1.5))
        with self._told(key, "write"):
            return put()

    @contextmanager
    def _told(self, key: str, verb: str) -> Iterator[None]:
        """Turn obstore's errors into those that a place raises."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (FileNotFoundError, BaseError) as error:
            where = self.locate(key) if key else self.uri
            raise _translated(error, where, verb, self._scheme) from error


@lru_cache(maxsize=16)
def _opened(uri: str, writing: bool, settings: tuple[tuple[str, str], ...]) -> ObjectStore:
    """Client of a place, with its connections; `settings` are the variables it was made from."""
    try:
        from obstore import store
        from obstore.exceptions import BaseError
    except ImportError:
        raise StoreError(f"{uri}: {_MISSING}") from None
    name, _, rest = uri.partition("://")
    scheme = SCHEMES[name]
    bucket, _, prefix = rest.partition("/")
    given = dict(settings)
    _check_endpoint(uri, scheme, given)
    options: dict[str, Any] = {
        "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
        **{k: v for k in _CLIENT_OPTIONS if (v := given.get(scheme.variables + k.upper()))},
    }
    if not writing:
        options["read_timeout"] = timedelta(seconds=STALL_TIMEOUT_S)
    retries = {
        "max_retries": 0 if writing else RETRIES,
        "backoff": {
            "init_backoff": timedelta(seconds=FIRST_BACKOFF_S),
            "max_backoff": timedelta(seconds=LAST_BACKOFF_S),
            "base": 2,
        },
        "retry_timeout": timedelta(seconds=RETRY_TIMEOUT_S),
    }
    kind = getattr(store, scheme.store)
    try:
        return kind(bucket, prefix=prefix or None, client_options=options, retry_config=retries)
    except (BaseError, ValueError) as error:
        raise StoreError(f"{uri}: cannot be opened: {_short(error)}") from error


def _check_endpoint(uri: str, scheme: _Scheme, given: dict[str, str]) -> None:
    names = [
        f"{scheme.variables}{name}" for name in ("ENDPOINT_URL_S3", "ENDPOINT_URL", "ENDPOINT")
    ]
    for name in names:
        plain = given.get(name, "").startswith("http://")
        allowed = given.get(f"{scheme.variables}ALLOW_HTTP", "").lower() in ("1", "true", "yes")
        if plain and not allowed:
            raise StoreError(
                f"{uri}: {name}={given[name]} has no TLS; set {scheme.variables}ALLOW_HTTP=true if "
                f"that is meant"
            )


@cache
def _first_process() -> int:
    return os.getpid()


def _refuse_forked(uri: str) -> None:
    """Raise an error where obstore would hang: its threads do not survive a fork."""
    if _first_process() != os.getpid():
        raise StoreError(
            f"{uri}: this process was forked from one that had opened an object store, and would "
            f"hang; start workers by spawn or forkserver"
        )


def _translated(error: Exception, where: str, verb: str, scheme: _Scheme) -> Exception:
    """The error that a place raises for one of obstore's."""
    text, status = str(error), _status(error)
    code = found[1] if (found := _CODE.search(text)) else ""
    no_bucket = code == "NoSuchBucket" or (status == 404 and verb != "read")
    if isinstance(error, FileNotFoundError) and not no_bucket:
        return FileNotFoundError(errno.ENOENT, "there is no such object", where)
    again = "and give the same command again"
    if no_bucket:
        why, remedy = "there is no such bucket", f"make it or mend the URI, {again}"
    elif any(mark in text for mark in _CREDENTIALS_SERVICE):
        why, remedy = "there are no credentials", f"set {scheme.credentials} {again}"
    elif status in (401, 403) or code in ("ExpiredToken", "InvalidToken"):
        why = f"access is denied ({_answer(status, code)})"
        remedy = (
            f"set {scheme.credentials} to credentials that may read, write and list there, {again}"
        )
    elif "redirect" in text or code == "AuthorizationHeaderMalformed":
        why, remedy = "the bucket is in another region", f"set {scheme.variables}REGION {again}"
    elif status is not None and 400 <= status < 500 and not _may_pass(status, code):
        why, remedy = f"the store refuses ({_answer(status, code)})", "see what it asks for"
    elif status == 501:
        why, remedy = f"the store cannot do that ({_answer(status, code)})", "use another store"
    else:
        return OSError(errno.EIO, f"cannot {verb}: {_short(error)}", where)
    return RefusedError(where, verb, why, remedy)


def _may_pass(status: int, code: str) -> bool:
    return status in _PASSING or code in ("RequestTimeout", "RequestTimeTooSkewed", "SlowDown")


def _status(error: Exception) -> int | None:
    """Status of the answer, if there was one."""
    return int(found[1]) if (found := _STATUS.search(str(error))) else None


def _answer(status: int | None, code: str) -> str:
    return " ".join(part for part in (str(status or ""), code) if part)


def _short(error: Exception, limit: int = 300) -> str:
    """What obstore says, without its debugging output."""
    text = " ".join(str(error).partition("Debug source")[0].split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
