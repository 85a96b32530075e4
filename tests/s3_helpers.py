"""A local S3 server, and one in front of it that fails on demand."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.synchronize import Barrier
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from scenesynth.store.places import Place

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}

Fault = int | Literal["drop", "lose", "stall", "hang"] | None
"""A status to answer with; or no answer: without, after or long after doing as asked; or none for
long and without."""
STALL_S = 1.0


@contextmanager
def s3_server() -> Iterator[str]:
    """Endpoint of a moto server of its own, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}"
    try:
        _wait_until_up(endpoint, process)
        yield endpoint
    finally:
        process.kill()
        process.wait()


def race(place: Place, racer: int, start: Barrier) -> None:
    """Put keys that others put too; note each of which this one was the first."""
    start.wait()
    for number in range(10):
        if place.put_once(f"race/{number}", bytes([racer]) * 1000):
            place.put_once(f"won/{racer}/{number}", b"")


def make_bucket(endpoint: str, name: str) -> None:
    """Make an empty bucket."""
    request = urllib.request.Request(f"{endpoint}/{name}", method="PUT")
    urllib.request.urlopen(request).close()


def _wait_until_up(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        with suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=1).close()
            return
        time.sleep(0.05)
    raise AssertionError("the S3 server did not start")


@dataclass(frozen=True)
class Asked:
    """A request: what it is for, of which key or prefix, and the wanted range of bytes."""

    verb: Literal["put", "get", "head", "list", "delete"]
    key: str
    range: str


@dataclass
class Faults:
    """Which requests fail, and all that came in.

    Attributes:
        conditional: whether If-None-Match is heeded.
        page: keys on a page of a listing.
    """

    choose: Callable[[Asked], Fault] = lambda asked: None
    conditional: bool = True
    page: int = 1000
    asked: list[Asked] = field(default_factory=list)

    def verbs(self) -> list[str]:
        """What the requests were for, in order."""
        return [asked.verb for asked in self.asked]


@contextmanager
def faulty_server(behind: str) -> Iterator[tuple[str, Faults]]:
    """Endpoint of a server that hands requests to another one, or fails as its `Faults` say."""
    faults = Faults()
    target = urlsplit(behind).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = _asked(self.command, self.path, self.headers.get("Range", ""))
            faults.asked.append(asked)
            fault = faults.choose(asked)
            if isinstance(fault, int):
                self._answer(fault, {}, f"<Error><Code>Code{fault}</Code></Error>".encode())
            elif fault in ("drop", "hang"):
                time.sleep(STALL_S if fault == "hang" else 0.0)
                self.close_connection = True
            else:
                status, headers, answer = self._forward(body)
                if fault == "lose":
                    self.close_connection = True
                    return
                if fault == "stall":
                    time.sleep(STALL_S)
                with suppress(ConnectionError):
                    self._answer(status, headers, answer)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _handle

        def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            ignored = {"content-length"} | (set() if faults.conditional else {"if-none-match"})
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ignored}
            connection = http.client.HTTPConnection(target)
            page = f"&max-keys={faults.page}" if "list-type=2" in self.path else ""
            connection.request(self.command, self.path + page, body, headers)
            response = connection.getresponse()
            answer = response.read()
            connection.close()
            return response.status, dict(response.getheaders()), answer

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            dropped = {"connection", "transfer-encoding", "date", "server"}
            if self.command != "HEAD":
                dropped.add("content-length")
                self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                if name.lower() not in dropped:
                    self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", faults
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _asked(method: str, path: str, wanted: str) -> Asked:
    url = urlsplit(path)
    query = parse_qs(url.query, keep_blank_values=True)
    if "list-type" in query:
        return Asked("list", query.get("prefix", [""])[0], "")
    if method in ("POST", "DELETE"):
        return Asked("delete", url.path, "")
    verbs: dict[str, Literal["put", "get", "head"]] = {"PUT": "put", "GET": "get", "HEAD": "head"}
    return Asked(verbs[method], url.path, wanted)
