"""A preview in a browser of this machine, whose cards are made as they are asked for.

Only known routes are answered, on the loopback interface, and only to requests that name it: a page
from elsewhere whose name is made to lead here (DNS rebinding) is refused. What is sent is made from
the dataset; no path of a request ever reaches the file system.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from scenesynth.errors import ConfigError, ContentError, StoreError
from scenesynth.preview.card import card_of
from scenesynth.preview.page import Pager, card_html, page_html
from scenesynth.preview.shelf import Shelf

HOST: Final = "127.0.0.1"
CACHED_CARDS: Final = 32
_NAMES: Final = ("127.0.0.1", "localhost")
_UNAVAILABLE: Final = (ConfigError, ContentError, StoreError, OSError)


class Previews:
    """What the server tells of a shelf; from one thread at a time."""

    def __init__(self, shelf: Shelf, chosen: Sequence[int], note: str, page_scenes: int) -> None:
        self._shelf = shelf
        self._chosen = list(chosen)
        self._note = note
        self._page_scenes = page_scenes
        self._cards: OrderedDict[int, str] = OrderedDict()
        self._lock = threading.Lock()

    def page(self) -> str:
        """The page without cards."""
        pager = Pager(page_scenes=self._page_scenes, n_chosen=len(self._chosen))
        return page_html(self._shelf.name, self._shelf.about, self._note, pager=pager)

    def chosen(self) -> dict[str, Any]:
        """The scenes that were asked for when the server was started."""
        return self._listed(self._chosen)

    def scenes(self, query: str) -> dict[str, Any]:
        """A page of scenes from a number on, or before one; what has come since counts.

        Raises:
            ValueError: the query asks for neither.
        """
        ((name, (text,)),) = parse_qs(query, strict_parsing=True).items()
        index = int(text)
        with self._lock:
            self._shelf = self._shelf.renewed()
            if name == "before":
                return self._listed(self._shelf.before_index(index, self._page_scenes))
            if name != "from" or index < 0:
                raise ValueError(query)
            return self._listed(self._shelf.from_index(index, self._page_scenes))

    def card(self, index: int) -> str:
        """The card of a scene; the latest ones are kept.

        Raises:
            StoreError, ContentError: it cannot be shown.
        """
        with self._lock:
            if index not in self._cards:
                if self._shelf.from_index(index, 1) != [index]:
                    raise ConfigError(f"scene {index} is not there")
                self._cards[index] = card_html(card_of(self._shelf.shown(index)))
            self._cards.move_to_end(index)
            while len(self._cards) > CACHED_CARDS:
                self._cards.popitem(last=False)
            return self._cards[index]

    def _listed(self, scenes: list[int]) -> dict[str, Any]:
        first, after = (scenes[0], scenes[-1] + 1) if scenes else (0, 0)
        return {
            "scenes": scenes,
            "first": first,
            "next": after,
            "before": bool(self._shelf.before_index(first, 1)),
            "after": bool(self._shelf.from_index(after, 1)),
            "about": self._shelf.about,
        }


def serve(previews: Previews, port: int, on_ready: Callable[[str], None]) -> None:
    """Answer until interrupted.

    Args:
        port: to listen on; 0 for a free one.
        on_ready: told the address.

    Raises:
        ConfigError: the port cannot be had.
    """
    try:
        server = _Server((HOST, port), _handler_of(previews))
    except OSError as error:
        raise ConfigError(
            f"--port {port}: cannot be listened on ({error.strerror}); give another one, or 0 "
            f"for any that is free"
        ) from None
    with server:
        on_ready(f"http://{HOST}:{server.server_port}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that has gone is no error; all else is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler_of(previews: Previews) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name, _, port = self.headers.get("Host", "").rpartition(":")
            if name not in _NAMES or port != str(self.connection.getsockname()[1]):
                self._send(HTTPStatus.FORBIDDEN, "text/plain", "not for this host")
                return
            self._send(*_answer(previews, self.path))

        def _send(self, status: HTTPStatus, mime: str, text: str) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{mime}; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            try:
                self.end_headers()
                self.wfile.write(data)
            except ConnectionError:  # the reader has gone on to another page
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def _answer(previews: Previews, path: str) -> tuple[HTTPStatus, str, str]:
    """Status, type and text for a path."""
    try:
        parts = urlsplit(path)
        route, number = parts.path.removeprefix("/card/"), parts.path.startswith("/card/")
        if parts.path == "/":
            return HTTPStatus.OK, "text/html", previews.page()
        if parts.path == "/chosen":
            return HTTPStatus.OK, "application/json", json.dumps(previews.chosen())
        if parts.path == "/scenes":
            return HTTPStatus.OK, "application/json", json.dumps(previews.scenes(parts.query))
        if number and route.isascii() and route.isdigit():
            return HTTPStatus.OK, "text/html", previews.card(int(route))
    except ValueError as error:
        if not isinstance(error, _UNAVAILABLE):
            return HTTPStatus.BAD_REQUEST, "text/plain", "not understood"
        return HTTPStatus.NOT_FOUND, "text/plain", str(error)
    except _UNAVAILABLE as error:
        return HTTPStatus.NOT_FOUND, "text/plain", str(error)
    return HTTPStatus.NOT_FOUND, "text/plain", "no such page"
